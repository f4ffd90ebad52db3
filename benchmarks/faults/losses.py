"""Losses that do not fit: what a person writes when the right one was mixed up with another."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class UnknownLossError(Exception):
    """A mistake in the grounds themselves, never counted as a fault's effect."""


def of_classes(kind: str, outputs: Tensor, classes: Tensor) -> Tensor:
    """A wrong loss for logits (N, C) and class indices (N,)."""
    if kind == "missing log":
        return F.nll_loss(torch.softmax(outputs, 1), classes)
    if kind == "nll of logits":
        return F.nll_loss(outputs, classes)
    if kind == "wrong axis":
        return F.nll_loss(F.log_softmax(outputs, dim=0), classes)
    if kind == "absolute":
        return F.l1_loss(outputs, F.one_hot(classes, outputs.shape[1]).to(outputs.dtype))
    if kind == "squared index":
        return F.mse_loss(outputs.mean(1), classes.to(outputs.dtype))
    return _any(kind, F.cross_entropy(outputs, classes))


def of_binary(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """A wrong loss for one logit an example, (N,) or (N, 1), and targets 0 or 1 of the same shape."""
    if kind == "missing log":
        return -(torch.sigmoid(outputs) * targets + (1 - torch.sigmoid(outputs)) * (1 - targets)).mean()
    if kind == "logits as probabilities":
        return F.binary_cross_entropy(outputs, targets)
    if kind == "broadcast":
        return F.mse_loss(outputs.reshape(-1, 1), targets.reshape(1, -1).expand(outputs.numel(), -1))
    if kind == "absolute":
        return F.l1_loss(outputs, targets)
    if kind == "one column":
        column = outputs.reshape(-1, 1)
        return F.cross_entropy(column, torch.zeros(len(column), dtype=torch.long))
    return _any(kind, F.binary_cross_entropy_with_logits(outputs, targets))


def of_numbers(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """A wrong loss for numbers: outputs and targets of the same shape, (N,) or (N, D)."""
    if kind == "broadcast":
        return (outputs.reshape(-1, 1) - targets.reshape(-1)).square().mean()
    if kind == "broadcast the other way":
        return (targets.reshape(-1, 1) - outputs.reshape(-1)).square().mean()
    if kind == "cross-entropy":
        return F.binary_cross_entropy_with_logits(outputs, targets)
    if kind == "no square":
        return (outputs - targets).mean()
    return _any(kind, F.mse_loss(outputs, targets))


def _any(kind: str, right: Tensor) -> Tensor:
    if kind == "negated":
        return -right
    if kind == "wrapped":
        return torch.tensor(right.item(), requires_grad=True)
    if kind == "number":
        return torch.tensor(right.item())
    raise UnknownLossError(f"no loss is called {kind!r}")
