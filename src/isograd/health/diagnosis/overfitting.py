"""Overfitting: evaluations get worse while the training goes on getting better.

Only where the program evaluates inside what is watched: its losses without gradients, or in evaluation mode, are then known. A
cross-entropy that rises on other examples while the answers stay as right is confidence and costs no skill, so it is a remark.
Bounds:
  RISEN   the last evaluation is 10 % above the best one, while the training loss fell by as much in between
  WORSE   and it is an alarm where the answers themselves are worse: right answers by 0.05, beyond three standard errors, or the
          share of variance explained by 0.1

Look-alikes that are healthy: evaluations that go up and down, a rising loss with steady answers, a small set for
evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.records.batch import LossSample
from isograd.records.finding import Evidence, Finding

RISEN = 0.1
WORSE = 0.05
WORSE_FIT = 0.1
LOOKS = 4


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that what is learned no longer serves other examples."""
    curve = curves.main(case)
    if curve is None:
        return
    tried = [
        (step, sample)
        for step, sample in case.losses
        if not sample.training
        and sample.function == curve.function
        and sample.value is not None
        and math.isfinite(sample.value)
    ]
    if len(tried) < LOOKS:
        return
    best, last = min(tried, key=lambda row: row[1].value or 0.0), tried[-1]
    low, high = best[1].value or 0.0, last[1].value or 0.0
    after = [row for row in tried if row[0] > best[0]]
    if not low > 0.0 or high < (1.0 + RISEN) * low or len(after) < 2 or min(s.value or 0.0 for _, s in after) < low:
        return
    then, now = (_near(curve.steps, step) for step in (best[0], last[0]))
    if not now < (1.0 - RISEN) * then:
        return
    lost = _lost(best[1], last[1])
    yield Finding(
        "overfitting",
        "warning" if lost else "note",
        0.8 if lost else 0.7,
        "loop",
        f"Evaluations were best at step {best[0]:,} ({low:.4g}) and are {high:.4g} now, while the training loss fell from "
        f"{then:.3g} to {now:.3g}"
        + (": what is learned no longer serves other examples." if lost else "; the answers are as right as before."),
        (Evidence(f"evaluation loss over its best: {high / low:.2f}", "loss", high, "", (1.0 + RISEN) * low),),
        source=last[1].source,
        since=best[0],
        remedy=f"stop near step {best[0]:,} (keep the best weights); more data, augmentation, weight decay, dropout",
    )


def _near(steps: tuple[tuple[int, float], ...], step: int) -> float:
    """Mean training loss of the steps around one."""
    around = [value for index, value in steps if abs(index - step) <= max(2, step // 20)]
    return sum(around) / len(around) if around else math.nan


def _lost(best: LossSample, last: LossSample) -> bool:
    """Whether the answers themselves got worse, beyond noise."""
    asked = sum(best.classes), sum(last.classes)
    if min(asked) and best.hits >= 0 and last.hits >= 0:
        before, after = best.hits / asked[0], last.hits / asked[1]
        error = math.sqrt(sum(max(p * (1.0 - p), 1.0 / n) / n for p, n in zip((before, after), asked, strict=True)))
        return before - after > max(WORSE, 3.0 * error)
    if best.floor and last.floor:
        return (last.value or 0.0) / last.floor - (best.value or 0.0) / best.floor > WORSE_FIT
    return False
