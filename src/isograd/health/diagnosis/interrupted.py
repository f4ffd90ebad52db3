"""Interrupted: the run ended while the loss was still falling as fast as before, and the answers are poor.

A learning curve that converges is convex: what the second half of the steps gains is a small part of what the first half gained
(for a loss that falls like exp(-t/T), exp(-n/2T) of it; for one that falls like 1/t, about (t0/n)). Where the second half gains
nearly as much as the first, the run has not begun to converge, and the final loss says where it was stopped, not what the
network can do.
Bounds:
  MATERIAL  it gains 2 % of the loss at least
  LINEAR  the second half gains at least 60 % of what the first half gained, beyond three standard errors
  POOR    and the answers are poor: chance-corrected hits below 0.7, and the loss not below its floor by LOW, 0.4 of it: a
          remark; an alarm below BARELY, 0.3, where most of what can be had was not reached

A run of fewer than HARDLY steps with poor answers was too short anyway; so was one of fewer than 50 that learned nothing. From
FEW steps on; from FEWEST where the run has made all the steps that it announced, so that nobody took a short look on purpose:
a few huge batches; or where it announced twenty times as many (CUT) and ended without an exception. A game of two networks has
no yardstick, but after so few steps nothing can have come of it. A loss that lies below its floor by less than NEXT_TO_NOTHING
is as poor as hits below BARELY: of few looks, hits tell little.

Where the targets are places in the batch, each once (contrastive losses), nobody knows what perfect answers pay: two views of
one example differ, and others may look the same. There it is a remark.

Look-alikes that are healthy: a schedule that gains most at its end (its skill is good), a task that takes off late and arrives,
a long run of which each part gains little.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import Curve
from isograd.health.evaluated import ignorant
from isograd.health.passes import steps_of_a_pass
from isograd.health.worth import CLEAR, learned_nothing
from isograd.records.finding import Evidence, Finding

LINEAR = 0.6
POOR = 0.7
LOW = 0.4
BARELY = 0.3
MATERIAL = 0.02
FEW = 10
FEWEST = 6
HARDLY = 20
CUT = 0.05
NEXT_TO_NOTHING = 0.03
STEPS = 50
BATCH, MANY = 32, 256
_UNPROVEN = (
    "look at ten pairs of inputs and targets by eye before training longer: what was gained so far does not show on the "
    "examples that the program judges by, as where targets are of other rows"
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the training was stopped before it had begun."""
    curve = curves.main(case)
    if not case.ended or case.taken < FEWEST:
        return
    if curve is None:
        if case.taken < HARDLY and case.taken == case.planned and curves.contested(case):
            yield _hardly(case)
        return
    if len(curve.looks) < 3:
        return
    late = curve.late()
    skill = late.hits if late.hits is not None and not late.stale else late.beat
    if skill is None or late.beat is None or skill >= POOR or late.beat >= LOW:
        return
    gains = _gains(curve)
    if gains is None:
        whole = case.anatomy.optimizer is not None and case.anatomy.optimizer.kind == "lbfgs"  # one step is a whole descent
        few = FEWEST if case.taken == case.planned or _cut_short(case) else FEW
        if few <= case.taken < STEPS and not whole and (case.taken < HARDLY or learned_nothing(curve)):
            yield _hardly(case, curve, late.beat)
        return
    first, second = gains
    value = statistics.fmean(curve.values(0.75, 1.0) or [curve.steps[-1][1]])
    barely = skill < BARELY or late.beat < NEXT_TO_NOTHING or case.taken < HARDLY
    tried = ignorant(case)
    here = f" ({tried[-1].source})" if tried and tried[-1].source else ""
    yield Finding(
        "interrupted",
        "warning" if barely and not _contrasts(curve) else "note",
        0.85,
        "loop",
        f"The run ended after {case.taken:,} steps while the loss ({value:.4g}) was still falling as fast as before: "
        f"its second half gained {second:.2g}, its first {first:.2g}."
        + (f" The program's own evaluation{here} is no better than a constant answer yet." if tried else ""),
        (
            Evidence(f"the first half gained {first:.2g}, the second {second:.2g}", "loss", second, "", LINEAR * first),
            Evidence(f"1 - loss / best constant answer: {late.beat:.2f}", "skill", late.beat, "", LOW),
        ),
        source=curve.looks[-1][1].source,
        since=curve.looks[-1][0],
        remedy=_UNPROVEN
        if tried
        else _smaller(case)
        or "train longer, several times as many epochs; or a higher learning rate, where the layers hardly move in a step",
    )


def _contrasts(curve: Curve) -> bool:
    """Whether the targets are places in the batch: of at least FEW classes each is asked for once in every look.

    Labels of ten kinds or more do that by chance once in n^n / n! batches: 2,755 of ten, at every look again.
    """
    classes = [sample.classes for _, sample in curve.looks]
    return all(len(counts) >= FEW and set(counts) == {1} for counts in classes)


def _cut_short(case: Case) -> bool:
    """Whether the loop ended, by itself, long before the length that it had announced: a break that was left in."""
    return case.planned is not None and case.taken < CUT * case.planned and not case.facts("raised")


def _hardly(case: Case, curve: Curve | None = None, beat: float | None = None) -> Finding:
    evidence = Evidence("steps of the whole run", "steps", float(case.taken), "steps", float(HARDLY))
    if beat is not None:
        evidence = Evidence(f"1 - loss / best constant answer: {beat:.2f}", "skill", beat)
    of, breaks = ("", "") if not _cut_short(case) else (f"of {case.planned:,} announced ", "look for a break in the loop; ")
    return Finding(
        "interrupted",
        "warning",
        0.8,
        "loop",
        f"The run ended after {case.taken} {of}steps, before much was learned.",
        (evidence,),
        source=curve.looks[-1][1].source if curve is not None else None,
        since=curve.looks[-1][0] if curve is not None else case.taken,
        remedy=breaks
        + (_smaller(case) or "train longer: hundreds of steps at least; smaller batches give more of them for the same data"),
    )


def _smaller(case: Case) -> str | None:
    """The way out where one batch holds all examples, and there are many: an epoch is one step, whatever it costs."""
    known = steps_of_a_pass(case)
    if known is None or known[0] > 1.0 or known[1] < MANY:
        return None
    return (
        f"batches of {BATCH}: now all {known[1]:,} examples are one batch, so that an epoch is one step, and then it is "
        f"{known[1] // BATCH}; or as many times more epochs"
    )


def _gains(curve: Curve) -> tuple[float, float] | None:
    """What both halves gained, where the second gained nearly as much, beyond noise; by thirds of the run where it is short."""
    start, middle, end = curve.values(-0.01, 0.15), curve.values(0.425, 0.575), curve.values(0.85, 1.0)
    if min(len(start), len(middle), len(end)) < 5:
        start, middle, end = curve.values(-0.01, 1 / 3), curve.values(1 / 3, 2 / 3), curve.values(2 / 3, 1.0)
    if min(len(start), len(middle), len(end)) < 2:
        return None
    first, second = (statistics.fmean(a) - statistics.fmean(b) for a, b in ((start, middle), (middle, end)))
    values = [value for _, value in curve.steps]
    squares = [(b - a) ** 2 for a, b in itertools.pairwise(values)]
    noise = math.sqrt(statistics.fmean(squares) / 2.0)  # from neighbours, so that the fall itself hardly counts
    error = noise * math.sqrt(1.0 / len(middle) + 1.0 / min(len(start), len(end)))
    if second <= CLEAR * error or second < MATERIAL * abs(statistics.fmean(middle)) or second < LINEAR * first - 0.5 * error:
        return None
    return first, second
