"""What isograd asks of a framework: the few functions a new door has to offer, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from isograd.records.aid import Action, Heed, Pending, Reading, Treatment
from isograd.records.anatomy import Anatomy
from isograd.records.batch import InputSample, LossSample
from isograd.records.edit import Edit
from isograd.records.loop import Loop
from isograd.records.skill import Skill
from isograd.records.trace import Step, Trace

Batch = Any
"""``(inputs, targets)``, or whatever the model and the loss of that framework take."""


Kind = TypeVar("Kind", covariant=True)


@dataclass(frozen=True, slots=True)
class Followed(Generic[Kind]):
    """A training that was watched: its trace, the patient as it stood after some steps, and the error that ended it, if any."""

    trace: Trace
    stages: tuple[tuple[int, Kind], ...]
    error: Exception | None = None


class Patient(Protocol):
    """A model with its loss and optimizer, on a copy: what happens here never reaches the person's objects."""

    def describe(self) -> Anatomy:
        """What the network is: operations in the order of execution, parameters, optimizer."""
        ...

    def observe(self, batches: Iterable[Batch], steps: int) -> Trace:
        """Run ``steps`` real optimizer steps with everything measured at every step."""
        ...

    def apply(self, edit: Edit) -> Self:
        """A new patient that differs from this one by ``edit`` alone; refuses, as ``ModelError``, what it cannot do."""
        ...

    def trained(
        self,
        batches: Sequence[Batch],
        steps: int,
        looks: Sequence[int] = (),
        seen: Callable[[int, Self], bool] | None = None,
    ) -> Self:
        """A new patient that has made ``steps`` steps of its loop on the batches, round and round, unmeasured.

        After each step of ``looks`` (in order) ``seen`` is shown it, to judge and not to change; where it answers True the
        training ends there.
        """
        ...

    def followed(self, batches: Sequence[Batch], steps: int, looks: Sequence[int], close: Sequence[int]) -> Followed[Self]:
        """The same training, watched: steps in ``close`` measured in full, copies kept as they were after each of ``looks``."""
        ...

    def judge(self, batches: Iterable[Batch]) -> Skill:
        """How much better than a constant answer it is on examples: the one yardstick for every edit."""
        ...

    def simple(self, training: Sequence[Batch], held: Sequence[Batch]) -> Skill | None:
        """How good a simple learner becomes at the same on the raw inputs; None where it does not apply."""
        ...

    def reborn(self, seed: int) -> Self:
        """A new patient with fresh initial weights from ``seed`` and a fresh optimizer."""
        ...


class Start(Protocol):
    """The state in which a watched training began, kept so that it can be replayed; holds nothing of the person's alive."""

    def keep(self) -> None:
        """Copy the present state, where it is not too large."""
        ...

    def meet(self) -> None:
        """Where no optimizer was given, know those that step the models, as they are at their first step."""
        ...

    def let_go(self) -> None:
        """The watched loop is over: meet no more."""
        ...

    def batches(self, given: Any, loss: Any, inputs: Sequence[InputSample] = (), compared: LossSample | None = None) -> Any:
        """Batches as people hand them over (arrays, a data set), in the form that the program was seen to use."""
        ...

    def loss_as_heard(self, sample: LossSample) -> Any:
        """The loss that a sample was taken of, as a function of (outputs, targets); None where more went into it."""
        ...

    def patient(
        self,
        batches: Sequence[Batch],
        loss: Any,
        loop: Loop,
        *,
        optimizer: Any = None,
        step: Any = None,
        score: Any = None,
        now: bool = False,
    ) -> Patient:
        """The program as it was then, or is ``now``, on copies; raises ``RequestError`` where it cannot be had."""
        ...


class Births(Protocol):
    """A program that can begin again from a seed: the person's factories, called in a known state of all random numbers."""

    def check(self) -> tuple[bool, bool, tuple[str, ...]]:
        """Whether the seed decides the initial weights, whether they were learned, and what must be said of the factories.

        Raises ``RequestError`` for a factory that gives the same object, or the same parameters, twice.
        """
        ...

    def born(self, seed: int, batches: Sequence[Batch]) -> Patient:
        """The untouched program at its start, from a seed; ``batches`` are those it will train on."""
        ...

    def seeded(self, seed: int, batches: Any = None) -> AbstractContextManager[None]:
        """Within, all random numbers begin at ``seed``, those of a loader too; afterwards they go on as before."""
        ...

    def paired(self, batches: Sequence[Batch]) -> tuple[Batch, ...]:
        """The batches with inputs and targets apart, where a batch holds both and the model takes the inputs alone."""
        ...

    def halves(self, batches: Sequence[Batch]) -> tuple[tuple[Batch, ...], tuple[Batch, ...]] | None:
        """Every second example of each batch, and the others; None where they cannot be told apart."""
        ...

    def odd(self, batches: Sequence[Batch]) -> dict[int, str]:
        """The few batches, by place from 1, that are not finite or on another scale than the rest, with what is odd of them."""
        ...

    def processes(self, patient: Any, most: int) -> tuple[int, str]:
        """How many forked processes can train it at once, ``most`` at most, and why it is one alone where it must be."""
        ...

    def apart(self) -> None:
        """Called first in a forked process that trains."""
        ...

    def fingerprint(self, patient: Any, batches: Sequence[Batch]) -> str:
        """The same for the same weights, optimizer and data, and for no other."""
        ...


class Recorder(Protocol):
    """Attached to a live loop: sees its steps and changes nothing."""

    on_step: Callable[[bool], None] | None
    """Called in the loop after each step that was looked at; told whether a diagnosis is due and paid for."""

    def attach(self) -> None:
        """Begin to watch."""
        ...

    def detach(self, error: BaseException | None = None) -> None:
        """Leave nothing behind; ``error`` is the exception that ended the loop, if one did."""
        ...

    def take(self) -> tuple[Step, ...]:
        """The steps seen since the last call, in order."""
        ...

    def trace(self) -> Trace:
        """All that was seen so far, with the meter."""
        ...

    def acted(self, action: Action) -> None:
        """First aid acted on the step that is being made: remember why and, where it was taken back, not what it did."""
        ...


Decide = Callable[[int, Reading, Callable[[], None]], None]
"""Judges a step: the number of its optimizer, what it shows, and what takes it back."""


class Guard(Protocol):
    """Attached to a live loop beside a recorder: undoes a step where its judge says so, before anybody sees it."""

    pending: Pending
    """What was heard since the last step; set, it goes on from there."""

    lowered: int
    """How often the learning rate is divided by ten in each step; the person's own stays as it is."""

    clip: float | None
    """The bound on the length of the gradient in each step, if there is one."""

    def heed(self, heed: Heed) -> None:
        """What to look at in the next step, besides what is always seen of one."""
        ...

    def treat(self, treatment: Treatment, bound: float | None = None) -> bool:
        """Begin a treatment after the step that is being judged; whether there was anything to treat."""
        ...

    def settle(self, treatment: str, *, undo: bool) -> None:
        """The treatment under way is over: keep what came of it, or go back to where it began."""
        ...

    def kept(self) -> dict[str, Any]:
        """What a treatment under way would go back to, and what was heard of units: tensors by name; empty where nothing is."""
        ...

    def keep(self, given: dict[str, Any]) -> None:
        """Go on with what ``kept`` gave."""
        ...

    def attach(self, decide: Decide) -> None:
        """Begin to guard."""
        ...

    def end(self) -> None:
        """Guard no more."""
        ...

    def detach(self) -> None:
        """Leave nothing behind."""
        ...
