"""Sum many small tensors in the host's memory at once: laid end to end in float64, one pass a sum whatever their shapes.

A call of torch costs more than the arithmetic on a thousand numbers. In float64 no square of a float32 under- or overflows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isograd.records.moments import Moments, Pairs

SMALL = 4_096
"""Entries up to which a tensor is small."""
STACKED = 8
"""Tensors of one shape from which stacking them is as quick."""

Array = NDArray[np.float64]


def is_small(values: Tensor | None) -> bool:
    """Whether a tensor is to be summed together with others."""
    return (
        values is not None
        and 0 < values.numel() <= SMALL
        and values.dtype is torch.float32
        and values.device.type == "cpu"
        and type(values) in (Tensor, torch.nn.Parameter)
    )


def moments_together(flats: Sequence[Tensor]) -> list[Moments | None]:
    """``Moments`` of each; nothing for one with entries that are not finite.

    >>> [found.norm for found in moments_together([torch.tensor([3.0, -4.0]), torch.tensor([0.0])])]
    [5.0, 0.0]
    """
    values, starts = _laid(flats)
    with np.errstate(all="ignore"):  # what is not finite is seen in ``largest``
        largest = np.maximum.reduceat(np.abs(values), starts)
        totals, squares = np.add.reduceat(values, starts), np.add.reduceat(values * values, starts)
        zeros = np.add.reduceat((values == 0.0).astype(np.float64), starts)
    rows = zip(flats, totals.tolist(), squares.tolist(), largest.tolist(), zeros.tolist(), strict=True)
    return [
        Moments.from_sums(flat.numel(), total, square, most, zeros=int(none)) if math.isfinite(most) else None
        for flat, total, square, most, none in rows
    ]


def pairs_together(lefts: Sequence[Tensor], rights: Sequence[Tensor]) -> list[Pairs | None]:
    """``Pairs`` of each; nothing for one with entries that are not finite.

    >>> pairs_together([torch.tensor([1.0, 0.0])], [torch.tensor([2.0, 2.0])])[0].dot
    2.0
    """
    (left, starts), (right, _) = _laid(lefts), _laid(rights)
    with np.errstate(all="ignore"):  # what is not finite is seen in ``most``
        most = [np.maximum.reduceat(np.abs(side), starts).tolist() for side in (left, right)]
        sums = [np.add.reduceat(product, starts).tolist() for product in (left * right, left * left, right * right)]
    counts = [flat.numel() for flat in lefts]
    return [
        Pairs.from_sums(count, dot, a2, b2, a, b) if math.isfinite(a) and math.isfinite(b) else None
        for count, dot, a2, b2, a, b in zip(counts, *sums, *most, strict=True)
    ]


def _laid(flats: Sequence[Tensor]) -> tuple[Array, NDArray[np.int64]]:
    lengths = np.array([flat.numel() for flat in flats])
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    return torch.cat(list(flats)).double().numpy(), starts
