r"""Where no single edit comes near the ceiling: the best together, the preset; and of what wins every part that can go.

Beside the best change goes what else is spoken for, or a part of the preset, after a rate in it was raised while that helps.
Where no single change gains anything, as of two faults that hide one another, pairs are compared in short replays.

A part goes whose removal loses no more than the tolerance against what the whole reaches (at most the ceiling),

.. math:: \tau = \max\bigl((1 - \mathrm{KEPT})\, s, \; \min(\mathrm{GAIN}, 2 \lvert s - s' \rvert)\bigr)

where s is the skill of the whole and s' that of the whole with another seed, trained once, where a removal lies between the
two. Two runs that differ by their seeds alone differ by :math:`\sqrt 2 \sigma`: at 5 % of .4 and sigma = .03 a part without
effect seems to lose more in 32 of 100 comparisons, with the second seed in 13; at .9 in 14 and 8 (simulated). What may be
spoken of (GAIN) is never given up, and no more than a share where both have run with both seeds: then noise was asked. The
level is that of the whole while parts go, so that what many removals lose together is no more than the tolerance either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations

from isograd.health.ceiling import essential
from isograd.health.choosing import KEPT, NEAR, bulk, goal, quickened, reaches, standing
from isograd.health.found import HOPELESS, Found, Plan
from isograd.health.hypotheses import Proposal
from isograd.health.remedies.order import in_order
from isograd.health.shrinking import shrunk
from isograd.health.trials import EQUAL, GAIN, HELPS, PARTS, SEARCH_SEED, SECOND_SEED, Stop, Work, said, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Stage, Training

COMPANIONS = 2
ROUNDS, BESIDE = 2, 3
"""Edits that are put beside the best at most, and tries for each."""
KINDS, QUARTER = 6, 4
"""Kinds that are tried in pairs where none gains alone, each for a part of a run: 15 pairs, not four runs."""


def beside(work: Work, plan: Plan, found: Found, highest: Training, top: float) -> None:
    """What else is spoken for, one edit after the other beside the best so far, given up where it falls behind.

    Of each kind the likeliest. Where no single edit gains, pairs are compared in short replays first. A rate among the best is
    raised before anything is put beside it, and where nothing that is spoken for helps, parts of the preset are put there.
    """
    control = found.control
    assert control is not None
    for _ in range(ROUNDS):
        value = standing(plan, control)
        tried = [one for one in work.candidates if one.skill is not None and one.stage != "preset"]
        best = max(tried, key=lambda one: one.skill or 0.0)
        now, least = best.skill or 0.0, goal(plan, work, value, top, KEPT)
        enough = bool(best.edits) and least <= now <= top + HELPS * work.scale
        if enough or len(best.edits) >= PARTS or (plan.natural and now > 1.0 - GAIN):
            return
        if not best.edits or now < value + EQUAL * work.scale:
            if not _one_helps(work, _promising(work, plan, control, highest), control, now):
                return
            continue
        edits, way = quickened(work, plan, best.edits, work.candidate(best.edits, best.stage, best.reason))
        now = max(now, way.skill.value)
        if least <= now <= top + HELPS * work.scale:
            return
        if not _one_helps(work, _paired(plan, edits), way, now) and not _one_helps(
            work, _of_the_preset(work, plan, found, edits, way), way, now
        ):
            return


def _one_helps(work: Work, paired: Iterable[tuple[str, tuple[Edit, ...]]], way: Training, now: float) -> bool:
    """Whether one of the BESIDE first of them gains what may be spoken of over ``now``; what falls behind is given up."""
    behind, choices = _behind(work, dict(way.curve)), [one for one in paired if not known(work, one[1])][:BESIDE]
    work.foresee(work.searching(edits, stop=behind) for _, edits in choices)
    for reason, edits in choices:
        if not work.affords(steps_of(edits, work.length)):
            return False
        if work.candidate(edits, "combination", f"together: {reason}", behind).skill.value >= now + GAIN * work.scale:
            return True
    return False


def _of_the_preset(
    work: Work, plan: Plan, found: Found, edits: tuple[Edit, ...], way: Training
) -> Iterator[tuple[str, tuple[Edit, ...]]]:
    """The edits with one more part of a preset that is better by what may be spoken of: what is ahead after a quarter of a run.

    Taking the preset apart asks for many whole runs, and what a person reads has few parts in the end.
    """
    if found.ceiling is None or (found.ceiling.skill or 0.0) < way.skill.value + GAIN * work.scale:
        return
    kinds = {one.kind for one in edits}
    parts = [(one.text, in_order((*edits, one))) for one in found.ceiling.edits if one.kind not in kinds]
    yield from _ahead_early(work, plan, way, parts)[1]


def _ahead_early(
    work: Work, plan: Plan, way: Training, choices: Iterable[tuple[str, tuple[Edit, ...]]], enough: float = math.inf
) -> tuple[list[tuple[str, tuple[Edit, ...]]], list[tuple[str, tuple[Edit, ...]]]]:
    """Of choices those that can be made and were not, and of these what is ahead of ``way`` after a QUARTER of a run.

    The best first; the first that is ahead by ``enough`` ends the comparison.
    """
    short = max(1, work.length // QUARTER)
    able = [one for one in choices if not known(work, one[1]) and plan.fits(one[1])]
    level, runs = dict(way.curve).get(short, 0.0), list[tuple[float, int]]()
    work.foresee(work.searching(made, short) for _, made in able)
    for place, (_, made) in enumerate(able):
        if not work.affords(short + work.length) or (runs and max(runs)[0] >= level + enough):
            break
        skill = work.train(made, SEARCH_SEED, "search", short, f"beside: {said(made)}").skill.value
        runs.append((skill, -place))
    return able, [able[-place] for skill, place in sorted(runs, reverse=True) if skill > level + EQUAL * work.scale]


def _spoken(plan: Plan) -> list[Proposal]:
    """Of each kind that is spoken for the first edit, rates last."""
    first = {one.edit.kind: one for one in reversed(plan.singles) if one.urgent}
    return sorted(first.values(), key=lambda one: (one.edit.kind == "learning_rate", plan.singles.index(one)))


def _paired(plan: Plan, edits: tuple[Edit, ...]) -> Iterator[tuple[str, tuple[Edit, ...]]]:
    """The edits with one more that is spoken for."""
    for one in _spoken(plan):
        made = in_order((*edits, one.edit))
        if all(one.edit.kind != edit.kind for edit in edits) and plan.fits(made):
            yield one.reason, made


def _promising(work: Work, plan: Plan, control: Training, highest: Training) -> list[tuple[str, tuple[Edit, ...]]]:
    """Pairs of the KINDS that are spoken for first, those first that are ahead of the program after a quarter of a run.

    Each of two faults may hide what the other's repair is worth, so that no single edit says which of many pairs it is. The
    first that is far ahead ends the comparison; there is none where the ceiling itself shows nothing by then.
    """
    kinds, short = _spoken(plan)[:KINDS], max(1, work.length // QUARTER)
    pairs = [(other.reason, in_order((one.edit, other.edit))) for one, other in combinations(kinds, 2)]
    level = dict(control.curve).get(short, 0.0)
    if dict(highest.curve).get(short, level) <= level + GAIN * work.scale:
        return [one for one in pairs if plan.fits(one[1])]
    able, ahead = _ahead_early(work, plan, control, pairs, HELPS * work.scale)
    return ahead or able


def _behind(work: Work, way: dict[int, float]) -> Stop:
    """Given up from the half on, where it is not ahead of another run."""

    def stop(step: int, skill: float) -> bool:
        return work.length <= 2 * step < 2 * work.length and step in way and skill < way[step] + EQUAL * work.scale

    return stop


def combine(work: Work, plan: Plan, found: Found, value: float, top: float, stop: Stop) -> None:
    """Try what theory puts together where nothing is enough, the best together where nothing is even near, take the preset
    where nothing else comes near, and shrink what has several parts.
    """
    near, enough = (goal(plan, work, value, top, share) for share in (NEAR, KEPT))
    own = [one for one in work.candidates if one.stage != "preset"]
    if not any(reaches(one, enough) for one in own):
        close = any(reaches(one, near) for one in own)
        ahead = [edit for edit, skill in _by_gain(work) if skill > value + EQUAL * work.scale]
        best = [made for count in (2, 3) if len(made := in_order(ahead[:count])) == count]
        choices = [*plan.together[:COMPANIONS], *([] if close else best)]
        work.foresee(work.searching(chosen, stop=stop) for chosen in choices)
        for chosen in choices:
            if holds(work, chosen, "combination", enough if close else near, stop):
                break
    winner = min((one for one in work.candidates if reaches(one, near)), key=bulk, default=None)
    if winner is not None and winner.stage == "preset" and len(winner.edits) > PARTS and found.control and found.top:
        essential(work, plan, found, found.control, found.top[0], NEAR)
        winner = min((one for one in work.candidates if reaches(one, enough)), key=bulk, default=winner)
    if winner is not None and len(winner.edits) > 1:
        _lessen(work, plan, found, winner, (value, top), stop)


def _lessen(work: Work, plan: Plan, found: Found, winner: Candidate, between: tuple[float, float], stop: Stop) -> None:
    """Take every part away that can go, and say what was given up for it.

    One that has half the gain alone stays beside all that is tried, and is asked last whether it can go.
    """
    value, top = between
    assert winner.skill is not None
    whole = min(winner.skill, top)
    least, share = value + GAIN * work.scale, (1.0 - KEPT) * (whole if plan.natural else whole - value)
    rank = {edit: place for place, (edit, _) in enumerate(_by_gain(work))}
    parts = sorted(winner.edits, key=lambda edit: rank.get(edit, len(rank)))
    alone = dict(_by_gain(work)).get(parts[0], value)
    held = tuple(parts[:1]) if len(parts) > 2 and alone >= value + HOPELESS * (whole - value) else ()
    level = max(whole - share, least)

    _keep_for(work, winner.edits)

    def still(some: tuple[Edit, ...]) -> bool:
        enough = plan.fits(in_order(some)) and sufficient(in_order(some))
        if enough:
            _keep_for(work, some)
        return enough

    def twice(edits: tuple[Edit, ...]) -> bool:
        return (edits, SECOND_SEED, "search", steps_of(edits, work.length)) in work.known

    def sufficient(edits: tuple[Edit, ...]) -> bool:
        nonlocal level
        if holds(work, edits, "shrunk", level, stop):
            return True
        skill = next((one.skill for one in work.candidates if one.edits == edits), None)
        if skill is None or skill < max(whole - GAIN * work.scale, least) or (twice(edits) and twice(winner.edits)):
            return False
        level = found.level = max(whole - tolerance(work, winner, share), least)  # noise may decide here, and is asked for once
        return skill >= level

    kept = held + shrunk(parts[len(held) :], lambda some: still(held + some))
    kept = kept[1:] if held and still(kept[1:]) else kept
    gone = len(parts) - len(kept)
    if gone:
        found.remarks.append(
            f"of {len(parts)} edits that reach {whole:.2f} together {gone} {'was' if gone == 1 else 'were'} taken away, as the "
            f"rest loses no more than {whole - level:.2f}"
        )


def _keep_for(work: Work, edits: tuple[Edit, ...]) -> None:
    """From now on what the proof of these few edits takes is kept, where it can be paid at all."""
    if len(edits) <= PARTS and work.keep(edits) <= work.left(work.spent):
        work.reserve = work.keep(edits)


def tolerance(work: Work, winner: Candidate, share: float) -> float:
    """What a part may be worth and go all the same: a share of the whole, or what another seed alone changes."""
    if not work.affords(steps_of(winner.edits, work.length)):
        return share
    again = work.train(winner.edits, SECOND_SEED, "search", steps_of(winner.edits, work.length), f"again: {said(winner.edits)}")
    if again.failed is not None:
        return share
    return max(share, min(GAIN * work.scale, 2.0 * abs((winner.skill or 0.0) - again.skill.value)))


def _by_gain(work: Work) -> list[tuple[Edit, float]]:
    """The single edits with what they reached, the best first."""
    singles = [(one.edits[0], one.skill) for one in work.candidates if len(one.edits) == 1 and one.skill is not None]
    return sorted(singles, key=lambda one: -one[1])


def holds(
    work: Work, edits: tuple[Edit, ...], stage: Stage, level: float, stop: Stop, reason: str = "without what is not needed"
) -> bool:
    """Whether edits reach a level; no where the budget does not hold their run."""
    if not edits or not (known(work, edits) or work.affords(steps_of(edits, work.length))):
        return False
    return work.candidate(edits, stage, reason, stop).skill.value >= level


def known(work: Work, edits: tuple[Edit, ...]) -> bool:
    """Whether these edits were tried in a whole run."""
    return any(one.edits == edits for one in work.candidates)
