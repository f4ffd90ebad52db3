"""The cause by experiment, for a program that can be replayed: budget, held-out examples, and what the answer is worth."""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

from isograd.errors import IsogradError, ModelError, RequestError
from isograd.health import attempting, beaten, cause, faithful, stopped
from isograd.health.blame import as_a_sum, as_lost
from isograd.health.case import Case, case_of
from isograd.health.diagnosis import recurrent_axes
from isograd.health.harm import harm_of
from isograd.health.hypotheses import Proposal, proposals
from isograd.health.outcome import outcome
from isograd.health.present import Present, present_of
from isograd.ports import Patient
from isograd.records.cause import TIMED, Cause, Explanation
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.finding import Finding
from isograd.records.skill import Skill

LEAST_STEPS, SHARE = 2_000, 0.05
"""The budget where none is given: the larger of so many steps and this share of the announced run."""
NOTED = 3
"""Alarms that are told beside the reason why nothing can be tried."""
HELD = 0.2
"""The share of the batches that is set aside to judge by where nothing else is given."""
_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Most:
    """How much is taken of what can be gone through: so many batches, and of small ones more, until they hold so many examples.

    Else a trial with larger batches would go through a few hundred examples again and again where a batch is one, and learn
    them by heart; and what is judged by one example a batch would be judged by a handful.
    """

    batches: int
    examples: int

    def taken(self, batches: Iterable[Any]) -> tuple[tuple[Any, ...], bool]:
        """The first of them, and whether there are more."""
        found, held = list[Any](), 0
        for batch in batches:
            if len(found) >= self.batches and held >= self.examples:
                return tuple(found), True
            found.append(batch)
            held += max(1, _examples_in(batch, self.examples))
        return tuple(found), False


TRAINED, JUDGED = Most(400, 12_800), Most(40, 320)
"""Of batches to train on: as many as 400 of 32 examples hold. To judge by: 320 examples, half of which search and proof have
each, tell a share of right answers to .04 (its standard error is sqrt(p (1 - p) / n) at most); each is a pass of the model."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a search may spend: steps, and seconds where these were given."""

    steps: int
    seconds: float = math.inf


def allowance(budget: int | str | None, planned: int | None) -> Allowance:
    """A budget in steps (a whole number) or time ("30s", "5min"), or the usual one for a run of the announced length.

    >>> allowance(None, 100_000).steps, allowance(300, None).steps, allowance("2min", None).seconds
    (5000, 300, 120.0)
    """
    if budget is None:
        return Allowance(max(LEAST_STEPS, int(SHARE * (planned or 0))))
    if isinstance(budget, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h)\s*", budget)
        if found is not None and float(found[1]) > 0.0:
            return Allowance(TIMED, float(found[1]) * _UNITS[found[2]])
    elif type(budget) is int and budget > 0:
        return Allowance(budget)
    raise RequestError(f"budget is a number of steps or a time, not {budget!r}", remedy='2000 (steps), or "5min"')


@dataclass(frozen=True, slots=True)
class Examples:
    """Batches to train on and to judge by, and what must be said of them."""

    training: tuple[Any, ...]
    held: tuple[Any, ...]
    remarks: tuple[str, ...] = ()


def examples(batches: Any, held_out: Any = None) -> Examples:
    """Take batches from what was given; without held-out examples a share of the batches is set aside.

    Raises ``RequestError`` for what holds no batch.
    """
    with going_through("batches"):
        taken, _ = batch_list(batches, TRAINED)
    if not taken:
        raise RequestError("there is no batch to train on", remedy="a list of batches, or a loader that is not used up")
    if held_out is not None:
        with going_through("held_out"):
            held, _ = batch_list(held_out, JUDGED)
        if not held:
            raise RequestError("held_out holds no examples", remedy="leave it out, and a share of the batches is set aside")
        return Examples(taken, held)
    count = set_aside(taken)
    if len(taken) < 2:
        remark = "there are no held-out examples: skill is of the examples trained on, and says nothing of others"
        return Examples(taken, taken, (remark,))
    apart = {len(taken) - 1 - place * len(taken) // count for place in range(count)}  # spread: they may come in an order
    return Examples(*(tuple(one for place, one in enumerate(taken) if (place in apart) is held) for held in (False, True)))


def cause_of(
    patient: Patient,
    given: Examples,
    case: Case,
    findings: Sequence[Finding],
    allowed: Allowance,
    progress: attempting.Progress | None = None,
    trials: Trials | None = None,
    stood: float = -math.inf,
) -> Explanation:
    """Search the cause with a patient that stands at the start of its training; ``trials`` may remember earlier ones.

    ``stood`` is the skill of the program as the run left it, where that is known.

    Raises ``RequestError`` where the budget is too small, ``ModelError`` where the program cannot be judged at all.
    """
    present = present_of(case)
    judged = patient.judge(given.held)
    again = patient.judge(given.held)  # raises where a second pass fails
    if case.taken > 1:
        patient.trained(given.training, 1)  # what the program did itself must do here: these batches and this loss may not fit
    remarks = list(given.remarks)
    if judged.value != again.value and not (math.isnan(judged.value) and math.isnan(again.value)):
        difference = abs(judged.value - again.value)
        remarks.append(f"the forward pass is random in a way of its own: the same weights differ in skill by {difference:.2g}")
    began = time.monotonic()
    cut_short = any(one.alarm and one.disease == "interrupted" for one in findings)  # else it may have been a short look
    length = min(attempting.LENGTH, int((cut_short and present.number("steps")) or present.loop.steps or attempting.LENGTH))

    def memorises(steps: int) -> Skill:
        return patient.trained(given.training[:1], steps).judge(given.training[:1])

    seen = first_look(patient, given)
    remarks += [] if remarks[len(given.remarks) :] else faithful.drawn(seen)
    findings = (*findings, *beside_others(seen, case))
    trials, alarmed = trials or Trials(patient, given), any(finding.alarm for finding in findings)
    work = attempting.Search(
        trials,
        lambda edit: harm_of(edit, present),
        allowed.steps,
        length,
        lambda: time.monotonic() - began > allowed.seconds,
        progress,
        alarmed=alarmed,
        run=max(present.loop.steps or 0, case.taken),
        stood=max(ended_at(case, findings), -math.inf if alarmed else stood),
    )
    longest = max(present.loop.steps or 0, case.taken, 10 * attempting.LENGTH)
    proposed = candidates(case, findings, present)
    found = cause.search(work, proposed, memorises, longest)
    if proposed and not found.tried and not found.interrupted and work.over():
        took = time.monotonic() - began
        raise RequestError(
            f"the budget of {allowed.seconds:g} s is too small for one comparison",
            remedy=f"{10 * took:.1g} s, so that a few changes are tried: the untouched copy alone took {took:.2g} s",
        )
    many = present.number("batch_size")
    if many and any(sample.training and sample.reduction == "sum" for _, sample in case.losses):
        found = replace(found, causes=tuple(as_a_sum(one, found.tried, many) for one in found.causes))
    found = replace(found, causes=tuple(as_lost(one, findings) for one in found.causes))
    longer = (one.skill for one in found.tried if one.reason == cause.UNTOUCHED and one.skill is not None)
    control = max([found.control.value, *longer])
    own = trials.by_heart(control) if found.answer == "healthy" else None
    if own is not None:
        best = max((one.skill for one in found.tried if one.skill is not None), default=control)
        found = replace(found, answer="no signal" if best <= cause.SIGNAL else "unknown")
        remarks.append(
            f"the untouched copy has a skill of {own:.2f} on what it was trained on, of {control:.2f} on other examples"
        )
    found = stopped.with_the_rest(found, work, case)
    remarks += faithful.backwards(judged.value, control, stood)
    left_out = None if found.causes or found.interrupted else faithful.by_hand(case, control, findings)
    left_out = left_out or faithful.spoken_for(found, findings)
    if left_out is not None:
        helps = tuple(edit for edit in found.remedies if edit != left_out.edit)
        found = replace(found, answer="cause", causes=(left_out,), remedies=helps)
    found = faithful.with_what_was_seen(replace(found, remarks=(*remarks, *found.remarks)), findings, proposed)
    bounded = any(not one.trainable for one in case.anatomy.parameters)  # by what was learned elsewhere, on purpose
    reached = math.inf if bounded else max(control, outcome(case).skill or 0.0)
    in_full = functools.partial(cause.in_full, work, found.control, proposed, longest)
    return beside_a_simple_learner(found, patient, given, reached, in_full, work, beaten.nats_of(case))


def beside_a_simple_learner(
    found: Explanation,
    patient: Patient,
    given: Examples,
    reached: float,
    again: Callable[[], Sequence[Cause]],
    work: attempting.Search,
    nats: float,
) -> Explanation:
    """The answers that there is no signal and that nothing is to blame, held against what a simple learner makes of the data.

    ``reached`` is the best that run and untouched copy are known to have done. What is beaten is tried ``again``, for longer.
    ``nats`` is what a constant answer pays of an example.
    """
    if given.held is given.training:
        return found
    if found.answer not in ("no signal", "healthy"):
        return beaten.with_a_faint_one(found, None, nats) if found.answer == "unknown" and not found.seen else found
    simple = None
    with suppress(ModelError):
        simple = patient.simple(given.training, given.held)
    if found.answer == "no signal" or simple is None:
        return beaten.with_signal(found, simple, nats)
    if not beaten.beaten(simple, reached):
        return found
    causes = again()
    found = replace(found, tried=tuple(work.tried), spent=work.spent)
    longer = next((one for one in work.tried if one.reason == cause.UNTOUCHED and one.skill is not None), None)
    if longer is None or longer.steps < work.run or not beaten.beaten(simple, max(reached, longer.skill or 0.0)):
        return found
    if causes:
        return replace(found, answer="cause", causes=tuple(causes))
    return beaten.with_its_limit(found, simple, max(reached, longer.skill or 0.0), longer.steps)


def first_look(patient: Patient, given: Examples) -> tuple[Fact, ...]:
    """What the first step of the replay shows of answers in evaluation mode, which no watch of the loop itself can try."""
    with suppress(ModelError):
        steps = patient.observe(given.training[:1], 1).steps
        return tuple(fact for step in steps for fact in step.facts if fact.kind in ("rows_mixed", "answers_drawn"))
    return ()


def beside_others(seen: Sequence[Fact], case: Case) -> tuple[Finding, ...]:
    """Rows that see one another."""
    facts = tuple(fact for fact in seen if fact.kind == "rows_mixed")
    if not facts or not case.steps:
        return ()
    last = replace(case.steps[-1], facts=(*case.steps[-1].facts, *facts))
    return tuple(recurrent_axes.mixed(replace(case, steps=(*case.steps[:-1], last))))


def ended_at(case: Case, findings: Sequence[Finding]) -> float:
    """Skill at which a run ended that gave no alarm, less two standard errors; without bound where that is not known."""
    found = outcome(case)
    if any(finding.alarm for finding in findings) or found.skill is None or not case.ended:
        return -math.inf
    return found.skill - 2.0 * found.error


def unlike(patient: Patient, given: Examples, case: Case) -> tuple[str, ...]:
    """What must be said where the untouched replay does better than the run that was watched: it does not do all of it."""
    looked = islice(cycle(given.training), faithful.STEPS)
    replay = case_of(patient.observe(looked, faithful.STEPS))
    other = faithful.another_loss(case, replay)
    if other is not None:
        return (
            f"on the same weights the first step of the replay pays {other[1]:.3g} and that of the run paid {other[0]:.3g}: "
            "the loss that was given is not what the loop steps, and what was found holds for the loss that was given",
        )
    found = faithful.better(case, replay)
    if found is None:
        return ()
    began, replayed, watched = found
    return (
        f"the untouched replay does better than the run that was watched: in {faithful.STEPS} steps its loss falls from "
        f"{began:.3g} to {replayed:.3g}, that of the run to {watched:.3g}; something that the loop does besides is not "
        "replayed, such as setting weights or gradients by hand: step= hands the whole step over",
    )


class Trials:
    """What a search asks: the skill of a copy with these edits after so many steps; asked again, it is remembered.

    ``own`` is the untouched copy's skill on what it was trained on, by its steps.
    """

    def __init__(self, patient: Patient, given: Examples) -> None:
        self.patient, self.given = patient, given
        self.own: dict[int, Skill] = {}
        self._known: dict[tuple[tuple[Edit, ...], int], Skill] = {}

    def __call__(self, edits: tuple[Edit, ...], steps: int) -> Skill:
        """The skill on held-out examples."""
        if (edits, steps) not in self._known:
            edited = self.patient
            for edit in edits:
                edited = edited.apply(edit)
            trained = edited.trained(self.given.training, steps)
            self._known[edits, steps] = trained.judge(self.given.held)
            if steps and not edits:
                self.own[steps] = trained.judge(JUDGED.taken(self.given.training[:steps])[0])
        return self._known[edits, steps]

    def by_heart(self, control: float) -> float | None:
        """The untouched copy's skill on what it was trained on, where that is known and does not carry over; else None."""
        own = self.own[max(self.own)].value if self.own else 0.0
        return own if control <= cause.SIGNAL and own > cause.BY_HEART else None


def candidates(case: Case, findings: Sequence[Finding], present: Present) -> list[Proposal]:
    """The proposals that would change something."""
    return [one for one in proposals(case, findings, present) if _possible(one.edit)]


def _possible(edit: Edit) -> bool:
    """Whether an edit says anything: one that puts in what is there already does not."""
    return edit.value is None or edit.value != edit.before


def batch_list(batches: Any, most: Most) -> tuple[tuple[Any, ...], bool]:
    """So many batches at most, and whether there are more; one batch is a list of one.

    Raises ``RequestError`` for what cannot be gone through.
    """
    if isinstance(batches, tuple) and len(batches) == 2 and all(hasattr(part, "shape") for part in batches):
        return (batches,), False  # one batch: inputs and targets
    if not isinstance(batches, Iterable):
        raise RequestError(f"batches are gone through one after the other, not {type(batches).__name__}")
    return most.taken(batches)


def set_aside(taken: Sequence[Any]) -> int:
    """How many of the batches are set aside to judge by where nothing else is given."""
    return min(len(JUDGED.taken(taken)[0]), math.ceil(HELD * len(taken)))


def _examples_in(batch: Any, unknown: int) -> int:
    """The length of the first array in a batch; ``unknown`` where there is none that has a length."""
    if hasattr(batch, "shape"):
        return int(batch.shape[0]) if len(batch.shape) else unknown
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else ()
    return next((_examples_in(part, unknown) for part in parts), unknown)


@contextmanager
def going_through(name: str) -> Iterator[None]:
    """Within, what the person's own data raises is told as theirs."""
    try:
        yield
    except IsogradError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RequestError(
            f"going through {name} raises", met=said, remedy="a list of batches, or a loader that ends"
        ) from error


@contextmanager
def told_with(findings: Sequence[Finding]) -> Iterator[None]:
    """Within, what says that nothing can be tried is told together with what was seen, which needs no trial."""
    try:
        yield
    except RequestError as error:
        for line in faithful.in_notes(findings)[:NOTED]:
            error.add_note(line)
        raise


OnProgress = Callable[[int, int, str], object]
"""Told of (steps spent, steps allowed, what is tried) before each trial."""
