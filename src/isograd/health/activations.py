"""Say what an activation does to a Gaussian: E[phi], E[phi^2], E[phi'^2], E[phi'^4] and E[phi(u) phi(v)], by quadrature."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from isograd.records.anatomy import Node

Array = NDArray[np.float64]
Curve = Callable[[Array], Any]


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
def gauss(
    node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, mean: float = 0.0, picked_from: float = 1.0
) -> Gauss:
    r"""Moments of phi(x) and phi'(x) for x ~ N(m, q - m^2), or for the largest of k such values.

    .. math:: E[f(x)] = \int f(m + \sqrt{q - m^2} z)\, k\, \varphi(z)\, \Phi(z)^{k-1} dz

    ``picked_from`` = k is how many independent values a pooling layer picks the largest of; 1 is the plain Gaussian. A midpoint
    sum over a fine grid rather than Gauss-Hermite: it converges as fast on smooth curves and does not ring at a kink.

    Source: Poole et al. 2016, arXiv:1606.05340, eq. 3 (E[phi^2]); Schoenholz et al. 2017, arXiv:1611.01232, eq. 5 (E[phi'^2]).

    >>> relu = gauss("relu", (), 4.0)
    >>> round(relu.square, 6), round(relu.slope2, 6)
    (2.0, 0.5)
    """
    curves = _curves(node_name, settings)
    if curves is None:
        raise ValueError(f"no map for the activation {node_name!r}")
    phi, slope = curves
    z, weight = _grid()
    if picked_from > 1.0:
        weight = picked_from * weight * (0.5 * (1.0 + erf(z / math.sqrt(2.0)))) ** (picked_from - 1.0)
        weight = weight / weight.sum()
    x = mean + math.sqrt(max(0.0, second_moment - mean * mean)) * z
    value, steep = phi(x), slope(x) ** 2
    return Gauss(float(weight @ value), float(weight @ value**2), float(weight @ steep), float(weight @ steep**2))


@functools.lru_cache(maxsize=4096)
def overlap(
    node_name: str, settings: tuple[tuple[str, Any], ...], second_moment: float, correlation: float, mean: float = 0.0
) -> float:
    r"""E[phi(u) phi(v)] for u and v ~ N(m, q - m^2) with the given correlation: how alike two examples come out.

    Source: Poole et al. 2016, arXiv:1606.05340, eq. 5.

    >>> round(overlap("relu", (), 1.0, 0.0), 4), round(overlap("relu", (), 1.0, 1.0), 4)     # E[phi]^2 = 1/(2 pi), E[phi^2]
    (0.1592, 0.5)
    """
    curves = _curves(node_name, settings)
    if curves is None:
        raise ValueError(f"no map for the activation {node_name!r}")
    phi, _ = curves
    z, weight = _grid(points=320, reach=7.0)
    c = max(-1.0, min(1.0, correlation))
    scale = math.sqrt(max(0.0, second_moment - mean * mean))
    other = mean + scale * (c * z[:, None] + math.sqrt(1.0 - c * c) * z[None, :])
    return float(weight @ (phi(mean + scale * z) * (phi(other) @ weight)))


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
    if name == "prelu":
        return _leaky(constant("init", 0.25))
    if name in ("elu", "celu"):
        alpha = constant("alpha", 1.0)
        return _elu(alpha, 1.0, 1.0 / alpha if name == "celu" else 1.0)
    if name == "hardtanh":
        return _clipped(constant("min_val", -1.0), constant("max_val", 1.0))
    if name == "softplus":
        beta = constant("beta", 1.0)
        return lambda x: np.logaddexp(0.0, beta * x) / beta, lambda x: _softplus_slope(beta * x)
    return None
