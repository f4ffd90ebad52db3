"""From an ``Edit`` to the patient that it leaves: which part of a copied program each kind changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch import edits, reshaping
from isograd.frameworks.torch.batches import inputs_of, outputs_of, targets_of
from isograd.frameworks.torch.fitting import fitting_loss
from isograd.frameworks.torch.manner import BENT, CURVES, last_functions
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import mapped, standard
from isograd.frameworks.torch.state import untouched
from isograd.records.edit import Edit

if TYPE_CHECKING:
    from isograd.frameworks.torch.patient import TorchPatient


def applied(twin: Any, edit: Edit) -> Any:
    """The patient with the edit in it; ``twin`` is a copy already, and is used up.

    Raises ``ModelError`` where the edit changes nothing or cannot be done on this program.
    """
    perform = _PERFORM.get(edit.kind)
    if perform is None:
        raise ModelError(f"the torch door cannot do this: {edit.text}")
    return perform(twin, edit)


def _loop(**changes: Any) -> Callable[[TorchPatient, Edit], TorchPatient]:
    def perform(twin: TorchPatient, edit: Edit) -> TorchPatient:
        return dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, **changes))

    return perform


def _clip_norm(twin: TorchPatient, edit: Edit) -> TorchPatient:
    bound = None if edit.value is None else edits.number(edit)
    return dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, clip_norm=bound, clip_value=None))


def _steps(twin: TorchPatient, edit: Edit) -> TorchPatient:
    steps = max(1, int(edits.number(edit)))
    longer = steps / twin.loop.steps if twin.loop.steps else 1.0  # the schedule is stretched with the run
    rates = tuple((1 + round((step - 1) * longer), rate) for step, rate in twin.loop.rates)
    return dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, steps=steps, rates=rates))


def _learning_rate(twin: TorchPatient, edit: Edit) -> TorchPatient:
    rate, optimizer = edits.number(edit), _optimizer(twin, "learning rate")
    before = float(optimizer.param_groups[0]["lr"])
    edits.set_learning_rate(optimizer, rate)
    if before:
        rates = tuple((step, value * rate / before) for step, value in twin.loop.rates)
        twin = dataclasses.replace(twin, loop=dataclasses.replace(twin.loop, rates=rates))
    return twin


def _constant(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.set_constant(_optimizer(twin, edit.kind), edit)
    return twin


def _another_optimizer(twin: TorchPatient, edit: Edit) -> TorchPatient:
    loop = dataclasses.replace(twin.loop, rates=())
    return dataclasses.replace(twin, optimizer=edits.another_optimizer(twin.models, str(edit.value)), loop=loop)


def _parameters(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.give_parameters(twin.models, _optimizer(twin, "parameters"))
    return twin


def _unfreeze(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.unfreeze(twin.models)
    held = _optimizer(twin, "parameters")
    if any(id(p) not in _held(held) for p in edits.every_parameter(twin.models)):
        edits.give_parameters(twin.models, held)
    return twin


def _inputs(twin: TorchPatient, edit: Edit) -> TorchPatient:
    by = standard(twin.known, targets=False)
    both = all(_copied(batch) for batch in twin.known)  # an autoencoder: what is wrong with the one is wrong with the other
    return dataclasses.replace(twin, data=twin.data.but(inputs=by, targets=by if both else twin.data.targets))


def _copied(batch: Any) -> bool:
    """Whether the targets are the inputs."""
    inputs, targets = next(tensors_in(inputs_of(batch)), None), next(tensors_in(targets_of(batch)), None)
    if inputs is None or targets is None or inputs.shape != targets.shape or inputs.dtype != targets.dtype:
        return False
    return bool(((inputs == targets) | (inputs != inputs)).all())


def _targets(twin: TorchPatient, edit: Edit) -> TorchPatient:
    return dataclasses.replace(twin, data=twin.data.but(targets=standard(twin.known, targets=True)))


def _shuffle(twin: TorchPatient, edit: Edit) -> TorchPatient:
    return dataclasses.replace(twin, data=twin.data.but(mixed=True))


def _batch_size(twin: TorchPatient, edit: Edit) -> TorchPatient:
    return dataclasses.replace(twin, data=twin.data.but(size=max(1, int(edits.number(edit)))))


def _loss(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if twin.step is not None:
        raise ModelError("the loss is inside the step function", remedy="give batches and loss instead of step")
    _, last = _last(twin)
    return dataclasses.replace(twin, loss=fitting_loss, manner=twin.manner.but(last=last))


def _leave_out_last(twin: TorchPatient, edit: Edit) -> TorchPatient:
    names, last = _last(twin)
    if not names:
        raise ModelError("no function comes after the last weighted layer")
    return dataclasses.replace(twin, manner=twin.manner.but(last=last))


def _last(twin: TorchPatient) -> tuple[tuple[str, ...], frozenset[int]]:
    if not twin.known:
        raise ModelError("which functions come last is seen on a batch, and there is none")
    with untouched(twin.models):
        return last_functions(twin.models, lambda: outputs_of(twin.models, inputs_of(twin.known[0])))


def _keep_graph(twin: TorchPatient, edit: Edit) -> TorchPatient:
    return dataclasses.replace(twin, manner=twin.manner.but(keep_graph=True))


def _precision(twin: TorchPatient, edit: Edit) -> TorchPatient:
    if all(p.dtype in (torch.float32, torch.float64) for p in edits.every_parameter(twin.models)):
        raise ModelError("the model computes in float32 or better already")
    for model in twin.models:
        model.float()  # in place: the optimizer goes on holding the parameters

    def wide(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.is_floating_point() else tensor

    return dataclasses.replace(twin, data=twin.data.but(wide=True), batch=mapped(twin.batch, wide))


def _dropout(twin: TorchPatient, edit: Edit) -> TorchPatient:
    p = edits.number(edit)
    for model in twin.models:
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = p
    return dataclasses.replace(twin, manner=twin.manner.but(dropout=p))


def _initialisation(twin: TorchPatient, edit: Edit) -> TorchPatient:
    edits.draw_again(twin.models, edit, torch.Generator().manual_seed(twin.seed))
    return twin.forgetful()


def _activation(twin: TorchPatient, edit: Edit) -> TorchPatient:
    replaced = edits.replace_activations(twin.models, edit)
    if not edit.where and edit.before in BENT and edit.value in CURVES:
        return dataclasses.replace(twin, manner=twin.manner.but(swap=(str(edit.before), str(edit.value))))
    if not replaced:
        raise ModelError(
            "there is no activation module to replace",
            where=edit.where or "the model",
            remedy="use nn.ReLU() and the like as modules, or say which function is replaced",
        )
    return twin


def _width(twin: TorchPatient, edit: Edit) -> TorchPatient:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(twin.seed)
        reshaping.widen(twin.models, edits.number(edit))
    if twin.optimizer is None:
        return twin
    return dataclasses.replace(twin, optimizer=edits.same_optimizer(twin.models, twin.optimizer))


def _normalisation(twin: TorchPatient, edit: Edit) -> TorchPatient:
    reshaping.normalise(twin.models)
    return twin


def _residual(twin: TorchPatient, edit: Edit) -> TorchPatient:
    reshaping.add_inputs(twin.models)
    return twin


def _optimizer(twin: TorchPatient, what: str) -> Optimizer:
    if twin.optimizer is None:
        raise ModelError(f"there is no optimizer whose {what} could be changed")
    return twin.optimizer


def _held(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


_PERFORM: dict[str, Callable[[TorchPatient, Edit], TorchPatient]] = {
    "clear_gradients": _loop(clears=1, clears_early=False),
    "train_mode": _loop(evaluating=False),
    "fresh_batches": _loop(same_batch=False),
    "constant_rate": _loop(rates=()),
    "keep_weights": _loop(redraws=0),
    "steps": _steps,
    "clip_norm": _clip_norm,
    "parameters": _parameters,
    "unfreeze": _unfreeze,
    "learning_rate": _learning_rate,
    "optimizer": _another_optimizer,
    "momentum": _constant,
    "beta1": _constant,
    "beta2": _constant,
    "eps": _constant,
    "weight_decay": _constant,
    "input_scale": _inputs,
    "target_scale": _targets,
    "shuffle": _shuffle,
    "batch_size": _batch_size,
    "loss": _loss,
    "last": _leave_out_last,
    "keep_graph": _keep_graph,
    "precision": _precision,
    "dropout": _dropout,
    "initialisation": _initialisation,
    "activation": _activation,
    "width": _width,
    "normalisation": _normalisation,
    "residual": _residual,
}
