"""What is put beside the best change so far: a higher rate, another edit that is spoken for, or a part of the preset.

Where no single change gains anything, as of two faults that hide one another, pairs are compared in short replays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from isograd.health.choosing import KEPT, goal, quickened, standing
from isograd.health.combining import known
from isograd.health.found import Found, Plan
from isograd.health.hypotheses import Proposal
from isograd.health.remedies.order import in_order
from isograd.health.trials import EQUAL, GAIN, HELPS, PARTS, SEARCH_SEED, Stop, Work, said, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Training

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
    short, kinds = max(1, work.length // QUARTER), {one.kind for one in edits}
    parts = [one for one in found.ceiling.edits if one.kind not in kinds]
    able = [(one.text, made) for one in parts if plan.fits(made := in_order((*edits, one))) and not known(work, made)]
    level, runs = dict(way.curve).get(short, 0.0), list[tuple[float, int]]()
    work.foresee(work.searching(made, short) for _, made in able)
    for place, (_, made) in enumerate(able):
        if not work.affords(short + work.length):
            break
        runs.append((-work.train(made, SEARCH_SEED, "search", short, f"beside: {said(made)}").skill.value, place))
    yield from (able[place] for skill, place in sorted(runs) if -skill > level + EQUAL * work.scale)


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
    able = [one for one in pairs if not known(work, one[1]) and plan.fits(one[1])]
    level, runs = dict(control.curve).get(short, 0.0), list[tuple[float, int]]()
    if dict(highest.curve).get(short, level) <= level + GAIN * work.scale:
        return able
    work.foresee(work.searching(edits, short) for _, edits in able)
    for place, (_, edits) in enumerate(able):
        if not work.affords(short + work.length) or (runs and min(runs)[0] <= -level - HELPS * work.scale):
            break
        runs.append((-work.train(edits, SEARCH_SEED, "search", short, f"pair: {said(edits)}").skill.value, place))
    ahead = sorted(one for one in runs if -one[0] > level + EQUAL * work.scale)
    return [able[place] for _, place in ahead] or able


def _behind(work: Work, way: dict[int, float]) -> Stop:
    """Given up from the half on, where it is not ahead of another run."""

    def stop(step: int, skill: float) -> bool:
        return work.length <= 2 * step < 2 * work.length and step in way and skill < way[step] + EQUAL * work.scale

    return stop
