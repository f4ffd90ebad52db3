r"""How a softmax over Gaussian logits spreads: moments of its weights, by quadrature.

A sum of exponentials in a denominator is an integral: ``1 / S^n = int s^(n-1) e^(-s S) ds / (n-1)!``, and the expectation of
the exponential of a sum of independent terms is a product. So every moment is one integral over log s::

    E[a_1^2] = int s^2 f_2(s) f_0(s)^(T-1) d(log s),      f_k(s) = E[e^(k x - s e^x)],      x ~ N(0, v)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """Moments of the weights a of a softmax over T keys.

    ``one`` is E of A = sum a^2: 1 / T of a mean, 1 of a choice. ``moves`` is E[A - 2 sum a^3 + A^2]: what its Jacobian makes of
    independent values. ``free`` is E[(1 - A)^2].
    """

    one: float
    moves: float
    free: float


def spread(logit_variance: float, keys: float) -> Spread:
    """The moments of a softmax over so many independent logits N(0, v).

    >>> even = spread(0.0, 8.0)
    >>> even.one, round(even.moves, 4), round(spread(400.0, 8.0).one, 1)
    (0.125, 0.1094, 0.9)
    """
    keys = max(1.0, keys)
    if logit_variance <= 1e-4 or keys <= 1.0:
        one = 1.0 / keys
        return Spread(one, one * (1.0 - one), (1.0 - one) ** 2)
    return _spread(float(f"{min(logit_variance, 1e4):.3g}"), keys)


def steepness(logit_variance: float, keys: float) -> tuple[float, float]:
    """Derivatives of the logs of ``one`` and ``moves`` with respect to the log of the variance.

    >>> steepness(0.0, 8.0)
    (0.0, 0.0)
    """
    low, high = spread(0.9 * logit_variance, keys), spread(1.1 * logit_variance, keys)
    width = math.log(1.1 / 0.9)
    if low.moves <= 0.0 or high.moves <= 0.0:
        return 0.0, 0.0
    return math.log(high.one / low.one) / width, math.log(high.moves / low.moves) / width


def mean(parts: Sequence[tuple[float, Spread]]) -> Spread:
    """The weighted mean of several: queries that look at different numbers of keys."""
    return Spread(*(sum(w * getattr(part, name) for w, part in parts) for name in ("one", "moves", "free")))


@functools.lru_cache(maxsize=4096)
def _spread(logit_variance: float, keys: float) -> Spread:
    z = np.linspace(-6.0, 6.0, 241)
    weight = np.exp(-0.5 * z * z)
    weight = weight / weight.sum()
    x = math.sqrt(logit_variance) * z
    reach = 6.0 * math.sqrt(logit_variance)
    t = np.linspace(-reach - math.log(keys) - 6.0, reach + 6.0, 241)  # s = exp(t)
    size = np.exp(np.minimum(t[:, None] + x[None, :], 50.0))  # s e^x
    damped = np.exp(-size) * weight
    rest, step = damped.sum(1), float(t[1] - t[0])
    second, third, fourth = ((size**k * damped).sum(1) for k in (2, 3, 4))
    alone = rest ** (keys - 1.0)
    squares = keys * float((second * alone).sum()) * step
    cubes = keys * float((third * alone).sum()) * step / 2.0
    fourths = keys * float((fourth * alone).sum()) * step / 6.0
    pairs = keys * (keys - 1.0) * float((second**2 * rest ** (keys - 2.0)).sum()) * step / 6.0 if keys >= 2.0 else 0.0
    one = min(1.0, max(1.0 / keys, squares))
    twice = max(one * one, fourths + pairs)
    return Spread(one, max(0.0, one - 2.0 * cubes + twice), max(0.0, 1.0 - 2.0 * one + twice))
