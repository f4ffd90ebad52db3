"""Data whose structure is known: small tables and pictures, drawn anew from fixed seeds or bundled with scikit-learn."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

Sets = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Training rows and held-out rows, each (inputs..., target)."""


def generator(seed: int = 0) -> torch.Generator:
    """Random numbers of the data alone: the program's own stream stays as it is."""
    return torch.Generator().manual_seed(seed)


def halves(x: Tensor, *rest: Tensor, train: int) -> Sets:
    """The first ``train`` rows, and the others."""
    whole = (x, *rest)
    return tuple(t[:train] for t in whole), tuple(t[train:] for t in whole)


def blobs(classes: int, inputs: int, spread: float, rows: int = 3000, train: int = 1000) -> Sets:
    """Gaussian clouds of unit variance around centres at a distance of about ``spread * sqrt(2 inputs)``."""
    g = generator(classes)
    y = torch.randint(0, classes, (rows,), generator=g)
    centres = spread * torch.randn(classes, inputs, generator=g)
    return halves(centres[y] + torch.randn(rows, inputs, generator=g), y, train=train)


def rings(classes: int, noise: float, rows: int = 3000, train: int = 1000) -> Sets:
    """Rings around each other in the plane."""
    g = generator(classes)
    y = torch.randint(0, classes, (rows,), generator=g)
    angle, radius = 2 * torch.pi * torch.rand(rows, generator=g), (1.0 + y) / classes
    x = torch.stack([radius * angle.cos(), radius * angle.sin()], 1) + noise * torch.randn(rows, 2, generator=g)
    return halves(2.0 * x, y, train=train)


def friedman(noise: float, inputs: int = 10, rows: int = 3000, train: int = 1000) -> Sets:
    """Friedman's first function of five of the inputs, scaled to unit variance, and noise. Target (N, 1)."""
    g = generator(inputs)
    x = torch.rand(rows, inputs, generator=g)
    y = 10 * (torch.pi * x[:, 0] * x[:, 1]).sin() + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y = (y - y.mean()) / y.std() + noise * torch.randn(rows, generator=g)
    return halves((x - 0.5) * 12**0.5, y[:, None], train=train)


def waves(inputs: int, outputs: int, noise: float, rows: int = 3000, train: int = 1000) -> Sets:
    """Sines of random projections. Target (N, outputs)."""
    g = generator(inputs)
    x = torch.randn(rows, inputs, generator=g)
    y = (1.5 * x @ torch.randn(inputs, outputs, generator=g) / inputs**0.5).sin()
    return halves(x, y + noise * torch.randn(rows, outputs, generator=g), train=train)


def weak(inputs: int, skill: float, rows: int = 30_000, train: int = 6000) -> Sets:
    """Two classes that a linear rule tells apart, (1 + skill) / 2 of the labels being right: nobody can do better."""
    g = generator(inputs)
    x = torch.randn(rows, inputs, generator=g)
    y = (x @ torch.randn(inputs, generator=g) > 0).long()
    flipped = torch.rand(rows, generator=g) < (1.0 - skill) / 2
    return halves(x, torch.where(flipped, 1 - y, y), train=train)


@functools.cache
def bundled(name: str) -> tuple[Any, Any]:
    """A table that comes with scikit-learn, shuffled once; the inputs as they are."""
    table = getattr(datasets, f"load_{name}")()
    order = np.random.default_rng(0).permutation(len(table.target))
    return table.data[order], table.target[order]


def table(name: str, *, train: int, scaled: bool = True) -> Sets:
    """Wine, breast_cancer, iris or digits as rows, standardised unless told otherwise. Target: classes."""
    x, y = bundled(name)
    if scaled:
        x = (x - x[:train].mean(0)) / (x[:train].std(0) + 1e-9)
    return halves(torch.tensor(x, dtype=torch.float32), torch.tensor(y), train=train)


def digits(train: int = 1000) -> Sets:
    """Digits of 8 by 8 pixels: (N, 1, 8, 8) in [0, 1]. Target: classes."""
    x, y = bundled("digits")
    return halves(torch.tensor(x / 16.0, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y), train=train)


def shapes(size: int = 12, channels: int = 1, rows: int = 1600, train: int = 1000, noise: float = 0.3) -> Sets:
    """Pictures of a bar, upright or lying, a disc or a ring somewhere in noise: (N, channels, size, size). Target: classes."""
    g = generator(size)
    y = torch.randint(0, 4, (rows,), generator=g)
    centre = size * (0.3 + 0.4 * torch.rand(rows, 2, 1, 1, generator=g))
    grid = torch.arange(size, dtype=torch.float32)
    down, right = (grid[:, None] - centre[:, 0]).abs(), (grid[None] - centre[:, 1]).abs()
    distance = (down**2 + right**2).sqrt()
    kinds = torch.stack(
        [(right < 1) & (down < 4), (down < 1) & (right < 4), distance < 3, (distance - 3.2).abs() < 0.8], 1
    ).float()
    clean = kinds[torch.arange(rows), y][:, None].expand(-1, channels, -1, -1)
    return halves(clean + noise * torch.randn(rows, channels, size, size, generator=g), y, train=train)
