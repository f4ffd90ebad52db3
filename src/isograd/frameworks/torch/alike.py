"""How alike the examples are in a layer: inner products of the outputs of a few of them."""

from __future__ import annotations

import math

from torch import Tensor

from isograd.frameworks.torch.sums import values_of
from isograd.records.moments import Gram

EXAMPLES = 16
"""Examples that are compared."""
SIDE = 4
"""Of a layer that puts out sequences: so many sequences, at so many positions each."""
UNITS = 4_096
"""Units that are compared; of a wider layer every k-th is taken."""

SMALLEST = 1e-290
"""Below this a float64 square has lost digits."""


def spread(length: int, count: int) -> list[int]:
    """``count`` places spread evenly over ``length``, or all of them.

    >>> spread(10, 4), spread(3, 4)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    count = min(length, count)
    return [place * length // count for place in range(count)]


def gram(output: Tensor, *, sequence: bool) -> Gram | None:
    """Inner products of examples (the first axis), or of positions (the second) where the layer puts out a ``sequence``.

    Summed in float64. Nothing where there are fewer than two examples, where an entry is not finite, or where float64 entries
    are so large or small that their squares are no numbers.

    >>> import torch
    >>> gram(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), sequence=False).products
    (1.0, 1.0, 1.0, 2.0)
    """
    values = values_of(output)
    if values is None or values.ndim < 1 or not values.numel() or output.is_complex():
        return None
    positions = 1
    if sequence and values.ndim == 3 and values.shape[1] > 1:
        columns = spread(values.shape[1], SIDE)
        chosen, positions = values[spread(len(values), SIDE)][:, columns].flatten(0, 1), len(columns)
    else:
        chosen = (values if len(values) <= EXAMPLES else values[spread(len(values), EXAMPLES)]).reshape(
            min(len(values), EXAMPLES), -1
        )
    count = len(chosen)
    if count < 2:
        return None
    if chosen.shape[1] > UNITS:
        chosen = chosen[:, :: math.ceil(chosen.shape[1] / UNITS) | 1]  # an odd stride meets all channels
    chosen = chosen.double()
    products = (chosen @ chosen.T).flatten().tolist()
    shortest = min(products[:: count + 1])
    if not math.isfinite(sum(products)) or (0.0 < shortest < SMALLEST) or (shortest == 0.0 and _underflowed(chosen, products)):
        return None
    return Gram(count, tuple(products), positions)


def _underflowed(chosen: Tensor, products: list[float]) -> bool:
    squares = products[:: len(chosen) + 1]
    return any(square < SMALLEST and some for square, some in zip(squares, chosen.any(1).tolist(), strict=True))
