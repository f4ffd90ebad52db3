"""Overfitting: what is learned of the training examples does not serve others.

Only where the program evaluates while it is watched. Two ways to see it, in each series of evaluations (one line of the
program, one loader):
  worse       the last evaluation is RISEN (10 %) above the best one, while the training loss fell by as much in between. A
              cross-entropy that rises on other examples while the answers stay as right is confidence and costs no skill: a
              remark. An alarm where the answers themselves are worse: right answers by WORSE (0.05), beyond three standard
              errors, or the share of variance explained by WORSE_FIT (0.1)
  by heart    the training loss has come LEARNED (half) of the way down from the constant answer's (BEGUN, a quarter, where the
              evaluations are RISEN above the best constant answer), and the last two evaluations are no better than it: neither
              in loss nor, where there are classes, in right answers (two standard errors above the most frequent class).
              Said when the run is decided: batch norm in evaluation mode lags behind at first. Where the answers are better
              than that and only the loss is not, it is confidence: a remark.
              Evaluations that count right answers and ask no loss are held against the most frequent class of their targets,
              or of the training's; and what is left of the training's right answers counts as nothing below KEPT, a quarter,
              of what they are above chance, two standard errors added

What the evaluations once knew and no longer do is told by ``forgetting``.

Look-alikes that are healthy: evaluations that go up and down, a rising loss with steady answers, a small set for evaluation, an
evaluation of the training examples themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import Curve, Standing
from isograd.health.evaluated import ERRORS, Series, by_place, forgotten, knows
from isograd.health.outcome import decided
from isograd.records.batch import Evaluation
from isograd.records.finding import Evidence, Finding

RISEN = 0.1
WORSE = 0.05
WORSE_FIT = 0.1
LOOKS = 4
LEARNED, BEGUN = 0.5, 0.25
KEPT = 0.25
EXAMPLES = 32
SAME = 0.02

_BY_HEART = (
    "look whether inputs and labels of the evaluation are prepared as those of the training are; then more data, "
    "augmentation, weight decay, dropout, a smaller network"
)


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding: that what is learned no longer, or not at all, serves other examples."""
    curve = curves.main(case)
    if curve is None:
        return
    series = by_place(case, lambda one: one.function == curve.function and math.isfinite(_value(one, math.nan)))
    counted = by_place(case, lambda one: not one.function and one.accuracy is not None and one.answers >= EXAMPLES)
    found = [*(_worse(curve, one) for one in series), *(_by_heart(case, curve, one) for one in series)]
    found += [_answers(case, curve, one) for one in counted]
    told = [finding for finding in found if finding is not None]
    yield from sorted(told, key=lambda finding: not finding.alarm)[:1]


def _answers(case: Case, curve: Curve, tried: Series) -> Finding | None:
    """By heart, told from right answers alone."""
    late, last = curve.late(), tried[-1]
    if len(tried) < 2 or not decided(case) or late.beat is None or late.beat - ERRORS * late.error < LEARNED:
        return None
    counts = last.classes or curve.classes
    if not sum(counts) or any(knows(one, curve.classes) and not _lost_on_the_way(late, one, counts) for one in tried[-2:]):
        return None
    share = max(counts) / sum(counts)
    right = f"{100 * (last.accuracy or 0.0):.0f} %"
    return Finding(
        "overfitting",
        "warning",
        0.85,
        "loop",
        f"The training loss is {100 * late.beat:.0f} % below that of the best constant answer, but of other examples {right} "
        f"are answered right, where the most frequent class is {100 * share:.0f} %: the training examples were learned by "
        "heart.",
        (Evidence(f"{last.hits:,} of {last.answers:,} answers are right", "hit_rate", last.accuracy or 0.0, "", share),),
        source=last.source,
        since=tried[0].after,
        remedy=_BY_HEART,
    )


def _lost_on_the_way(late: Standing, one: Evaluation, counts: Sequence[int]) -> bool:
    """Whether less than KEPT of what the training's right answers are above chance is left; those of old were no more."""
    if late.hits is None or one.accuracy is None:
        return False
    share = max(counts) / sum(counts)
    error = math.sqrt(max(one.accuracy * (1.0 - one.accuracy), 1.0 / one.answers) / one.answers)
    known = late.hits - ERRORS * late.hits_error
    return known > LEARNED and one.accuracy + ERRORS * error - share < KEPT * known * (1.0 - share)


def _worse(curve: Curve, tried: Series) -> Finding | None:
    if len(tried) < LOOKS or forgotten(tried) is not None:
        return None
    best, last = min(tried, key=_value), tried[-1]
    low, high = _value(best), _value(last)
    after = [one for one in tried if one.after > best.after]
    if not low > 0.0 or high < (1.0 + RISEN) * low or len(after) < 2:
        return None
    then, now = (_near(curve.steps, one.after) for one in (best, last))
    if not now < (1.0 - RISEN) * then:
        return None
    lost = _lost(best, last)
    return Finding(
        "overfitting",
        "warning" if lost else "note",
        0.8 if lost else 0.7,
        "loop",
        f"Evaluations were best at step {best.after:,} ({low:.4g}) and are {high:.4g} now, while the training loss fell from "
        f"{then:.3g} to {now:.3g}"
        + (": what is learned no longer serves other examples." if lost else "; the answers are as right as before."),
        (Evidence(f"evaluation loss over its best: {high / low:.2f}", "loss", high, "", (1.0 + RISEN) * low),),
        source=last.source,
        since=best.after,
        remedy=f"stop near step {best.after:,} (keep the best weights); more data, augmentation, weight decay, dropout",
    )


def _by_heart(case: Case, curve: Curve, tried: Series) -> Finding | None:
    late = curve.late()
    above = all(one.floor is not None and _value(one) > (1.0 + RISEN) * one.floor for one in tried[-2:])
    learned = BEGUN if above and not any(knows(one) for one in tried) else LEARNED
    if len(tried) < 2 or not decided(case) or late.beat is None or late.beat - ERRORS * late.error < learned:
        return None
    if forgotten(tried) is not None or any(
        one.floor is None or one.examples < EXAMPLES or _value(one) < (1.0 - SAME) * one.floor for one in tried[-2:]
    ):
        return None
    last, known = tried[-1], all(knows(one) and not _lost_on_the_way(late, one, one.classes) for one in tried[-2:])
    value, floor = _value(last), last.floor or 0.0
    right = "" if last.accuracy is None else f" ({100 * last.accuracy:.0f} % of the answers are right)"
    return Finding(
        "overfitting",
        "note" if known else "warning",
        0.7 if known else 0.85,
        "loop",
        f"The training loss is {100 * late.beat:.0f} % below that of the best constant answer, but on other examples the loss "
        f"is {value:.4g}{right}, where a constant answer pays {floor:.4g}: "
        + (
            "the answers are better than that and far too sure."
            if known
            else "the training examples were learned by heart, or these are prepared in another way."
        ),
        (Evidence(f"evaluation loss over the best constant answer's: {value / floor:.2f}", "loss", value, "", floor),)
        if floor > 0.0
        else (),
        source=last.source,
        since=tried[0].after,
        remedy=_BY_HEART,
    )


def _value(one: Evaluation, unknown: float = 0.0) -> float:
    return unknown if one.value is None else one.value


def _near(steps: tuple[tuple[int, float], ...], step: int) -> float:
    """Mean training loss of the steps around one."""
    around = [value for index, value in steps if abs(index - step) <= max(2, step // 20)]
    return sum(around) / len(around) if around else math.nan


def _lost(best: Evaluation, last: Evaluation) -> bool:
    """Whether the answers themselves got worse, beyond noise."""
    before, after = best.accuracy, last.accuracy
    if before is not None and after is not None:
        asked = best.answers, last.answers
        error = math.sqrt(sum(max(p * (1.0 - p), 1.0 / n) / n for p, n in zip((before, after), asked, strict=True)))
        return before - after > max(WORSE, 3.0 * error)
    if best.floor and last.floor:
        return _value(last) / last.floor - _value(best) / best.floor > WORSE_FIT
    return False
