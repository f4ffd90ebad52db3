"""Fast sums of tensors: ``Moments`` and ``Pairs`` one by one or many at once, ``Units`` of an activation.

The cheap way is one pass each of sum, dot, aminmax and sign in the tensor's own precision (float32 for the half types), in
pieces of 64k entries that stay in the cache. Where that would lie (a NaN, squares that under- or overflow, a mean far
above the deviation) the exact way in float64, scaled by a power of two, is taken instead.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from isograd.frameworks.torch.together import STACKED, is_small, moments_together, pairs_together
from isograd.records.moments import Moments, Pairs, Units, exponent_of

PIECE = 65_536
"""Entries summed at a time."""
STACK = 262_144
"""Entries of equally shaped small tensors that are stacked and summed row by row."""
ROW = 16_384
"""Larger tensors are summed alone: row by row sums lose more digits than a dot product, and there is little to save."""
WIDEST = 8_192
"""Layers with more units than this are measured as a whole only: a count for each unit would make a trace large."""

_SAFE = {torch.float32: (1e-14, 1e14), torch.float64: (1e-140, 1e140)}
_PLAIN = (Tensor, torch.nn.Parameter)

Rule = Callable[[Tensor], Tensor]
"""Which entries of an activation's output sit on a flat part of it, as a tensor of booleans."""


def values_of(tensor: Any) -> Tensor | None:
    """The plain float32 or float64 entries of a tensor, detached, or nothing where there are none to sum.

    Complex tensors become their real and imaginary parts, sparse ones their stored values, a distributed one its local
    shard. Integers, booleans, quantised, meta, lazy, and tensors inside ``vmap`` or ``grad`` have no entries here.

    >>> values_of(torch.ones(2, dtype=torch.int64)) is None
    True
    """
    if type(tensor) in _PLAIN and tensor.dtype in _SAFE and tensor.layout is torch.strided and not tensor.is_meta:
        # The common case first: this is asked hundreds of times a step.
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return None
        plain: Tensor = tensor.detach() if tensor.requires_grad else tensor
        return plain
    if not isinstance(tensor, Tensor) or is_lazy(tensor):
        return None
    local = getattr(tensor, "_local_tensor", None)
    values: Tensor = (tensor if local is None else local).detach()
    if not (values.is_floating_point() or values.is_complex()) or values.device.type == "meta":
        return None
    if torch._C._functorch.is_functorch_wrapped_tensor(values):
        return None
    if values.layout != torch.strided:
        values = values.coalesce().values() if values.layout == torch.sparse_coo else values.values()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values if values.dtype in _SAFE else values.float()


def moments(tensor: object) -> Moments | None:
    """``Moments`` of one tensor, or nothing where ``values_of`` finds none.

    >>> moments(torch.tensor([3.0, -4.0, 0.0])).norm
    5.0
    """
    values = values_of(tensor)
    return None if values is None else _of_flat(values.reshape(-1))


def moments_of_all(tensors: Sequence[object]) -> list[Moments | None]:
    """``Moments`` of many tensors; small ones of one shape are stacked and summed row by row.

    >>> [m.total for m in moments_of_all([torch.ones(3), torch.ones(3), torch.ones(2)])]
    [3.0, 3.0, 2.0]
    """
    found = [values_of(tensor) for tensor in tensors]
    result: list[Moments | None] = [None] * len(found)
    groups, few = _alike(found)
    for place, of in zip(few, moments_together([_flat(found[place]) for place in few]) if few else (), strict=True):
        result[place] = of or _exactly(_flat(found[place]))
    for places in groups:
        rows = [_flat(found[place]) for place in places]
        for place, of in zip(places, _of_rows(rows), strict=True):
            result[place] = of
    return result


def pairs_of_all(lefts: Sequence[object], rights: Sequence[object]) -> list[Pairs | None]:
    """``Pairs`` of many pairs of tensors, each pair of one shape.

    >>> pairs_of_all([torch.tensor([1.0, 0.0])], [torch.tensor([2.0, 2.0])])[0].dot
    2.0
    """
    left, right = [values_of(tensor) for tensor in lefts], [values_of(tensor) for tensor in rights]
    usable = [None if b is None or a is None or a.shape != b.shape else a for a, b in zip(left, right, strict=True)]
    result: list[Pairs | None] = [None] * len(left)
    groups, few = _alike(usable)
    sides = [[_flat(side[place]).to(torch.float32) for place in few] for side in (left, right)]
    for place, a, b, of in zip(few, *sides, pairs_together(*sides) if few else (), strict=True):
        result[place] = of or _pairs_exactly(a, b)
    for places in groups:
        a = [_flat(left[place]) for place in places]
        b = [_flat(right[place]).to(row.dtype) for row, place in zip(a, places, strict=True)]
        for place, of in zip(places, _pairs_of_rows(a, b), strict=True):
            result[place] = of
    return result


def moments_and_units(output: Tensor, axis: int, pinned: Rule | None) -> tuple[Moments | None, Units | None]:
    """``Moments`` of an activation's output and ``Units`` along its unit ``axis``.

    A unit *fired* where its output is above zero; it is *pinned* where ``pinned`` says that the function is flat there.
    Entries that are not finite neither fire nor are pinned.

    >>> m, u = moments_and_units(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), 1, None)
    >>> m.zeros, u.seen, u.fired, u.dead
    (2, 2, (2, 0), (1,))
    """
    values = values_of(output)
    if values is None:
        return None, None
    if values.ndim < 2 or not values.numel() or values.shape[axis] > WIDEST or output.is_complex():
        return _of_flat(values.reshape(-1)), None
    axis = axis % values.ndim
    others = [other for other in range(values.ndim) if other != axis]
    count = values.shape[axis]
    fired = torch.zeros(count, dtype=torch.float64, device=values.device)
    flat, total = torch.zeros_like(fired), Moments()
    for piece in _pieces(values, max(1, PIECE * len(values) // values.numel())):
        sign = torch.sign(piece)
        total = total + _of_flat(piece.reshape(-1), sign.reshape(-1))
        fired += sign.clamp_(min=0).sum(others)
        if pinned is not None:
            flat += pinned(piece).sum(others)
    if total.nonfinite:
        fired = (values > 0).logical_and_(torch.isfinite(values)).sum(others)
    fires, stays = fired.to(torch.int64).tolist(), flat.to(torch.int64).tolist()
    return total, Units(values.numel() // count, tuple(fires), tuple(stays))


def scaled(of: Moments, factor: float) -> Moments:
    """The moments of a tensor that is ``factor`` times as large (for a gradient of a scaled loss).

    >>> scaled(Moments.of([2.0, 4.0]), 0.5).total
    3.0
    """
    largest = of.largest * abs(factor)
    shift = exponent_of(of.largest) - exponent_of(largest)
    total = math.ldexp(of.scaled_total * factor, shift)
    squares = math.ldexp(of.scaled_squares * factor * factor, 2 * shift)
    return Moments(of.count, total, squares, largest, of.zeros, of.nans, of.infs)


def _pieces(values: Tensor, length: int) -> Iterator[Tensor]:
    return (values[start : start + length] for start in range(0, len(values), length))


def _flat(values: Tensor | None) -> Tensor:
    assert values is not None
    return values.reshape(-1)


def _alike(found: Sequence[Tensor | None]) -> tuple[list[list[int]], list[int]]:
    """Positions of tensors that can be stacked (one shape, type and device, and no more than ``STACK`` entries in all), and
    of those that are small and too few of a shape for that.
    """
    groups: dict[tuple[object, ...], list[list[int]]] = defaultdict(lambda: [[]])
    for place, values in enumerate(found):
        if values is not None:
            stacks = groups[(values.shape, values.dtype, values.device)]
            if values.numel() > ROW or len(stacks[-1]) * values.numel() >= STACK:
                stacks.append([])
            stacks[-1].append(place)
    stacks = [stack for found_alike in groups.values() for stack in found_alike if stack]
    few = [place for stack in stacks if len(stack) < STACKED and is_small(found[stack[0]]) for place in stack]
    taken = set(few) if len(few) > 1 else set()
    return [stack for stack in stacks if stack[0] not in taken], few if taken else []


def _of_flat(flat: Tensor, sign: Tensor | None = None) -> Moments:
    if flat.numel() <= PIECE:
        return _of_piece(flat, sign)
    total = Moments()
    for piece in _pieces(flat, PIECE):
        total = total + _of_piece(piece, None)
    return total


def _of_piece(flat: Tensor, sign: Tensor | None) -> Moments:
    count = flat.numel()
    if not count:
        return Moments()
    smallest, greatest = (float(bound) for bound in torch.aminmax(flat))
    squares, total = float(torch.dot(flat, flat)), float(flat.sum())
    sign = torch.sign(flat) if sign is None else sign
    zeros = count - round(float(torch.dot(sign, sign)))
    return _checked(flat, count, total, squares, max(-smallest, greatest), zeros)


def _checked(flat: Tensor, count: int, total: float, squares: float, largest: float, zeros: int) -> Moments:
    if largest == 0.0:
        return Moments(count, zeros=count)
    if not math.isfinite(largest):
        return _exactly(flat)
    least, most = _SAFE[flat.dtype]
    if not least < largest < most:
        exponent = exponent_of(largest)
        small = _scaled(flat, exponent)
        total, squares = float(small.sum()), float(torch.dot(small, small))
        return Moments.from_sums(count, total, squares, largest, zeros=zeros, exponent=exponent)
    if total * total > 0.5 * count * squares:
        squares, total = _around_first(flat, count)
    return Moments.from_sums(count, total, squares, largest, zeros=zeros)


def _around_first(flat: Tensor, count: int) -> tuple[float, float]:
    """Sum of squares and sum by way of the first entry: where the mean hides the deviation, plain sums lose the latter."""
    first = float(flat[0])
    away = flat - flat[0]
    total, squares = float(away.sum()), float(torch.dot(away, away))
    return squares + 2.0 * first * total + count * first * first, total + count * first


def _scaled(flat: Tensor, exponent: int) -> Tensor:
    """Entries over ``2**exponent``: exactly, in their own type where that power is a number in it."""
    if abs(exponent) < 120:
        return flat * 2.0**-exponent
    half = exponent // 2
    return flat.double() * 2.0**-half * 2.0 ** (half - exponent)


def _exactly(flat: Tensor) -> Moments:
    nans, infs = int(torch.isnan(flat).sum()), int(torch.isinf(flat).sum())
    if nans or infs:
        flat = flat[torch.isfinite(flat)]
    if not flat.numel():
        return Moments(nans=nans, infs=infs)
    largest = float(flat.abs().max())
    exponent = exponent_of(largest)
    small = _scaled(flat, exponent)
    zeros = int((flat == 0).sum())
    total, squares = float(small.sum()), float(torch.dot(small, small))
    return Moments.from_sums(flat.numel(), total, squares, largest, zeros=zeros, nans=nans, infs=infs, exponent=exponent)


def _of_rows(rows: list[Tensor]) -> list[Moments]:
    count = rows[0].numel()
    if len(rows) == 1 or count == 0:
        return [_of_flat(row) for row in rows]
    stack = torch.stack(rows)
    smallest, greatest = torch.aminmax(stack, dim=1)
    columns = (stack.sum(1), torch.linalg.vector_norm(stack, dim=1), smallest, greatest, torch.sign(stack).abs_().sum(1))
    result = []
    for row, (total, norm, low, high, others) in zip(rows, torch.stack(columns, 1).tolist(), strict=True):
        result.append(_checked(row, count, total, norm * norm, max(-low, high), count - round(others)))
    return result


def _pairs_of_rows(lefts: list[Tensor], rights: list[Tensor]) -> list[Pairs]:
    count = lefts[0].numel()
    if count == 0:
        return [Pairs()] * len(lefts)
    if len(lefts) == 1 and count > PIECE:
        total = Pairs()
        for a, b in zip(_pieces(lefts[0], PIECE), _pieces(rights[0], PIECE), strict=True):
            total = total + _pairs_of_rows([a], [b])[0]
        return [total]
    left, right = torch.stack(lefts), torch.stack(rights)
    largest = torch.stack((left.abs().amax(1), right.abs().amax(1))).tolist()
    if not all(math.isfinite(value) for side in largest for value in side):
        return [_pairs_exactly(a, b) for a, b in zip(lefts, rights, strict=True)]
    exponents = [[exponent_of(value) for value in side] for side in largest]
    if any(abs(exponent) >= 120 for side in exponents for exponent in side):
        left, right = left.double(), right.double()
    # Rows in units of their own largest entry: nothing under- or overflows, and a factor that is a power of two rounds nothing.
    left, right = (_by_rows(side, row) for side, row in zip((left, right), exponents, strict=True))
    if len(lefts) == 1:
        a, b = left[0], right[0]
        sums = [[float(torch.dot(a, b)), float(torch.dot(a, a)), float(torch.dot(b, b))]]
    else:
        sums = torch.stack(((left * right).sum(1), left.square().sum(1), right.square().sum(1)), 1).tolist()
    both = zip(*largest, strict=True)
    return [Pairs(count, dot, a2, b2, a_most, b_most) for (dot, a2, b2), (a_most, b_most) in zip(sums, both, strict=True)]


def _by_rows(stack: Tensor, exponents: list[int]) -> Tensor:
    halves = [exponent // 2 for exponent in exponents]
    for part in (halves, [exponent - half for exponent, half in zip(exponents, halves, strict=True)]):
        if any(part):
            stack = stack * torch.tensor([2.0**-power for power in part], dtype=stack.dtype, device=stack.device)[:, None]
    return stack


def _pairs_exactly(a: Tensor, b: Tensor) -> Pairs:
    finite = torch.isfinite(a) & torch.isfinite(b)
    skipped = a.numel() - int(finite.sum())
    a, b = (a[finite], b[finite]) if skipped else (a, b)
    if not a.numel():
        return Pairs(skipped=skipped)
    a_largest, b_largest = float(a.abs().max()), float(b.abs().max())
    x, y = _scaled(a, exponent_of(a_largest)).double(), _scaled(b, exponent_of(b_largest)).double()
    products = (float(torch.dot(x, y)), float(torch.dot(x, x)), float(torch.dot(y, y)))
    return Pairs(a.numel(), *products, a_largest, b_largest, skipped)
