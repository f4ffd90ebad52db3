"""How good a trained model is on examples it never saw: 0 is what an ignorant answer reaches, 1 is perfect."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _bounded(value: float) -> float:
    return max(-1.0, min(1.0, value)) if math.isfinite(value) else 0.0


def of_classes(outputs: Tensor, classes: Tensor) -> float:
    """(accuracy - share of the most frequent class) / (1 - that share); ``outputs`` (N, C), or (N,) or (N, 1) logits.

    >>> of_classes(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    1.0
    """
    classes = classes.reshape(-1)
    if not bool(torch.isfinite(outputs).all()):
        return 0.0
    wide = outputs.dim() > 1 and outputs.shape[-1] > 1
    answers = outputs.argmax(-1) if wide else (outputs > 0).long()
    right = (answers.reshape(-1) == classes.long()).double().mean().item()
    majority = classes.long().bincount().max().item() / len(classes)
    return _bounded((right - majority) / (1.0 - majority))


def of_numbers(outputs: Tensor, targets: Tensor) -> float:
    """R2 over all entries, each column against its own mean, clipped to [-1, 1]; 0 where it cannot be said.

    >>> of_numbers(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 3.0]))
    1.0
    """
    targets = targets.reshape(len(targets), -1).double()
    outputs = outputs.reshape(targets.shape).double()
    wrong = (outputs - targets).square().sum().item()
    spread = (targets - targets.mean(0)).square().sum().item()
    return _bounded(1.0 - wrong / spread) if spread else 0.0


def of_ranking(scores: Tensor, liked: Tensor) -> float:
    """2 AUC - 1: how much more often a liked one is scored above another than the other way round.

    >>> of_ranking(torch.tensor([0.9, 0.1]), torch.tensor([1, 0]))
    1.0
    """
    scores, liked = scores.reshape(-1).double(), liked.reshape(-1).bool()
    if not bool(torch.isfinite(scores).all()):
        return 0.0
    difference = scores[liked][:, None] - scores[~liked][None]
    return _bounded(difference.sign().mean().item())


def of_samples(made: Tensor, real: Tensor) -> float:
    """1 - energy distance of the two samples, in units of the real one's distance from its own mean; in [-1, 1].

    A generator that always gives the mean reaches 0 in these units, one that draws from the distribution 1.
    Source: Szekely and Rizzo 2013, Energy statistics.

    >>> of_samples(torch.zeros(4, 1), torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]))
    0.0
    """
    if not bool(torch.isfinite(made).all()):
        return 0.0
    made, real = made.double(), real.double()
    centre = real.mean(0, keepdim=True)
    own = torch.cdist(real, real).mean()
    ignorant = 2.0 * torch.cdist(centre, real).mean() - own
    distance = 2.0 * torch.cdist(made, real).mean() - torch.cdist(made, made).mean() - own
    return _bounded(1.0 - (distance / ignorant).item())
