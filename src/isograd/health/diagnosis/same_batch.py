"""The same batch again and again: all looks since the first see one and the same batch of inputs.

Certain as a fact (sums of inputs and targets agree to the last bit); intent is not: training on all data at once is a method,
and so is fitting one batch as a trial. An alarm needs that more examples are at hand than are shown:
  LEAST   three looks (two where the run has ended), and every one since the first
  MORE    the data set that the program holds has more examples than the batch

Look-alikes that are healthy: full-batch training, one long sequence, a data set as large as the batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import holds, lasting
from isograd.records.finding import Evidence, Finding

LEAST = 3
MORE = 1


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding."""
    found = next(iter(lasting(case, "same_batch").values()), None)
    if found is None or not found.always or found.seen < 2:
        return
    examples = next((sample.shape[0] for _, sample in reversed(case.inputs) if sample.shape), 0)
    dataset = int(found.fact.get("dataset", 0))
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
