"""Search the smallest change that brings a program near what a robust preset reaches, and put it to proof.

In this order, from the experiments in dev/LOG.md (24 single and 3 double faults, 30 edits, 20 seeds):
  1 the program as it is, once; where nothing worth speaking of is left to gain, that is all
    one change that short replays speak for alone, in full; where it leaves nothing to gain, it goes to proof (``ceiling``)
  2 the preset with every correctness fix, once: where it gains HELPS, or all there is, it is the ceiling; where it does not,
    and the program is sick, its other rates and ways in short, the best of them once
  3 the cause by experiment on short replays, then single edits in full, until one comes within NEAR of the ceiling: .985 of
    faults repaired at 3.8 runs, where stopping at .85 repairs .95 at 2.5
    after FIRST of them, where it is too deep for any, isometry and residual paths from nothing
  4 where none of them gains anything: what is essential of a preset that does well, each part left out in turn for a part of a
    run; several faults hide each other's cure
    where the best of them is not KEPT of the ceiling, or stands far above a ceiling that is none: what else a fact, a finding
    or a value speaks for, beside it
  5 else combinations: what theory puts together, the best singles together, then the preset, shrunk by delta debugging to
    what loses no more than the tolerance (``combining``)
  6 where the ceiling does not help: a race of short replays, the best RACED in full, what rose and fell again with steady
    steps, then proposals (luck, or an optimizer)
A candidate is put to proof only where it gains GAIN; of those near the ceiling the smallest change goes, which is what a
person can read, and what the rule of the proof asks the fewest pairs for. Where the proof of a sick program's repair fails the
search goes on as if those edits had failed, and what it ends with is put to proof on other seeds, by a rule that asks for more
pairs each time (``proving``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from isograd.health.ceiling import at_once, ceiling, enough, essential
from isograd.health.choosing import KEPT, NEAR, choose, goal, payable, reaches, standing, takes_all
from isograd.health.combining import beside, combine, holds, known
from isograd.health.found import HOPELESS, WELL, Found, Plan, may_go_on, nothing_said, proof_of, standing_of, unpaid_said
from isograd.health.hypotheses import Proposal
from isograd.health.proving import ATTEMPTS, cost_of_proof, prove
from isograd.health.remedies.luck import Unit, drawn
from isograd.health.remedies.luck import combinations as lucky
from isograd.health.remedies.order import in_order
from isograd.health.remedies.weights import ORTHOGONAL
from isograd.health.scoring import FACTS
from isograd.health.trials import GAIN, HELPS, SEARCH_SEED, Stop, Work, said, steps_of
from isograd.records.edit import Edit
from isograd.records.proof import Luck, Proof, Stage, Training

SINGLES, RACED, PROPOSED = 8, 4, 12
FIRST, VALUES = 3, 2
"""Singles before a second fault is looked for; values of one kind that are tried before other kinds have had their turn."""
LONG = ("residual", "forget_bias")
"""Kinds that carry a signal over many layers, or over many time steps."""
CAUSE_RUNS = 2.0
"""Full runs that the search for the cause may cost."""
STEADY = ("constant_rate", "clip_norm", "learning_rate")
"""Kinds that keep a step from being longer than those before it, the smallest change first."""
SHORT = 60
"""Steps of a replay in a race."""


def cure(work: Work, plan: Plan, unit: Unit) -> Proof:
    """Search, draw the random edit, prove, and say what luck reaches; an interruption (Ctrl-C) keeps what was tried.

    ``unit`` gives the random numbers, so that the same ones give the same proof.

    >>> from isograd.health.hypotheses import Proposal
    >>> from isograd.records.skill import Skill
    >>> def attempt(edits, seed, part, steps, stop):
    ...     value = 0.9 if any(edit.kind == "clear_gradients" for edit in edits) else 0.1
    ...     return Training(Skill(value, 50), ((steps // 2, value), (steps, value)), steps)
    >>> work = Work(attempt, 300, lambda spent: 9_000 - spent)
    >>> plan = Plan((Edit("clear_gradients"), Edit("residual")), (Proposal(Edit("clear_gradients"), "fact"),))
    >>> proof = cure(work, plan, lambda: 0.5)
    >>> proof.verdict, proof.kind, [edit.kind for edit in proof.edits], proof.cost_search, proof.cost_proof
    ('proven', 'repair', ['clear_gradients'], 3.0, 7.5)
    """
    found = Found()
    if not plan.natural:
        work.resolution = 0.0
    try:
        search(work, plan, found)
    except KeyboardInterrupt:
        return proof_of(work, plan, found, None, why="it was stopped before it could say", interrupted=True)
    if not found.edits or found.control is None or found.reached is None:
        return proof_of(work, plan, found, None, why=nothing_said(plan, found, tried=any(one.edits for one in work.candidates)))
    if not found.payable:
        return proof_of(work, plan, found, None, why=unpaid_said(work, found.edits))
    found.proofs.append(_put_to_proof(work, plan, found, unit))
    while may_go_on(plan, found.proofs[-1]) and len(found.proofs) < ATTEMPTS and _goes_on(work, plan, found, unit):
        pass
    proof = standing_of(found, work)
    if proof.interrupted:
        return proof
    try:
        chosen = next(one.skill for one in work.tried if one.edits == proof.edits)
        luck = _luck(work, plan, chosen or 0.0, found.searched, unit)
        unpaid = ("the budget ended before it could be seen what luck reaches",) if luck is None and plan.pool else ()
        return replace(proof, luck=luck, remarks=(*proof.remarks, *unpaid), steps=work.spent)
    except KeyboardInterrupt:
        stopped = "what luck reaches was not found out: it was stopped"
        return replace(proof, remarks=(*proof.remarks, stopped), steps=work.spent)


def _put_to_proof(work: Work, plan: Plan, found: Found, unit: Unit) -> Proof:
    """Draw the random edit, and run the pairs."""
    assert found.control is not None and found.reached is not None
    found.searched = work.spent - found.proved
    length = _pair_length(work, found, found.control, found.reached)
    random = drawn([e for e in plan.pool if plan.fits((e,))], _size(found.edits), unit, found.edits)
    if not plan.fits(random):
        random = random[:1]
    held = prove(work, found.edits, random, length, found.attempt)
    found.proved = work.spent - found.searched
    return proof_of(work, plan, found, held, random, length)


def _goes_on(work: Work, plan: Plan, found: Found, unit: Unit) -> bool:
    """A proof has failed: search on without those edits, and put to proof what is found then; no where there is nothing."""
    last = found.proofs[-1]
    work.lose(last.edits, f"its proof failed: {last.why}")
    found.afresh()
    try:
        search(work, plan, found)
    except KeyboardInterrupt:
        found.proofs[-1] = replace(last, interrupted=True)
        return False
    if not found.edits or not found.payable:
        return False
    found.proofs.append(_put_to_proof(work, plan, found, unit))
    return True


def search(work: Work, plan: Plan, found: Found) -> None:
    """Fill ``found``: what the program and the preset reach, the cause, and the edits that are worth a proof, if any."""
    work.keep = lambda edits: cost_of_proof(edits, work.length // 2, found.attempt)
    work.reserve = work.keep((Edit("loss"),))
    work.foresee(work.searching(edits) for edits in ((), plan.asked or plan.preset))
    control = found.control = work.candidate((), "control", "the program as it is")
    value = standing(plan, control)
    if plan.asked:
        found.edits, found.reached = plan.asked, work.candidate(plan.asked, "asked", "asked for")
        return
    if plan.natural and value > 1.0 - GAIN:
        return
    if at_once(work, plan, found, control):
        choose(work, plan, found, None)
        return
    best, top = found.top = found.top or ceiling(work, plan, found, control)
    if not plan.natural:
        work.scale = abs(top - value) or 1.0
    helps = top - value >= HELPS * work.scale or (plan.natural and takes_all(value, top))
    if not helps and value >= WELL and not (plan.alarmed or plan.sure) and plan.natural:
        return
    if not enough(work, found, goal(plan, work, value, top, KEPT)):
        _explained(work, plan, found, dict(best.curve) if helps else {})
    silent = [step for step, skill in best.curve if skill - value <= GAIN * work.scale] if helps else []
    order, stop = _ordered(plan, found, max(silent, default=0)), _hopeless(work, best, control, natural=plan.natural)
    if helps:
        near = work.near = goal(plan, work, value, top, NEAR)
        work.bar = goal(plan, work, value, top, KEPT)
        _singles(work, order[:FIRST], near, stop)
        _together(work, plan, near, stop)
        if not any(reaches(one, near) for one in work.candidates if one.stage != "preset"):
            essential(work, plan, found, control, best)
        beside(work, plan, found, best, top)
        if not any(reaches(one, near) for one in work.candidates if one.stage != "preset"):
            _singles(work, order, near, stop)
        combine(work, plan, found, value, top, stop)
    elif value < WELL or not plan.natural:
        _raced(work, plan, order, value)
        beside(work, plan, found, best, top)
    else:
        _singles(work, order[:RACED], max(value + GAIN, 1.0 - GAIN), stop)  # a first gain need not be all
        beside(work, plan, found, best, top)
    choose(work, plan, found, top if helps else None)


def _explained(work: Work, plan: Plan, found: Found, way: dict[int, float]) -> None:
    allowed = min(CAUSE_RUNS * work.length, work.left(work.spent) - work.reserve - 2 * work.length)
    if plan.explain is not None and allowed > 0:
        found.cause = plan.explain(int(allowed), way)
        if found.cause is not None and found.cause.interrupted:
            raise KeyboardInterrupt


def _ordered(plan: Plan, found: Found, silent: int) -> list[tuple[tuple[Edit, ...], Stage, str]]:
    """What is tried in full: all causes together, each, their rivals, what gained in short replays, then as prescribed.

    A short replay that gains nothing speaks against an edit only where the ceiling gains in so many steps, and it is ``silent``
    until then.
    """
    order: list[tuple[tuple[Edit, ...], Stage, str]] = []
    cause = found.cause
    if cause is not None:
        if len(cause.causes) > 1:
            order.append((in_order([one.edit for one in cause.causes]), "combination", "the causes found together"))
        order += [((one.edit,), "single", "the cause, by experiment") for one in cause.causes]
        order += [((edit,), "single", "not told apart from the cause") for one in cause.causes for edit in one.rivals]
        gained = sorted((one for one in cause.tried if one.gain > GAIN and not one.given), key=lambda one: -one.gain)
        order += [((one.edit,), "single", f"gains {one.gain:.2f} in {one.steps} steps") for one in gained]
    useless = set[Edit]()
    for trial in cause.tried if cause is not None else ():
        certain = trial.edit.kind in FACTS and trial.reason != "list"  # it may show only later than a short replay goes
        if trial.gain <= 0.0 and trial.steps > silent and not (trial.given or certain):
            useless.add(trial.edit)
    order += [((one.edit,), "single", one.reason) for one in _in_turn(plan.singles, useless)]
    first: dict[tuple[Edit, ...], tuple[tuple[Edit, ...], Stage, str]] = {}
    for one in order:
        first.setdefault(one[0], one)
    return list(first.values())


def _in_turn(singles: Sequence[Proposal], useless: Collection[Edit]) -> list[Proposal]:
    """What is spoken for first, ``useless`` ones last; within each VALUES of a kind before its others."""
    met, turns = Counter[str](), list[tuple[bool, bool, bool]]()
    for one in singles:
        turns.append((one.edit in useless, not one.urgent, met[one.edit.kind] >= VALUES))
        met[one.edit.kind] += 1
    return [one for _, one in sorted(zip(turns, singles, strict=True), key=lambda pair: pair[0])]


def _singles(work: Work, order: Sequence[tuple[tuple[Edit, ...], Stage, str]], near: float, stop: Stop) -> None:
    """One after the other in full, until one comes near the ceiling; what is hopeless half-way is given up there.

    The FIRST of them may take what is kept for a proof where nothing of half that worth is known that it could pay: a preset of
    ten edits that no budget proves tells a person less than one edit whose proof is still to be paid.
    """
    tried, some = 0, min(near, HOPELESS * near)
    for place, (edits, stage, reason) in enumerate(order):
        work.foresee(work.searching(one[0], stop=stop) for one in order[place : place + SINGLES - tried])
        steps = steps_of(edits, work.length)
        few = tried < FIRST and not any(reaches(one, some) and payable(work, one) for one in work.candidates)
        if tried >= SINGLES or not work.affords(steps, reserved=few):
            return
        made = work.candidate(edits, stage, reason, stop)
        tried += made.steps > 0
        if made.skill.value >= near:
            return


def _together(work: Work, plan: Plan, near: float, stop: Stop) -> None:
    """Where the first singles came to nothing in a network too deep for any, or over too many time steps: what suits that, if
    anything asks for it; where that comes to nothing too, fewer layers.
    """
    spoken = {one.edit.kind for one in plan.singles if one.urgent}
    deep = [edits for edits in plan.together[:2] if any(one.kind in LONG or one.value in ORTHOGONAL for one in edits)]
    fewer = [(one.edit,) for one in plan.singles if one.edit.kind == "depth" and one.urgent]
    for edits in (*deep, *fewer) if plan.alarmed or spoken & {"residual", "cell"} else ():
        if any(reaches(one, near) for one in work.candidates if one.stage != "preset"):
            return
        stage: Stage = "single" if edits in fewer else "combination"
        holds(work, edits, stage, near, stop, "too deep for any of these" if edits in fewer else "theory puts them together")


def _hopeless(work: Work, ceiling: Training, control: Training, *, natural: bool) -> Stop:
    way, plain = dict(ceiling.curve), dict(control.curve) if not natural else {}

    def stop(step: int, skill: float) -> bool:
        if not work.length <= 2 * step < 2 * work.length or step not in way:
            return False
        floor = plain.get(step, 0.0)
        return skill < floor + HOPELESS * (way[step] - floor)

    return stop


def _raced(work: Work, plan: Plan, order: Sequence[tuple[tuple[Edit, ...], Stage, str]], control: float) -> None:
    """The ceiling does not help: short replays of everything, the best in full, then what is proposed until one does well."""
    short, runs = min(SHORT, work.length), list[tuple[float, tuple[Edit, ...], str]]()
    work.foresee(work.searching(edits, short) for edits, _, _ in order)
    for edits, _, reason in order:
        if not work.affords(short + RACED * work.length):
            break
        made = work.train(edits, SEARCH_SEED, "search", steps_of(edits, short), f"race: {said(edits)}")
        if made.failed is None:
            runs.append((made.skill.value, edits, reason))
    best_of = sorted(runs, key=lambda one: -one[0])[:RACED]
    work.foresee(work.searching(edits) for _, edits, _ in best_of)
    for value, edits, _ in best_of:
        if work.affords(steps_of(edits, work.length)):
            work.candidate(edits, "race", f"skill {value:.2f} after {short} steps")
    _steadied(work, plan, [edits for _, edits, _ in best_of], control)
    for _ in range(PROPOSED if plan.propose is not None else 0):
        best = max((one.skill for one in work.candidates if one.skill is not None), default=control)
        well = best >= control + HELPS * work.scale and (best >= WELL or not plan.natural)  # a first gain need not be all
        if well or not work.affords(work.length):
            return
        proposed = plan.propose(work.candidates) if plan.propose is not None else None
        if proposed is None:
            return
        if not known(work, proposed):
            work.candidate(proposed, "combination", "proposed")


def _steadied(work: Work, plan: Plan, raced: Sequence[tuple[Edit, ...]], control: float) -> None:
    """Beside what rose and fell again, as one of two faults lets it, what keeps steps from growing, until one holds it."""
    least, ways = HELPS * work.scale, list[tuple[float, tuple[Edit, ...]]]()
    for edits in raced:
        way = work.known.get(work.searching(edits).key)
        peak = max((skill for _, skill in way.curve), default=control) if way is not None else control
        if way is not None and peak >= control + least and way.skill.value <= peak - least:
            ways.append((peak, edits))
    if not ways:
        return
    edits = max(ways, key=lambda one: one[0])[1]
    slower = {one.kind: one for one in reversed(plan.pool) if one.kind in STEADY and _is_slower(one)}
    for one in (slower[kind] for kind in STEADY if kind in slower):
        made = in_order((*edits, one))
        if any(one.kind == edit.kind for edit in edits) or not plan.fits(made) or known(work, made):
            continue
        if not work.affords(steps_of(made, work.length)):
            return
        if work.candidate(made, "combination", "it rose and fell again").skill.value >= control + least:
            return


def _is_slower(edit: Edit) -> bool:
    """Whether an edit leaves steps as long as they are or makes them shorter, as far as its values say."""
    before, value = edit.before, edit.value
    return not (isinstance(before, float) and isinstance(value, float) and edit.kind == "learning_rate" and value >= before)


def _size(edits: Sequence[Edit]) -> int:
    return sum(edit.size for edit in edits)


def _pair_length(work: Work, found: Found, control: Training, treated: Training) -> int:
    """Half a run where the gap shows by then: enough to be spoken of, and half of what it becomes or all that can be paid.

    A gap the wrong way shows harm, and counts alike.
    """
    edits, half = found.edits, max(1, work.length // 2)
    one, other = dict(control.curve).get(half), dict(treated.curve).get(max(1, steps_of(edits, work.length) // 2))
    if one is None or other is None:
        return work.length
    becomes = treated.skill.value - control.skill.value
    gap = (other - one) * math.copysign(1.0, becomes)
    poor = not work.affords(cost_of_proof(edits, work.length, found.attempt), reserved=True)
    return half if gap >= GAIN * work.scale and (poor or gap >= 0.5 * abs(becomes)) else work.length


def _luck(work: Work, plan: Plan, chosen: float, searched: int, unit: Unit) -> Luck | None:
    """The best of random combinations for as much as the search cost, or for what is left of the budget."""
    able = [edit for edit in plan.pool if plan.fits((edit,))]
    draws: Iterator[tuple[Edit, ...]] = lucky(able, unit)
    best: tuple[float, tuple[Edit, ...]] | None = None
    runs, paid = 0, 0
    chances = list(islice(draws, max(1, searched // work.length)))
    work.foresee(work.searching(edits) for edits in chances)
    for edits in chances:
        if not work.affords(steps_of(edits, work.length), reserved=True):
            break
        made = work.train(edits, SEARCH_SEED, "search", steps_of(edits, work.length), f"luck: {said(edits)}")
        runs, paid = runs + 1, paid + made.steps
        if best is None or made.skill.value > best[0]:
            best = made.skill.value, edits
    return None if best is None else Luck(best[0], best[1], runs, chosen, runs >= searched // work.length)
