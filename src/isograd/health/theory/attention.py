r"""Map a signal through attention at birth: a softmax over logits that are random, and so nearly a mean over the keys.

For given keys a query's logits are Gaussian; what all keys have in common drops out of the softmax. With T keys and::

    v     variance of a row's logits over the keys,  q_Q (q_K - c_K) for logits scaled by 1 / sqrt(d)
    A     sum over the keys of the squared weights, A(v): 1 / T of a mean, (1 + v) / T, 1 of a choice (``softmax.spread``)
    A'    the same of the weights of two queries, A(v rho), rho their correlation

the output is ``c_V + (q_V - c_V) A``: averaging divides the independent part of the values by T and keeps what positions have
in common, which is how rank collapses with depth. Backward, g the gradient at the output, c_g that of two queries::

    values    A g^2 + (T - 1) A' c_g
    queries   (M + (1 - A)^2 / D) g^2 (q_V - c_V) (q_K - c_K)
    keys      (q_V - c_V) (M g^2 q_Q + (1 - 2 A + A') (T - 1) A' c_g c_Q)

M is what the Jacobian of a softmax makes of independent values (``softmax.Spread.moves``), D the number of directions in which
the positions differ: a query's gradient is a covariance of values and keys, which are made of the same positions.

Sources: Vaswani et al. 2017, arXiv:1706.03762; Dong et al. 2021, arXiv:2103.03404 (rank collapse); Noci et al. 2022,
arXiv:2206.03126, section 3 (signal propagation, gradients of queries and keys beside those of values).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from isograd.health.theory import softmax, weights
from isograd.health.theory.dense import mixed
from isograd.health.theory.softmax import Spread
from isograd.health.theory.state import Alike, Back, Flow, World, joined
from isograd.records.anatomy import Node


@dataclass(frozen=True, slots=True)
class Heads:
    """Queries, keys and values of one attention as they meet, and how it spreads; ``two`` is A'."""

    query: Flow
    key: Flow
    value: Flow
    spread: Spread
    two: float
    project: tuple[float, float, float, float]
    """n sigma^2 of the maps to queries, keys, values and from the heads to the output; 1 where there is none."""
    thin: float = 0.0
    """One over the number of directions in which the positions that keys and values are made of differ."""
    steep: tuple[float, float] = (0.0, 0.0)
    """Derivatives of log A and log M with respect to the log of the variance of the logits."""


def heads(node: Node, sources: Sequence[Flow], world: World, spot: str = "") -> Heads | None:
    """What meets in an attention; nothing where its projections are not known. ``spot``: one query counts alone."""
    given = list(sources)
    if not given:
        return None
    query, key = given[0], given[1] if len(given) > 1 else given[0]
    value = given[2] if len(given) > 2 else key
    project = (1.0, 1.0, 1.0, 1.0)
    if node.get("projected", False):
        found = _projections(node, world)
        if found is None:
            return None
        sizes, bias, back = found
        width = weights.number(node, "width", query.units)
        query, key, value = (
            mixed(x, x.units * size, bias, width, world) for x, size in zip((query, key, value), sizes, strict=True)
        )
        project = (width * sizes[0], width * sizes[1], width * sizes[2], width * back)
    keys = max(1.0, key.positions)
    room = max(0.0, key.square - key.alike.far)
    scale = weights.number(node, "scale", 0.0)
    temper = scale**2 * weights.number(node, "head", query.units) if scale else 1.0
    logits = temper * query.square * room
    alike = max(-1.0, min(1.0, query.alike.far / query.square)) if query.square else 1.0
    if node.get("causal", False) and not spot:
        lengths = range(1, round(keys) + 1)
        spread = softmax.mean([(1.0 / keys, softmax.spread(logits, length)) for length in lengths])
        # what two queries share is what the longer one, over t keys, gives to those of the shorter
        pairs = [(2.0 * (t - 1) / (keys * max(1.0, keys - 1.0)), softmax.spread(logits * alike, t)) for t in lengths]
        two = softmax.mean(pairs).one
    else:
        seen = 1.0 if node.get("causal", False) and spot == "first" else keys
        spread, two = softmax.spread(logits, seen), softmax.spread(logits * alike, seen).one
    keep = 1.0 - weights.number(node, "dropout", 0.0)
    spread = replace(spread, one=min(1.0, spread.one / max(keep, 1e-9)))
    return Heads(query, key, value, spread, two, project, _thin(given, node), softmax.steepness(logits, keys))


def _thin(given: Sequence[Flow], node: Node) -> float:
    """In how many directions the positions differ that keys and values are made of; a projection made it look like more."""
    key, value = given[1 if len(given) > 1 else 0], given[-1]
    if node.get("projected", False):
        return min(key.far2, value.far2)
    thin, floor = min(key.far2, value.far2), 1.0 / max(2.0, key.units)
    return max(0.0, (thin - floor) / (1.0 - floor))


def _projections(node: Node, world: World) -> tuple[tuple[float, float, float], float, float] | None:
    together = weights.matrix(node, world, "in_proj_weight")
    apart = [weights.matrix(node, world, name) for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight")]
    back = weights.matrix(node, world, "out_proj.weight")
    if back is None:
        return None
    if together is not None:
        return (together, together, together), weights.bias(node, world, "in_proj_bias"), back
    if any(part is None for part in apart):
        return None
    return (apart[0] or 0.0, apart[1] or 0.0, apart[2] or 0.0), weights.bias(node, world, "in_proj_bias"), back


def forward(node: Node, sources: Sequence[Flow], world: World) -> Flow | None:
    """The moments of an attention's output."""
    found = heads(node, sources, world)
    if found is None:
        return None
    value, queries = found.value, found.query.positions
    keys = max(1.0, value.positions)
    free = max(0.0, value.square - value.alike.far)
    square = value.alike.far + free * found.spread.one
    far = value.alike.far + free * found.two
    cross = (value.alike.same + (keys - 1.0) * value.alike.cross) / keys
    noise, more = value.noise, (value.far2, value.cross2)
    out = Flow(square, value.mean, Alike(far, far, cross, cross), value.units, queries, noise, None, *more)
    if not node.get("projected", False):
        return out
    back = weights.matrix(node, world, "out_proj.weight") or 0.0
    return mixed(out, out.units * back, weights.bias(node, world, "out_proj.bias"), weights.number(node, "width", 1.0), world)


def back(node: Node, source: int, sources: Sequence[Flow], here: Back, world: World) -> Back | None:
    """The gradient that one of the inputs of an attention gets: through the values, and through the softmax.

    What stands at one position alone and what stands at all of them look through different softmaxes.
    """
    given = [here.times(here.alone), here.times(1.0 - here.alone, spot="")] if 0.0 < here.alone < 1.0 else [here]
    parts = [_back(node, source, sources, part, world) for part in given]
    known = [part for part in parts if part is not None]
    x = next(flow for place, flow in zip(node.inputs, sources, strict=False) if place == source)
    return joined(known, world, x.units, x.positions) if len(known) == len(parts) else None


def _back(node: Node, source: int, sources: Sequence[Flow], here: Back, world: World) -> Back | None:
    found = heads(node, sources, world, here.spot)
    if found is None:
        return None
    to_query, to_key, to_value, from_heads = found.project
    here = here.times(from_heads, own=0.0)
    averaged = world.averaged(1.0 if here.spot else found.query.positions, here.far2, here.cross2)
    if node.get("projected", False):
        own = 2.0 / found.value.units * averaged
        here = replace(here, noise=world.noisy(world.noisy(here.noise, own), own))
    # a covariance along a few directions differs with which of them the gradient has, in every head by itself
    count_heads = weights.number(node, "heads", node.shape[0] if len(node.shape) == 3 else 1)
    few = replace(here, noise=world.noisy(here.noise, 4.0 * found.thin / count_heads * averaged))
    # and so does how large the logits are along the queries that there are, and with them how the softmax spreads
    size = (4.0 * count_heads / found.query.units + 2.0 * found.thin) / count_heads
    one, moves = (slope**2 * size for slope in found.steep)
    few, same = (replace(part, noise=world.noisy(part.noise, own)) for part, own in ((few, moves), (here, one)))
    parts = {
        0: _met(_to_query(found, few), [found.value, found.key], world).times(to_query),
        1: _met(_to_key(found, few), [found.value, found.query], world).times(to_key),
        2: _to_value(found, same).times(to_value),
    }
    count = len(sources)
    roles = {1: (0, 1, 2), 2: ((0,), (1, 2)), 3: ((0,), (1,), (2,))}.get(count)
    if roles is None:
        return None
    mine = roles if count == 1 else tuple(r for place, r in zip(node.inputs, roles, strict=False) if place == source)
    wanted = [role for group in mine for role in (group if isinstance(group, tuple) else (group,))]
    return joined([parts[role] for role in wanted], world, found.value.units, found.value.positions)


def _met(part: Back, flows: Sequence[Flow], world: World) -> Back:
    """What goes through the softmax is a product with two signals, whose own noise it takes on."""
    return replace(part, noise=world.mixed([(1.0, part.noise), *((1.0, flow.noise) for flow in flows)]))


def _to_value(found: Heads, here: Back) -> Back:
    keys, queries = max(1.0, found.value.positions), max(1.0, found.query.positions)
    ratio = queries / keys
    one = found.spread.one
    if one == 1.0 and here.spot:  # a first position that looks at itself
        return here
    size = ratio * max(0.0, one + (queries - 1.0) * found.two * here.far)
    others = (1.0 - one + (queries - 1.0) * here.far * (1.0 - found.two)) * ratio / max(1.0, keys - 1.0)
    far = max(-1.0, min(1.0, others / size)) if size > 0.0 else 0.0
    return here.times(size, far=far, far2=max(far**2, here.far2), spot="", alone=0.0)


def _to_query(found: Heads, here: Back) -> Back:
    room = max(0.0, found.value.square - found.value.alike.far) * max(0.0, found.key.square - found.key.alike.far)
    met = found.spread.moves + found.spread.free * found.thin
    return here.times(met * room, far=here.far * found.two / max(found.spread.one, 1e-12))  # it stays where it is


def _to_key(found: Heads, here: Back) -> Back:
    queries, keys = max(1.0, found.query.positions), max(1.0, found.key.positions)
    room = max(0.0, found.value.square - found.value.alike.far)
    apart = max(0.0, 1.0 - 2.0 * found.spread.one + found.two)  # each of two queries takes out a mean of its own
    others = apart * (queries - 1.0) * found.two * here.far * found.query.alike.far
    met = found.spread.moves * found.query.square + others
    return here.times(queries / keys * room * max(0.0, met), far=0.0, spot="", alone=0.0)
