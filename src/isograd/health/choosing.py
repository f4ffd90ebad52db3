"""What is near the ceiling of a search, and which of the candidates goes to proof: the smallest change that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.health.found import Found, Plan
from isograd.health.remedies.preset import prescribed_steps
from isograd.health.trials import EQUAL, GAIN, HELPS, PARTS, Work, said, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Training

NEAR, KEPT = 0.9, 0.95
QUICKER = 2
"""Times that a rate is doubled."""


def standing(plan: Plan, control: Training) -> float:
    """What is to be beaten: the program, or a constant answer where it does worse; a fault is not cured by failing quietly."""
    return max(control.skill.value, 0.0) if plan.natural else control.skill.value


def goal(plan: Plan, work: Work, control: float, top: float, share: float) -> float:
    """The skill from which a candidate is near the ceiling."""
    if not plan.natural:
        return control + share * (top - control)
    return max(share * top, control + GAIN)


def takes_all(value: float, top: float) -> bool:
    """Whether it gains what may be spoken of, and nearly all that is left: of a program at .91 nothing gains more.

    >>> takes_all(0.91, 0.999), takes_all(0.7, 0.79), takes_all(0.91, 0.95)
    (True, False, False)
    """
    return top - value >= max(GAIN, NEAR * (1.0 - value))


def reaches(one: Candidate, least: float) -> bool:
    """Whether it changes something and is worth so much."""
    return bool(one.edits) and one.skill is not None and one.skill >= least


def bulk(one: Candidate) -> tuple[int, int, float]:
    """How large a change is, and of two that are as large which is better."""
    return one.size, len(one.edits), -(one.skill or 0.0)


def payable(work: Work, one: Candidate) -> bool:
    """Whether what is left of the budget holds its proof."""
    return work.keep(one.edits) <= work.left(work.spent)


def choose(work: Work, plan: Plan, found: Found, ceiling: float | None) -> None:
    """Of what is near the ceiling (without one, near the best) and can still be proved, the smallest; else of what gained.

    The best of many candidates is the best by luck as well: it moves the ceiling only where it stands HELPS above it, which is
    a ceiling that does not fit. Otherwise the longer a search goes on, the larger would be the change that it ends with.
    """
    assert found.control is not None
    value = standing(plan, found.control)
    gained = [one for one in work.candidates if reaches(one, value + GAIN * work.scale)]
    able = [one for one in gained if payable(work, one)]
    found.payable = bool(able)
    if not gained:
        return
    able = able or gained
    top = max(one.skill for one in able if one.skill is not None)
    if ceiling is not None and top <= ceiling + HELPS * work.scale:
        top = ceiling
    kept = goal(plan, work, value, top, KEPT)
    kept = kept if found.level is None or top != ceiling else min(kept, found.level)
    near = [one for one in able if reaches(one, kept) and len(one.edits) <= PARTS]
    near = near or [one for one in able if reaches(one, goal(plan, work, value, top, NEAR))]
    best = min(near, key=bulk) if near else max(able, key=lambda one: (one.skill or 0.0) - EQUAL * work.scale * one.size)
    found.edits, found.reached = best.edits, work.candidate(best.edits, best.stage, best.reason)
    _lessened(work, found, best, able)
    _lengthened(work, plan, found)
    _redrawn(work, plan, found)
    if found.reached is not None:
        found.edits, found.reached = quickened(work, plan, found.edits, found.reached)
        _better_unpaid(work, found, gained)


def _better_unpaid(work: Work, found: Found, gained: Sequence[Candidate]) -> None:
    """Say what did better by far in the search and cannot be proved with what is left, where something else can be."""
    assert found.reached is not None
    unpaid = [one for one in gained if not payable(work, one)]
    best = max(unpaid, key=lambda one: one.skill or 0.0, default=None)
    if found.payable and best is not None and reaches(best, found.reached.skill.value + HELPS * work.scale):
        runs = math.ceil((work.spent + work.keep(best.edits)) / work.length)
        found.remarks.append(
            f"{said(best.edits)}: {best.skill:.2f} in the search, and the budget does not hold its proof, which takes {runs} "
            "runs with what was spent"
        )


def _lessened(work: Work, found: Found, best: Candidate, able: Sequence[Candidate]) -> None:
    """A smaller change that is behind by no more than GAIN goes instead, where another seed does not see it behind.

    The best of many is the best by its seed as well, the more so of combinations, which are many. Both run with the second
    seed, and the smaller is taken where its mean over both is no less than that of the larger.
    """
    least = (best.skill or 0.0) - GAIN * work.scale
    smaller = [one for one in able if bulk(one)[:2] < bulk(best)[:2] and reaches(one, least)]
    if not smaller or len(best.edits) < 2:
        return
    rival = max(smaller, key=lambda one: one.skill or 0.0)
    both = sum(steps_of(one.edits, work.length) for one in (best, rival))
    if both + work.keep(best.edits) > work.left(work.spent):
        return
    if work.mean(rival.edits) >= work.mean(best.edits):
        found.edits, found.reached = rival.edits, work.candidate(rival.edits, rival.stage, rival.reason)


def quickened(work: Work, plan: Plan, edits: tuple[Edit, ...], reached: Training) -> tuple[tuple[Edit, ...], Training]:
    """Where a rate is among the edits and the run still gains in its last quarter: twice and four times that, while better.

    Rates are proposed in steps of three to ten, and a run of a few hundred steps feels a factor of two.
    """
    for _ in range(QUICKER):
        now = next((one for one in edits if one.kind == "learning_rate"), None)
        if now is None or not isinstance(now.value, float) or not plan.natural:
            break
        gained = reached.skill.value - dict(reached.curve).get(max(1, reached.steps * 3 // 4), reached.skill.value)
        faster = tuple(replace(one, value=float(f"{2.0 * now.value:.3g}")) if one is now else one for one in edits)
        steps = steps_of(faster, work.length)
        if gained <= EQUAL or reached.skill.value > 1.0 - GAIN or work.keep(faster) + steps > work.left(work.spent):
            break
        made = work.candidate(faster, "single" if len(faster) == 1 else "combination", "it still gained at its end")
        if made.failed is not None or made.skill.value <= reached.skill.value + EQUAL:
            break
        edits, reached = faster, made
    return edits, reached


def _redrawn(work: Work, plan: Plan, found: Found) -> None:
    """Where other weights are the cure and HELPS is left to gain: those that every layer draws by itself, if they are better.

    Rules are made for deep networks of one activation; of a shallow one, whose weights somebody drew by hand, the layers' own
    are what it had before.
    """
    now, reached = next((one for one in found.edits if one.kind == "initialisation"), None), found.reached
    if now is None or now.where or reached is None or not plan.natural or reached.skill.value >= 1.0 - HELPS:
        return
    edits = tuple(replace(one, value="usual") if one is now else one for one in found.edits)
    if not plan.fits(edits) or work.keep(edits) + steps_of(edits, work.length) > work.left(work.spent):
        return
    made = work.candidate(edits, "single" if len(edits) == 1 else "combination", "as every layer draws its own weights")
    if made.failed is None and made.skill.value > reached.skill.value + EQUAL:
        found.edits, found.reached = edits, made


def _lengthened(work: Work, plan: Plan, found: Found) -> None:
    """A run that is to be longer is as long as it pays: the longest whose proof the budget holds, where that is better."""
    now, reached = next((one for one in found.edits if one.kind == "steps"), None), found.reached
    if now is None or reached is None:
        return
    for longer in prescribed_steps(plan.singles):
        if float(longer.value or 0.0) <= float(now.value or 0.0):
            return
        edits = tuple(longer if one is now else one for one in found.edits)
        if not plan.fits(edits) or work.keep(edits) + steps_of(edits, work.length) > work.left(work.spent):
            continue
        made = work.candidate(edits, "single" if len(edits) == 1 else "combination", "the same in a longer run")
        if made.failed is None and made.skill.value > reached.skill.value + EQUAL * work.scale:
            found.edits, found.reached = edits, made
            return
