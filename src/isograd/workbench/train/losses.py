"""What a training makes small: cross-entropy or squared error, weighted by class or focused on what is still hard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from isograd.records.schema import REGRESSIONS

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_of(
    task: str, *, kind: str = "auto", gamma: float = 2.0, weights: Sequence[float] | None = None, smoothing: float = 0.0
) -> Loss:
    r"""The mean loss over the rows of a batch: squared error for values, for classes cross-entropy of logits, or "focal".

    .. math:: -\frac1N \sum_i \sum_c w_c \, y_{ic} (1 - p_{ic})^\gamma \log p_{ic}

    Targets are class numbers (N,) or shares of classes (N, classes). ``weights`` have the mean 1 over the training rows, so
    that the size of the loss, and a good learning rate, stay what they are; the mean is over rows, not over weights, so that
    a batch with few rare rows is not blown up. ``smoothing`` spreads so much of each label evenly over all classes.
    Source: Lin et al. 2017, arXiv:1708.02002 (focal; gamma 0 is cross-entropy); Szegedy et al. 2016, arXiv:1512.00567.

    >>> loss_of("regression")(torch.tensor([[1.0]]), torch.tensor([[3.0]])).item()
    4.0
    >>> focal = loss_of("classification", kind="focal")
    >>> sure, unsure = (focal(torch.tensor([[x, 0.0]]), torch.tensor([0])) for x in (4.0, 0.0))
    >>> bool(unsure / sure > 1000)
    True
    """
    if task in REGRESSIONS:
        return F.mse_loss
    if kind == "auto" and weights is None:
        return F.cross_entropy if not smoothing else partial(F.cross_entropy, label_smoothing=smoothing)
    scale = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def weighted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weight = None if scale is None else scale.to(outputs.device)
        return F.cross_entropy(outputs, targets, weight=weight, reduction="sum", label_smoothing=smoothing) / len(outputs)

    def focal(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        log_p = F.log_softmax(outputs, dim=1)
        # 1 - p, and never 0: the slope of a power below 1 is infinite there
        hard = (-torch.expm1(log_p)).clamp(min=1e-12) ** gamma * log_p
        if scale is not None:
            hard = hard * scale.to(outputs.device)
        if smoothing:
            targets = spread(targets, outputs.shape[1], smoothing)
        if targets.ndim == 1:
            return -hard.gather(1, targets[:, None]).mean()
        return -(targets * hard).sum(dim=1).mean()

    return focal if kind == "focal" else weighted


def spread(targets: torch.Tensor, classes: int, share: float) -> torch.Tensor:
    """Class numbers (N,) or shares of classes (N, classes) as shares, of which ``share`` is spread over all classes alike.

    >>> spread(torch.tensor([1]), 2, 0.2)
    tensor([[0.1000, 0.9000]])
    """
    shares = F.one_hot(targets, classes).float() if targets.ndim == 1 else targets
    return (1.0 - share) * shares + share / classes


def stepwise(loss: Loss) -> Loss:
    """A loss over the steps that are there, of outputs (rows, steps, outputs): a target below 0, or NaN, is of none.

    >>> squares = stepwise(F.mse_loss)
    >>> squares(torch.zeros(1, 2, 1), torch.tensor([[[2.0], [torch.nan]]])).item()
    4.0
    """

    def each(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        there = ~targets[:, :, 0].isnan() if targets.is_floating_point() else targets >= 0
        return loss(outputs[there], targets[there])

    return each


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    r"""Weights by which every class counts alike: :math:`w_c = N / (K N_c)`, whose mean over the N rows is 1.

    A class without rows gets 0. Source: King and Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868.

    >>> balanced_weights((90, 10))
    (0.5555555555555556, 5.0)
    """
    classes = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (classes * count) if count else 0.0 for count in counts)
