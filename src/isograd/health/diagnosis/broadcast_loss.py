"""A loss that broadcasts: outputs (N, 1) met targets (N,), and each output was compared with all N targets.

The N x N differences have one best answer: the mean of the targets for every example. So the network is taught to ignore its
inputs; torch only warns, and a loss written by hand says nothing. A certain fact: no bound. Where the spreading was done before
the loss it shows in the shapes: a square of the batch against a column, from a last layer of one unit, at every look.
So it is where outputs were picked by ``outputs[:, index]``, which is a square of all examples with the columns of all.
Look-alikes that are healthy: differences of all pairs on purpose (both sides are outputs, or the loss keeps the table of pairs
with reduction="none", which is a note); (N, C) against (N, C); one example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from isograd.health.case import Case
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding a line."""
    seen: set[str | None] = set()
    for step, fact in case.facts("broadcast"):
        if fact.source not in seen and (rows := _rows(fact)) > 1:
            seen.add(fact.source)
            kept = any(sample.source == fact.source and sample.reduction == "none" for _, sample in case.losses)
            yield _finding(step, fact, rows, kept=kept)
    if not seen:
        yield from _square(case)


def _square(case: Case) -> Iterator[Finding]:
    """Outputs or targets that came to the loss as a square of the batch, from a last layer of one unit: spread before it."""
    last = next((node for node in reversed(case.anatomy.nodes) if node.operation in ("linear", "conv")), None)
    calls = [(step, sample) for step, sample in case.losses if sample.training]
    square = [(step, s) for step, s in calls if _spread(s.output_shape, s.target_shape)]
    if last is None or last.get("fan_out", 0) != 1 or len(square) < 2 or len(square) < len(calls):
        return
    step, sample = square[0]
    left, right = ("x".join(map(str, shape)) for shape in (sample.output_shape, sample.target_shape))
    fact = Fact("broadcast", "loss", sample.source, (("left", left), ("right", right)))
    yield replace(
        _finding(step, fact, sample.output_shape[0], kept=False),
        cause="a column met a row before the loss (in a difference, a mask, expand_as), and both were spread to a square",
        remedy="print the shapes just before the loss: outputs and targets both (N,), or both (N, 1)",
    )


def _spread(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one of two shapes is a square of the batch and the other a column or row of it."""
    rows = one[0] if one else 0
    return rows > 1 and {one, other} in ({(rows, rows), (rows, 1)}, {(rows, rows), (rows,)})


def _rows(fact: Fact) -> int:
    """How many outputs met all targets: entries of the shorter shape where the longer is the same with an axis of one."""
    left, right = (_shape(str(fact.get(side, ""))) for side in ("left", "right"))
    if fact.get("picked", False):
        return left[0]
    long, short = (left, right) if len(left) > len(right) else (right, left)
    if not short or long != (*short, 1):
        return 0
    return short[-1]


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split("x") if size)


def _finding(step: int, fact: Fact, rows: int, *, kept: bool) -> Finding:
    left, right = (f"({str(fact.get(side, '')).replace('x', ', ')})" for side in ("left", "right"))
    shorter = "output" if len(left) < len(right) else "target"
    picked = bool(fact.get("picked", False))
    return Finding(
        "broadcast_loss",
        "note" if kept else "critical",
        0.6 if kept else 0.98,
        "loss",
        f"Outputs of shape {left} met targets of shape {right}: each of {rows} outputs is compared with all {rows} targets, "
        "and the best it can do is their mean, whatever the input.",
        (Evidence(f"{rows} x {rows} differences where {rows} were meant", "differences", float(rows**2), bound=float(rows)),),
        source=fact.source,
        since=step,
        cause="outputs[:, index] takes the columns of all examples for each of them"
        if picked
        else "one side has an axis of one that the other has not, so that both are spread to a square",
        remedy="outputs.gather(1, index[:, None]).squeeze(1), or outputs[torch.arange(len(index)), index]"
        if picked
        else f"{shorter} = {shorter}.unsqueeze(-1), so that both shapes are alike",
        references=("Humbatova et al. 2020, Taxonomy of real faults in deep learning systems, arXiv:1910.11015",),
    )
