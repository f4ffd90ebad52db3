"""When trouble lasts in a running training: what to try next, whether it helped, and when only a new start will help.

The loss is looked at once in ``WINDOW`` steps, by the median of the last ``WINDOW`` accepted ones. It is in lasting trouble
when it has lost, twice in a row, at least half of all that it had gained. Then one treatment after the other is tried for two
windows and kept if the loss came at least half of the way back, else undone. All of it hangs on the number of the step and on
losses alone, never on a clock, so that a run with a treatment under way can be repeated. In the experiments only a new start
with the right setting cured most troubles (.89 of the skill, against .05 to .12 where a setting was changed in place or the
gradient clipped); poisoned moments are the exception (.90). Dead units are another: no smaller step and no other moments bring
a unit back that has no gradient, where they are half of a layer or more. The end of the list says that a new start is needed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from isograd.health.first_aid import EVERY, WINDOW
from isograd.records.aid import Action, Course, Heed, Ranges, Treatment

LOST = 0.5
"""The part of its gain that the loss must have lost, and the part of it that must come back."""
GAINED = 0.1
"""The part of its first level that the loss must have gained before there is anything to lose."""
WATCHED = 2
"""Windows for which a treatment is watched."""
LISTENED = 5
"""Steps at the end of a window in which is heard which units say nothing, where a treatment may follow."""
ORDER: tuple[Treatment, ...] = ("rate", "revive", "moments", "clip")
"""What is tried. The rate first: what is too high for it kills again what is revived."""


def attend(
    course: Course, ranges: Ranges, treat: Callable[[Treatment, float | None], bool]
) -> tuple[Course, tuple[Action, ...]]:
    """What is to be done after a step: nothing, except where a window ends; ``treat`` says whether there is something to treat.

    It is given the bound on the gradient's length where it is to be clipped.

    >>> fine = Ranges(taken=50, losses=(1.0,) * 50, norms=(0.2,) * 5)
    >>> course, _ = attend(Course(), fine, lambda treatment, bound: True)
    >>> course.start, course.best, course.usual, course.bad
    (1.0, 1.0, 0.2, 0)
    """
    if ranges.taken % WINDOW or len(ranges.losses) < WINDOW or course.over or course.refuge is not None:
        return course, ()
    level = statistics.median(ranges.losses)
    if course.start is None or course.best is None:
        return replace(course, start=level, best=level, usual=_usual(ranges)), ()
    if course.trial:
        return _watched(course, ranges, level)
    start, best = course.start, min(course.best, level)
    course = replace(course, best=best, usual=_usual(ranges) if level <= best else course.usual)
    if start - best <= GAINED * abs(start) or level <= best + LOST * (start - best):
        return replace(course, bad=0, tried=(), backs=0), ()
    course = replace(course, bad=course.bad + 1)
    if course.bad < 2:
        return course, ()
    for treatment in ORDER:
        if treatment not in course.tried:
            course = replace(course, tried=(*course.tried, treatment))
            bound = course.usual if treatment == "clip" else None
            if (treatment != "clip" or (bound and course.clip is None)) and treat(treatment, bound):
                lowered = course.lowered + (treatment == "rate")
                course = replace(
                    course, trial=treatment, before=level, left=WATCHED, lowered=lowered, clip=bound or course.clip
                )
                return course, (Action(ranges.taken + 1, "tried", "lasting", level, course.best, treatment),)
    return replace(course, over=True), (Action(ranges.taken, "restart", "lasting", level, course.best),)


def heeded(course: Course, ranges: Ranges) -> Heed:
    """What the next step is to be looked at for, by its number alone.

    >>> heeded(Course(), Ranges(taken=9)), heeded(Course(bad=1), Ranges(taken=96))
    (Heed(norm=True, units=False, factors=()), Heed(norm=False, units=True, factors=()))
    """
    factors = course.hold.factors if course.hold else ()
    if course.over:
        return Heed(factors=factors)
    near = ranges.taken % WINDOW >= WINDOW - LISTENED
    return Heed((ranges.taken + 1) % EVERY == 0, near and bool(course.bad or course.trial), factors)


def _usual(ranges: Ranges) -> float | None:
    """The length of the gradient of late, where it was asked for."""
    return statistics.median(ranges.norms) if ranges.norms else None


def _watched(course: Course, ranges: Ranges, level: float) -> tuple[Course, tuple[Action, ...]]:
    assert course.best is not None and course.before is not None
    if course.left > 1:
        return replace(course, left=course.left - 1), ()
    helped = level <= course.before - LOST * (course.before - course.best)
    done = Action(ranges.taken, "kept" if helped else "undone", "lasting", level, course.best, course.trial)
    if not helped and course.trial == "rate":
        course = replace(course, lowered=course.lowered - 1)
    if not helped and course.trial == "clip":
        course = replace(course, clip=None)
    tried = () if helped else course.tried
    return replace(course, trial="", before=None, left=0, bad=0 if helped else 1, tried=tried), (done,)
