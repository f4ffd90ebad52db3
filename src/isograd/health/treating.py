"""When trouble lasts in a running training: what to try next, whether it helped, and when only a new start will help.

The loss is looked at once in ``WINDOW`` steps, by the median of the last ``WINDOW`` accepted ones. It is in lasting trouble
when it has lost, twice in a row, at least half of all that it had gained. Then one treatment after the other is tried for two
windows and kept if the loss came at least half of the way back, else undone. All of it hangs on the number of the step and on
losses alone, never on a clock, so that a run with a treatment under way can be repeated. In the experiments only a new start
with the right setting cured most troubles (.89 of the skill, against .05 to .12 where a setting was changed in place or the
gradient clipped); poisoned moments are the exception (.90). That is why there are only two treatments, and the end of the list
says that a new start is needed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from isograd.health.first_aid import WINDOW
from isograd.records.aid import Action, Course, Ranges, Treatment

LOST = 0.5
"""The part of its gain that the loss must have lost, and the part of it that must come back."""
GAINED = 0.1
"""The part of its first level that the loss must have gained before there is anything to lose."""
WATCHED = 2
"""Windows for which a treatment is watched."""
ORDER: tuple[Treatment, ...] = ("rate", "moments")
"""What is tried: first what can be taken back without a trace."""


def attend(course: Course, ranges: Ranges, treat: Callable[[Treatment], bool]) -> tuple[Course, tuple[Action, ...]]:
    """What is to be done after a step: nothing, except where a window ends; ``treat`` says whether there is something to treat.

    >>> fine = Ranges(taken=50, losses=(1.0,) * 50)
    >>> attend(Course(), fine, lambda treatment: True)
    (Course(start=1.0, best=1.0, bad=0, trial='', before=None, left=0, tried=(), lowered=0, over=False), ())
    """
    if ranges.taken % WINDOW or len(ranges.losses) < WINDOW or course.over:
        return course, ()
    level = statistics.median(ranges.losses)
    if course.start is None or course.best is None:
        return replace(course, start=level, best=level), ()
    if course.trial:
        return _watched(course, ranges, level)
    start, best = course.start, min(course.best, level)
    course = replace(course, best=best)
    if start - best <= GAINED * abs(start) or level <= best + LOST * (start - best):
        return replace(course, bad=0, tried=()), ()
    course = replace(course, bad=course.bad + 1)
    if course.bad < 2:
        return course, ()
    for treatment in ORDER:
        if treatment not in course.tried:
            course = replace(course, tried=(*course.tried, treatment))
            if treat(treatment):
                lowered = course.lowered + (treatment == "rate")
                course = replace(course, trial=treatment, before=level, left=WATCHED, lowered=lowered)
                return course, (Action(ranges.taken + 1, "tried", "lasting", level, course.best, treatment),)
    return replace(course, over=True), (Action(ranges.taken, "restart", "lasting", level, course.best),)


def _watched(course: Course, ranges: Ranges, level: float) -> tuple[Course, tuple[Action, ...]]:
    assert course.best is not None and course.before is not None
    if course.left > 1:
        return replace(course, left=course.left - 1), ()
    helped = level <= course.before - LOST * (course.before - course.best)
    done = Action(ranges.taken, "kept" if helped else "undone", "lasting", level, course.best, course.trial)
    lowered = course.lowered - (course.trial == "rate" and not helped)
    tried = () if helped else course.tried
    return replace(course, trial="", before=None, left=0, bad=0 if helped else 1, tried=tried, lowered=lowered), (done,)
