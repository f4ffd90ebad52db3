"""A torch model with its loss and optimizer as a ``Patient``: describe, observe, apply, reborn, all on copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch import edits
from isograd.frameworks.torch.batches import first_line, inputs_of, loss_of, outputs_of, targets_of
from isograd.frameworks.torch.copying import together, without_memory
from isograd.frameworks.torch.describe import checked, describe
from isograd.frameworks.torch.operations import loss_name
from isograd.frameworks.torch.recorder import TorchRecorder
from isograd.frameworks.torch.state import same_random_streams
from isograd.ports import Patient
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
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
    the backward pass alone is measured. ``kept`` names the parameters that ``reborn`` could not draw anew.
    """

    models: tuple[nn.Module, ...]
    batch: Any
    loss: Any
    optimizer: Optimizer | None
    clip_norm: float | None = None
    kept: tuple[str, ...] = ()

    @classmethod
    def copy_of(cls, model: Any, batch: Any, loss: Any, optimizer: Any) -> Self:
        """A patient apart from the person's objects. Raises ``ModelError`` for a model or optimizer that cannot be used."""
        models = checked(model, training=True)
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            kind = type(optimizer).__name__
            raise ModelError("the optimizer is not a torch optimizer", met=kind, remedy="pass torch.optim.SGD(...) or the like")
        if optimizer is not None:
            TorchRecorder(models, [optimizer])  # raises where it holds other parameters
        copies, own_loss, own_optimizer = together(models, loss, optimizer)
        return cls(copies, batch, own_loss, own_optimizer)

    def describe(self) -> Anatomy:
        """What the network is; its flow is seen on the patient's batch, where it has one."""
        return describe(self.models, self.batch, self.loss, self.optimizer)

    def observe(self, batches: Iterable[Any], steps: int) -> Trace:
        """Run ``steps`` real optimizer steps with everything measured at every step; fewer where the batches end.

        A model in evaluation mode is trained in training mode. Random streams stay as they are. Raises ``ModelError`` naming
        shapes, types and devices where model, batch and loss do not fit.
        """
        twin = self.copy()
        optimizer = twin.optimizer or _Still([p for model in twin.models for p in model.parameters() if p.requires_grad])
        for model in twin.models:
            if not model.training:
                model.train()
        recorder = TorchRecorder(twin.models, [optimizer], budget=None, eager=True)
        with same_random_streams(), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            recorder.attach()
            try:
                for batch in islice(batches, steps):
                    twin._step(optimizer, batch)
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
        return dataclasses.replace(trace, anatomy=anatomy, steps=tuple(_without_sameness(step) for step in trace.steps))

    def apply(self, edit: Edit) -> Self:
        """A new patient that differs by ``edit`` alone; ``Edit.where`` limits an edit of layers to one path."""
        twin = self.copy()
        if edit.kind == "clip_norm":
            return dataclasses.replace(twin, clip_norm=None if edit.value is None else edits.number(edit))
        if edit.kind == "learning_rate":
            rate = edits.number(edit)
            if twin.optimizer is None:
                raise ModelError("there is no optimizer whose learning rate could be changed")
            edits.set_learning_rate(twin.optimizer, rate)
            return twin
        if edit.kind == "activation":
            edits.replace_activations(twin.models, edit)
            return twin
        edits.draw_again(twin.models, edit, torch.Generator().manual_seed(0))
        return twin._forgetful()

    def reborn(self, seed: int) -> Self:
        """A new patient with fresh weights from ``seed`` and a fresh optimizer with the same settings.

        Modules are reset by their ``reset_parameters``; an initialisation of the person's own is not known here. Parameters
        that nothing resets stay and are named in ``kept``.
        """
        twin = self.copy()
        with same_random_streams():
            torch.manual_seed(seed)
            kept = edits.born_again(twin.models)
        return dataclasses.replace(twin._forgetful(), kept=kept)

    def copy(self) -> Self:
        """A patient with copies of everything but the batch."""
        models, loss, optimizer = together(self.models, self.loss, self.optimizer)
        return dataclasses.replace(self, models=models, loss=loss, optimizer=optimizer)

    def _forgetful(self) -> Self:
        return self if self.optimizer is None else dataclasses.replace(self, optimizer=without_memory(self.optimizer))

    def _step(self, optimizer: Optimizer, batch: Any) -> None:
        def evaluate() -> Tensor:
            for model in self.models:
                model.zero_grad()
            loss = loss_of(self.loss, outputs_of(self.models, inputs_of(batch)), targets_of(batch))
            try:
                loss.backward()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                raise ModelError("the backward pass failed", met=f"torch says: {first_line(error)}") from error
            if self.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_([p for model in self.models for p in model.parameters()], self.clip_norm)
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):  # evaluates several times a step
            optimizer.step(evaluate)  # type: ignore[no-untyped-call]
        else:
            evaluate()
            optimizer.step()


def _without_updates(step: Step) -> Step:
    parameters = tuple(dataclasses.replace(sample, update=None, motion=None) for sample in step.parameters)
    return dataclasses.replace(step, parameters=parameters, learning_rate=None)


def _without_sameness(step: Step) -> Step:
    """Which batches come is for the caller to say here, not for the person's loop."""
    return dataclasses.replace(step, facts=tuple(fact for fact in step.facts if fact.kind != "same_batch"))
