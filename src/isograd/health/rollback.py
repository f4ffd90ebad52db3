"""After first aid had to give in: did it ruin the run, and if so, back to where it stood before.

A rule on its own past gives in after so many steps in a row that it took back, for what is new may have come to stay: a rate
raised by hand, other data. Where it came to ruin (a rate that stays ten or three hundred times too high), the step that is
given in to does it, and no treatment in place brings the weights back. So the state before it is kept while the next steps
are watched, at most as long as the window of the rule, and comes back where their losses lie above what was ordinary before.
Going back to a state before the trouble began is what is done by hand, too (Chowdhery et al. 2022, PaLM, arXiv:2204.02311,
section 5.1). Where the losses are as bad there, the data have changed for good, and it goes forth again to where it
stood. The second and third time in one trouble the learning rate is divided by ten as well. A state that is no more one
of what is trained (parameters were added or replaced, a checkpoint was loaded) is let go: whoever does that has a plan.
So has who raises a rate by hand to what it was before, a warm restart (Loshchilov & Hutter 2017, arXiv:1608.03983): the loss
rises and comes down again, and no state is kept.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace

from isograd.health.first_aid import FEWEST, GRADUAL, ROW, WINDOW, bound_of
from isograd.records.aid import Action, Course, Hold, Ranges, Reading, Refuge, Treatment, Verdict

HELD = ("revive", "moments")
"""Treatments that remember weights and moments, as going back does: without those there is nothing to undo."""
MOST = 3
"""Times that one trouble is gone back from: at the rate of before, at a tenth and at a hundredth of it."""


def shelter(
    course: Course,
    ranges: Ranges,
    reading: Reading,
    verdict: Verdict,
    treat: Callable[[Treatment, float | None], bool],
) -> tuple[Course, Ranges, tuple[Action, ...]]:
    """What is to be done after a step that was judged: keep the state, wait, let it go, or go back to it.

    ``treat`` begins to keep it, or to lower the rate. The state that is kept and the present one change places where an action
    says "back" or "forth"; where the ``refuge`` has gone from the course, what is kept is let go. ``ranges`` already know of
    the step; those that are given back are to be gone on with.
    """
    freed: tuple[Action, ...] = ()
    course = replace(course, stood=stood) if (stood := _stood(course, reading, verdict)) != course.stood else course
    if reading.others:
        course = replace(course, refuge=None, trial="" if course.trial in HELD else course.trial)
    if course.hold is not None and (course := replace(course, hold=_still(course.hold, reading.asked))).hold is None:
        rate = max(reading.asked, default=0.0)
        freed = (Action(ranges.taken + 1, "freed", "rate", rate, rate),)
    if course.refuge is not None and course.refuge.left:
        if ranges.row == ranges.taken - course.went and verdict.reason != "update":
            return (course, ranges, freed) if ranges.row < ROW else _forth(course, course.refuge.ranges, ranges.taken, freed)
        course = replace(course, refuge=None)
    if course.refuge is None:
        if ranges.row != ROW or len(ranges.losses) < FEWEST or course.trial:
            return course, ranges, freed
        restarted = verdict.reason == "update" and _restarted(course, ranges, reading)
        if course.backs < MOST and not restarted and treat("back", None):
            course = replace(course, refuge=Refuge(replace(ranges, row=0)))
        return course, ranges, freed
    met = math.inf if reading.loss is None or not math.isfinite(reading.loss) else reading.loss
    refuge = replace(course.refuge, losses=(*course.refuge.losses, met)[-ROW:])
    passed = ranges.taken - refuge.ranges.taken
    if passed < WINDOW and ranges.row != ROW and not (passed >= ROW and math.isinf(min(refuge.losses))):
        return replace(course, refuge=refuge), ranges, freed
    level, bound = statistics.median(refuge.losses), bound_of(refuge.ranges.losses)
    if level <= bound:
        return replace(course, refuge=None, backs=0), ranges, freed
    done = Action(ranges.taken, "back", "ruin", level, bound)
    later = Refuge(replace(ranges, row=0), left=True)
    course, ranges, actions = _gone(course, refuge.ranges, reading, ranges.taken, done, treat)
    return replace(course, refuge=later), ranges, (*freed, *actions)


def _stood(course: Course, reading: Reading, verdict: Verdict) -> tuple[float, ...]:
    """The highest rates of ordinary steps; none of those that are made while it is watched what comes of them."""
    if verdict.reason is not None or course.refuge is not None:
        return course.stood
    if len(course.stood) != len(reading.rates):
        return reading.rates
    return tuple(map(max, course.stood, reading.rates))


def _restarted(course: Course, ranges: Ranges, reading: Reading) -> bool:
    """Whether rates were raised, and to no more than what the run has stood before."""
    if not len(course.stood) == len(ranges.rates) == len(reading.rates):
        return False
    raised = any(now > GRADUAL * last for now, last in zip(reading.rates, ranges.rates, strict=True))
    return raised and all(now <= GRADUAL * most for now, most in zip(reading.rates, course.stood, strict=True))


def _gone(
    course: Course,
    before: Ranges,
    reading: Reading,
    taken: int,
    done: Action,
    treat: Callable[[Treatment, float | None], bool],
) -> tuple[Course, Ranges, tuple[Action, ...]]:
    """How it goes on from there: at the rate of before, the second time at a tenth of it."""
    actions = [replace(done, what=str(before.taken))]
    hold = _hold(course, before, reading)
    if hold is not course.hold:
        assert hold is not None
        worst = min(range(len(hold.factors)), key=hold.factors.__getitem__)
        actions.append(Action(taken + 1, "held", "rate", hold.asked[worst], hold.asked[worst] * hold.factors[worst]))
    course = replace(course, refuge=None, backs=course.backs + 1, went=taken, hold=hold)
    if course.backs > 1 and treat("rate", None):
        course = replace(course, lowered=course.lowered + 1)
        used = max(before.rates)
        actions.append(Action(taken + 1, "held", "rate", used, 0.1 * used))
    return course, replace(before, taken=taken), tuple(actions)


def _forth(course: Course, later: Ranges, taken: int, freed: tuple[Action, ...]) -> tuple[Course, Ranges, tuple[Action, ...]]:
    """Losses that are as bad as ever at once after going back were not brought by the step: the data are others now.

    So it goes on from where it stood, and what the loss once was is no measure any more.
    """
    level, bound = statistics.median(later.losses), bound_of(later.losses)
    action = Action(taken, "forth", "others", level, bound, str(later.taken))
    course = replace(course, refuge=None, backs=0, start=None, best=None, bad=0)
    return course, replace(later, taken=taken), (*freed, action)


def _hold(course: Course, before: Ranges, reading: Reading) -> Hold | None:
    """Factors that bring rates which were raised since back to what they were; none where none was."""
    if not len(before.rates) == len(reading.rates) == len(reading.asked):
        return course.hold
    ratios = [min(1.0, then / now) if now > 0.0 else 1.0 for then, now in zip(before.rates, reading.rates, strict=True)]
    if all(ratio * GRADUAL >= 1.0 for ratio in ratios):
        return course.hold
    old = course.hold.factors if course.hold else (1.0,) * len(ratios)
    factors = tuple(factor * ratio for factor, ratio in zip(old, ratios, strict=True))
    above = tuple(GRADUAL * factor * asked for factor, asked in zip(factors, reading.asked, strict=True))
    return Hold(factors, above, reading.asked)


def _still(hold: Hold | None, asked: tuple[float, ...]) -> Hold | None:
    """Rates are held until those that are asked for are what they were, or come down at once by half of the way or more."""
    if hold is None or len(asked) != len(hold.asked):
        return None
    usual = all(rate <= above for rate, above in zip(asked, hold.above, strict=True))
    dropped = any(
        factor < 1.0 and rate <= math.sqrt(factor) * last
        for rate, last, factor in zip(asked, hold.asked, hold.factors, strict=True)
    )
    return None if usual or dropped else replace(hold, asked=asked)
