"""Passes over the data: where each begins, and whether the loss falls only at their borders, which is learning by heart.

While a loader gives its first pass every batch is new, so that its losses are those of a test: what they gain is learned, not
remembered. From the second pass on an example is met again, and its loss shows what was kept of it. In a pass all examples were
last met equally long ago, so a network that only remembers pays the same from the beginning to the end of it, and less in the
next: its loss falls in stairs. What serves other examples falls within passes as well.
Bounds:
  NEW      the last third of the first pass is no better than a constant answer: by less than 0.01 beyond two standard errors
  ABOVE    nor more than 0.15 above it: then it was still on its way down from where its weights were born
  WITHIN   of what fell since then, less than half fell within passes, beyond two standard errors; and it fell beyond three.
           Passes in one order have the same hard batches at the same places: their errors add up, where those of shuffled ones
           add in squares
  STEPS    16 steps a pass at least, for the two halves of a pass are compared
  ROWS     256 examples: of fewer, each is so large a part of the data that to remember it and to learn are one
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from isograd.health.case import Case
from isograd.health.curve import Curve
from isograd.health.worth import CLEAR, GAIN

NEW = 0.01
WITHIN = 0.5
ABOVE = -0.15
STEPS = 16
ROWS = 256
NEAR = 1.5
"""Batches by which a look may lie off the line of batches against steps."""


@dataclass(frozen=True, slots=True)
class Passes:
    """A loss over several passes: ``first`` is what the last third of the first pass paid, ``last`` what the last pass does.

    ``within`` is by how much it fell within the passes since the first, all together; each with its standard error.
    """

    count: int
    first: float
    first_error: float
    last: float
    last_error: float
    within: float
    within_error: float

    @property
    def fell(self) -> float:
        """By how much the loss fell since the first pass."""
        return self.first - self.last

    @property
    def only_between(self) -> bool:
        """Whether it fell for certain, and from pass to pass alone."""
        return self._certain and self.within + 2.0 * self.within_error < WITHIN * self.fell

    @property
    def partly_between(self) -> bool:
        """Whether it fell for certain, and not all of it within passes: where it is little, little of it serves others."""
        return self._certain and self.within + 2.0 * self.within_error < self.fell

    @property
    def _certain(self) -> bool:
        return self.fell > CLEAR * math.hypot(self.first_error, self.last_error)


def steps_of_a_pass(case: Case) -> tuple[float, int] | None:
    """How many steps one pass over the training data takes, and its examples; nothing where batches do not map to steps.

    By the training loader; without one by the table that batches are taken from by hand.
    """
    seen = [(step, fact) for step, fact in case.facts("loader") if int(fact.get("batches", -1)) > 0]
    again = case.facts("repeats")
    if not seen and again:
        fact = again[-1][1]
        examples = int(fact.get("dataset", 0))
        return float(fact.get("steps", examples / max(1, int(fact.get("rows", 1))))), examples
    if len(seen) < 2 or len({fact.get("number", 0) for _, fact in seen}) > 1:
        return None
    batches = int(seen[0][1].get("batches", -1))
    given = [(step, (int(fact.get("epoch", 1)) - 1) * batches + int(fact.get("position", 0))) for step, fact in seen]
    each = max(1.0, round(given[-1][1] / given[-1][0]))  # batches a step: more than one where gradients are accumulated
    if any(abs(number - each * step) > NEAR * each for step, number in given):
        return None
    return batches / each, int(seen[0][1].get("dataset", -1))


def repeated(case: Case, curve: Curve) -> Passes | None:
    """The passes of a training whose first one was no better than a constant answer; nothing where it was, or who knows.

    >>> from isograd.records.anatomy import Anatomy
    >>> repeated(Case(Anatomy("torch", (), ())), Curve((), (), False, None, (), 0)) is None
    True
    """
    known = steps_of_a_pass(case)
    if known is None or not curve.told or known[1] < ROWS:
        return None
    other = next((float(fact.get("or", known[0])) for _, fact in case.facts("repeats")[-1:]), known[0])
    found = [one for length in dict.fromkeys((known[0], other)) if (one := _over(case, curve, length)) is not None]
    return next((one for one in found if one.only_between), next(iter(found), None))


def _over(case: Case, curve: Curve, length: float) -> Passes | None:
    """The same for passes of so many steps; where the last batch is left out, looks may fit more than one length."""
    floor = curve.floor
    if floor is None or length < STEPS:
        return None
    later = [n for n in range(1, int(case.taken / length + 1e-9)) if len(_between(curve, n * length, (n + 1) * length)) >= 8]
    fresh = _between(curve, length * 2 / 3, length)
    if len(fresh) < 5 or not later:
        return None
    first, error = _mean(fresh)
    beat = 1.0 - first / floor
    if beat >= GAIN or beat > 2.0 * error / floor + NEW or beat < ABOVE:
        return None
    last, last_error = _mean(_between(curve, later[-1] * length, (later[-1] + 1) * length))
    falls = [_within(curve, n * length, (n + 1) * length) for n in later]
    within, errors = math.fsum(fall for fall, _ in falls), [error for _, error in falls]
    wrong = math.fsum(errors) if _same_order(case) else math.hypot(*errors)
    return Passes(len(later) + 1, first, error, last, last_error, within, wrong)


def _same_order(case: Case) -> bool:
    """Whether every pass has the same batches at the same places."""
    given = case.facts("loader") or case.facts("repeats")
    return all(str(fact.get("order", "")) == "sequential" for _, fact in given)


def _mean(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def _between(curve: Curve, begin: float, end: float) -> list[float]:
    return [value for step, value in curve.steps if begin < step <= end]


def _within(curve: Curve, begin: float, end: float) -> tuple[float, float]:
    """What the loss falls within one pass, twice the difference of its halves, and the standard error of that."""
    middle = (begin + end) / 2.0
    halves = _between(curve, begin, middle), _between(curve, middle, end)
    if min(map(len, halves)) < 2:
        return 0.0, 0.0
    (one, wrong), (other, too) = map(_mean, halves)
    return 2.0 * (one - other), 2.0 * math.hypot(wrong, too)
