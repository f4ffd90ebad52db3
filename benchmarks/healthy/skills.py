"""Final skill on held-out examples: 0 is what the best constant answer reaches, 1 is perfect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def accuracy(predicted: Tensor, y: Tensor) -> float:
    """(accuracy - share of the largest class) / (1 - share of the largest class); ``predicted`` are classes."""
    right = (predicted == y).double().mean().item()
    largest = torch.bincount(y.flatten()).max().item() / y.numel()
    return (right - largest) / (1.0 - largest)


def balanced(predicted: Tensor, y: Tensor) -> float:
    """(mean recall over classes - 1/C) / (1 - 1/C)."""
    classes = y.unique()
    recall = torch.stack([(predicted[y == label] == label).double().mean() for label in classes]).mean().item()
    return (recall - 1.0 / len(classes)) / (1.0 - 1.0 / len(classes))


def r2(predicted: Tensor, y: Tensor) -> float:
    """1 - squared error / variance, with an error of shapes where they differ."""
    if predicted.shape != y.shape:
        raise ValueError(f"{tuple(predicted.shape)} against {tuple(y.shape)}")
    y = y.double()
    return 1.0 - ((predicted.double() - y).square().mean() / (y - y.mean(0)).square().mean()).item()


def explained(loss: float, ignorant: float, perfect: float = 0.0) -> float:
    """The share of the way from the loss of an ignorant model to that of a perfect one."""
    return (ignorant - loss) / (ignorant - perfect)


def distance(left: Tensor, right: Tensor, directions: int = 64) -> float:
    """Sliced Wasserstein-1 distance of two samples of equal size, over directions that are always the same."""
    generator = torch.Generator().manual_seed(1)
    rays = torch.nn.functional.normalize(torch.randn(left.shape[1], directions, generator=generator), dim=0)
    return ((left @ rays).sort(0).values - (right @ rays).sort(0).values).abs().mean().item()


def likeness(fake: Tensor, real: Tensor) -> float:
    """How near a generator comes to the data: 1 - its distance over that of the best single point, the mean."""
    point = real.mean(0, keepdim=True).expand_as(real)
    return 1.0 - distance(fake.float(), real) / distance(point, real)


@torch.no_grad()
def evaluated(model: nn.Module, test: tuple[Tensor, ...], skill: Callable[[Any, Tensor], float]) -> float:
    """Skill of a model in evaluation mode on (inputs..., target)."""
    *x, y = test
    dtype = next(model.parameters()).dtype
    model.eval()
    return skill(model(*(t.to(dtype) if t.is_floating_point() else t for t in x)), y)


def classes(output: Tensor, y: Tensor) -> float:
    """``accuracy`` of logits (N, C)."""
    return accuracy(output.argmax(1), y)


def signs(output: Tensor, y: Tensor) -> float:
    """``accuracy`` of one logit an example, (N,) or (N, 1), against labels 0 and 1 of the same shape."""
    return accuracy((output > 0).flatten().long(), y.flatten().long())
