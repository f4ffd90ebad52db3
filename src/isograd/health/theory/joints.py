"""Map signals through what has several of them: sums, products, concatenations, factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.health.theory import weights
from isograd.health.theory.dense import single
from isograd.health.theory.state import Alike, Back, Flow, World
from isograd.records.anatomy import Node


def _thin(parts: Sequence[tuple[float, Flow]], place: int, name: str) -> float:
    """One over the number of directions in which a sum differs between places: each summand by its share of what differs."""
    free = [factor**2 * max(0.0, flow.square - flow.alike[place]) for factor, flow in parts]
    whole = sum(free)
    if whole <= 0.0:
        return float(max(getattr(flow, name) for _, flow in parts))
    return float(sum((own / whole) ** 2 * getattr(flow, name) for own, (_, flow) in zip(free, parts, strict=True)))


def add_forward(node: Node, flows: Sequence[Flow], world: World) -> Flow:
    """Branches carry independent weights, so only their means have a product; one that is added to itself doubles."""
    big = max(flows, key=lambda flow: flow.entries)
    sign = -1.0 if node.get("minus", False) else 1.0
    signs = [1.0] + [sign] * (len(flows) - 1)
    grouped: dict[int, float] = {}
    for position, one in zip(node.inputs, signs, strict=False):
        grouped[position] = grouped.get(position, 0.0) + one
    parts = [(factor, flow) for factor, flow in zip(grouped.values(), _first(node, flows), strict=False)]
    means = [factor * flow.mean for factor, flow in parts]
    beside = sum(means) ** 2 - sum(mean * mean for mean in means)
    square = sum(factor**2 * flow.square for factor, flow in parts) + beside
    alike = [sum(factor**2 * flow.alike[i] for factor, flow in parts) + beside for i in range(4)]
    total = max(square, 1e-300)
    noise = world.mixed([(factor**2 * flow.square / total, flow.noise) for factor, flow in parts])
    shares = [factor**2 * flow.square / total for factor, flow in parts]
    far2, cross2 = (_thin(parts, place, name) for place, name in ((1, "far2"), (3, "cross2")))
    uneven = sum(w * w * flow.uneven for w, (_, flow) in zip(shares, parts, strict=True))
    uneven += 2.0 * (1.0 - sum(w * w for w in shares)) / max(1.0, big.units) * single(big)
    ragged = sum(w * w * flow.ragged for w, (_, flow) in zip(shares, parts, strict=True))
    added = replace(big, square=square, mean=sum(means), alike=Alike(*alike), noise=noise, peak=None)
    added = replace(added, far2=far2, cross2=cross2, uneven=uneven, ragged=ragged)
    shift = weights.number(node, "shift", 0.0)
    if shift:
        more = shift * (2.0 * added.mean + shift)
        moved = Alike(*(part + more for part in added.alike))
        added = replace(added, square=added.square + more, mean=added.mean + shift, alike=moved)
    return _with_tables(node, added, world)


def _first(node: Node, flows: Sequence[Flow]) -> list[Flow]:
    """One flow for every input that is another node."""
    seen: dict[int, Flow] = {}
    for position, flow in zip(node.inputs, flows, strict=False):
        seen.setdefault(position, flow)
    return list(seen.values()) or list(flows)


def _with_tables(node: Node, x: Flow, world: World) -> Flow:
    """A parameter that is added: a positional table differs from position to position and is the same for all examples."""
    for table in weights.loose(node, world):
        square = table.values.rms**2
        far = 0.0 if table.size > x.units else square
        near, own_far, same, cross = x.alike
        alike = Alike(near + far, own_far + far, same + square, cross + far)
        free, new = max(0.0, x.square - own_far), square - far
        share = free / (free + new) if free + new > 0.0 else 1.0
        far2 = share**2 * x.far2 + (1.0 - share) ** 2 / max(1.0, x.units)
        x = replace(x, square=x.square + square, alike=alike, far2=far2)
    return x


def add_back(node: Node, source: int, x: Flow | None, out: Flow | None, before: Node, here: Back) -> Back:
    """Every summand gets the gradient; one that was broadcast the sum of it, one that is added twice twice as much."""
    repeats = node.inputs.count(source)
    here = here.times(repeats**2) if repeats > 1 else here
    share = x.square / out.square if x is not None and out is not None and out.square > 0.0 else 0.0
    return _gathered(node, before, replace(here, own=here.own * min(1.0, share), tilt=here.tilt * min(1.0, share)))


def _gathered(node: Node, before: Node, here: Back) -> Back:
    """The gradient of something that was spread over positions is the sum over them."""
    copies = math.prod(node.shape) / max(1.0, math.prod(before.shape)) if node.shape and before.shape else 1.0
    if copies <= 1.0:
        return here
    return here.times(copies * max(1.0 / copies, 1.0 + (copies - 1.0) * here.far))


def concat_forward(node: Node, flows: Sequence[Flow], before: Sequence[Node], world: World) -> Flow:
    """Side by side: moments are averaged by size; parameters (a class token) fill what the inputs leave."""
    sizes = [flow.entries for flow in flows]
    entries = float(math.prod(node.shape)) if node.shape else sum(sizes)
    squares, means = [flow.square for flow in flows], [flow.mean for flow in flows]
    alike = [list(flow.alike) for flow in flows]
    left = entries - sum(sizes)
    if left > 0.0:
        tables = [table.values.rms**2 for table in weights.loose(node, world)]
        token = sum(tables) / len(tables) if tables else 0.0
        sizes.append(left)
        squares.append(token)
        means.append(0.0)
        alike.append([token] * 4)
    shares = [size / sum(sizes) for size in sizes]
    square, mean = sum(map(_product, shares, squares)), sum(map(_product, shares, means))
    near, far, same, cross = (sum(w * part[i] for w, part in zip(shares, alike, strict=True)) for i in range(4))
    units = flows[0].units
    along_positions = all(flow.units == units for flow in flows) and _grown(node, before) != units
    if along_positions:
        own = sum(w * w * part[1] for w, part in zip(shares, alike, strict=True))
        far = own + sum(a * b * means[i] * means[j] for i, a in enumerate(shares) for j, b in enumerate(shares) if i != j)
        both = sum(w * w * part[3] for w, part in zip(shares, alike, strict=True))
        cross = both + sum(a * b * means[i] * means[j] for i, a in enumerate(shares) for j, b in enumerate(shares) if i != j)
    else:
        units = entries / flows[0].positions
    total = max(square, 1e-300)
    noise = world.mixed([(w * flow.square / total, flow.noise) for w, flow in zip(shares, flows, strict=False)])
    far2, cross2 = (sum(w * getattr(f, name) for w, f in zip(shares, flows, strict=False)) for name in ("far2", "cross2"))
    return Flow(square, mean, Alike(near, far, same, cross), units, max(1.0, entries / units), noise, None, far2, cross2)


def _product(a: float, b: float) -> float:
    return a * b


def _grown(node: Node, before: Sequence[Node]) -> float:
    """The size, in the first input, of the axis that a concatenation made longer."""
    first = before[0].shape if before else ()
    if len(first) != len(node.shape):
        return 0.0
    return next((float(a) for a, b in zip(first, node.shape, strict=True) if a != b), 0.0)


def multiply_forward(node: Node, flows: Sequence[Flow], world: World) -> Flow | None:
    """A product with a number, with a parameter, or of two signals that are independent: moments multiply."""
    factor = weights.number(node, "factor", 1.0)
    tables = weights.loose(node, world)
    size = factor**2 * math.prod(table.values.rms**2 for table in tables)
    if len(flows) == 1:
        x = flows[0]
        if len(node.inputs) > 1:  # x * x, three times the square of a Gaussian's
            return None
        mean = factor * math.prod(table.values.mean for table in tables) * x.mean
        alike = Alike(*(size * part for part in x.alike))
        return replace(x, square=size * x.square, mean=mean, alike=alike, peak=None)
    if len(flows) != 2 or node.inputs[0] == node.inputs[1] or tables:
        return None
    a, b = sorted(flows, key=lambda flow: -flow.entries)
    if b.positions < a.positions:  # the same factor at every position
        b = replace(b, alike=Alike(b.square, b.square, b.alike.same, b.alike.same))
    alike = Alike(*(factor**2 * one * two for one, two in zip(a.alike, b.alike, strict=True)))
    noise = world.mixed([(1.0, a.noise), (1.0, b.noise)])
    square, mean = factor**2 * a.square * b.square, factor * a.mean * b.mean
    return Flow(square, mean, alike, a.units, a.positions, noise, None, a.far2, a.cross2, a.uneven + b.uneven)


def multiply_back(
    node: Node, source: int, x: Flow | None, other: Flow | None, before: Node, here: Back, world: World
) -> Back | None:
    """Each factor gets the gradient times the other one."""
    factor = weights.number(node, "factor", 1.0)
    size = factor**2 * math.prod(table.values.rms**2 for table in weights.loose(node, world))
    if len(set(node.inputs)) == 1:
        return here.times(size)
    if x is None or other is None or other.square <= 0.0:
        return None
    less_far, less_cross = other.alike.far / other.square, other.alike.cross / other.square
    if other.positions < x.positions:
        less_far, less_cross = 1.0, other.alike.same / other.square
    changed = here.times(
        size * other.square,
        far=here.far * less_far,
        cross=here.cross * less_cross,
        far2=here.far2 * less_far**2,
        cross2=here.cross2 * less_cross**2,
        noise=world.mixed([(1.0, here.noise), (1.0, other.noise)]),
        own=0.0,
    )
    return _gathered(node, before, changed)
