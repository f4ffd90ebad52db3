"""Map a signal through what acts on each unit by itself: activations, dropout, softmax, factors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from isograd.health import activations
from isograd.health.activations import ndtr, of_pair
from isograd.health.theory import weights
from isograd.health.theory.dense import unlike
from isograd.health.theory.state import Alike, Back, Flow, World
from isograd.records.anatomy import Node, Settings


def _rounded(x: Flow) -> tuple[float, float]:
    """Second moment and mean to four digits, so that like layers share one quadrature."""
    return float(f"{x.square:.4g}"), float(f"{x.mean:.4g}")


def _steepness(name: str, settings: Settings, square: float, mean: float) -> tuple[float, float]:
    """Derivatives of log E[phi^2] and log E[phi'^2] with respect to log q."""
    step = 0.05
    low, high = (activations.gauss(name, settings, square * factor, mean) for factor in (1 - step, 1 + step))
    width = math.log((1 + step) / (1 - step))
    tiny = 1e-300
    return (
        math.log(max(high.square, tiny) / max(low.square, tiny)) / width,
        math.log(max(high.slope2, tiny) / max(low.slope2, tiny)) / width,
    )


def activation_forward(node: Node, x: Flow, world: World) -> Flow:
    r"""E[phi(u)^2] and E[phi(u) phi(v)] of Gaussian values.

    Finite width: the mean of phi^2 over n units has relative variance ``(E[phi^4] / E[phi^2]^2 - 1) / n``, of which the
    part that follows from the mean square in front is carried on and only the rest is new.
    Source: Poole et al. 2016, arXiv:1606.05340, eqs. 3 and 5; Hanin & Rolnick 2018, arXiv:1803.01719 (widths).
    """
    square, mean = _rounded(x)
    found = activations.gauss(node.activation, node.settings, square, mean)
    pairs = activations.series(node.activation, node.settings, square, mean)
    alike = Alike(*(of_pair(pairs.value, x.correlation(part)) for part in x.alike))
    if found.square <= 0.0:
        return replace(x, square=0.0, mean=0.0, alike=Alike(0.0, 0.0, 0.0, 0.0), noise={}, peak=None)
    steep, _ = _steepness(node.activation, node.settings, square, mean)
    noise = world.mixed([(steep, x.noise)])

    def fresh(c: float) -> float:
        return max(0.0, of_pair(pairs.value2, c) / found.square**2 - 1.0 - 2.0 * steep**2 * c * c)

    far, cross = fresh(x.correlation(x.alike.far)), fresh(x.correlation(x.alike.cross))
    noise = world.noisy(noise, world.averaged(x.positions, far, cross, fresh(1.0)) / max(1.0, x.units))
    left = []
    for product, differing in ((x.alike.far, x.far2), (x.alike.cross, x.cross2)):
        c = x.correlation(product)
        room = found.square - of_pair(pairs.value, c)
        less = of_pair(pairs.slope, c) * (square - mean**2) * (1.0 - c) / room if room > 1e-9 * found.square else 1.0
        less = min(1.0, less * less)
        left.append(min(1.0, differing * less + (1.0 - less) / max(1.0, x.units)))
    return replace(
        x,
        square=found.square,
        mean=found.mean,
        alike=alike,
        noise=noise,
        peak=(node, x),
        far2=left[0],
        cross2=left[1],
        uneven=steep**2 * x.uneven + max(0.0, fresh(1.0) - cross) / max(1.0, x.units) / x.positions,
        ragged=min(2.0, _opening(node, square, mean) ** 2 * x.ragged + _ragged(node, square, mean, x)),
    )


def _opening(node: Node, square: float, mean: float) -> float:
    """Derivative of log Var[phi] with respect to log q: how much more a unit varies whose input does."""
    step = 0.05
    low, high = (activations.gauss(node.activation, node.settings, square * factor, mean) for factor in (1 - step, 1 + step))
    sizes = [max(1e-300, one.square - one.mean**2) for one in (low, high)]
    return math.log(sizes[1] / sizes[0]) / math.log((1 + step) / (1 - step))


def _ragged(node: Node, square: float, mean: float, x: Flow) -> float:
    """A unit whose values lie on a flat part for most examples varies less than others."""
    common = round(max(0.0, x.correlation(x.alike.cross)), 2)
    return activations.ragged(node.activation, node.settings, square, mean, common)


def activation_back(node: Node, x: Flow | None, here: Back, world: World, picked: tuple[float, float] | None) -> Back | None:
    r"""The gradient behind an activation: times E[phi'^2], and as much less alike as its slopes are.

    .. math:: \delta'^2 = \delta^2 E[\phi'^2], \qquad c' = c \, E[\phi'(u) \phi'(v)] / E[\phi'^2]

    ``picked``: a max pool hands back the gradient of the largest of so many values that are so correlated.
    Finite width: the mask differs with variance ``3 (E[phi'^4] / E[phi'^2]^2 - 1) / n`` of one example, less for several.
    Source: Schoenholz et al. 2017, arXiv:1611.01232, eqs. 5 and 8.
    """
    if x is None:
        if node.activation not in ("relu", "leakyrelu", "prelu", "identity", "linear"):
            return None  # the slope of the others depends on how large their input is
        x = Flow(1.0, 0.0, Alike(0.0, 0.0, 0.0, 0.0), math.prod(node.shape) or 1.0, 1.0)
    square, mean = _rounded(x)
    found = activations.gauss(node.activation, node.settings, square, mean)
    if found.slope2 <= 0.0:
        return here.times(0.0)
    pairs = activations.series(node.activation, node.settings, square, mean)
    far, cross = x.correlation(x.alike.far), x.correlation(x.alike.cross)
    keep_far, keep_cross = (of_pair(pairs.slope, c) / found.slope2 for c in (far, cross))
    _, steep = _steepness(node.activation, node.settings, square, mean)

    def fresh(c: float, cosine2: float) -> float:
        mask = max(0.0, of_pair(pairs.slope2, c) / found.slope2**2 - 1.0)
        return max(0.0, mask - 2.0 * steep**2 * c * c) + 2.0 * cosine2 * mask

    own = world.averaged(here.places(x.positions), fresh(far, here.far2), fresh(cross, here.cross2), fresh(1.0, 1.0))
    noise = world.noisy(world.mixed([(1.0, here.noise), (steep, x.noise)]), own * (1.0 + here.lumpy) / max(1.0, x.units))
    slope2 = found.slope2
    if picked is not None:
        slope2 = activations.peak(node.activation, node.settings, square, mean, *picked).slope2
    kept, through = activations.along(node.activation, node.settings, square, mean)
    along = max(0.0, here.own)
    grown = 1.0 + along * (kept - 1.0)
    return here.times(
        slope2 * grown,
        radial=activations.steeper(node.activation, node.settings, square, mean)[0],
        shunned=_shunned(here.shunned, found, of_pair(pairs.slope, 0.0), x, world),
        own=along * kept * through / grown,
        tilt=activations.tilt(node.activation, node.settings, square, mean) / max(keep_far, 0.1),
        far=here.far * keep_far,
        cross=here.cross * keep_cross,
        far2=here.far2 * keep_far**2,
        cross2=here.cross2 * keep_cross**2,
        noise=noise,
    )


def _shunned(behind: float, found: activations.Gauss, slope: float, x: Flow, world: World) -> float:
    r"""What batch norms shunned, in front of an activation: behind it, less 1, times

    .. math:: r a \frac{s + \nu}{a^2 s + \nu}, \qquad r = \frac{E[\phi']^2}{E[\phi'^2]}, \quad
        a = \frac{E[\phi']^2 q}{\operatorname{Var}[\phi]}

    The gradients of two units agree by r less, and the products of two units are those in front by the share a that is linear;
    s of their squares is of the signal, nu = 1 / (B P) the chance of few examples, of which only a^2 is what it was in front.
    """
    spread, q = found.square - found.mean**2, x.square - x.mean**2
    if behind == 1.0 or spread <= 0.0 or q <= 0.0:
        return 1.0
    chance = 1.0 / (world.examples * max(1.0, x.positions))
    signal = max(0.0, unlike(x, 1.0, world) - chance - 1.0 / max(1.0, x.units))
    agree, linear = slope / found.slope2, min(1.0, slope * q / spread)
    return 1.0 + min(1.0, agree * linear * (signal + chance) / (linear**2 * signal + chance)) * (behind - 1.0)


def dead(x: Flow, world: World) -> float:
    r"""Share of units whose input is above zero for none of the batch's examples, at no position.

    .. math:: E_z\left[\Phi\left(-\frac{m + \sigma \sqrt{c}\, z}{\sigma \sqrt{1 - c}}\right)^{N}\right]

    with the part c of a unit's variance in common to all examples, N examples times positions. Range: [0, 1].
    Source: Lu et al. 2019, arXiv:1903.06733.

    >>> shifted = Flow(10.0, -3.0, Alike(9.5, 9.5, 9.5, 9.5), 100.0, 1.0)        # N(-3, 1), half of it in common
    >>> round(dead(shifted, World({}, 32.0)), 2)
    0.97
    """
    deviation = math.sqrt(max(1e-300, x.square - x.mean**2))
    c = min(0.9999, max(0.0, x.correlation(x.alike.cross)))
    z = np.linspace(-6.0, 6.0, 241)
    weight = np.exp(-0.5 * z * z)
    silent = ndtr(-(x.mean / deviation + math.sqrt(c) * z) / math.sqrt(1.0 - c)) ** (world.examples * x.positions)
    return float(weight @ silent / weight.sum())


def _kept(node: Node) -> float:
    return max(0.0, 1.0 - weights.number(node, "p", 0.5))


def dropout_forward(node: Node, x: Flow, world: World) -> Flow:
    """Values that are kept grow by 1 / keep; two places lose different ones, so that their product stays."""
    keep = _kept(node)
    if keep <= 0.0:
        return replace(x, square=0.0, mean=0.0, alike=Alike(0.0, 0.0, 0.0, 0.0), noise={}, peak=None)
    own = 2.0 * (1.0 / keep - 1.0) / max(1.0, x.entries) / world.examples
    return replace(x, square=x.square / keep, noise=world.noisy(x.noise, own), peak=None)


def dropout_back(node: Node, x: Flow | None, here: Back, world: World) -> Back:
    """The gradient through the same mask."""
    keep = _kept(node)
    if keep <= 0.0:
        return here.times(0.0)
    own = 3.0 * (1.0 / keep - 1.0) / (max(1.0, x.entries) * world.examples) if x else 0.0
    less = {"far": here.far * keep, "cross": here.cross * keep, "far2": here.far2 * keep**2, "cross2": here.cross2 * keep**2}
    return here.times(1.0 / keep, noise=world.noisy(here.noise, own), **less)


def is_log(node: Node) -> bool:
    """Whether a softmax gives logarithms."""
    return bool(node.get("log", False)) or "log" in f"{node.label}{node.get('function', '')}".lower()


def softmax_forward(node: Node, x: Flow) -> Flow:
    """A softmax at the end of a network whose outputs are nearly alike: 1 / n each."""
    classes = float(node.shape[-1]) if node.shape else 2.0
    value = -math.log(classes) if is_log(node) else 1.0 / classes
    return replace(x, square=value**2, mean=value, alike=Alike(*(4 * (value**2,))), noise={}, peak=None)


def softmax_back(node: Node, here: Back, world: World) -> Back:
    """The Jacobian of a softmax over n nearly equal outputs is I / n less its mean; that of its logarithm is I less it."""
    classes = float(node.shape[-1]) if node.shape else 2.0
    return here.times(1.0 if is_log(node) else classes**-2.0, noise=world.noisy(here.noise, 1.0))
