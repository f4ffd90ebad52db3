"""Before a preset is paid for: one change that short replays speak for alone, tried in full.

What a fact, a finding or a value speaks for is replayed for a few steps, one kind after the other, until one gains SURE: that
was the right one in 123 of 126, above LIKELY in 35 of 38 (``cause``). What gains so much, or is asked for by a certain fact and
gains at all, runs in full at once. Where it leaves nothing worth speaking of to gain, no ceiling could say more,
and it goes to proof after two runs and those replays; else the preset is compared with it, and no replay is made again.
"""

from __future__ import annotations

from isograd.health.cause import LIKELY
from isograd.health.choosing import reaches, standing
from isograd.health.found import WELL, Found, Plan
from isograd.health.scoring import FACTS
from isograd.health.trials import GAIN, HELPS, Work
from isograd.records.proof import Training


def at_once(work: Work, plan: Plan, found: Found, control: Training) -> bool:
    """Try what is likely in full, where the program is sick; whether it does so well that no ceiling is needed."""
    value = standing(plan, control)
    sick = plan.alarmed or plan.sure or value < WELL
    if plan.first is None or not plan.natural or not sick or found.first is not None:
        return False
    told = found.first = plan.first(int(work.left(work.spent) - work.reserve - 2 * work.length))
    if told is None or told.answer != "cause" or len(told.causes) > 1:
        return False
    if told.causes[0].gain <= LIKELY and told.causes[0].edit.kind not in FACTS:
        return False
    made = work.candidate((told.causes[0].edit,), "single", "the likeliest, by short replays")
    if made.failed is not None or made.skill.value < max(1.0 - GAIN, value + HELPS):
        return False
    found.cause = told
    return True


def enough(work: Work, found: Found, least: float) -> bool:
    """Whether a cause is known: it is, where what was tried first is as good as the ceiling asks for."""
    if found.cause is None and found.first is not None:
        edits = tuple(one.edit for one in found.first.causes)
        if any(one.edits == edits and reaches(one, least) for one in work.candidates):
            found.cause = found.first
    return found.cause is not None
