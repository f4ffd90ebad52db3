"""Spikes: now and then a gradient many times the usual size, whose one step undoes what many have built.

Bounds:
  FACTOR  a norm 10 times the median of the 50 before it: 5 in 10,000 for log-normal norms that vary by a factor of two
  HEAVY   a tail index (``signals.balance.tail_index``) below 2: the variance of the gradient is infinite for what is seen
  BROKEN  the loss lost at a spike at least half of all that it had gained, and had not got it back at the end
Spikes that the training survives are a remark: rare examples, an unlucky batch, an optimizer that tames them. An alarm only
where the loss broke at one for good and is poor now (``health.outcome``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.health.outcome import outcome
from isograd.health.signals.balance import tail_index
from isograd.records.finding import Evidence, Finding

FACTOR = 10.0
HEAVY = 2.0
BROKEN = 0.5
BEFORE = 50
FEW = 10
SKILL = 0.5
REFERENCES = (
    "Simsekli et al. 2019, A tail-index analysis of stochastic gradient noise, arXiv:1901.06053",
    "Zhang et al. 2020, Why gradient clipping accelerates training, arXiv:1905.11881",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """A remark on heavy tails; an alarm where the loss broke at a spike."""
    norms = [(r.step, r.value) for r in case.series("total_gradient_norm") if 0.0 < r.value < math.inf]
    found = _spikes(norms)
    if not found:
        return
    worst = max(found, key=lambda row: row[1])
    broken = _broken(case, found)
    index = tail_index([norm for _, norm in norms])
    text = f"at step {worst[0]:,} the gradient was {worst[1]:,.0f} times its usual size"
    evidence = [Evidence(text, "total_gradient_norm", worst[1], "of the median of 50 steps before", FACTOR)]
    if not math.isnan(index):
        evidence.append(Evidence(f"tail index {index:.2g}; below 2 single batches rule", "tail_index", index, bound=HEAVY))
    if broken is None and not index < HEAVY and len(found) < 2:
        return
    times = "once" if len(found) == 1 else f"{len(found)} times"
    summary = f"The gradient's size jumped {times}: {text}."
    if broken is not None:
        summary = f"The loss broke at step {broken:,} and has not come back: there the gradient was many times its usual size."
    yield Finding(
        "spikes",
        "warning" if broken is not None else "note",
        0.85,
        "loop",
        summary,
        tuple(evidence),
        since=found[0][0] if broken is None else broken,
        remedy="clip the gradient at a few times its usual norm; a lower learning rate or a larger beta2; look at that batch",
        references=REFERENCES,
    )


def _spikes(norms: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Steps whose norm is far above the median before them, and by how much."""
    found = []
    for place in range(FEW, len(norms)):
        usual = statistics.median(norm for _, norm in norms[max(0, place - BEFORE) : place])
        if norms[place][1] > FACTOR * usual:
            found.append((norms[place][0], norms[place][1] / usual))
    return found


def _broken(case: Case, found: Sequence[tuple[int, float]]) -> int | None:
    """The first spike at which the loss lost most of its gain for good."""
    judged = outcome(case)
    losses = [(r.step, r.value) for r in case.series("loss") if math.isfinite(r.value)]
    if not judged.poor(SKILL) or judged.start is None or judged.late is None or judged.share is None or judged.share < 1.0:
        return None
    for step, _ in found:
        before = [loss for at, loss in losses if at < step][-FEW:]
        after = [loss for at, loss in losses if at > step]
        if len(before) < FEW or len(after) < FEW:
            continue
        level = statistics.median(before)
        gain = judged.start - level
        if gain > 0.1 * abs(judged.start) and min(statistics.median(after), judged.late) - level > BROKEN * gain:
            return step
    return None
