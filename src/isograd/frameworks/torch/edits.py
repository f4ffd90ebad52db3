"""Perform an ``Edit`` on a copy of a model and its optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError, did_you_mean
from isograd.frameworks.torch.operations import of_module
from isograd.frameworks.torch.places import modules_of
from isograd.records.edit import Edit

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
"""The activations that an edit can put in, by the names of their functions."""


def number(edit: Edit) -> float:
    """The value of an edit that takes a number; raises ``ModelError`` for another."""
    if edit.value is None or isinstance(edit.value, str):
        raise ModelError(f"{edit.kind} takes a number, not {edit.value!r}")
    return float(edit.value)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def replace_activations(models: Sequence[nn.Module], edit: Edit) -> None:
    """Put another activation in the place of each activation module at ``edit.where``.

    Raises ``ModelError`` for an unknown one, and where there is no module to replace: a function called in ``forward`` is
    the person's code.
    """
    name = str(edit.value)
    if name not in ACTIVATIONS:
        remedy = did_you_mean(name, ACTIVATIONS) or ", ".join(ACTIVATIONS)
        raise ModelError(f"no activation is called {edit.value!r}", remedy=remedy)
    new: dict[int, nn.Module] = {}  # what was shared stays shared
    for path, module in modules_of(models):
        for child, present in list(module._modules.items()):
            here = f"{path}.{child}".lstrip(".")
            chosen = edit.where.partition("@")[0] in ("", here) or id(present) in new
            if present is not None and chosen and of_module(present)[0] == "activation":
                module._modules[child] = new.setdefault(id(present), ACTIVATIONS[name]().train(present.training))
    if not new:
        where = edit.where or "the model"
        raise ModelError(
            "there is no activation module to replace", where=where, remedy="use nn.ReLU() and the like as modules"
        )


def draw_again(models: Sequence[nn.Module], edit: Edit, generator: torch.Generator) -> None:
    """Draw the weights of linear, convolutional and recurrent layers at ``edit.where`` by a named rule; biases become zero.

    he: normal with variance 2 / fan_in; lecun: normal, 1 / fan_in; glorot: uniform, 2 / (fan_in + fan_out); orthogonal: rows
    or columns of norm 1.
    """
    rule = _RULES.get(str(edit.value))
    if rule is None:
        raise ModelError(f"no initialisation is called {edit.value!r}; there are {', '.join(_RULES)}")
    found = False
    for weight, fan_in in _weights(models, edit.where.partition("@")[0]):
        found = True
        with torch.no_grad():
            if weight.ndim < 2:
                weight.zero_()
                continue
            drawn = torch.empty(weight.shape, dtype=weight.dtype)  # on the host, so that every device gets the same numbers
            rule(drawn, fan_in, generator)
            weight.copy_(drawn)
    if not found:
        raise ModelError("there is no layer whose weights could be drawn again", where=edit.where or "the model")


def born_again(models: Sequence[nn.Module]) -> tuple[str, ...]:
    """Reset every module that knows how, from the present random stream; gives the parameters that nothing reset."""
    reset: set[int] = set()
    for _, module in modules_of(models):
        again = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if callable(again) and not inspect.signature(again).parameters:
            again()
            reset.update(id(parameter) for parameter in module.parameters())
    return tuple(name for model in models for name, parameter in model.named_parameters() if id(parameter) not in reset)


def _weights(models: Sequence[nn.Module], where: str) -> Iterator[tuple[Tensor, int]]:
    """Weights and biases with the fan_in of their layer."""
    for path, module in modules_of(models):
        operation, settings = of_module(module)
        if operation in ("linear", "conv", "recurrent") and where in ("", path):
            for parameter in module.parameters():
                yield parameter, int(dict(settings).get("fan_in", parameter.shape[-1]))


Rule = Callable[[Tensor, int, torch.Generator], object]

_RULES: dict[str, Rule] = {
    "he": lambda weight, fan_in, generator: weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator),
    "lecun": lambda weight, fan_in, generator: weight.normal_(0.0, (1.0 / fan_in) ** 0.5, generator=generator),
    "glorot": lambda weight, _, generator: nn.init.xavier_uniform_(weight, generator=generator),
    "orthogonal": lambda weight, _, generator: nn.init.orthogonal_(weight, generator=generator),
}
