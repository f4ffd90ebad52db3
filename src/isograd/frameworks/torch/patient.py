"""A torch model with its loss and optimizer as a ``Patient``: describe, observe, edit, train and judge, all on copies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch import edits, stepping, yardsticks
from isograd.frameworks.torch.applying import applied
from isograd.frameworks.torch.copying import as_one, members_of, together, without_memory
from isograd.frameworks.torch.describe import checked, describe
from isograd.frameworks.torch.fitting import matched
from isograd.frameworks.torch.judging import WORST
from isograd.frameworks.torch.manner import Manner, running
from isograd.frameworks.torch.mixing import mixed_rows
from isograd.frameworks.torch.operations import loss_name
from isograd.frameworks.torch.preparing import Data
from isograd.frameworks.torch.probing import Along
from isograd.frameworks.torch.recorder import TorchRecorder
from isograd.frameworks.torch.simple import simple_skill
from isograd.frameworks.torch.state import same_random_streams, seeded
from isograd.ports import Followed, Patient
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.loop import Loop
from isograd.records.skill import Skill
from isograd.records.trace import Step, Trace


class _Still(Optimizer):
    """An optimizer that changes nothing: it marks where a step ends for a patient that has none."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        """Change nothing."""


@dataclass(frozen=True, slots=True)
class TorchPatient(Patient):
    """Models, a batch, a loss and an optimizer; every method leaves them as they are and works on deep copies.

    ``loss`` takes (outputs, targets); without one the model gives its own loss (its output, ``.loss`` or ``["loss"]``).
    Several models are called one after the other, each with what the last one gave. Without an optimizer nothing is updated:
    the backward pass alone is measured. ``kept`` names the parameters that ``reborn`` could not draw anew. ``known`` are
    batches that an edit of the data takes its statistics from, ``loop`` the habits of the program's loop, ``step`` its own
    step function, ``score`` the person's own yardstick, a function of the model; ``data`` and ``manner`` are what edits have
    changed, ``heard`` the program's own loss where an edit took another: it goes on saying what is compared with what.
    ``seed`` is that of the random numbers of a training (dropout, augmentation, weights that an edit draws): patients with the
    same seed differ by their edits alone.
    """

    models: tuple[nn.Module, ...]
    batch: Any
    loss: Any
    optimizer: Optimizer | None
    loop: Loop = Loop()
    kept: tuple[str, ...] = ()
    known: tuple[Any, ...] = ()
    step: stepping.Own | None = None
    score: Callable[[Any], float] | None = None
    data: Data = Data()
    manner: Manner = Manner()
    seed: int = 0
    heard: Any = None

    @classmethod
    def copy_of(cls, model: Any, batch: Any, loss: Any, optimizer: Any) -> Self:
        """A patient apart from the person's objects. Raises ``ModelError`` for a model or optimizer that cannot be used."""
        models = checked(model, training=True)
        chosen = None if optimizer is None else as_one(optimizer)
        for one in () if chosen is None else members_of(chosen):
            TorchRecorder(models, [one])  # raises where it holds other parameters
        copies, own_loss, own_optimizer = together(models, loss, chosen)
        return cls(copies, batch, own_loss, own_optimizer, known=() if batch is None else (batch,))

    def describe(self) -> Anatomy:
        """What the network is; its flow is seen on the patient's batch, where it has one."""
        return describe(self.models, self.batch, self.loss, self.optimizer)

    def observe(self, batches: Iterable[Any], steps: int) -> Trace:
        """Run ``steps`` real optimizer steps with everything measured at every step; fewer where the batches end.

        A model in evaluation mode is trained in training mode. Random streams stay as they are. Raises ``ModelError`` naming
        shapes, types and devices where model, batch and loss do not fit.
        """
        batches = iter(batches)
        first = list(islice(batches, 1))
        mixed = self._mixed(first)
        batches = chain(first, batches)
        twin = self.copy()
        optimizer = twin.optimizer or _Still([p for model in twin.models for p in model.parameters() if p.requires_grad])
        for model in twin.models:
            if not model.training:
                model.train()
        recorder = TorchRecorder(twin.models, members_of(optimizer), budget=None, eager=True)
        loop = dataclasses.replace(twin.loop, evaluating=False)
        with (
            same_random_streams(),
            torch.enable_grad(),
            torch.compiler.set_stance("force_eager"),
            running(twin.models, twin.manner),
        ):
            recorder.attach()
            try:
                with Along(optimizer) as along:
                    rates, left = stepping.Rates(optimizer, loop, steps), map(twin.data.scaled, batches)
                    for index in range(1, steps + 1):
                        taken = list(islice(left, loop.accumulate))
                        if not taken:
                            break
                        rates.set(index)
                        with _second(index):
                            stepping.one_step(twin.models, optimizer, twin.loss, loop, taken, index, twin.step)
            finally:
                recorder.detach()
        if recorder.stopped_by is not None:
            raise recorder.stopped_by
        trace = recorder.trace()
        anatomy = dataclasses.replace(trace.anatomy, loss=loss_name(self.loss) or trace.anatomy.loss)
        if self.optimizer is None:
            unheld = tuple(dataclasses.replace(parameter, in_optimizer=None) for parameter in anatomy.parameters)
            anatomy = dataclasses.replace(anatomy, optimizer=None, parameters=unheld)
            trace = dataclasses.replace(trace, steps=tuple(_without_updates(step) for step in trace.steps))
        seen = [_without_sameness(step) for step in trace.steps]
        if seen:
            seen[0] = dataclasses.replace(seen[0], facts=(*seen[0].facts, *along.facts, *mixed))
        return dataclasses.replace(trace, anatomy=anatomy, steps=tuple(seen))

    def _mixed(self, batches: Sequence[Any]) -> list[Fact]:
        """Whether the answer to a row of the first batch depends on the rows beside it."""
        if not batches or self.step is not None:
            return []
        twin = self._unmoved()
        with running(twin.models, twin.manner):
            found = mixed_rows(twin.models, twin.data.scaled(batches[0]))
        return [] if found is None else [found]

    def apply(self, edit: Edit) -> Self:
        """A new patient that differs by ``edit`` alone; ``Edit.where`` limits an edit of layers to one path.

        Raises ``ModelError`` where this program has nothing that the edit could change.
        """
        patient: Self = applied(self.copy(), edit)
        return patient

    def trained(
        self,
        batches: Sequence[Any],
        steps: int,
        looks: Sequence[int] = (),
        seen: Callable[[int, Self], bool] | None = None,
    ) -> Self:
        """A new patient after ``steps`` steps of the loop, the batches round and round; random numbers from ``seed``.

        After each step of ``looks`` (in order) ``seen`` is shown it in the middle of its training, to judge and not to change;
        where it answers True the training ends there.

        Raises ``ModelError`` where model, batch and loss do not fit.
        """
        return self.copy()._going(batches, steps, looks, seen)

    def followed(self, batches: Sequence[Any], steps: int, looks: Sequence[int], close: Sequence[int]) -> Followed[Self]:
        """The very training that ``trained`` makes, watched: the first two steps and those in ``close`` are measured in full.

        Gives the trace, and copies to be judged as they were after each step of ``looks``. What ends it early is no error here:
        it is given back.
        """
        twin, stages = self.copy(), list[tuple[int, Self]]()
        if twin.optimizer is None:
            raise ModelError("there is no optimizer to train with", remedy="give the optimizer")
        recorder = TorchRecorder(twin.models, members_of(twin.optimizer), budget=None, eager=True, only=frozenset(close))

        def seen(step: int, now: Self) -> bool:
            stages.append((step, now._unmoved()))
            return False

        error: Exception | None = None
        recorder.attach()
        try:
            twin._going(batches, steps, looks, seen)
        except Exception as raised:  # noqa: BLE001 - whatever the program raises, for the one who asked
            error = raised
        finally:
            recorder.detach(error)
        trace = recorder.trace()
        told = dataclasses.replace(trace, steps=tuple(_without_sameness(step) for step in trace.steps))
        return Followed(told, tuple(stages), error)

    def _going(
        self, batches: Sequence[Any], steps: int, looks: Sequence[int], seen: Callable[[int, Self], bool] | None
    ) -> Self:
        """Train in place."""
        if self.optimizer is None:
            raise ModelError("there is no optimizer to train with", remedy="give the optimizer")
        prepared = self.data.prepared(batches)
        with seeded(self.seed), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            going = stepping.run(self.models, self.optimizer, self.loss, self.loop, prepared, steps, self.step)
            made = 0
            for stop in (*(look for look in looks if look < steps), steps):
                with running(self.models, self.manner):  # left at each look: a copy must not carry what it hangs on a model
                    made += sum(1 for _ in islice(going, stop - made))
                if seen is not None and stop in looks and seen(stop, self):
                    break
        return self

    def judge(self, batches: Iterable[Any]) -> Skill:
        """Calibrated skill on all examples of the batches together, in evaluation mode; see ``judging.skill_of``.

        What is judged is found by ``yardsticks.seen``; of several outputs it is the mean. Raises ``ModelError`` where no
        yardstick fits and no ``score`` was given.
        """
        twin = self._unmoved()
        with (
            same_random_streams(),
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),
            running(twin.models, twin.manner),
        ):
            for model in twin.models:
                model.eval()
            if twin.score is not None:
                value = float(twin.score(twin.models[0] if len(twin.models) == 1 else twin.models))
                return Skill(value if math.isfinite(value) else WORST, 0)
            with _judging(self.step):
                found = yardsticks.seen(twin.models, map(twin.data.scaled, batches), twin.heard or twin.loss, twin.step)
        if not found:
            raise RequestError("there are no examples to judge by")
        return yardsticks.judged(found)

    def simple(self, training: Sequence[Any], held: Sequence[Any]) -> Skill | None:
        """What a simple learner makes of the raw inputs (``simple.simple_skill``), where it is judged as the program is."""
        if self.step is not None or self.score is not None or not held:
            return None
        twin = self._unmoved()
        with same_random_streams(), torch.no_grad(), running(twin.models, twin.manner):
            for model in twin.models:
                model.eval()
            parts = yardsticks.seen(twin.models, held[:1], twin.heard or twin.loss)[0]
        if len(parts) != 1 or parts[0].how != "targets":
            return None
        found = matched(parts[0].made, parts[0].wanted)
        return simple_skill(training, held, found.task, found.outputs.shape[1])

    def reborn(self, seed: int) -> Self:
        """A new patient with fresh weights from ``seed`` and a fresh optimizer with the same settings.

        Modules are reset by their ``reset_parameters``; an initialisation of the person's own is not known here. Parameters
        that nothing resets stay and are named in ``kept``.
        """
        twin = self.copy()
        with same_random_streams():
            torch.manual_seed(seed)
            kept = edits.born_again(twin.models)
        return dataclasses.replace(twin.forgetful(), kept=kept)

    def copy(self) -> Self:
        """A patient with copies of everything but the batch."""
        models, loss, optimizer = together(self.models, self.loss, self.optimizer)
        return dataclasses.replace(self, models=models, loss=loss, optimizer=optimizer)

    def _unmoved(self) -> Self:
        """The same to be judged and not to be trained: the optimizer, whose moments are the larger part, is not copied."""
        models, loss, _ = together(self.models, self.loss, None)
        return dataclasses.replace(self, models=models, loss=loss, optimizer=None)

    def forgetful(self) -> Self:
        """The same with an optimizer that remembers nothing; uses this one up."""
        return self if self.optimizer is None else dataclasses.replace(self, optimizer=without_memory(self.optimizer))


@contextmanager
def _second(index: int) -> Iterator[None]:
    """Within, a failure that the first step did not meet is told as what it is."""
    try:
        yield
    except ModelError as error:
        if index == 1:
            raise
        raise ModelError(
            f"step {index} failed, and the step before it did not",
            where=error.faults[0].where,
            met=f"{error.faults[0].what}: {error.faults[0].met}",
            remedy="something stays in the module from one call to the next: detach it, or set it anew in forward",
        ) from error


@contextmanager
def _judging(step: stepping.Own | None) -> Iterator[None]:
    """Within, a batch that only a step of the person's own can read is told as that."""
    try:
        yield
    except ModelError as error:
        if step is None:
            raise
        raise ModelError(
            "the model is judged on batches of (inputs, targets), and these only the step function can read",
            met=f"{error.faults[0].what}: {error.faults[0].met}",
            remedy="score=, a function of the model that says how good it is: higher is better",
        ) from error


def _without_updates(step: Step) -> Step:
    parameters = tuple(dataclasses.replace(sample, update=None, motion=None) for sample in step.parameters)
    return dataclasses.replace(step, parameters=parameters, learning_rate=None)


def _without_sameness(step: Step) -> Step:
    """Which batches come is for the caller to say here, not for the person's loop."""
    return dataclasses.replace(step, facts=tuple(fact for fact in step.facts if fact.kind != "same_batch"))
