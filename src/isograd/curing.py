"""A program that can begin again from a seed -> its proof: batches, validation, budget, and what was tried before."""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from isograd.errors import ModelError, RequestError
from isograd.explaining import OnProgress
from isograd.health import repair
from isograd.health.case import case_of
from isograd.health.found import Plan
from isograd.health.hypotheses import Proposal
from isograd.health.present import present_of
from isograd.health.proving import FIRST_SEED, PAIRS
from isograd.health.remedies import companions
from isograd.health.remedies.preset import other_ways, preset
from isograd.health.trials import SEARCH_SEED, WORST, Work, said
from isograd.parallel import Ahead, processes_here
from isograd.ports import Births, Patient
from isograd.proposing import proposer
from isograd.records.cause import Explanation
from isograd.records.edit import Edit
from isograd.records.proof import Part, Proof, Tried
from isograd.records.trace import Trace
from isograd.reporting import report_of
from isograd.seeing import OBSERVED, Seen, later_looks
from isograd.spending import LEAST, Budget, usual_length
from isograd.trying import Attempts, Fits, OnTried, Program, explained, first_explained, key_of, longer, short_of

_TIMED = 6
"""Steps that are timed, and made twice to see whether they can be repeated."""
FEW = 2
"""Steps after which another loss shows: the first one already has other gradients."""
_LOOKS = 5
"""Times that a run is judged."""
_PATIENCE = 5
"""Times that steps are timed again before a time is called too short: other processes may have had the share of the first."""
_LEAST_RUNS = 3 + (2 * PAIRS + 3) / 2
"""Full runs that a proof takes at least: the program, the preset and a candidate; half-length pairs and the random edit."""
HALF = 0.5
"""Of the ceiling's skill in as many steps: where one edit reaches so much, no second fault is looked for."""


def cured(
    births: Births,
    batches: Any,
    validation: Any = None,
    *,
    budget: Budget,
    steps: int | None = None,
    own_score: bool = False,
    known: Iterable[Tried] = (),
    asked: tuple[Edit, ...] = (),
    processes: int = 1,
    on_tried: OnTried | None = None,
    on_progress: OnProgress | None = None,
) -> Proof:
    """Search and prove within the budget; ``known`` are trainings of an earlier call, which then cost nothing again.

    With more than one of ``processes`` trainings are begun before they are asked for, each in a forked process with one
    thread; the budget is paid by what was asked for, and a time is that of one process.

    Raises ``RequestError`` for factories, batches or a budget that no proof can be made with, ``ModelError`` where the program
    cannot be run or judged at all. Ctrl-C ends it and keeps what was tried.
    """
    program = Program(births, _again(batches), _again(validation), own_score)
    try:
        return _cured(program, budget, steps, _trainings(known), asked, processes, on_tried, on_progress)
    except KeyboardInterrupt:
        return Proof("not proven", (), "nothing", False, "it was stopped before the first training", interrupted=True)


def _cured(
    program: Program,
    budget: Budget,
    steps: int | None,
    known: Sequence[Tried],
    asked: tuple[Edit, ...],
    processes: int,
    on_tried: OnTried | None,
    on_progress: OnProgress | None,
) -> Proof:
    began = time.monotonic()
    program.varies, program.learned, remarks = program.births.check()
    program.remarks += remarks
    patient, training, held = program.at(SEARCH_SEED)
    _can_vary(program, training)
    _validated(program, patient, training, held)
    per_step = _timed(program, patient, training, held["search"])
    mark = program.births.fingerprint(patient, (*training, *held["search"], *held["proof"]))
    before = [one for one in known if one.program == mark]
    length, per_step = _length(
        budget, steps, per_step, before, len(training), lambda: _paced(program, patient, training, held["search"])[0]
    )
    early = _looked(patient, training, steps)
    attempt = Attempts(program, mark, {key_of(one): one for one in before}, on_tried, length)
    work = Work(attempt, length, _left(budget, attempt, began, per_step, length), on_progress, ahead=attempt.foresee)
    attempt.ahead = _ahead(program, attempt, patient, processes)
    if on_progress is not None:
        on_progress(0, int(min(work.left(0), 1e15)), said(()))
    seen = early
    if not asked:
        late = _seen(attempt.followed(later_looks(length)), steps)
        seen = early.later(late.judged(attempt.own, len(training)))
    plan = _plan(program, patient, seen, work, asked, announced=steps is not None)
    try:
        proof = repair.cure(work, plan, random.Random(0).random)
    finally:
        if attempt.ahead is not None:
            attempt.ahead.close()
    return replace(
        proof,
        varies="weights" if program.varies else "order",
        measure="score" if program.own_score else "skill",
        fresh=program.fresh,
        remarks=(*program.remarks, *proof.remarks),
    )


def _trainings(known: Any) -> list[Tried]:
    """What was known before; raises ``RequestError`` for anything else than the records of earlier calls."""
    if isinstance(known, str | bytes) or not isinstance(known, Iterable):
        odd = [type(known).__name__]
    else:
        known = list(known)
        kinds = [(place, type(one).__name__) for place, one in enumerate(known, 1) if not isinstance(one, Tried)]
        odd = [f"number {place} of them is {kind}" for place, kind in kinds]
    if odd:
        raise RequestError(
            "known= holds something else than trainings of an earlier call",
            met=odd[0],
            remedy="keep what on_tried is told of and give it back; a line of a journal is codec.loads(Tried, line)",
        )
    found: list[Tried] = known
    return found


def _ahead(program: Program, attempt: Attempts, patient: Patient, processes: int) -> Ahead | None:
    """Processes that train ahead, where there may be several; what no seed repeats would come out alike in all of them."""
    if processes < 2:
        return None
    if not program.repeats:
        program.remarks.append("trials run one after the other: processes would share the random numbers that no seed reaches")
        return None
    able, why = program.births.processes(patient, min(processes, processes_here()))
    if why:
        program.remarks.append(f"trials run one after the other: {why}")
    return Ahead(attempt.prepared, program.births.apart, able) if able > 1 else None


def _again(batches: Any) -> Any:
    """Refuse what can be gone through once alone; a loader is not begun for that, which would draw a random number."""
    if isinstance(batches, Iterator):
        raise RequestError(
            f"{type(batches).__name__} can be gone through once, and every trial goes through the batches again",
            remedy="a list of batches, a loader, or a function of the seed that gives them",
        )
    return batches


def _can_vary(program: Program, training: Sequence[Any]) -> None:
    if not program.varies and len(training) < 2 and not callable(program.batches):
        raise RequestError(
            "nothing differs between two trials: the factory gives the same weights, and there is one batch",
            remedy="a factory that draws its weights, several batches, or batches= as a function of the seed",
        )


def _validated(program: Program, patient: Patient, training: Sequence[Any], held: dict[Part, tuple[Any, ...]]) -> None:
    """Say where the proof cannot have examples of its own."""
    if program.own_score:
        program.fresh = False
        ignored = ", and validation= is not looked at" if program.validation is not None else ""
        program.remarks.append(f"score= judges search and proof by the same data: the seeds of the proof are new{ignored}")
        return
    if held["search"] is held["proof"]:
        program.fresh = False
        program.remarks.append("there are too few validation examples to halve: search and proof are judged by the same")
    if program.validation is not None:
        return
    if len(training) < 2 and not callable(program.batches):
        program.fresh = False
        program.remarks.append("no validation= was given, and there is one batch: it is judged by what it trains on")
        return
    program.remarks.append("no validation= was given: a fifth of the batches was set aside to judge by")
    if not isinstance(program.batches, list | tuple) and _marked(program, patient, SEARCH_SEED) != _marked(
        program, patient, FIRST_SEED
    ):
        program.fresh = False
        program.remarks.append(
            "what was set aside differs from seed to seed, and the search may have seen some of it: give validation= for a "
            "proof on examples of its own"
        )


def _marked(program: Program, patient: Patient, seed: int) -> str:
    _, _, held = program.at(seed)
    return program.births.fingerprint(patient, (*held["search"], *held["proof"]))


def _timed(program: Program, patient: Patient, training: Sequence[Any], held: Sequence[Any]) -> float:
    """Seconds a step, with its share of the looks of a run; makes some steps twice, and says where they come out otherwise."""
    if program.own_score:  # what fails is as bad as what never learned
        program.worst = patient.judge(held).value
    seconds, skills, made = _paced(program, patient, training, held)
    again = _judged(made, held, program.worst)
    if again != skills[-1] and not math.isnan(again):
        program.repeats = False
        program.remarks.append(f"judging is random: the same weights differ by {abs(again - skills[-1]):.2g}")
    elif skills[0] != skills[1] and not any(map(math.isnan, skills)):
        program.repeats = False
        program.remarks.append(
            f"the loss, or a step, is not deterministic: the same weights, seed and batches differ by "
            f"{abs(skills[0] - skills[1]):.2g} after {_TIMED} steps; the rule of the proof holds, small effects may be missed"
        )
    return seconds


def _paced(
    program: Program, patient: Patient, training: Sequence[Any], held: Sequence[Any]
) -> tuple[float, list[float], Patient]:
    """Seconds a step, the less of two timings; the skills after both, and the patient after the second."""
    skills, steps, judging = list[float](), math.inf, math.inf
    for _ in range(2):
        began = time.monotonic()
        made = patient.trained(training, _TIMED)
        steps, began = min(steps, (time.monotonic() - began) / _TIMED), time.monotonic()
        try:
            skills.append(_judged(made, held, program.worst))
        except ModelError as error:
            if program.validation is not None:
                error.add_note("this is of the batches of validation=")
            raise
        judging = min(judging, time.monotonic() - began)
    return steps + _LOOKS * judging / LEAST, skills, made  # a score may cost more than the steps between two of them


def _judged(patient: Patient, held: Sequence[Any], worst: float) -> float:
    try:
        return patient.judge(held).value
    except ModelError:
        if worst == WORST:
            raise
        return worst


def _length(
    budget: Budget, steps: int | None, per_step: float, before: Sequence[Tried], batches: int, again: Callable[[], float]
) -> tuple[int, float]:
    """Steps of a full run, and seconds a step; raises ``RequestError`` where the budget does not hold a proof of one edit.

    A time is refused only after steps were timed ``again``.
    """
    found = steps or next((one.length for one in before if not one.edits and one.seed == SEARCH_SEED), None)
    for tries in range(_PATIENCE + 1):
        length = found or usual_length(batches, budget, per_step)
        runs = budget.runs_of(length, per_step)
        if runs >= _LEAST_RUNS or budget.seconds is None or tries == _PATIENCE:
            break
        per_step = min(per_step, again())
    if runs < _LEAST_RUNS:
        shorter = "" if steps is None else f", or a shorter run than steps={steps:,}"
        raise RequestError(
            f"the budget is too small for a proof: it holds {runs:.1f} runs of {length:,} steps, not {_LEAST_RUNS:g}",
            met="the program, the preset and one candidate once each; then six pairs and a random edit, at half length",
            remedy=f"budget={budget.enough(_LEAST_RUNS, length, per_step)}{shorter}",
        )
    return length, per_step


def _looked(patient: Patient, training: Sequence[Any], steps: int | None) -> Seen:
    """What the first steps show; that they end says nothing of a run that goes on."""
    seen = _seen(patient.observe(islice(cycle(training), OBSERVED), OBSERVED), steps)
    goes_on = steps is not None and steps > OBSERVED
    return replace(seen, findings=tuple(one for one in seen.findings if one.disease != "interrupted" or not goes_on))


def _seen(trace: Trace, steps: int | None) -> Seen:
    trace = replace(trace, planned_steps=steps)
    case = case_of(trace)
    return Seen(case, report_of("check", trace, [], case).findings, present_of(case))


def _left(budget: Budget, attempt: Attempts, began: float, per_step: float, length: int) -> Callable[[int], float]:
    """Steps that are left: of the budget, or as many as the time left holds at the pace so far.

    Time is paid by what was asked for: seconds of trainings, wherever they were made, and what goes on between them.
    """
    if budget.seconds is None:
        allowed = budget.steps if budget.steps is not None else budget.steps_of(length)
        return lambda spent: allowed - spent
    seconds = budget.seconds

    def left(spent: int) -> float:
        pace = attempt.seconds / attempt.steps if attempt.steps >= length else per_step
        between = time.monotonic() - began - attempt.waited
        return (seconds - attempt.before - attempt.seconds - between) / max(pace, 1e-9)

    return left


def _plan(program: Program, patient: Patient, seen: Seen, work: Work, asked: tuple[Edit, ...], *, announced: bool) -> Plan:
    fits, idle, kept = (
        Fits(patient, program.at(SEARCH_SEED)[1]),
        _idle(program, patient),
        program.learned and not _worthless(program, patient, seen),
    )
    singles = tuple(
        one
        for one in (*_of_batches(program), *seen.prescribed)
        if one.edit.kind not in idle
        and (one.edit.kind != "steps" or (announced and longer(one.edit, work)))
        and (one.edit.keeps_weights or not kept)
        and fits((one.edit,))
    )
    every = preset(singles, seen.present)
    chosen = _able([one for one in every if one.keeps_weights or not program.learned], fits)
    stood = {one.edit.kind: one.edit.before for one in reversed(singles) if not one.edit.where}
    asked = tuple(one if one.before is not None else replace(one, before=stood.get(one.kind)) for one in asked)
    if asked and not fits(asked):
        raise ModelError("the edits cannot be made in this program", met=fits.why)
    pairs = () if kept else companions(singles, seen.present)
    together = tuple(pair for pair in pairs if fits(pair))
    propose = proposer([one.edit for one in singles], fits)

    def explain(allowed: int, way: dict[int, float]) -> Explanation | None:
        return explained(program, work, seen, allowed, HALF * way.get(short_of(work.length), math.inf))

    ways = other_ways(chosen, [one.edit for one in singles if one.urgent], seen.present)
    if program.learned and not kept:
        ways = (_able(every, fits), *ways)
    return Plan(
        chosen,
        singles,
        explain,
        seen.alarmed,
        not program.own_score,
        propose,
        fits,
        asked,
        together,
        tuple(way for way in ways if fits(way)),
        seen.certain,
        functools.partial(first_explained, program, work, seen),
    )


def _able(edits: Iterable[Edit], fits: Fits) -> tuple[Edit, ...]:
    """Of edits those that can be made one after the other."""
    chosen: tuple[Edit, ...] = ()
    for edit in edits:
        chosen = (*chosen, edit) if fits((*chosen, edit)) else chosen
    return chosen


def _worthless(program: Program, patient: Patient, seen: Seen) -> bool:
    """Whether learned weights are no better than a constant answer as they stand, and a finding says that they are ill.

    A body under a fresh head is no better either: what keeps it is tried first, and weights drawn anew where that fails.
    """
    ill = any(one.urgent and one.edit.kind == "initialisation" for one in seen.prescribed)
    skill = _judged(patient, program.at(SEARCH_SEED)[2]["search"], program.worst) if ill and not program.own_score else 1.0
    if skill <= 0.0:
        program.remarks.append(
            "the weights that build gives are no better than a constant answer: where nothing that keeps them helps, weights "
            "drawn anew are tried too"
        )
    return skill <= 0.0


def _idle(program: Program, patient: Patient) -> tuple[str, ...]:
    """The loss that fits, where it is the one in use: steps that learn something end alike with it and without."""
    _, training, held = program.at(SEARCH_SEED)
    try:
        skills = [one.trained(training, FEW).judge(held["search"]).value for one in (patient, patient.apply(Edit("loss")))]
        return ("loss",) if program.repeats and skills[0] == skills[1] != patient.judge(held["search"]).value else ()
    except ModelError:
        return ()


def _of_batches(program: Program) -> Iterator[Proposal]:
    """The batches to leave out, where a batch has one place for all seeds."""
    if isinstance(program.batches, list | tuple) and program.varies:
        odd = program.births.odd(program.at(SEARCH_SEED)[1])
        if odd:
            said = "; ".join(f"batch {place} is {what}" for place, what in list(odd.items())[:3])
            yield Proposal(Edit("skip_batch", ", ".join(map(str, odd))), f"fact: {said}", True, "data")
