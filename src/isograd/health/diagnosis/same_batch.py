"""The same batch again and again: all looks since the first see one and the same batch of inputs.

Certain as a fact (sums of inputs and targets agree to the last bit); intent is not: training on all data at once is a method,
and so is fitting one batch as a trial. An alarm needs that more examples are at hand than are shown:
  LEAST   three looks (two where the run has ended), and every one since the first of all: the first two are neighbours, and
          only far ones may happen to meet one batch of a loader that goes round
  MORE    the data set that the program holds has more examples than the passes of a step bring, all together where they differ

  BEGUN  or that a loader that does not shuffle was begun anew for every step, so that it gave its first batch alone
  FEW    a remark where the few that are shown, in whatever order, are no more than FEWEST and no more than their columns and
         one, and were learned: n points in d >= n - 1 dimensions in general position are on one plane whatever their targets
         are (Cover 1965), so that learning them proves nothing. An index of an embedding counts as many columns as the table
         has rows. No alarm: tutorials and trials show three sentences on purpose, and what is lost shows in an evaluation

  DRAWN  a weighted sampler with fewer weights than half of the examples that its loader holds (HALF): it draws from the first
         of them alone, as where it was handed one weight a class. With more, the rest may be kept for a test on purpose
  OVERLAP  batches of rows that are each the one before it moved by less than half, and begin again before half of the table
         has come (``X[i:i + size]`` with ``i`` the number of the batch): the rest of the table is never shown. Windows that
         slide over a series on purpose go to its end

Look-alikes that are healthy: full-batch training, one long sequence, a data set as large as the batch; the four examples of
XOR, which are more than their columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import holds, lasting, looked
from isograd.health.outcome import outcome
from isograd.records.batch import InputSample
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

LEAST = 3
MORE = 1
FEWEST = 32
LEARNED = 0.9
SAME = 1e-5
HALF = 0.5


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding."""
    part = next(_of_a_part(case), None)
    if part is not None:
        yield part
        return
    found = next(iter(lasting(case, "same_batch").values()), None)
    if found is not None and not (found.always and found.looks >= len(looked(case)) - 1):
        found = None
    again = next((fact for _, fact in case.facts("loader_restarted") if fact.get("order", "") == "sequential"), None)
    sizes = {_rows(sample) for _, sample in case.inputs if sample.shape}
    if found is not None and again is not None and sizes == {again.get("batch_size", -1)}:
        yield _restarted(case, again)
        return
    if found is None or found.seen < 2:
        few = _few(case)
        if few is not None:
            yield few
        return
    various = bool(found.fact.get("various", False))
    last = next((sample for _, sample in reversed(case.inputs) if sample.shape), None)
    examples = 0 if last is None else _rows(last) if various else last.shape[0]
    whole = [int(fact.get("dataset", 0)) for _, fact in case.facts("loader") if fact.get("batches", 0) == 1]
    dataset = max(whole) if whole else int(found.fact.get("dataset", 0))  # a loader of another part may have as large batches
    few = None if dataset > examples else _few(case, various=various)
    if few is not None:
        yield few
        return
    more = examples > 0 and dataset > MORE * examples and holds(found, case, least=LEAST)
    rest = f" of {dataset:,}" if dataset else ""
    steps = max(found.last, case.taken if case.ended else 0)
    yield Finding(
        "same_batch",
        "warning" if more else "note",
        0.95 if more else 0.8,
        "data",
        f"Every look saw the same {examples:,}{rest} examples, in {steps:,} steps"
        + (": the network learns one batch by heart." if more else ": fine where these are all there are."),
        (Evidence(f"the same batch in {found.seen} of {found.looks} looks", "same_batch", float(found.seen), "looks"),),
        source=found.fact.source,
        since=found.first,
        cause="the loader is asked once, outside the loop, or next(iter(loader)) begins it anew each time" if more else None,
        remedy="for inputs, targets in loader: inside the loop over epochs" if more else None,
    )


def _of_a_part(case: Case) -> Iterator[Finding]:
    """The finding that a small part of the data is all that ever comes, although not one batch alone."""
    for step, fact in case.facts("loader"):
        weights, dataset = int(fact.get("weights", -1)), int(fact.get("dataset", -1))
        if 0 < weights < HALF * dataset:
            yield _part(
                f"The sampler has {weights:,} weights for {dataset:,} examples: it draws from the first {weights:,} alone.",
                Evidence(f"{weights:,} weights, {dataset:,} examples", "loader", float(weights), "", float(dataset)),
                step,
                "one weight an example: weights = class_weights[labels]",
            )
    for fact in (one.fact for one in lasting(case, "overlap").values()):
        step, rows, dataset, used = (int(fact.get(name, 0)) for name in ("moved", "rows", "dataset", "used"))
        yield _part(
            f"Each batch of {rows:,} examples is the one before it moved by {step:,}: at most about {used:,} of {dataset:,} "
            "examples come at all, and the rest is never shown.",
            Evidence(f"neighbouring batches have {rows - step:,} of {rows:,} examples in common", "overlap", float(used)),
            1,
            f"X[i * {rows}:(i + 1) * {rows}] where i counts batches, or for i in range(0, len(X), {rows})",
        )


def _part(summary: str, evidence: Evidence, since: int, remedy: str) -> Finding:
    return Finding("same_batch", "warning", 0.97, "data", summary, (evidence,), since=since, remedy=remedy)


def _restarted(case: Case, fact: Fact) -> Finding:
    size, dataset, begun = (int(fact.get(name, 0)) for name in ("batch_size", "dataset", "epoch"))
    text = f"the loader was begun {begun:,} times in {case.taken:,} steps, and no look saw another batch"
    return Finding(
        "same_batch",
        "warning",
        0.97,
        "data",
        f"Every step saw the first {size:,} of {dataset:,} examples: the network learns one batch by heart.",
        (Evidence(text, "same_batch", float(begun), "times", 1.0),),
        source=fact.source,
        since=1,
        cause="next(iter(loader)) begins the loader anew each time, and without shuffling its first batch is always the same",
        remedy="for inputs, targets in loader: inside the loop over epochs",
    )


def _few(case: Case, *, various: bool = False) -> Finding | None:
    """The same few examples at every look, in whatever order, learned by heart."""
    looks = [step.inputs for step in case.steps if step.inputs]
    if not case.ended or len(looks) < LEAST or not outcome(case).well(LEARNED):
        return None
    first = looks[0]
    length = first[0].shape[0] if first[0].shape else 0
    rows = _rows(first[0]) if various else length
    asked = {sample.target_shape[0] for _, sample in case.losses if sample.training and sample.target_shape}
    if length not in asked and asked & set(first[0].shape[1:]):  # time comes first, and the examples behind it
        return None
    columns = sum(_columns(case, sample) for sample in first)
    if not 2 <= rows <= min(FEWEST, columns + 1) or not all(_alike(first, other) for other in looks[1:]):
        return None
    return Finding(
        "same_batch",
        "note",
        0.85,
        "data",
        f"Every look saw the same {rows} examples, and they are learned by heart: with {columns} columns as many could be "
        "whatever their targets are, so that it says nothing of other examples.",
        (Evidence(f"examples in {len(looks)} looks", "examples", float(rows), "examples", columns + 1.0),),
        since=case.steps[0].index if case.steps else None,
        remedy="train on more examples, and judge by examples that were not trained on",
    )


def _rows(sample: InputSample) -> int:
    """The examples of all passes of a step."""
    entries = sample.values.count + sample.values.nonfinite
    return max(sample.shape[0], round(entries / max(1, math.prod(sample.shape[1:]))))


def _columns(case: Case, sample: InputSample) -> int:
    """Numbers in one example; an index counts as the rows of the smallest table that it may be one of."""
    entries = math.prod(sample.shape[1:])
    if sample.dtype.startswith(("float", "bfloat")):
        return entries
    tables = [p.shape[0] for p in case.anatomy.matrices if (n := case.anatomy.node(p.layer)) and n.operation == "embedding"]
    return entries * min((rows for rows in tables if rows > sample.high), default=1)


def _alike(one: tuple[InputSample, ...], other: tuple[InputSample, ...]) -> bool:
    """Whether two batches hold the same numbers, in whatever order."""
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        close = abs(a.values.rms - b.values.rms) <= SAME * a.values.rms
        mean = abs(a.values.mean - b.values.mean) <= SAME * a.values.rms
        if a.shape != b.shape or (a.low, a.high) != (b.low, b.high) or not (close and mean):
            return False
    return True
