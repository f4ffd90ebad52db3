"""How parts of a network compare: a residual branch with its skip path, the tail of gradient norms with their middle."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def branch_over_skip(branch: float, skip: float) -> float:
    r"""How large what a residual block adds is, compared with what it adds to.

    .. math:: b = \mathrm{rms}(f(x)) / \mathrm{rms}(x)

    Unit: none. Range: [0, inf]; NaN where the skip is silent. About 1 / sqrt(depth) keeps the signal even; 1 in every block
    doubles its square a block. Source: Zhang et al. 2019, Fixup initialization, arXiv:1901.09321, section 2.

    >>> branch_over_skip(0.5, 2.0)
    0.25
    """
    return branch / skip if skip > 0.0 else math.nan


def tail_index(values: Sequence[float]) -> float:
    r"""How heavy the tail of positive values is: the exponent a in P(X > x) ~ x^(-a).

    .. math:: 1 / a = \frac{1}{k} \sum_{i \le k} \log \frac{x_{(i)}}{x_{(k + 1)}}

    Over the ``k = sqrt(n)`` largest. Unit: none. Range: (0, inf]; below 2 the variance is infinite, so that a mean of
    gradients is ruled by single batches; NaN with fewer than 16 values.
    Source: Hill 1975, A simple general approach to inference about the tail of a distribution.

    >>> round(tail_index([float(2**i) for i in range(16)]), 2)
    0.58
    """
    positive = sorted((value for value in values if 0.0 < value < math.inf), reverse=True)
    if len(positive) < 16:
        return math.nan
    k = math.isqrt(len(positive))
    mean = statistics.fmean(math.log(value / positive[k]) for value in positive[:k])
    return 1.0 / mean if mean > 0.0 else math.inf
