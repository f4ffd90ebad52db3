"""What a batch brings to a model: sums of each tensor, and how the columns of a table compare."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from isograd.frameworks.torch.sums import moments
from isograd.records.batch import Features, InputSample

COLUMNS = 65_536
"""Columns from which a table is too wide to be compared column by column."""


def input_sample(where: str, position: int, tensor: Tensor) -> InputSample | None:
    """The sums of one input; nothing where it holds no numbers that can be summed (strings, booleans, sparse tensors)."""
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
    return InputSample(where, position, shape, dtype, found, low, high, features(tensor) if table else None)


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
