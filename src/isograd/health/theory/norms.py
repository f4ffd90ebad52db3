"""Map a signal through a normalisation: batch, instance, group, layer, root mean square."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isograd.health import activations
from isograd.health.theory import weights
from isograd.health.theory.state import Alike, Back, Flow, Noise, World
from isograd.records.anatomy import Node

KINDS = ("batch", "instance", "group", "layer", "rms")


@dataclass(frozen=True, slots=True)
class Group:
    """What a norm averages over: ``units`` of one example, or of the batch, at ``positions`` places.

    ``mean`` is E of the squared mean over it, ``other`` the product of the means of two examples' groups.
    """

    units: float
    positions: float
    examples: float
    mean: float
    other: float

    @property
    def entries(self) -> float:
        """How many numbers one mean is taken of."""
        return self.units * self.positions * self.examples


def _group(node: Node, x: Flow, world: World) -> Group:
    kind, p, b = str(node.get("kind", "")), max(1.0, x.positions), world.examples
    own, two = (x.square + (p - 1) * x.alike.far) / p, (x.alike.same + (p - 1) * x.alike.cross) / p
    if kind == "batch":
        mean = (own + (b - 1) * two) / b
        return Group(1.0, p, b, mean, mean)
    if kind in ("instance", "group"):
        units = x.units / weights.number(node, "groups", 1.0) if kind == "group" else 1.0
        rest = (1.0 - 1.0 / units) * x.mean**2
        return Group(units, p, 1.0, own / units + rest, two / units + rest)
    if weights.number(node, "size", x.units) > x.units:  # over positions as well
        rest = (1.0 - 1.0 / x.units) * x.mean**2
        return Group(x.units, p, 1.0, own / x.units + rest, two / x.units + rest)
    centre = 0.0 if kind == "rms" else x.square / x.units + (1.0 - 1.0 / x.units) * x.mean**2
    return Group(x.units, 1.0, 1.0, centre, 0.0 if kind == "rms" else x.mean**2)


def forward(node: Node, x: Flow | None, world: World) -> Flow | None:
    r"""Subtract the mean over the group and divide by its deviation: q' = gamma^2 + beta^2 whatever came in.

    .. math:: v = q - E[\bar x^2], \qquad c' = \gamma^2 \frac{c - E[\bar x \bar y]}{v + \epsilon} + \beta^2

    Source: Yang et al. 2019, arXiv:1902.08129 (batch); Ba et al. 2016, arXiv:1607.06450 (layer).
    """
    size, bias = weights.scale(node, world), weights.bias(node, world)
    if x is None:  # of what it gets nothing is known, of what it gives a little
        units = float(node.shape[0]) if node.shape else 1.0
        none = Alike(bias, bias, bias, bias)
        return Flow(size + bias, 0.0, none, units, 1.0) if len(node.shape) <= 1 else None
    group = _group(node, x, world)
    taken = max(0.0, x.square - group.mean)
    factor = size / (taken + weights.number(node, "eps", 1e-5)) if taken + weights.number(node, "eps", 1e-5) > 0 else 0.0
    kind = node.get("kind", "")
    one = group.mean if group.positions > 1 or kind == "batch" else group.other  # two positions share a mean, or have two
    near, far = (factor * (part - one) + bias for part in (x.alike.near, x.alike.far))
    same, cross = (factor * (part - group.other) + bias for part in (x.alike.same, x.alike.cross))
    uneven = x.uneven if kind == "batch" else 0.0
    alike = Alike(near, far, same, cross)
    level = _levelled(x.ragged / 2.0) if kind == "batch" else 1.0
    return Flow(
        factor * taken + bias,
        0.0,
        alike,
        x.units,
        x.positions,
        {},
        None,
        level * x.far2,
        level * x.cross2,
        uneven,
        0.0 if kind == "batch" else x.ragged,
    )


def _levelled(s: float) -> float:
    r"""By how much units of equal variance make the mean squared cosine ``s`` of two places smaller.

    .. math:: \sum_i p_i^2 \approx s - 4 (t - s^2), \qquad p_i = E\left[\frac{\lambda_i w_i^2}{\sum_k \lambda_k w_k^2}\right]

    A unit that reads the largest directions is divided by most. t is the sum of the cubes of a spectrum that falls
    geometrically.

    >>> _levelled(0.0), round(_levelled(0.1), 2)
    (1.0, 0.87)
    """
    if s <= 0.0:
        return 1.0
    ratio = (1.0 - min(0.9, s)) / (1.0 + min(0.9, s))
    cubes = (1.0 - ratio) ** 2 / (1.0 + ratio + ratio**2)
    return max(0.3, 1.0 - 4.0 * (cubes - s * s) / s)


def back(node: Node, x: Flow | None, here: Back, world: World) -> Back | None:
    r"""Divide by the deviation; take out the mean, and what lies along the normalised signal.

    .. math:: \delta' = \frac{\gamma}{\sqrt v} (\delta - \overline{\delta} - \hat x \, \overline{\delta \hat x})

    What the two means take is the correlation of the gradient over all pairs of the group: 2 / n for independent entries,
    everything where the gradient is the same at all positions; and where an activation made it differ, it did so along the
    signal (``tilt``). Each group divides by its own v, and the mean of 1 / v is larger
    than 1 / mean of v (``inverse``). A batch norm so turns the gradient away from the directions in which examples differ
    most (``shunned``), which the matrix in front of it makes large both ways: C = W S W^T beside W W^T.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, section 3 (the backward pass).
    """
    if x is None:
        return None
    group, eps, kind = _group(node, x, world), weights.number(node, "eps", 1e-5), node.get("kind", "")
    taken = max(0.0, x.square - group.mean)
    if taken + eps <= 0.0:
        return None
    far, cross = ((part - group.mean) / taken if taken else 0.0 for part in (x.alike.far, x.alike.cross))
    p, b = group.positions, group.examples
    pairs = 1.0 + (p - 1.0) * here.far + (b - 1.0) * p * here.cross
    along = 1.0 if kind == "batch" and x.peak else here.radial
    along += (p - 1.0) * here.far * far + (b - 1.0) * p * here.cross * cross
    along += p * here.tilt * (max(0.0, here.far) + (b - 1.0) * max(0.0, here.cross)) if p > 1.0 or b > 1.0 else 0.0
    mean = 0.0 if kind == "rms" else max(0.0, pairs) / group.entries
    kept = max(1e-6, 1.0 - mean - max(0.0, along) / group.entries - here.own)
    groups = x.units / group.units
    if kind == "batch":
        spread = x.ragged
    else:
        spread = x.uneven if p > 1.0 or kind == "rms" else _uneven(x)
        spread += (2.0 / p + x.ragged) / group.units * max(0.0, 1.0 - cross**2) if p > 1.0 else 0.0
        groups *= world.examples
    typical, lumpy = inverse(spread)
    gain = weights.scale(node, world) / (taken + eps) * kept * typical / _steeper(kind, x, group)
    noise = world.noisy(
        world.mixed([(1.0, here.noise), (-taken / (taken + eps), _noise(kind, x, world))]), lumpy / max(1.0, groups)
    )
    # how much the means take differs from unit to unit, which shows where they take nearly all
    noise = world.noisy(noise, min(1.0, 2.0 * ((1.0 - kept) / kept) ** 2 / max(1.0, x.units)))
    # what lies along the signal is what it takes out: the next norm on the same signal finds nothing there
    left: dict[str, Any] = {
        "lumpy": 0.0 if group.units == x.units else lumpy / group.units,
        "own": -max(0.0, along) / group.entries - (mean if p * b == 1.0 else 0.0),
        "radial": 1.0,
        "shunned": here.shunned / typical if kind == "batch" else here.shunned,
    }
    if p > 1.0 and mean < 1.0:
        left["far"] = (here.far - mean) / (1.0 - mean)
    if b > 1.0 and mean < 1.0:
        left["cross"] = (here.cross - mean) / (1.0 - mean)
    return replace(here.times(gain, noise=noise), **left)


def _steeper(kind: object, x: Flow, group: Group) -> float:
    """By how much less comes through because a group that varies more, which is divided by more, had the steeper activation."""
    if x.peak is None:
        return 1.0
    node, front = x.peak
    sizes = float(f"{front.square:.4g}"), float(f"{front.mean:.4g}")
    found = (
        activations.along(node.activation, node.settings, *sizes)[0]
        if kind == "rms"
        else activations.steeper(node.activation, node.settings, *sizes)[1]
    )
    return max(0.5, 1.0 + (found - 1.0) / group.entries)


def _noise(kind: object, x: Flow, world: World) -> Noise:
    """Of the log of the variance that is divided by; behind an activation with a mean it is not that of the mean square."""
    if x.peak is None or kind == "rms":
        return x.noise
    node, front = x.peak
    sizes, step = (float(f"{front.square:.4g}"), float(f"{front.mean:.4g}")), 0.05
    low, high = (activations.gauss(node.activation, node.settings, sizes[0] * f, sizes[1]) for f in (1 - step, 1 + step))
    spreads = [max(1e-300, one.square - one.mean**2) for one in (low, high)]
    steep = math.log(spreads[1] / spreads[0]) / math.log((1 + step) / (1 - step))
    noise = world.mixed([(steep, front.noise)])
    if kind != "layer" or x.positions <= 0.0:
        return noise
    far, cross = (x.correlation(part) ** 2 for part in (x.alike.far, x.alike.cross))
    wide = max(0.0, activations.kurtosis(node.activation, node.settings, *sizes) - 1.0 - 2.0 * steep**2)
    return world.noisy(noise, wide / max(1.0, x.units) * world.averaged(x.positions, far, cross))


def _uneven(x: Flow) -> float:
    """Relative variance of the variance over the units of one example, from example to example."""
    if x.peak is None:
        return x.uneven
    node, front = x.peak
    square, mean = float(f"{front.square:.4g}"), float(f"{front.mean:.4g}")
    wide = activations.kurtosis(node.activation, node.settings, square, mean) - 1.0
    return max(x.uneven, wide / max(1.0, x.units) * (1.0 - x.correlation(x.alike.cross) ** 2))


def inverse(spread: float) -> tuple[float, float]:
    r"""The mean of 1 / v over groups whose v has mean 1 and relative variance ``spread``, and the relative variance of 1 / v.

    v is a sum of squares of Gaussians whose variances fall geometrically, as the spectra of data do:

    .. math:: E[1/v] = \int_0^\infty \prod_i (1 + 2 t \lambda_i)^{-1/2} dt, \qquad \lambda_i = (1 - r) r^i, \quad
        2 \frac{1 - r}{1 + r} = \operatorname{Var} v

    >>> tuple(round(value, 2) for value in inverse(0.1))
    (1.1, 0.11)
    """
    if spread < 1e-3:
        return 1.0 + spread, spread
    mean, square = _inverse(float(f"{min(1.8, spread):.2g}"))
    return mean, min(4.0, square / mean**2 - 1.0)


@functools.lru_cache(maxsize=1024)
def _inverse(spread: float) -> tuple[float, float]:
    ratio = (1.0 - spread / 2.0) / (1.0 + spread / 2.0)
    sizes = (1.0 - ratio) * ratio ** np.arange(max(3, int(8.0 / max(1e-3, -np.log(ratio)))))
    log_t = np.linspace(-12.0, 12.0, 241)
    t = np.exp(log_t)
    kernel = np.exp(-0.5 * np.log1p(2.0 * t[:, None] * sizes[None, :]).sum(1)) * (log_t[1] - log_t[0])
    return float((t * kernel).sum()), float((t * t * kernel).sum())
