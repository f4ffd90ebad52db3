"""Six small data sets in the forms that the families of networks read: rows, pictures, sequences; train and test parts."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

TEST = 400


@dataclass(frozen=True)
class Data:
    """Inputs and targets; ``classes`` is 0 for numbers to foretell."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: int


FORMS = {
    "dense": ("digits", "wine", "cancer", "teacher", "surface"),
    "conv": ("digits", "waves"),
    "recurrent": ("digits", "waves"),
    "attention": ("digits", "waves", "wine"),
}
"""The data sets of each family."""


@functools.cache
def load(name: str, family: str) -> Data:
    """A data set as the family reads it: (N, F), (N, 1, 8, 8) or (N, C, T) for convolutions, (N, T, F) for the others."""
    x, y, classes = {"waves": _waves, "teacher": _teacher, "surface": _surface}.get(name, functools.partial(_bundled, name))()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    x, y = x[order], y[order]
    if family == "conv":
        x = x.reshape(-1, 1, 8, 8) if name == "digits" else x.transpose(1, 2).contiguous()
    elif family in ("recurrent", "attention"):
        x = x.reshape(-1, 8, 8) if name == "digits" else x[:, :, None] if x.ndim == 2 else x
    elif x.ndim > 2:
        x = x.flatten(1)
    held = min(TEST, len(x) // 3)
    return Data((x[held:], y[held:]), (x[:held], y[:held]), classes)


def _bundled(name: str) -> tuple[Tensor, Tensor, int]:
    from sklearn import datasets

    found = {"digits": datasets.load_digits, "wine": datasets.load_wine, "cancer": datasets.load_breast_cancer}[name]()
    x = torch.tensor(found.data, dtype=torch.float32)
    y = torch.tensor(found.target)
    x = (x - 5.0) / 6.0 if name == "digits" else (x - x.mean(0)) / x.std(0)
    return x, y, int(y.max()) + 1


def _waves() -> tuple[Tensor, Tensor, int]:
    """Sequences of 16 steps and 3 channels: the class is how often a wave of random phase goes up and down."""
    draw = torch.Generator().manual_seed(1)
    y = torch.randint(0, 5, (2000,), generator=draw)
    time = torch.arange(16) / 16.0
    phase = (torch.rand(2000, 1, generator=draw) + torch.arange(3) / 6.0) * 2 * math.pi
    wave = torch.sin(2 * math.pi * (y[:, None, None] + 1) * time[None, :, None] + phase[:, None, :])
    return wave + 0.3 * torch.randn(wave.shape, generator=draw), y, 5


def _teacher() -> tuple[Tensor, Tensor, int]:
    """Classes by a random network of two layers."""
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(2000, 16, generator=draw)
    hidden = torch.tanh(x @ torch.randn(16, 24, generator=draw) / 3.0)
    return x, (hidden @ torch.randn(24, 4, generator=draw)).argmax(1), 4


def _surface() -> tuple[Tensor, Tensor, int]:
    """A number that a random network of two layers gives, with a little noise; zero mean, unit variance."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(2000, 12, generator=draw)
    y = torch.tanh(x @ torch.randn(12, 16, generator=draw) / 3.0) @ torch.randn(16, 1, generator=draw)
    y = (y - y.mean()) / y.std() + 0.1 * torch.randn(y.shape, generator=draw)
    return x, y, 0
