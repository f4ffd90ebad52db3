"""Say what an activation does to a Gaussian: E[phi], E[phi^2], E[phi'^2], E[phi'^4] and E[f(u) f(v)], by quadrature."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isograd.records.anatomy import Node

Array = NDArray[np.float64]
Curve = Callable[[Array], Any]
# Of the standard library and of NumPy, though SciPy has them: its special functions take longer to load than all of isograd.
_erf, _erfc = np.frompyfunc(math.erf, 1, 1), np.frompyfunc(math.erfc, 1, 1)


def erf(x: Array) -> Array:
    """The error function, entry by entry."""
    return np.asarray(_erf(x), dtype=np.float64)


def ndtr(x: Array) -> Array:
    """The standard normal distribution function, exact in its lower tail.

    >>> ndtr(np.array([0.0, -10.0]))
    array([5.00000000e-01, 7.61985302e-24])
    """
    return 0.5 * np.asarray(_erfc(-np.asarray(x) / math.sqrt(2.0)), dtype=np.float64)


def expit(x: Array) -> Array:
    """1 / (1 + exp(-x)), exact in both tails.

    >>> expit(np.array([0.0, -800.0, 800.0])).tolist()
    [0.5, 0.0, 1.0]
    """
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(x))), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Gauss:
    """What comes out when zero-mean Gaussian values go through an activation.

    ``mean`` E[phi], ``square`` E[phi^2], ``slope2`` E[phi'^2], ``slope4`` E[phi'^4].
    """

    mean: float
    square: float
    slope2: float
    slope4: float


def known(node: Node) -> bool:
    """Whether there is a map for this activation."""
    return _curves(node.activation, node.settings) is not None


@functools.lru_cache(maxsize=4096)
def gauss(node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0) -> Gauss:
    r"""Moments of phi(x) and phi'(x) for x ~ N(m, q - m^2).

    .. math:: E[f(x)] = \int f(m + \sqrt{q - m^2} z)\, \varphi(z) dz

    A midpoint sum over a fine grid rather than Gauss-Hermite: as exact on smooth curves, and it does not ring at a kink.

    Source: Poole et al. 2016, arXiv:1606.05340, eq. 3 (E[phi^2]); Schoenholz et al. 2017, arXiv:1611.01232, eq. 5 (E[phi'^2]).

    >>> relu = gauss("relu", (), 4.0)
    >>> round(relu.square, 6), round(relu.slope2, 6)
    (2.0, 0.5)
    """
    phi, slope = _of(node_name, settings)
    z, weight = _grid()
    x = mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z
    value, steep = phi(x), slope(x) ** 2
    return Gauss(float(weight @ value), float(weight @ value**2), float(weight @ steep), float(weight @ steep**2))


@dataclass(frozen=True, slots=True)
class Series:
    r"""E[f(u) f(v)] of two correlated Gaussians as a power series in their correlation, of f = phi, phi', phi^2 and phi'^2.

    .. math:: E[f(u) f(v)] = \sum_k a_k^2 c^k, \qquad a_k = E[f(m + \sigma z)\, He_k(z)] / \sqrt{k!}

    The squares of the first ``TERMS`` Hermite coefficients; what they leave of E[f^2] stands in front of one more power, so
    that the series is exact at c = 1.
    Source: Mehler 1866; Daniely et al. 2016, arXiv:1602.05897, section 4 (dual activations).
    """

    value: Array
    slope: Array
    value2: Array
    slope2: Array


TERMS = 48


def of_pair(coefficients: Array, correlation: float) -> float:
    """The series at one correlation in [-1, 1].

    >>> relu = series("relu", (), 1.0)
    >>> round(of_pair(relu.value, 0.0), 4), round(of_pair(relu.value, 1.0), 4)     # E[phi]^2 = 1/(2 pi), E[phi^2]
    (0.1592, 0.5)
    """
    c = max(-1.0, min(1.0, correlation))
    return float(np.polynomial.polynomial.polyval(c, coefficients))


@functools.lru_cache(maxsize=4096)
def series(node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0) -> Series:
    """The four series of an activation whose input is N(m, q - m^2)."""
    phi, slope = _of(node_name, settings)
    z, weight = _grid(points=4000)
    x = mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z
    value, steep = np.asarray(phi(x), dtype=np.float64), np.asarray(slope(x), dtype=np.float64)
    found = []
    for f in (value, steep, value**2, steep**2):
        squares = (_hermite() @ (weight * f)) ** 2
        found.append(np.append(squares, max(0.0, float(weight @ f**2) - float(squares.sum()))))
    return Series(*found)


@functools.cache
def _hermite() -> Array:
    """He_k(z) / sqrt(k!) on the grid, one row a degree."""
    z, _ = _grid(points=4000)
    rows = [np.ones_like(z), z]
    for k in range(1, TERMS - 1):
        rows.append((z * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1))
    return np.stack(rows)


def _of(name: str, settings: tuple[tuple[str, Any], ...]) -> tuple[Curve, Curve]:
    curves = _curves(name, settings)
    if curves is None:
        raise ValueError(f"no map for the activation {name!r}")
    return curves


@functools.lru_cache(maxsize=1024)
def peak(
    node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float, picked_from: float, alike: float
) -> Gauss:
    r"""Moments of phi(x) and phi'(x) at the largest of k values x ~ N(m, q - m^2) of which any two are correlated by ``alike``.

    .. math:: \max_j x_j = m + \sqrt{q - m^2} \, (\sqrt{c}\, z_0 + \sqrt{1 - c}\, \max_j z_j)

    >>> round(peak("relu", (), 1.0, 0.0, 4.0, 0.0).slope2, 4), round(peak("relu", (), 1.0, 0.0, 4.0, 1.0).slope2, 4)
    (0.9375, 0.5)
    """
    phi, slope = _of(node_name, settings)
    z, weight = _grid(points=320, reach=7.0)
    largest = picked_from * weight * (0.5 * (1.0 + erf(z / math.sqrt(2.0)))) ** (picked_from - 1.0)
    both = weight[:, None] * (largest / largest.sum())[None, :]
    c = max(0.0, min(1.0, alike))
    at = math.sqrt(c) * z[:, None] + math.sqrt(1.0 - c) * z[None, :]
    x = mean + math.sqrt(max(0.0, second_moment - mean * mean)) * at
    value, steep = np.asarray(phi(x)), np.asarray(slope(x)) ** 2
    return Gauss(*(float((both * part).sum()) for part in (value, value**2, steep, steep**2)))


@functools.lru_cache(maxsize=4096)
def along(
    node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0
) -> tuple[float, float]:
    r"""What becomes of a gradient that is the output itself, phi(u), on its way to u.

    .. math:: \frac{E[\phi^2 \phi'^2]}{E[\phi^2] E[\phi'^2]}, \qquad \frac{E[\phi \phi' u]^2}{E[u^2] E[\phi^2 \phi'^2]}

    First its mean square beside that of an independent gradient; then the share of it that is a multiple of u.

    >>> tuple(round(value, 3) for value in along("relu", (), 1.0))       # kept whole where others are halved; half along u
    (2.0, 0.5)
    """
    phi, slope = _of(node_name, settings)
    z, weight = _grid()
    x = mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z
    value, steep = np.asarray(phi(x), dtype=np.float64), np.asarray(slope(x), dtype=np.float64)
    both, sizes = float(weight @ (value * steep) ** 2), float(weight @ value**2) * float(weight @ steep**2)
    if both <= 0.0 or sizes <= 0.0:
        return 1.0, 0.0
    return both / sizes, float(weight @ (value * steep * x)) ** 2 / max(second_moment * both, 1e-300)


@functools.lru_cache(maxsize=4096)
def steeper(
    node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0
) -> tuple[float, float]:
    r"""How much steeper phi is where its input is large, and where its value is far from the mean.

    .. math:: \frac{E[u^2 \phi'^2]}{E[u^2] E[\phi'^2]}, \qquad
        \frac{E[(\phi - E\phi)^2 \phi'^2]}{\operatorname{Var}[\phi] E[\phi'^2]}

    1 where the one says nothing of the other.

    >>> tuple(round(value, 2) for value in steeper("identity", (), 1.0)), steeper("tanh", (), 1.0)[0] < 0.5
    ((1.0, 1.0), True)
    """
    phi, slope = _of(node_name, settings)
    z, weight = _grid()
    x = mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z
    value, steep = np.asarray(phi(x), dtype=np.float64), np.asarray(slope(x), dtype=np.float64) ** 2
    away = (value - float(weight @ value)) ** 2
    energies = [(float(weight @ part) * float(weight @ steep), float(weight @ (part * steep))) for part in (x * x, away)]
    inside, outside = (both / apart if apart > 0.0 else 1.0 for apart, both in energies)
    return inside, outside


@functools.lru_cache(maxsize=4096)
def tilt(node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0) -> float:
    r"""Share of phi'(u) that is a multiple of u: what of a gradient that is the same everywhere comes to lie along the signal.

    .. math:: \frac{E[\phi'(u) (u - m)]^2}{\operatorname{Var}[u]\, E[\phi'(u)^2]}

    >>> round(tilt("relu", (), 1.0), 3), tilt("identity", (), 1.0) < 1e-12
    (0.318, True)
    """
    _, slope = _of(node_name, settings)
    z, weight = _grid()
    steep = np.asarray(slope(mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z), dtype=np.float64)
    size = float(weight @ steep**2)
    return float(weight @ (steep * z)) ** 2 / size if size > 0.0 else 0.0


@functools.lru_cache(maxsize=4096)
def kurtosis(node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0) -> float:
    """E[(phi - E phi)^4] / Var[phi]^2 of a Gaussian input.

    >>> round(kurtosis("identity", (), 2.0), 3)
    3.0
    """
    phi, _ = _of(node_name, settings)
    z, weight = _grid()
    value = np.asarray(phi(mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z), dtype=np.float64)
    centred = value - float(weight @ value)
    variance = float(weight @ centred**2)
    return float(weight @ centred**4) / variance**2 if variance > 0.0 else 1.0


@functools.lru_cache(maxsize=4096)
def ragged(node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float, common: float) -> float:
    r"""Relative variance, from unit to unit, of the variance over examples behind an activation.

    A unit's inputs have the part ``common`` = c of their variance in common over all examples, an offset z of its own:

    .. math:: v(z) = \operatorname{Var}_\epsilon\, \phi(m + \sigma (\sqrt c\, z + \sqrt{1 - c}\, \epsilon)), \qquad
        \operatorname{Var}_z[v] / E_z[v]^2

    >>> ragged("relu", (), 1.0, 0.0, 0.0), round(ragged("relu", (), 1.0, 0.0, 0.5), 2)
    (0.0, 0.56)
    """
    if common <= 0.0:
        return 0.0
    phi, _ = _of(node_name, settings)
    z, weight = _grid(points=96, reach=6.0)
    scale = math.sqrt(max(0.0, second_moment - mean * mean))
    value = np.asarray(phi(mean + scale * (math.sqrt(common) * z[:, None] + math.sqrt(1.0 - common) * z[None, :])))
    variance = value**2 @ weight - (value @ weight) ** 2
    average = float(weight @ variance)
    return float(weight @ variance**2) / average**2 - 1.0 if average > 0.0 else 0.0


@functools.cache
def _grid(points: int = 8000, reach: float = 10.0) -> tuple[Array, Array]:
    step = 2.0 * reach / points
    z = np.asarray(-reach + step * (np.arange(points) + 0.5), dtype=np.float64)
    weight = np.exp(-0.5 * z * z)
    return z, np.asarray(weight / weight.sum(), dtype=np.float64)


def _gelu(approximate: str) -> tuple[Curve, Curve]:
    if approximate == "tanh":
        k = math.sqrt(2.0 / math.pi)

        def inner(x: Array) -> Array:
            return np.tanh(k * (x + 0.044715 * x**3))

        return (
            lambda x: 0.5 * x * (1.0 + inner(x)),
            lambda x: 0.5 * (1.0 + inner(x)) + 0.5 * x * (1.0 - inner(x) ** 2) * k * (1.0 + 3 * 0.044715 * x * x),
        )
    return (
        lambda x: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))),
        lambda x: 0.5 * (1.0 + erf(x / math.sqrt(2.0))) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi),
    )


def _elu(alpha: float, scale: float, inner: float = 1.0) -> tuple[Curve, Curve]:
    """Give scale * (x, or alpha * (exp(inner x) - 1) below zero)."""
    return (
        lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(inner * x, 0.0))),
        lambda x: scale * np.where(x > 0, 1.0, alpha * inner * np.exp(np.minimum(inner * x, 0.0))),
    )


def _leaky(slope: float) -> tuple[Curve, Curve]:
    return lambda x: np.where(x > 0, x, slope * x), lambda x: np.where(x > 0, 1.0, slope)


def _clipped(low: float, high: float) -> tuple[Curve, Curve]:
    return lambda x: np.clip(x, low, high), lambda x: ((x > low) & (x < high)).astype(float)


def _softplus_slope(x: Array) -> Array:
    return np.asarray(expit(x))


def _mish_slope(x: Array) -> Any:
    t = np.tanh(np.logaddexp(0.0, x))
    return t + x * (1.0 - t * t) * expit(x)


_PLAIN: dict[str, tuple[Curve, Curve]] = {
    "identity": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(float)),
    "relu6": _clipped(0.0, 6.0),
    "tanh": (np.tanh, lambda x: 1.0 - np.tanh(x) ** 2),
    "sigmoid": (expit, lambda x: expit(x) * (1.0 - expit(x))),
    "silu": (lambda x: x * expit(x), lambda x: expit(x) * (1.0 + x * (1.0 - expit(x)))),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0.0, x)), _mish_slope),
    "selu": _elu(1.6732632423543772, 1.0507009873554805),
    "softsign": (lambda x: x / (1.0 + np.abs(x)), lambda x: (1.0 + np.abs(x)) ** -2.0),
    "logsigmoid": (lambda x: -np.logaddexp(0.0, -x), lambda x: expit(-x)),
    "tanhshrink": (lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "hardsigmoid": (lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0), lambda x: (np.abs(x) < 3.0) / 6.0),
    "hardswish": (
        lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
        lambda x: np.where(np.abs(x) < 3.0, x / 3.0 + 0.5, (x >= 3.0).astype(float)),
    ),
}
_PLAIN |= {
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "square": (np.square, lambda x: 2.0 * x),
    "abs": (np.abs, np.sign),
    "exp": (np.exp, np.exp),
}
_PLAIN["linear"] = _PLAIN["identity"]
_PLAIN["swish"] = _PLAIN["silu"]


def _curves(name: str, settings: tuple[tuple[str, Any], ...]) -> tuple[Curve, Curve] | None:
    """An activation and its derivative, or nothing where it is not known."""
    constants = dict(settings)

    def constant(key: str, default: float) -> float:
        value = constants.get(key, default)
        return float(value) if isinstance(value, int | float) else default

    if name in _PLAIN:
        return _PLAIN[name]
    if name == "gelu":
        return _gelu(str(constants.get("approximate", "none")))
    if name == "leakyrelu":
        return _leaky(constant("negative_slope", 0.01))
    if name == "rrelu":  # in training the slope is drawn anew for every value: its root mean square counts
        low, high = constant("lower", 1 / 8), constant("upper", 1 / 3)
        return _leaky(math.sqrt((low * low + low * high + high * high) / 3.0))
    if name == "prelu":
        return _leaky(constant("init", 0.25))
    if name in ("elu", "celu"):
        alpha = constant("alpha", 1.0)
        return _elu(alpha, 1.0, 1.0 / alpha if name == "celu" else 1.0)
    if name == "hardtanh":
        return _clipped(constant("min_val", -1.0), constant("max_val", 1.0))
    if name == "threshold":
        bound, below = constant("threshold", 0.0), constant("value", 0.0)
        return lambda x: np.where(x > bound, x, below), lambda x: (x > bound).astype(float)
    if name in ("softshrink", "hardshrink"):
        bound = constant("lambd", 0.5)
        shift = bound if name == "softshrink" else 0.0
        return lambda x: np.where(np.abs(x) > bound, x - shift * np.sign(x), 0.0), lambda x: (np.abs(x) > bound).astype(float)
    if name == "softplus":
        beta = constant("beta", 1.0)
        return lambda x: np.logaddexp(0.0, beta * x) / beta, lambda x: _softplus_slope(beta * x)
    return None
