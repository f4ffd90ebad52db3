"""Batches that are not like the others: of other numbers than any, or of a scale that is none of theirs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from isograd.frameworks.torch.batches import inputs_of, targets_of
from isograd.frameworks.torch.places import tensors_in

FAR = 30.0
"""Times the median root mean square, or a part of it: a batch in other units. Sound batches differ by less than threefold."""
FEW, LEAST = 0.05, 5
"""Of all batches, and one in any case of at least LEAST: what is odd in more of them is how the data is."""


def odd_ones(batches: Sequence[Any]) -> dict[int, str]:
    """By place from 1, what is odd of a batch; nothing where more than ``FEW`` of them are.

    >>> import torch
    >>> batches = [(torch.ones(4, 2) * scale, torch.zeros(4)) for scale in [1.0] * 30 + [1e6]]
    >>> odd_ones(batches)
    {31: '1e+06 times as large as the others'}
    """
    found: dict[int, str] = {}
    for take in (inputs_of, targets_of):
        sizes = [_size(take(batch)) for batch in batches]
        known = [size for size in sizes if size is not None and 0.0 < size < math.inf]
        if not known:
            continue
        usual = statistics.median(known)
        for place, size in enumerate(sizes, 1):
            if size is None or place in found:
                continue
            if not math.isfinite(size):
                found[place] = "not finite"
            elif size > FAR * usual:
                found[place] = f"{size / usual:.2g} times as large as the others"
            elif 0.0 < size < usual / FAR:
                found[place] = f"{usual / size:.2g} times as small as the others"
    return found if len(batches) >= LEAST and len(found) <= max(1.0, FEW * len(batches)) else {}


def _size(part: Any) -> float | None:
    """The root mean square of the numbers in a part of a batch; None where there is none that is no whole number."""
    squares, count = 0.0, 0
    for tensor in _numbers(part):
        squares += float(tensor.detach().double().square().sum())
        count += tensor.numel()
    return math.sqrt(squares / count) if count and math.isfinite(squares) else math.nan if count else None


def _numbers(part: Any) -> Iterator[Tensor]:
    return (tensor for tensor in tensors_in(part) if tensor.is_floating_point() and tensor.numel())
