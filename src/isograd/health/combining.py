r"""Where no single edit comes near the ceiling: the best together, the preset; and of what wins every part that can go.

A part goes whose removal loses no more than the tolerance against what the whole reaches (at most the ceiling),

.. math:: \tau = \max\bigl((1 - \mathrm{KEPT})\, s, \; \min(\mathrm{GAIN}, 2 \lvert s - s' \rvert)\bigr)

where s is the skill of the whole and s' that of the whole with another seed, trained once, where a removal lies between the
two. Two runs that differ by their seeds alone differ by :math:`\sqrt 2 \sigma`: at 5 % of .4 and sigma = .03 a part without
effect seems to lose more in 32 of 100 comparisons, with the second seed in 13; at .9 in 14 and 8 (simulated). What may be
spoken of (GAIN) is never given up, and no more than a share where both have run with both seeds: then noise was asked. The
level is that of the whole while parts go, so that what many removals lose together is no more than the tolerance either.
"""

from __future__ import annotations

from isograd.health.ceiling import essential
from isograd.health.choosing import KEPT, NEAR, bulk, goal, reaches
from isograd.health.found import HOPELESS, Found, Plan
from isograd.health.remedies.order import in_order
from isograd.health.shrinking import shrunk
from isograd.health.trials import EQUAL, GAIN, PARTS, SECOND_SEED, Stop, Work, said, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Stage

COMPANIONS = 2


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
