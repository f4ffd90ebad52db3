"""Edits of the loop and of the optimizer: what they make of a patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch import edits, mending
from isograd.frameworks.torch.places import tensors_in
from isograd.records.edit import VALUES, Edit

if TYPE_CHECKING:
    from isograd.frameworks.torch.patient import TorchPatient


def _loop(**changes: Any) -> Callable[[TorchPatient, Edit], TorchPatient]:
    def perform(twin: TorchPatient, edit: Edit) -> TorchPatient:
        return dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, **changes))

    return perform


def _flag(name: str, on: Any, off: Any) -> Callable[[TorchPatient, Edit], TorchPatient]:
    def perform(twin: TorchPatient, edit: Edit) -> TorchPatient:
        early = {"clears_early": False} if name == "clears" else {}
        return _loop(**{name: off if edit.off else on}, **early)(twin, edit)

    return perform


def _fresh_batches(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if twin.loop.same_batch and not edit.off and len(twin.known) > 1 and all(alike(twin.known[0], one) for one in twin.known):
        raise ModelError(
            "there is no other batch to take: all that were given are one and the same",
            remedy="give the loader, or batches of all the data",
        )
    return _flag("same_batch", False, True)(twin, edit)


def alike(one: Any, other: Any) -> bool:
    """Whether two batches hold the same tensors, or equal ones."""
    pairs = list(zip(tensors_in(one), tensors_in(other), strict=False))
    return bool(pairs) and all(a is b or (a.shape == b.shape and torch.equal(a, b)) for a, b in pairs)


def _clip(twin: TorchPatient, edit: Edit) -> TorchPatient:
    """One way of clipping at a time: a new one takes the place of the old, and none takes it away, hooks on gradients too."""
    names = ("clip_norm", "clip_value", "clip_unit")
    if twin.step is not None and any(getattr(twin.loop, name) is not None for name in names):
        raise ModelError("the gradient is clipped inside the step function", remedy="give batches and loss instead of step")
    bound = None if edit.off else above(edit, 0.0)
    if edit.off and edit.kind == "clip_norm":
        edits.leave_gradients(twin.models)
    return _loop(**{name: bound if name == edit.kind else None for name in names})(twin, edit)


def _rate_form(twin: TorchPatient, edit: Edit) -> TorchPatient:
    optimizer_of(twin, "learning rate")
    if edit.kind == "warm_up":
        return _loop(warm_up=0 if edit.off else int(above(edit, 0.0, whole=True)))(twin, edit)
    if not edit.off and edit.value not in VALUES["schedule"]:
        raise ModelError(f"no schedule is called {edit.value!r}", remedy=" or ".join(VALUES["schedule"]))
    return _loop(schedule=None if edit.off else edit.value)(twin, edit)


def _accumulate(twin: TorchPatient, edit: Edit) -> TorchPatient:
    _not_own(twin, "how many batches make a step is decided")
    return _loop(accumulate=1 if edit.off else int(above(edit, 1.0, whole=True)))(twin, edit)


def _loss_scale(twin: TorchPatient, edit: Edit) -> TorchPatient:
    _not_own(twin, "the loss is")
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in edits.every_parameter(twin.models)):
        raise ModelError(
            "the gradients are in half precision themselves, where a scaled one is too small again once it is divided",
            remedy='Edit("precision", "float32")',
        )
    return _loop(loss_scale=None if edit.off else above(edit, 0.0))(twin, edit)


def _decay(twin: TorchPatient, edit: Edit) -> TorchPatient:
    optimizer_of(twin, "weight decay")
    return _loop(**{edit.kind: 0.0 if edit.off else edits.number(edit)})(twin, edit)


def _forget(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if not mending.reset_moments(optimizer_of(twin, "state"), edits.parameters_at(twin.models, edit.where)):
        raise ModelError("the optimizer remembers nothing yet", where=edit.where)
    return twin


def _not_own(twin: TorchPatient, what: str) -> None:
    if twin.step is not None:
        raise ModelError(f"{what} inside the step function", remedy="give batches and loss instead of step")


def above(edit: Edit, least: float, *, whole: bool = False) -> float:
    """The number of an edit, which has to be above ``least`` (a whole one: ``least`` itself or more)."""
    value = edits.number(edit)
    if not (value >= least and value == round(value) if whole else value > least):
        raise ModelError(
            f"{edit.kind} is a {'whole number' if whole else 'number above'} {'from ' if whole else ''}{least:g}, not {value:g}"
        )
    return value


def _steps(twin: TorchPatient, edit: Edit) -> TorchPatient:
    steps = max(1, int(edits.number(edit)))
    longer = steps / twin.loop.steps if twin.loop.steps else 1.0  # the schedule is stretched with the run
    rates = tuple((1 + round((step - 1) * longer), rate) for step, rate in twin.loop.rates)
    return dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, steps=steps, rates=rates))


def _learning_rate(twin: TorchPatient, edit: Edit) -> TorchPatient:
    """The rate; where it changes over the run, the highest, which is what a warm-up rises to and a program says."""
    rate, optimizer = edits.number(edit), optimizer_of(twin, "learning rate")
    highest, first = twin.loop.highest, twin.loop.rate(1)
    if not highest:
        edits.set_learning_rate(optimizer, rate)
        return twin
    edits.set_learning_rate(optimizer, rate * (first or highest) / highest)
    rates = tuple((step, value * rate / highest) for step, value in twin.loop.rates)
    return dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, rates=rates))


def _constant(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.set_constant(optimizer_of(twin, edit.kind), edit)
    return twin


def _another_optimizer(twin: TorchPatient, edit: Edit) -> TorchPatient:
    loop = dataclasses.replace(twin.loop, rates=())
    return dataclasses.replace(twin, optimizer=edits.another_optimizer(twin.models, str(edit.value), twin.optimizer), loop=loop)


def _unfreeze(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.unfreeze(twin.models)
    held = optimizer_of(twin, "parameters")
    if any(id(p) not in _held(held) for p in edits.every_parameter(twin.models)):
        edits.give_parameters(twin.models, held)
    return twin


def optimizer_of(twin: TorchPatient, what: str) -> Optimizer:
    """Its optimizer; raises ``ModelError`` where there is none whose ``what`` could be changed."""
    if twin.optimizer is None:
        raise ModelError(f"there is no optimizer whose {what} could be changed")
    return twin.optimizer


def _held(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


TRAINING: dict[str, Callable[[TorchPatient, Edit], TorchPatient]] = {
    "clear_gradients": _flag("clears", 1, 0),
    "train_mode": _flag("evaluating", False, True),
    "fresh_batches": _fresh_batches,
    "constant_rate": _loop(rates=(), schedule=None, warm_up=None),
    "keep_weights": _loop(redraws=0),
    "take_steps": _loop(idle=False),
    "steps": _steps,
    "clip_norm": _clip,
    "clip_value": _clip,
    "clip_unit": _clip,
    "schedule": _rate_form,
    "warm_up": _rate_form,
    "accumulate": _accumulate,
    "loss_scale": _loss_scale,
    "unfreeze": _unfreeze,
    "learning_rate": _learning_rate,
    "optimizer": _another_optimizer,
    "momentum": _constant,
    "beta1": _constant,
    "beta2": _constant,
    "eps": _constant,
    "weight_decay": _constant,
    "decay_l1": _decay,
    "decay_decoupled": _decay,
    "reset_state": _forget,
}
"""What each kind does."""
