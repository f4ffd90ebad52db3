"""Activations, right and wrong, as modules and as functions, and what a wrong last layer does to the outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Curve = Callable[[Tensor], Tensor]


class Sign(nn.Module):
    """-1 or 1: a step has no slope to learn by."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return torch.sign(x)


MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
    "sign": Sign,
    "softmax": nn.Softmax,
    "threshold": nn.Hardshrink,
}
FUNCTIONS: dict[str, Curve] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
    "sign": torch.sign,
    "softmax": lambda x: torch.softmax(x, -1),
    "threshold": F.hardshrink,
}


def module(name: str, right: type[nn.Module]) -> nn.Module:
    """The activation between two layers as a module."""
    if name == "right":
        return right()
    return nn.Softmax(dim=-1) if name == "softmax" else MODULES[name]()


def function(name: str, right: Curve) -> Curve:
    """The activation between two layers as a function."""
    return right if name == "right" else FUNCTIONS[name]


def last_modules(name: str) -> list[nn.Module]:
    """What stands behind the last layer of a Sequential: nothing where all is right."""
    behind: dict[str, list[nn.Module]] = {
        "right": [],
        "relu": [nn.ReLU()],
        "tanh": [nn.Tanh()],
        "sigmoid": [nn.Sigmoid()],
        "softmax": [nn.Softmax(dim=-1)],
        "batch softmax": [nn.Softmax(dim=0)],
    }
    return behind[name]


def last(name: str, outputs: Tensor) -> Tensor:
    """The outputs of a network after a last activation that does not belong there; as they are where all is right."""
    if name == "relu":
        return F.relu(outputs)
    if name == "tanh":
        return torch.tanh(outputs)
    if name == "sigmoid":
        return torch.sigmoid(outputs)
    if name == "softmax":
        return torch.softmax(outputs, dim=-1)
    return torch.softmax(outputs, dim=0) if name == "batch softmax" else outputs
