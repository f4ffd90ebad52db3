"""Small healthy networks of five families, on scikit-learn's digits and a known function: what a bad value is put into."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, make_friedman1
from torch import Tensor, nn

from isograd.frameworks.torch.patient import TorchPatient
from isograd.records.loop import Loop

STEPS, BATCH = 80, 32
FAMILIES = ("dense", "convolutional", "recurrent", "attention", "regression")
SIZES = ((16, 2), (32, 3), (64, 5))
"""Width and depth (layers with weights) of each reference; a recurrent or attention network has the layers it has."""
RATES = {"adaptive": 3e-3, "sgd": 0.05}


@dataclass(frozen=True)
class Reference:
    """A healthy patient, its batches, and examples to judge by."""

    patient: TorchPatient
    batches: tuple[Any, ...]
    held: tuple[Any, ...]

    def skill(self, steps: int = STEPS) -> float:
        """Skill after so many steps; a network that cannot be run has the worst."""
        return self.patient.trained(self.batches, steps).judge(self.held).value

    def but(self, **changes: Any) -> Reference:
        """The same with another patient field, or other batches."""
        mine = {key: changes.pop(key) for key in ("batches", "held") if key in changes}
        return dataclasses.replace(self, patient=dataclasses.replace(self.patient, **changes), **mine)

    def loop(self, **changes: Any) -> Reference:
        """The same with other habits of the loop."""
        return self.but(loop=dataclasses.replace(self.patient.loop, **changes))


class Tokens(nn.Module):
    """The eight rows of a picture as a sequence: through a GRU, or an encoder with attention."""

    def __init__(self, width: int, depth: int, *, attention: bool) -> None:
        super().__init__()
        self.first: nn.Module = nn.Linear(8, width) if attention else nn.GRU(8, width, batch_first=True)
        self.place = nn.Parameter(0.3 * torch.randn(8, width)) if attention else None
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
            for _ in range(depth // 2 if attention else 0)
        )
        self.drop = nn.Dropout(0.0)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, 8) to (N, 10)."""
        if self.place is None:
            return self.head(self.drop(self.first(x)[0][:, -1]))  # type: ignore[no-any-return]
        x = self.first(x) + self.place
        for layer in self.encoder:
            x = layer(x)
        return self.head(self.drop(x.mean(1)))  # type: ignore[no-any-return]


def dense(inputs: int, width: int, depth: int, outputs: int, curve: type[nn.Module], *, norm: bool = False) -> nn.Sequential:
    """A chain of linear layers with dropout (off) and, where asked for, batch normalisation."""
    layers: list[nn.Module] = []
    for place in range(depth - 1):
        layers += [
            nn.Linear(inputs if place == 0 else width, width),
            *([nn.BatchNorm1d(width)] if norm else []),
            curve(),
            nn.Dropout(0.0),
        ]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convolutional(width: int, depth: int, curve: type[nn.Module], *, norm: bool = False) -> nn.Sequential:
    """Convolutions, two of them pooled, and a linear head."""
    channels = max(4, width // 2)
    layers: list[nn.Module] = []
    for place in range(max(2, depth - 1)):
        layers += [nn.Conv2d(1 if place == 0 else channels, channels, 3, padding=1)]
        layers += [*([nn.BatchNorm2d(channels)] if norm else []), curve(), *([nn.MaxPool2d(2)] if place < 2 else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.0), nn.Linear(4 * channels, 10))


def network(family: str, width: int, depth: int, curve: type[nn.Module] = nn.ReLU, *, norm: bool = False) -> nn.Module:
    """The network of a family."""
    if family == "dense":
        return dense(64, width, depth, 10, curve, norm=norm)
    if family == "regression":
        return dense(10, width, depth, 1, curve, norm=norm)
    if family == "convolutional":
        return convolutional(width, depth, curve, norm=norm)
    return Tokens(max(16, width), depth, attention=family == "attention")


@functools.cache
def examples(family: str) -> tuple[Tensor, Tensor]:
    """Standardised inputs and targets, mixed."""
    if family == "regression":
        x, y = make_friedman1(2_000, 10, noise=0.5, random_state=0)
        inputs, targets = torch.tensor((x - 0.5) / x.std(), dtype=torch.float32), torch.tensor((y - y.mean()) / y.std())
        return inputs, targets.float()[:, None]
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    pictures = torch.tensor((x[order] - x.mean()) / x.std(), dtype=torch.float32)
    shape = {"convolutional": (-1, 1, 8, 8), "dense": (-1, 64)}.get(family, (-1, 8, 8))
    return pictures.reshape(shape), torch.tensor(y[order])


def batches_of(x: Tensor, y: Tensor, size: int = BATCH) -> tuple[Any, ...]:
    """Pairs of so many examples."""
    return tuple((x[at : at + size], y[at : at + size]) for at in range(0, len(x) - size + 1, size))


def reference(
    family: str, size: int, kind: str = "adaptive", curve: type[nn.Module] = nn.ReLU, *, norm: bool = False
) -> Reference:
    """A healthy network with a healthy optimizer."""
    width, depth = SIZES[size]
    torch.manual_seed(size)
    model = network(family, width, depth, curve, norm=norm)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), RATES["adaptive"])
    if kind == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), RATES["sgd"], momentum=0.9)
    x, y = examples(family)
    cut = len(x) - 400
    loss = nn.functional.mse_loss if family == "regression" else nn.functional.cross_entropy
    batches = batches_of(x[:cut], y[:cut])
    patient = TorchPatient.copy_of(model, batches[0], loss, optimizer)
    return Reference(dataclasses.replace(patient, loop=Loop()), batches, ((x[cut:], y[cut:]),))
