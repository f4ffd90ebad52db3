"""What a loss is for the best constant answer on a batch: the floor that a model without inputs can reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from isograd.records.batch import UNSEEN

ENTRIES = 65_536
"""Entries of a target or output that are looked at, at most."""

FEW = 16
"""Examples from which on every position of an image or a sequence has a constant of its own; below, every channel has."""

CLASSES = 4_096
"""Classes that are counted one by one, at most."""

Find = Callable[[Mapping[str, Any], str], float | None]
"""From the arguments by name and the reduction to the floor."""


def wide(tensor: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def every(count: int, limit: int) -> int:
    """The odd stride that leaves at most ``limit`` of ``count``.

    >>> every(10, 100), every(1000, 100)
    (1, 11)
    """
    stride = -(-count // max(1, limit))
    return stride if stride == 1 else stride | 1


def floor_of(function: str, given: Mapping[str, Any], reduction: str) -> float | None:
    r"""The least loss of a constant answer, :math:`\min_c L(c, t)`, by the same function, weights and reduction.

    Nothing where the function has no such answer, or none that is known here.

    >>> t = torch.tensor([[0.0], [2.0]])
    >>> floor_of("mse_loss", {"input": t, "target": t}, "mean"), floor_of("l1_loss", {"input": t, "target": t}, "sum")
    (1.0, 2.0)
    """
    find = _FLOORS.get(function)
    if find is None:
        return None
    found = find(given, reduction)
    return found if found is not None and math.isfinite(found) else None


def _of_mass(mass: Tensor, divisor: float) -> float | None:
    r"""``min_p -sum_c q_c log p_c`` over distributions p, which is at p = q / Q: ``Q log Q - sum q log q``."""
    total = float(mass.sum())
    if not total > 0.0 or not divisor > 0.0 or float(mass.min()) < 0.0:
        return None
    return max(0.0, total * math.log(total) - float(torch.special.xlogy(mass, mass).sum())) / divisor


def cross_entropy(given: Mapping[str, Any], reduction: str) -> float | None:
    r"""For class indices and for class probabilities, with class weights w, ignored index and label smoothing e.

    The loss is ``-sum_c q_c log p_c / W`` with ``q_c = (1 - e) w_c n_c + (e / C) w_c n``, and for indices
    ``W = sum_c w_c n_c``.
    """
    output, target = given["input"], given["target"]
    classes = output.shape[0] if output.ndim == 1 else output.shape[1]
    smoothing, weight = float(given.get("label_smoothing") or 0.0), given.get("weight")
    scale = 1.0 if weight is None else wide(weight.detach())
    if target.is_floating_point():
        axes = [axis for axis in range(target.ndim) if axis != (0 if target.ndim == 1 else 1)]
        counts = wide(target.detach()).sum(axes) if axes else wide(target.detach())
        examples = float(target.numel() // classes)
        mass = scale * ((1.0 - smoothing) * counts + smoothing / classes * examples)
        return _of_mass(mass, 1.0 if reduction == "sum" else examples)
    labels = labels_of(target.reshape(-1), int(given.get("ignore_index", -100)), classes)
    if labels is None:
        return None
    if weight is None and not smoothing and classes <= 1_000:  # the usual case without a dozen small operations
        numbers = [float(count) for count in torch.bincount(labels).tolist() if count]
        examples = sum(numbers)
        least = examples * math.log(examples) - math.fsum(number * math.log(number) for number in numbers)
        return max(0.0, least) / (1.0 if reduction == "sum" else examples)
    counts = wide(torch.bincount(labels, minlength=classes))
    if classes > CLASSES and float((counts == 1).sum()) > UNSEEN * labels.numel():
        return None  # nobody will count the labels of several batches together
    examples, weighed = float(labels.numel()), float((scale * counts).sum())
    mass = scale * ((1.0 - smoothing) * counts + smoothing / classes * examples)
    return _of_mass(mass, {"sum": 1.0, "none": examples}.get(reduction, weighed))


def labels_of(labels: Tensor, ignored: int, classes: int) -> Tensor | None:
    """The class indices that count; nothing where there is none, or where one is outside of the classes."""
    if not labels.numel():
        return None
    low, high = (int(extreme) for extreme in torch.aminmax(labels))
    if low <= ignored <= high:
        labels = labels[labels != ignored]
        return labels_of(labels, low - 1 if low < ignored else -1, classes)
    return labels if low >= 0 and high < classes else None


def columns(target: Tensor) -> Tensor:
    """The target as (examples, positions): each column gets a constant of its own; of very many positions some are taken."""
    if target.ndim < 2:
        return target.reshape(-1, 1)
    if target.ndim == 2 or len(target) >= FEW:
        table = target.reshape(len(target), -1)
        return table[:, :: every(table.numel(), ENTRIES)] if table.shape[1] > 1 else table[:: every(len(table), ENTRIES)]
    channel = 1 if target.ndim > 3 else -1
    table = target.movedim(channel, -1).reshape(-1, target.shape[channel])
    return table[:: every(table.numel(), ENTRIES)]


def _table(given: Mapping[str, Any]) -> tuple[Tensor, int] | None:
    """The target by columns, in float64, and how many terms the loss has; one column where it is spread over the output."""
    output, target = given["input"], given["target"].detach()
    if not target.numel():
        return None
    if output.shape == target.shape:
        return wide(columns(target)), target.numel()
    terms = _spread(tuple(output.shape), tuple(target.shape))
    return wide(target.reshape(-1, 1)[:: every(target.numel(), ENTRIES)]), terms


def _spread(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Entries of two shapes that are spread against each other."""
    long, short = sorted((one, other), key=len, reverse=True)
    filled = (1,) * (len(long) - len(short)) + short
    return math.prod(max(a, b) for a, b in zip(long, filled, strict=True))


def _elementwise(
    least: Callable[[Tensor, Mapping[str, Any]], float | None],
) -> Callable[[Mapping[str, Any], str], float | None]:
    def find(given: Mapping[str, Any], reduction: str) -> float | None:
        found = _table(given)
        if found is None or given.get("weight") is not None:
            return None
        mean = least(found[0], given)
        return mean if mean is None or reduction != "sum" else mean * found[1]

    return find


def _squared(table: Tensor, given: Mapping[str, Any]) -> float:
    return float(table.var(0, correction=0).mean())


def _absolute(table: Tensor, given: Mapping[str, Any]) -> float:
    return float((table - table.median(0).values).abs().mean())


def _huber(table: Tensor, given: Mapping[str, Any]) -> float:
    """By halving: the slope ``mean clip(t - c, -delta, delta)`` falls in c; 24 halvings leave a loss that is right to 1e-12."""
    delta = float(given.get("delta", 1.0))
    low, high = table.amin(0), table.amax(0)
    if float((high - low).max()) <= delta:
        return _squared(table, given) / 2
    for _ in range(24):
        middle = (low + high) / 2
        above = (table - middle).clamp(-delta, delta).mean(0) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    away = (table - (low + high) / 2).abs()
    return float(torch.where(away < delta, away.square() / 2, delta * (away - delta / 2)).mean())


def _smooth(table: Tensor, given: Mapping[str, Any]) -> float:
    beta = float(given.get("beta", 1.0))
    return _huber(table, {"delta": beta}) / beta if beta > 0.0 else _absolute(table, given)


def _poisson(table: Tensor, given: Mapping[str, Any]) -> float | None:
    mean = table.mean(0)
    if given.get("full") or float(mean.min()) < 0.0:
        return None
    return float((mean - torch.special.xlogy(mean, mean)).mean())


def _binary(given: Mapping[str, Any], reduction: str) -> float | None:
    r"""``-(a log p + b log(1 - p))`` a column, least at p = a / (a + b); a and b hold weights and positive weights."""
    output, target = given["input"], given["target"].detach()
    if output.shape != target.shape or not target.numel():
        return None
    positive, negative = wide(target), 1.0 - wide(target)
    if float(positive.min()) < 0.0 or float(negative.min()) < 0.0:
        return None
    if given.get("pos_weight") is not None:
        positive = positive * given["pos_weight"].detach()
    if given.get("weight") is not None:
        positive, negative = positive * given["weight"].detach(), negative * given["weight"].detach()
    a, b = columns(positive).mean(0), columns(negative).mean(0)
    whole, one, other = (torch.special.xlogy(part, part) for part in (a + b, a, b))
    mean = float((whole - one - other).mean())
    return mean * target.numel() if reduction == "sum" else mean


def least_of_shares(given: Mapping[str, Any], reduction: str) -> float:
    r"""What perfect answers pay where targets are shares: their entropy, :math:`-t \log t - (1 - t) \log(1 - t)`.

    0 where weights make it another sum, or where a target is no share.

    >>> halves = torch.full((4, 3), 0.5)
    >>> round(least_of_shares({"input": halves, "target": halves}, "mean") / math.log(2.0), 6)
    1.0
    """
    output, target = given["input"], given["target"].detach()
    weighted = given.get("weight") is not None or given.get("pos_weight") is not None
    if weighted or output.shape != target.shape or not target.numel():
        return 0.0
    share = wide(columns(target))
    if float(share.min()) < 0.0 or float(share.max()) > 1.0:
        return 0.0
    mean = -float((torch.special.xlogy(share, share) + torch.special.xlogy(1.0 - share, 1.0 - share)).mean())
    return mean * target.numel() if reduction == "sum" else mean


def _divergence(given: Mapping[str, Any], reduction: str) -> float | None:
    target = wide(given["target"].detach())
    target = target.exp() if given.get("log_target") else target
    if target.shape != given["input"].shape or target.ndim < 2:
        return None
    least = _of_mass(target.reshape(-1, target.shape[-1]).sum(0), 1.0)
    if least is None:
        return None
    divisor: int = {"sum": 1, "batchmean": len(target)}.get(reduction, target.numel())
    return (least + float(torch.special.xlogy(target, target).sum())) / divisor


def _ranking(given: Mapping[str, Any], reduction: str) -> float | None:
    """Scores that are all the same pay the margin for every pair, whichever is to be the higher."""
    target, margin = given.get("target"), float(given.get("margin") or 0.0)
    if margin <= 0.0 or not isinstance(target, Tensor):
        return None
    return margin * target.numel() if reduction == "sum" else margin


_FLOORS: dict[str, Find] = {
    "cross_entropy": cross_entropy,
    "nll_loss": cross_entropy,
    "mse_loss": _elementwise(_squared),
    "l1_loss": _elementwise(_absolute),
    "smooth_l1_loss": _elementwise(_smooth),
    "huber_loss": _elementwise(_huber),
    "poisson_nll_loss": _elementwise(_poisson),
    "binary_cross_entropy": _binary,
    "binary_cross_entropy_with_logits": _binary,
    "kl_div": _divergence,
    "margin_ranking_loss": _ranking,
}
