"""Map a signal through what gathers or picks positions: pools, means, slices, flattening, repetition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.health import activations
from isograd.health.theory import weights
from isograd.health.theory.state import Alike, Back, Flow
from isograd.records.anatomy import Node

IDENTITY = Node("", "activation", "identity", settings=(("function", "identity"),))


def window(node: Node, before: Node) -> float:
    """How many positions one value is pooled of."""
    ratio = math.prod(before.shape) / max(1.0, math.prod(node.shape))
    told = str(node.get("kernel", "0")) not in ("0", "") and "adaptive" not in f"{node.label}{node.path}".lower()
    if len(node.shape) < len(before.shape) or not told:
        return max(1.0, ratio)  # a mean, a global or an adaptive pool: its windows tile the input
    return weights.area(node, len(before.shape) - 1)


def _within(x: Flow, size: float) -> float:
    """E[x y] of two positions of one window: between that of neighbours and that of strangers."""
    if size >= x.positions:
        return x.alike.far
    side = math.sqrt(size)
    own, near = x.square - x.alike.far, max(0.0, x.alike.near - x.alike.far)
    return x.alike.far + own * min(1.0, near / own) ** (0.5 + 0.33 * side) if own > 0.0 and near > 0.0 else x.alike.far


def peak_of(x: Flow, size: float) -> tuple[float, float]:
    """How many values a max pool picks from, and how they are correlated in front of the activation."""
    _, front = x.peak if x.peak is not None else (IDENTITY, x)
    return size, round(max(0.0, front.correlation(_within(front, size))), 2)


def pool_forward(node: Node, x: Flow, before: Node) -> Flow | None:
    r"""A mean over k positions, or the largest of k.

    .. math:: q' = \frac{q + (k - 1) c_{near}}{k}

    The largest of k equally correlated Gaussians is a common part and the largest of k independent ones.
    """
    size = window(node, before)
    if not node.shape or not before.shape or (units := _units_after(node, before, x)) is None:
        return None
    positions = max(1.0, math.prod(node.shape) / units)
    inner = _within(x, size)
    near = x.alike.far + max(0.0, inner - x.alike.far) * 0.5
    if node.get("kind", "max") == "max":
        act, front = x.peak if x.peak is not None else (IDENTITY, x)
        found = activations.peak(
            act.activation, act.settings, float(f"{front.square:.4g}"), float(f"{front.mean:.4g}"), *peak_of(x, size)
        )
        spread, less = x.square - x.mean**2, found.square - found.mean**2
        alike = Alike(*(found.mean**2 + (part - x.mean**2) / spread * less if spread > 0 else found.square for part in x.alike))
        return replace(x, square=found.square, mean=found.mean, alike=alike, positions=positions, peak=None)
    same = (x.alike.same + (min(size, x.positions) - 1.0) * x.alike.cross) / min(size, x.positions)
    factor = size**2 if node.get("total", False) else 1.0
    square = (x.square + (size - 1.0) * inner) / size
    alike = Alike(*(factor * part for part in (near, x.alike.far, same, x.alike.cross)))
    return replace(x, square=factor * square, mean=math.sqrt(factor) * x.mean, alike=alike, positions=positions, peak=None)


def _units_after(node: Node, before: Node, x: Flow) -> float | None:
    """The number of units, which a pool does not change; nothing where it was they that were pooled."""
    shape = [size for size in node.shape if size != 1] or [1]
    return x.units if x.units in shape or math.prod(node.shape) % x.units == 0 else None


def pool_back(node: Node, x: Flow | None, before: Node, here: Back) -> Back | None:
    """A max pool sends each gradient to one input; a mean sends a k-th of it to each of k inputs."""
    if not node.shape or not before.shape:
        return None
    spread, size = math.prod(node.shape) / math.prod(before.shape), window(node, before)
    if node.get("kind", "max") == "max":
        picked = {"far": here.far / size, "cross": here.cross / size, "far2": here.far2 / size**2, "cross2": here.cross2 / size}
        return here.times(spread, own=0.0, **picked)
    positions = x.positions if x else max(1.0, size)
    inside = (size - 1.0) / max(1.0, positions - 1.0)
    far, far2 = (min(1.0, part + (1.0 - part) * inside) for part in (here.far, here.far2))
    gain = spread / size * (size**2 if node.get("total", False) else 1.0)
    own = here.own * (x.square + (size - 1.0) * _within(x, size)) / size / x.square if x and x.square else 0.0
    return here.times(gain, far=far, far2=far2, spot="", alone=0.0, own=own)


def _axis_gone(before: Sequence[int], after: Sequence[int]) -> int | None:
    """Which axis a slice made shorter or took away."""
    if len(before) == len(after):
        return next((axis for axis, (a, b) in enumerate(zip(before, after, strict=True)) if a != b), None)
    if len(before) == len(after) + 1:
        return next((axis for axis in range(len(before)) if (*before[:axis], *before[axis + 1 :]) == tuple(after)), None)
    return None


def reshape_forward(node: Node, x: Flow, before: Node) -> Flow:
    """The same numbers in another form, a part of them, or each of them several times."""
    entries = float(math.prod(node.shape)) if node.shape else x.entries
    if entries == x.entries:
        if len(node.shape) == 1 and x.positions > 1:  # flattened: from here on every position is a unit of its own
            alike = Alike(x.alike.same, x.alike.same, x.alike.same, x.alike.same)
            return replace(x, units=entries, positions=1.0, alike=alike)
        return x
    if entries < x.entries:
        axis = _axis_gone(before.shape, node.shape)
        of_units = axis is not None and before.shape[axis] == x.units and x.positions * x.units == math.prod(before.shape)
        if x.positions <= 1 or (of_units and node.label in ("chunk", "split", "tensor_split")):
            return replace(x, units=max(1.0, entries / x.positions))
        if of_units and x.units != x.positions:
            return replace(x, units=max(1.0, entries / x.positions))
        return replace(x, positions=max(1.0, entries / x.units))
    if node.label == "pad":
        share = x.entries / entries
        alike = Alike(*(share * part for part in x.alike))
        return replace(x, square=share * x.square, mean=share * x.mean, alike=alike, positions=entries / x.units)
    copies = entries / x.entries
    far = (x.alike.far * (x.positions - 1) * copies + x.square * (copies - 1)) / max(1.0, x.positions * copies - 1)
    alike = x.alike._replace(near=x.square, far=far)
    return replace(x, alike=alike, positions=x.positions * copies)


def reshape_back(node: Node, x: Flow | None, here: Back) -> Back:
    """A part gets its gradient and the rest none; what was repeated gets the sum."""
    if x is None or not node.shape:
        return here
    entries = float(math.prod(node.shape))
    if entries == x.entries:
        return replace(here, far=0.0, far2=here.cross2) if len(node.shape) == 1 and x.positions > 1 else here
    share = entries / x.entries
    if share > 1.0:
        return here.times(1.0 if node.label == "pad" else share * (1.0 + (share - 1.0) * max(0.0, here.far)))
    after = reshape_forward(node, x, Node("", "", "", shape=node.shape))
    if x.positions > 1 and (node.label in ("getitem", "select") or after.positions < x.positions) and entries <= x.units:
        return here.times(share, far=0.0, far2=0.0, spot="first" if node.get("index", -1) == 0 else "last", alone=1.0)
    return here.times(share)
