"""What a batch brings to a model: sums of each tensor, and how the columns of a table compare."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from isograd.frameworks.torch.alike import spread
from isograd.frameworks.torch.sums import moments
from isograd.records.batch import Features, InputSample

EXAMPLES = 64
"""Examples that are compared with one another."""
COLUMNS = 65_536
"""Columns from which a table is too wide to be compared column by column."""


def input_sample(where: str, position: int, tensor: Tensor, *, closely: bool = False) -> InputSample | None:
    """The sums of one input; nothing where it holds no numbers that can be summed (strings, booleans, sparse tensors).

    ``closely``: and what its examples and positions have in common.
    """
    if tensor.layout != torch.strided or tensor.dtype == torch.bool:
        return None
    values = tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()
    found = moments(values)
    if found is None:
        return None
    real = not values.is_complex() and values.numel() > 0
    low, high = (float(extreme) for extreme in torch.aminmax(values)) if real else (math.nan, math.nan)
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    table = tensor.ndim == 2 and tensor.is_floating_point() and len(tensor) > 1 and 1 <= tensor.shape[1] < COLUMNS
    sample = InputSample(where, position, shape, dtype, found, low, high, features(tensor) if table else None)
    if not closely or not tensor.is_floating_point() or not tensor.numel() or tensor.ndim < 2 or found.nonfinite:
        return sample
    return dataclasses.replace(sample, sequences=alike(tensor, -1), pictures=alike(tensor, 1) if tensor.ndim > 2 else ())


def alike(tensor: Tensor, unit_axis: int) -> tuple[float, ...]:
    r"""What places of (examples b, ..., units at ``unit_axis``) have in common, as shares of the mean square.

    .. math:: E[x_{b,p} x_{b',p'}] / E[x^2]

    of neighbouring positions along the last axis of positions, of all pairs of positions of one example, of all pairs of
    examples at one position and at different ones; 0 where there is no such pair. Then the mean squared cosine of two positions
    of an example about its mean, and of two examples about the mean of all: one over the number of directions they differ in.
    Last the variance of the log mean square of an example. At most ``EXAMPLES`` examples are compared.

    >>> [round(share, 3) for share in alike(torch.ones(4, 3, 2), -1)]
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    x = tensor.detach()[:EXAMPLES].movedim(unit_axis, -1).double()
    near = float((x[..., 1:, :] * x[..., :-1, :]).mean()) if x.ndim > 2 and x.shape[-2] > 1 else 0.0
    x = x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
    (b, p, u), square = x.shape, float(x.square().mean())
    if square <= 0.0:
        return 0.0, 0.0, 0.0, 0.0, 1.0 / u, 1.0 / u, 0.0
    own = float(x.sum(1).square().sum()) / u  # over pairs of positions, each with itself as well
    one = float(x.sum(0).square().sum()) / u
    whole = float(x.sum((0, 1)).square().sum()) / u
    alone = b * p * square
    far, same = own - alone, one - alone
    pairs = (b * p * (p - 1), b * p * (b - 1), b * p * (b - 1) * (p - 1))
    found = (far, same, whole - alone - far - same)
    shares = (total / count / square if count else 0.0 for total, count in zip(found, pairs, strict=True))
    far, same, cross = shares
    sizes = x.square().mean((1, 2))
    uneven = float(sizes[sizes > 0].log().var(correction=0))
    return near / square, far, same, cross, _cosine2(x[:16, :EXAMPLES]), _cosine2(x[:, spread(p, 8)].transpose(0, 1)), uneven


def _cosine2(x: Tensor) -> float:
    """Mean squared cosine of two rows of (groups g, rows r, units u) about the mean of their group; 1 where all are one."""
    x = x - x.mean(1, keepdim=True)
    products = x @ x.transpose(1, 2)
    own = products.diagonal(dim1=1, dim2=2)
    total, rows = own.sum(1), x.shape[1]
    kept = total > 0
    if rows < 3 or not bool(kept.any()):
        return 1.0
    found = (products.square().sum((1, 2)) - own.square().sum(1))[kept] / total[kept].square() * rows / (rows - 1)
    return float(found.mean().clamp(1.0 / x.shape[2] / 2, 1.0))


def features(table: Tensor) -> Features | None:
    r"""How the columns of (examples n, features f) compare, by their standard deviations (divided by n) in this batch.

    Nothing where an entry is not finite. A column counts as constant where its deviation is below what rounding makes of its
    mean: ``8 * eps * |mean|``.

    >>> found = features(torch.tensor([[0.0, 5.0, 100.0], [2.0, 5.0, 300.0]]))
    >>> found.constant, found.largest, found.largest_at, found.smallest
    (1, 100.0, 2, 1.0)
    """
    deviation, mean = torch.std_mean(table.double(), dim=0, correction=0)
    if not bool(torch.isfinite(deviation).all()):
        return None
    eps = torch.finfo(table.dtype).eps
    varies = deviation > 8 * eps * mean.abs()
    moving = deviation[varies]
    if not len(moving):
        return Features(len(deviation), len(deviation), 0.0, 0.0, 0.0, 0, math.inf)
    median = float(moving.median())
    return Features(
        len(deviation),
        len(deviation) - len(moving),
        float(moving.max()),
        median,
        float(moving.min()),
        int(deviation.argmax()),
        float(mean.abs().max()) / median,
    )


def merged(one: InputSample, other: InputSample) -> InputSample:
    """Two passes of one step as one sample; the columns are those of the pass with more examples."""
    larger = one if one.shape[:1] >= other.shape[:1] else other
    low, high = min(one.low, other.low), max(one.high, other.high)
    return dataclasses.replace(larger, values=one.values + other.values, low=low, high=high)
