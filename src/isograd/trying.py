"""One program at its start, from any seed, with any edits: what a trial trains on, is judged by, costs, and leaves behind."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from isograd.errors import ModelError, RequestError
from isograd.explaining import JUDGED, TRAINED, Most, batch_list, going_through, set_aside
from isograd.health import attempting, cause, faithful
from isograd.health.hypotheses import Proposal
from isograd.health.trials import SEARCH_SEED, WORST, Ask, Stop, Work
from isograd.parallel import Ahead
from isograd.ports import Births, Followed, Patient
from isograd.records.cause import Explanation
from isograd.records.edit import Edit
from isograd.records.proof import Part, Training, Tried
from isograd.records.skill import Skill
from isograd.records.trace import Trace
from isograd.seeing import Seen

KEPT = 2
"""Seeds whose batches are kept."""

OnTried = Callable[[Tried], object]
"""Told of each training that is finished, for a journal."""


@dataclass
class Program:
    """One program to be cured: its factories, its data from a seed, and the trainings that are known already."""

    births: Births
    batches: Any
    validation: Any
    own_score: bool
    varies: bool = True
    learned: bool = False
    worst: float = WORST
    fresh: bool = True
    repeats: bool = True
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    made: int = 0
    patients: dict[int, tuple[Patient, tuple[Any, ...], dict[Part, tuple[Any, ...]]]] = field(default_factory=dict)

    def at(self, seed: int) -> tuple[Patient, tuple[Any, ...], dict[Part, tuple[Any, ...]]]:
        """The untouched patient of a seed, what it trains on, and what it is judged by in the search and in the proof."""
        if seed not in self.patients:
            while len(self.patients) >= KEPT:
                self.patients.pop(next(one for one in self.patients if one != SEARCH_SEED))
            training, held = self._data(seed)
            self.patients[seed] = self.births.born(seed, training), training, held
        return self.patients[seed]

    @cached_property
    def judged(self) -> tuple[Any, ...]:
        """The validation batches, taken once: a loader that shuffles does not mix what search and proof are judged by."""
        with self.births.seeded(SEARCH_SEED, self.validation), going_through("validation"):
            taken = self._first(self.validation, JUDGED, "validation batches")
        return self.births.paired(taken)

    def _first(self, given: Any, most: Most, what: str) -> tuple[Any, ...]:
        """What is taken of it, which is said once where there is more."""
        taken, more = batch_list(given, most)
        told = f"there are more than {len(taken)} {what}: the first {len(taken)} are used"
        if more and told not in self.remarks:
            self.remarks.append(told)
        return taken

    def _data(self, seed: int) -> tuple[tuple[Any, ...], dict[Part, tuple[Any, ...]]]:
        with self.births.seeded(seed, self.batches), going_through("batches"):
            given = _asked(self.batches, seed) if _is_function(self.batches) else self.batches
            taken = self._first(given, TRAINED, "batches")
        taken = self.births.paired(taken)
        if not taken:
            raise RequestError("there is no batch to train on", remedy="a list of batches, or a loader that is not used up")
        held = taken
        if self.validation is not None:
            held = self.judged
        elif len(taken) > 1 and not self.own_score:  # a score looks at what it wants, and all batches are left to train on
            count = set_aside(taken)
            taken, held = taken[:-count], taken[-count:]
        if not self.varies:  # the order is all that a trial can vary
            taken = tuple(random.Random(seed).sample(taken, len(taken))) if seed != SEARCH_SEED else taken
        halves = None if self.own_score else self.births.halves(held)
        one, other = (held, held) if halves is None else halves
        return taken, {"search": one, "proof": other}


def asked_edits(given: Any) -> tuple[Edit, ...]:
    """Edits that are asked for, one or several; raises ``RequestError`` for anything else."""
    edits = (given,) if isinstance(given, Edit | str) else tuple(given)
    odd = next((one for one in edits if not isinstance(one, Edit)), None)
    if odd is not None:
        raise RequestError(f"edits holds {odd!r}, which is no Edit", remedy='isograd.records.edit.Edit("learning_rate", 0.01)')
    return edits


def _is_function(batches: Any) -> bool:
    return callable(batches) and not isinstance(batches, Iterable)


def _asked(batches: Callable[[int], Any], seed: int) -> Any:
    """What a function of the seed gives. Raises ``RequestError`` where it takes no seed."""
    try:
        inspect.signature(batches).bind(seed)
    except TypeError as error:
        raise RequestError("batches is a function of the seed", met=str(error), remedy="batches=lambda seed: ...") from error
    except ValueError:  # a function without a signature is asked all the same
        pass
    return batches(seed)


def short_of(length: int) -> int:
    """Steps of a replay that looks for the cause: 80 where a run is long, 40 in a short one (top-1 .96 there).

    >>> short_of(240), short_of(10_000)
    (40, 80)
    """
    return min(length, max(attempting.LENGTH // 2, min(attempting.LENGTH, length // 8)))


class Fits:
    """Whether edits can be made one after the other on a patient; asked again, it is remembered.

    What changes the architecture is made to take one step on the first of ``batches`` too: a layer that is wider than what its
    output meets behind it shows there alone. Memory that runs out says nothing of that, and is met in a trial.
    """

    def __init__(self, patient: Patient, batches: Sequence[Any] = ()) -> None:
        self._patient, self._first, self._known = patient, batches[:1], dict[tuple[Edit, ...], bool]()
        self.why = ""

    def __call__(self, edits: tuple[Edit, ...]) -> bool:
        """Whether they can; ``why`` says what stood against the last that could not."""
        if edits not in self._known:
            try:
                made = edited(self._patient, edits)
                self._known[edits] = all(edit.size == 1 for edit in edits) or self._steps(made)
            except ModelError as error:
                self._known[edits], self.why = False, str(error).splitlines()[0]
        return self._known[edits]

    def _steps(self, made: Patient) -> bool:
        try:
            made.trained(self._first, len(self._first))
        except MemoryError:
            return True
        except Exception as error:  # noqa: BLE001 - whatever the changed network raises, it cannot be trained
            self.why = str(error).splitlines()[0] if str(error) else type(error).__name__
            return "allocate" in str(error)
        return True


class Attempts:
    """One training with edits from a seed; what the journal holds already is not made again.

    With ``ahead`` trainings are made in other processes, and begun before they are asked for; answers, their order and what
    they cost are the same.
    """

    def __init__(
        self, program: Program, mark: str, known: dict[tuple[Any, ...], Tried], on_tried: OnTried | None, length: int
    ) -> None:
        self._program, self._mark, self._known, self._on_tried, self._length = program, mark, known, on_tried, length
        self.seconds, self.before, self.steps, self.waited = 0.0, 0.0, 0, 0.0
        self.ahead: Ahead | None = None
        self.own: tuple[float, float] | None = None
        """What the search's control run reaches on what it trained on, and on other examples."""
        self._ready: dict[tuple[Any, ...], tuple[Training, float]] = {}

    def followed(self, close: Sequence[int]) -> Trace:
        """The search's control run, watched: its trace. What the run reached is kept until it is asked for."""
        patient, training, held = self._program.at(SEARCH_SEED)
        key = Ask((), SEARCH_SEED, "search", self._length).key
        known = key in self._known
        began = time.monotonic()
        went = patient.followed(training, self._length, (self._length,) if known else self._looks(self._length), close)
        if not known:
            self._ready[key] = self._judged(went, held["search"]), time.monotonic() - began
        if went.stages and went.error is None and not self._program.own_score:
            with contextlib.suppress(ModelError):
                _, last = went.stages[-1]
                self.own = last.judge(JUDGED.taken(training)[0]).value, last.judge(held["search"]).value
        return went.trace

    def foresee(self, asks: Sequence[Ask]) -> None:
        """What may be asked for next."""
        if self.ahead is not None:
            self.ahead.foresee([ask for ask in asks if ask.key not in self._known and ask.key not in self._ready])

    def __call__(self, edits: tuple[Edit, ...], seed: int, part: Part, steps: int, stop: Stop | None) -> Training:
        """What a search asks; see ``health.trials.Attempt``."""
        ask = Ask(edits, seed, part, steps, stop)
        old = self._known.pop(ask.key, None)
        if old is not None:
            self.before += old.seconds
            return old.training
        began = time.monotonic()
        made, seconds = self._made(ask)
        self.waited += time.monotonic() - began
        self.seconds, self.steps = self.seconds + seconds, self.steps + made.steps
        if self._on_tried is not None:
            self._on_tried(Tried(self._mark, edits, seed, part, steps, made, round(seconds, 4)))
        return made

    def prepared(self, ask: Ask) -> Callable[[], Training]:
        """Read the data and make the edited program here; what is given trains it."""
        patient, training, held = self._program.at(ask.seed)
        changed = edited(patient, ask.edits)
        return lambda: self._trained(changed, training, held[ask.part], ask.steps, ask.stop, plain=not ask.edits)

    def _made(self, ask: Ask) -> tuple[Training, float]:
        """The training, in another process where there are some, and its seconds."""
        if ask.key in self._ready:
            return self._ready.pop(ask.key)
        if self.ahead is not None:
            ended = self.ahead.result(ask)
            if ended.training is not None:
                return ended.training, ended.seconds
            if ended.killed:
                return self._killed(ended.killed), 0.0
            self.ahead.close()  # it raised: here it is made again, with all memory for itself, and the error is told
        train = self.prepared(ask)
        began = time.monotonic()
        return train(), time.monotonic() - began

    def _killed(self, number: int) -> Training:
        name = signal.Signals(number).name
        memory = ", as where memory runs out" if name == "SIGKILL" else ""
        return Training(Skill(self._program.worst, 0), steps=1, failed=f"its process was killed twice ({name}{memory})")

    def _trained(
        self, patient: Patient, training: Sequence[Any], held: Sequence[Any], steps: int, stop: Stop | None, *, plain: bool
    ) -> Training:
        curve, skills = list[tuple[int, float]](), list[Skill]()

        def seen(step: int, now: Patient) -> bool:
            skills.append(now.judge(held))
            curve.append((step, skills[-1].value))
            return stop is not None and stop(*curve[-1])

        try:
            patient.trained(training, steps, self._looks(steps), seen)
        except Exception as error:
            if plain and isinstance(error, MemoryError):
                raise ModelError("the untouched program runs out of memory", met=str(error)) from error
            return self._failed(curve, error)
        return Training(skills[-1], tuple(curve), curve[-1][0])

    def _judged(self, went: Followed[Patient], held: Sequence[Any]) -> Training:
        """What a training that was followed reached."""
        curve, skills = list[tuple[int, float]](), list[Skill]()
        try:
            for step, stage in went.stages:
                skills.append(stage.judge(held))
                curve.append((step, skills[-1].value))
        except Exception as error:  # noqa: BLE001 - as of a training that is judged on its way
            return self._failed(curve, error)
        return Training(skills[-1], tuple(curve), curve[-1][0]) if went.error is None else self._failed(curve, went.error)

    def _looks(self, steps: int) -> tuple[int, ...]:
        return tuple(sorted({short_of(self._length), *(max(1, steps * quarter // 4) for quarter in (1, 2, 3, 4))}))

    def _failed(self, curve: Sequence[tuple[int, float]], error: Exception) -> Training:
        said = _said(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}".splitlines()[0]
        return Training(Skill(self._program.worst, 0), tuple(curve), curve[-1][0] if curve else 1, said)


def _said(error: ModelError) -> str:
    fault = error.faults[0]
    return f"{fault.what}: {fault.met}" if fault.met else fault.what


def edited(patient: Patient, edits: Sequence[Edit]) -> Patient:
    """The patient with the edits in it, made one after the other; raises ``ModelError`` where one cannot be made."""
    for edit in edits:
        patient = patient.apply(edit)
    return patient


def key_of(one: Tried) -> tuple[Any, ...]:
    """What tells a training from every other of its program."""
    return Ask(one.edits, one.seed, one.part, one.length).key


def explained(program: Program, work: Work, seen: Seen, allowed: int, enough: float) -> Explanation | None:
    """The cause, within so many steps; None where these hold no comparison. No second fault is looked for beside ``enough``."""
    short = short_of(work.length)
    if allowed < 2 * short:
        return None
    patient, training, _ = program.at(SEARCH_SEED)

    def memorises(steps: int) -> Skill:
        return patient.trained(training[:1], steps).judge(training[:1])

    search = _search(program, work, seen, allowed, enough)
    proposed = able(work, seen)
    found = cause.search(search, proposed, memorises, max(short, work.length // 4))
    return faithful.with_what_was_seen(found, seen.told, proposed)


def first_explained(program: Program, work: Work, seen: Seen, allowed: int) -> Explanation | None:
    """The cause among what a fact, a finding or a value speaks for, with no replay for anything else; None without any."""
    short = short_of(work.length)
    spoken = [one for one in able(work, seen) if one.urgent]
    allowed = min(allowed, (1 + len(spoken)) * short)
    if allowed < 2 * short:
        return None
    return cause.search(_search(program, work, seen, allowed, -math.inf), spoken, None, short)


def longer(edit: Edit, work: Work) -> bool:
    """Whether a run of so many steps is longer: what is said of the length of the first steps is said of those alone."""
    said_of = edit.before if isinstance(edit.before, float | int) else 0.0
    return said_of >= work.length and float(edit.value or 0.0) > work.length


def able(work: Work, seen: Seen) -> list[Proposal]:
    """What is proposed for the search of a cause."""
    return [one for one in seen.candidates if one.edit.kind != "steps" or longer(one.edit, work)]


def _search(program: Program, work: Work, seen: Seen, allowed: int, enough: float) -> attempting.Search:
    short = short_of(work.length)
    patient, _, held = program.at(SEARCH_SEED)

    def attempt(edits: tuple[Edit, ...], steps: int) -> Skill:
        if not steps:
            return functools.reduce(lambda one, edit: one.apply(edit), edits, patient).judge(held["search"])
        whole = work.known.get((edits, SEARCH_SEED, "search", work.length))
        way = {} if whole is None else dict(whole.curve)
        if steps in way:
            return Skill(way[steps], 0)
        made = work.train(edits, SEARCH_SEED, "search", steps, f"cause: {'; '.join(e.text for e in edits) or 'no change'}")
        if made.failed is not None:
            raise ModelError(made.failed)
        return made.skill

    return attempting.Search(
        attempt,
        seen.harm,
        allowed,
        short,
        lambda: not work.affords(short),
        enough=enough,
        alarmed=seen.alarmed,
        ahead=lambda asks: work.foresee(work.searching(*ask) for ask in asks),
        run=work.length,
        sure=cause.SURE,
    )
