"""Map a signal through what mixes units: dense layers, convolutions of every kind, embeddings."""

from __future__ import annotations

import math
from dataclasses import replace

from isograd.health.theory import borders, weights
from isograd.health.theory.state import Alike, Back, Flow, World
from isograd.records.anatomy import Node


def regrouped(x: Flow, fan_in: float) -> Flow:
    """The same numbers as ``fan_in`` units at as many positions as that makes: what a reshape in front of a layer did."""
    if fan_in <= 0.0 or x.units == fan_in:
        return x
    return replace(x, units=fan_in, positions=max(1.0, x.entries / fan_in))


def aligned(x: Flow, world: World) -> float:
    """How much the squared length that a random matrix gives to the signal averages over examples and positions."""
    found = []
    for product, differing in ((x.alike.far, x.far2), (x.alike.cross, x.cross2)):
        shared = min(1.0, abs(product) / x.square) if x.square else 1.0
        found.append(shared**2 + (1.0 - shared) ** 2 * max(differing, 1.0 / max(1.0, x.units)))
    return world.averaged(x.positions, min(1.0, found[0]), min(1.0, found[1]))


def single(x: Flow) -> float:
    """How much of a fluctuation belongs to one example alone, averaged over its positions."""
    far, cross = ((part / x.square) ** 2 if x.square else 1.0 for part in (x.alike.far, x.alike.cross))
    return (1.0 + (x.positions - 1.0) * min(1.0, far)) / x.positions * max(0.0, 1.0 - cross)


def mixed(x: Flow, gain: float, bias: float, fan_out: float, world: World, taps: float = 1.0) -> Flow:
    r"""What a matrix of independent weights makes of a signal.

    .. math:: q' = n \sigma_w^2 q + \sigma_b^2, \qquad c' = n \sigma_w^2 c + \sigma_b^2

    Finite width: the mean square of n' outputs differs with variance 2 / n' (chi-square), averaged over what differs.
    Source: Poole et al. 2016, arXiv:1606.05340, eqs. 3 and 5.
    """
    square = gain * x.square + bias
    share = gain * x.square / square if square else 0.0
    noise = world.mixed([(share, x.noise)])
    noise = world.noisy(noise, share**2 * 2.0 / max(1.0, fan_out) * aligned(x, world))
    alike = Alike(*(gain * part + bias for part in x.alike))
    far2, cross2 = (part + (1.0 - part) / max(1.0, fan_out) for part in (x.far2, x.cross2))
    uneven = share**2 * (x.uneven + 2.0 / max(1.0, fan_out) * single(x))
    ragged = 2.0 * share**2 * unlike(x, taps, world)
    return Flow(square, 0.0, alike, fan_out, x.positions, noise, None, far2, cross2, uneven, min(2.0, ragged))


def unlike(x: Flow, taps: float, world: World) -> float:
    """Mean squared cosine of what differs between the places of a batch, as a matrix of ``taps`` at each position reads it."""
    floor = 1.0 / max(1.0, x.units * taps)
    return world.averaged(x.positions, max(floor, x.far2), max(floor, x.cross2))


def shunning(here: Back, x: Flow | None, fan_in: float, taps: float, world: World) -> float:
    r"""What of the gradient a matrix gives back less of, because batch norms shunned the directions that it makes large.

    .. math:: 1 + \rho (e - 1), \qquad \rho = 1 / (n s)

    with e = ``shunned``, n = ``fan_in`` and s the mean squared cosine of two places: the spectrum of W C W^T is wide by n' s
    of the signal and by n' / n of W itself, and W^T gives what lies along the large directions of W W^T. Nothing without a
    batch norm.
    """
    if x is None or here.shunned == 1.0:
        return 1.0
    return max(0.05, 1.0 + min(1.0, 1.0 / (fan_in * max(1e-9, unlike(x, taps, world)))) * (here.shunned - 1.0))


def returned(here: Back, gain: float, fan_in: float, fan_out: float, positions: float, world: World) -> Back:
    r"""What the transpose of that matrix makes of a gradient: the same map, ``n' sigma_w^2`` of its mean square.

    The share of the gradient that is the output W x itself comes back as W^T W x, which is not random: its mean square is
    ``1 + (n' + 1) / n`` times that of independent vectors, the excess along x (Marchenko & Pastur 1967).
    Source: Schoenholz et al. 2017, arXiv:1611.01232, eq. 8; Hanin 2018, arXiv:1801.03744 (variance 2 / n a layer).
    """
    excess = max(0.0, here.own) * (fan_out + 1.0) / max(1.0, fan_in)
    gain, own = gain * (1.0 + excess), excess / (1.0 + excess)
    noise = world.noisy(here.noise, 2.0 / max(1.0, fan_in) * world.averaged(here.places(positions), here.far2, here.cross2))
    floor = 1.0 / max(1.0, fan_in) + here.lumpy / max(1.0, fan_out)
    far2, cross2 = (part + (1.0 - part) * floor for part in (here.far2, here.cross2))
    return here.times(gain, noise=noise, far2=far2, cross2=cross2, own=own, lumpy=0.0)


def linear_forward(node: Node, x: Flow, world: World) -> Flow | None:
    """A dense layer, at every position alike."""
    weight = weights.matrix(node, world)
    if weight is None:
        return None
    fan_in = weights.number(node, "fan_in", x.units)
    fan_out = weights.number(node, "fan_out", node.shape[-1] if node.shape else x.units)
    out = mixed(regrouped(x, fan_in), fan_in * weight, weights.bias(node, world), fan_out, world)
    return replace(out, mean=weights.bias_mean(node, world))


def linear_back(node: Node, x: Flow | None, here: Back, world: World) -> Back | None:
    """The gradient behind a dense layer."""
    weight = weights.matrix(node, world)
    if weight is None:
        return None
    fan_in, fan_out = weights.number(node, "fan_in", 1.0), weights.number(node, "fan_out", 1.0)
    positions = math.prod(node.shape) / fan_out if node.shape else 1.0
    kept = shunning(here, None if x is None else regrouped(x, fan_in), fan_in, 1.0, world)
    here = replace(here, shunned=here.shunned / kept)
    return returned(here, fan_out * weight * kept, fan_in, fan_out, positions, world)


def _lag(x: Flow, distance: float) -> float:
    """E[x y] of two positions so far apart: what neighbours have more in common than strangers falls off geometrically."""
    own, near = x.square - x.alike.far, x.alike.near - x.alike.far
    if own <= 0.0 or near <= 0.0:
        return x.alike.far
    return float(x.alike.far + own * min(1.0, near / own) ** distance)


def conv_forward(node: Node, x: Flow, before: Node, world: World) -> Flow | None:
    """A convolution, strided, padded, dilated, in groups or transposed; its taps have independent weights.

    Source: Xiao et al. 2018, arXiv:1806.05393, eq. 2.2 (two positions of a channel map like two examples of a unit).
    """
    weight = weights.matrix(node, world)
    if weight is None or not node.shape or not before.shape:
        return None
    x = regrouped(x, float(before.shape[0]))
    channels, positions = float(node.shape[0]), float(math.prod(node.shape[1:]))
    profile: borders.Profile = ()
    if node.get("transposed", False):
        gain = weight * weights.number(node, "fan_out", 1.0) * x.entries / (channels * positions)
        step = 1.0 / borders.numbers(node.get("stride", 1), 1)[0]
    else:
        gain = weights.number(node, "fan_in", 1.0) * weight
        if (matrices := borders.taps(node, before)) is not None:
            share, profile = borders.carried(matrices, x.profile)
            gain *= share / weights.area(node, len(before.shape) - 1)
            less = borders.together(node, before)
            x = replace(x, alike=x.alike._replace(far=less * x.alike.far, cross=less * x.alike.cross))
        step = borders.numbers(node.get("stride", 1), 1)[0]
    taps = weights.area(node, len(before.shape) - 1)
    free = x.square - x.alike.far
    smooth = max(0.0, min(1.0, (x.alike.near - x.alike.far) / free)) ** 2 if free > 0.0 else 1.0
    less = smooth + (1.0 - smooth) / taps  # the patches of two positions differ in more directions than their pixels
    x = replace(x, alike=x.alike._replace(near=_lag(x, step)), far2=x.far2 * less, cross2=x.cross2 * less)
    return replace(
        mixed(x, gain, weights.bias(node, world), channels, world, 1.0 / less),
        positions=positions,
        mean=weights.bias_mean(node, world),
        profile=profile,
    )


def conv_back(node: Node, x: Flow | None, before: Node, here: Back, world: World) -> Back | None:
    """The gradient behind a convolution: spread over the positions it was gathered from.

    Its squared length differs as that of a matrix with one row a channel of the input: where the gradients of neighbouring
    positions agree, the taps of the kernel are not independent directions.
    """
    weight = weights.matrix(node, world)
    if weight is None or not node.shape or not before.shape:
        return None
    spread, positions = math.prod(node.shape) / math.prod(before.shape), math.prod(node.shape[1:])
    if node.get("transposed", False):
        fan_out = weights.number(node, "fan_out", 1.0)
        return returned(replace(here, own=0.0), fan_out * weight, float(before.shape[0]), fan_out, positions, world)
    taps = weights.area(node, len(before.shape) - 1)
    read = None if x is None else regrouped(x, float(before.shape[0]))
    kept = shunning(here, read, before.shape[0] * taps, taps, world)
    here = replace(here, shunned=here.shunned / kept)
    gain, profile = weights.number(node, "fan_in", 1.0) * weight * spread * kept, here.profile
    if (matrices := borders.taps(node, before)) is not None:
        share, profile = borders.carried([matrix.T for matrix in matrices], here.profile)
        gain *= share * math.prod(before.shape[1:]) / math.prod(node.shape[1:]) / taps
    far2 = here.far**2 + max(0.0, here.far2 - here.far**2) / taps
    cross2 = here.cross2 * (here.far**2 + (1.0 - here.far**2) / taps)
    own = world.averaged(positions, far2, cross2)
    noise = world.noisy(here.noise, 2.0 / before.shape[0] * own)
    excess = max(0.0, here.own) * node.shape[0] / before.shape[0]
    return here.times(gain * (1.0 + excess), noise=noise, own=excess / (1.0 + excess), lumpy=0.0, profile=profile)


def embedding_forward(node: Node, world: World) -> Flow | None:
    """A table of rows drawn at random: two tokens have nothing in common unless they are the same one.

    Of a bag, whose rows are summed or averaged over as many tokens as it has, nothing is foretold.
    """
    square = weights.matrix(node, world)
    if square is None or not node.shape or node.get("bag", ""):
        return None
    same = square / max(1.0, weights.number(node, "rows", 1.0))
    width = float(node.shape[-1])
    positions = max(1.0, math.prod(node.shape) / width)
    often = 1.0 / max(1.0, weights.number(node, "rows", 1.0))
    thin = often + (1.0 - often) / width
    return Flow(square, 0.0, Alike(same, same, same, same), width, positions, {}, None, thin, thin)
