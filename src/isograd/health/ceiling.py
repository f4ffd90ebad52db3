"""What everything robust at once reaches: the ceiling of a search; where it does not help, the preset's own other ways first.

A preset may fail by its rate, by paths that make the first outputs of a deep network large, or by a loss, data or network that
are not to be changed, and not because nothing helps. Each other way (``Plan.ways``) is judged after a quarter of a run, and the
best FULL of them run in full where they are ahead of the program and of the preset there. So they are where the preset helps
and does not do well all the same: of a ceiling that is too low no search comes away with more; but where what a certain fact
asks for, tried before, does as well as the preset, only those with turned axes, of which no certain fact tells.

Of a preset that does well where no single edit gains anything, what is essential is as quickly seen: each part is left out in
turn, for a quarter of a run. Of any preset that is all there is, those parts go so whose absence does not show, before the
rest is shrunk in full runs (``combining``).

Before that preset is paid for, one change that short replays speak for alone is tried in full. What a fact, a finding or a
value speaks for is replayed for a few steps, one kind after the other, until one gains SURE: that was the right one in 123 of
126, above LIKELY in 35 of 38 (``cause``). What gains so much, or is asked for by a certain fact and gains at all, runs in full
at once. Where it leaves nothing worth speaking of to gain, no ceiling could say more, and it goes to proof after two runs and
those replays; else the preset is compared with it, and no replay is made again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.health.cause import LIKELY
from isograd.health.choosing import KEPT, reaches, standing
from isograd.health.found import HOPELESS, WELL, Found, Plan
from isograd.health.remedies.preset import prescribed_steps
from isograd.health.scoring import FACTS
from isograd.health.trials import EQUAL, GAIN, HELPS, SEARCH_SEED, Work, said, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Training

PARTS = 4
"""Of a run, after the first of which ways are compared. A run is judged there anyway: the preset's own way is known."""
FULL = 2
"""Of those that are ahead there so many run in full, until one does well: one of them may be a rate that is quick alone."""
LEFT = 6.0
"""Runs that a second look at a low ceiling leaves beside the proof: the best way in full, and some edits."""


def at_once(work: Work, plan: Plan, found: Found, control: Training) -> bool:
    """Try what is likely in full, where the program is sick; whether it does so well that no ceiling is needed."""
    value = standing(plan, control)
    sick = plan.alarmed or plan.sure or value < WELL
    if plan.first is None or not plan.natural or not sick or found.first is not None:
        return False
    told = found.first = plan.first(int(work.left(work.spent) - work.reserve - 2 * work.length))
    if told is not None and told.interrupted:
        raise KeyboardInterrupt
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


def ceiling(work: Work, plan: Plan, found: Found, control: Training) -> tuple[Training, float]:
    """The best training so far, and its skill: the program's, or that of a preset; ``found`` is told of it."""
    best, top = control, standing(plan, control)
    first = next((one for one in work.candidates if one.edits and (one.skill or 0.0) > top), None)
    if first is not None:  # what was tried before it
        best = work.candidate(first.edits, first.stage, first.reason)
        top = best.skill.value
    every = _payable(work, plan)
    if not every or not work.affords(work.length):
        return best, top
    made = work.candidate(every, "preset", "every safe setting at once")
    found.ceiling = next(one for one in work.candidates if one.stage == "preset")
    if made.failed is None and made.skill.value > top:
        best, top = made, made.skill.value
    value = standing(plan, control)  # of a program that does well single edits are tried all the same
    turned = tuple(way for way in plan.ways if any(one.kind == "axes" for one in way))
    ways = turned if top - value >= HELPS and _repaired(first, made) else plan.ways
    low = top < WELL and work.affords((len(ways) / PARTS + LEFT) * work.length)
    if plan.natural and value < WELL and (top - value < HELPS or low) and ways:
        return _other_way(work, ways, found, (control, made), (best, top))
    return best, top


def _payable(work: Work, plan: Plan) -> tuple[Edit, ...]:
    """The preset, with the longest run of those proposed that leaves as much again; else with the program's own."""
    if work.affords(2 * steps_of(plan.preset, work.length)):
        return plan.preset
    lengths = [(one,) for one in prescribed_steps(plan.singles) if work.affords(2 * float(one.value or 0.0))]
    chosen = next(iter(lengths), ())
    return tuple(new for one in plan.preset for new in (chosen if one.kind == "steps" else (one,)))


def _repaired(first: Candidate | None, made: Training) -> bool:
    """Whether what a certain fact asks for does what every safe setting does: a low ceiling is what it is worth then."""
    return first is not None and first.edits[0].kind in FACTS and (first.skill or 0.0) >= KEPT * made.skill.value


def essential(work: Work, plan: Plan, found: Found, control: Training, highest: Training, share: float = HOPELESS) -> None:
    """The parts of the preset that its gain after a part of a run asks for: a share of it, HOPELESS where nothing gains alone.

    What nothing speaks for goes first, so that of two parts of which either would do the other stays. Each pair would be one
    short run too, and of k edits there are k (k - 1) / 2; of three faults no pair gains anything.
    """
    short, level = max(1, work.length // PARTS), standing(plan, control)
    gained, stood = dict(highest.curve).get(short, -math.inf), dict(control.curve).get(short, level)
    poor = found.ceiling is None or (plan.natural and highest.skill.value < WELL)
    own = [one.skill or 0.0 for one in work.standing(-math.inf) if len(one.edits) == 1]
    alone = share == HOPELESS and max(own, default=level) > level + EQUAL * work.scale
    if poor or alone or gained <= stood + GAIN * work.scale:
        return
    assert found.ceiling is not None
    spoken = {one.edit.kind for one in plan.singles if one.urgent}
    parts, least = found.ceiling.edits, stood + share * (gained - stood)
    for edit in sorted(parts, key=lambda one: one.kind in spoken):
        rest = tuple(one for one in parts if one != edit)
        if not rest or not plan.fits(rest):
            continue
        if not work.affords(steps_of(rest, short) + work.length):
            break
        if work.train(rest, SEARCH_SEED, "search", steps_of(rest, short), f"without: {edit.text}").skill.value >= least:
            parts = rest
    if len(parts) < len(found.ceiling.edits) and work.affords(steps_of(parts, work.length)):
        lost = "half" if share == HOPELESS else f"{100.0 * (1.0 - share):.0f} %"
        work.candidate(parts, "shrunk", f"without each of them {lost} of the gain is lost in {short} steps")


def _other_way(
    work: Work,
    ways: Sequence[tuple[Edit, ...]],
    found: Found,
    known: tuple[Training, Training],
    so_far: tuple[Training, float],
) -> tuple[Training, float]:
    """The preset's other ways in short, and the best of them in full until one does well."""
    short = max(1, work.length // PARTS)
    least = max(dict(one.curve).get(short, 0.0) for one in known) + EQUAL * work.scale
    work.foresee(work.searching(way, short) for way in ways)
    runs = []
    for way in ways:
        if not work.affords(short + work.length):
            break
        went = work.train(way, SEARCH_SEED, "search", short, f"preset: {said(way)}")
        if went.failed is None and went.skill.value > least:
            runs.append((went.skill.value, way))
    for _, way in sorted(runs, key=lambda one: -one[0])[:FULL]:
        if so_far[1] >= WELL or not work.affords(work.length):
            break
        made = work.candidate(way, "preset", "every safe setting at once, in another way")
        if made.failed is None and made.skill.value > so_far[1]:
            found.ceiling = next(one for one in work.candidates if one.edits == way)
            so_far = made, made.skill.value
    return so_far
