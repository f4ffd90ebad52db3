"""What holds for the whole network: how the gradient grows or shrinks with depth, and how large it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def backward_slope(gradients: Sequence[float]) -> float:
    r"""How fast the gradient shrinks on its way to the first layer.

    .. math:: s = \operatorname{slope}_l \; \log \delta_l

    Least-squares slope over depth ``l`` of the log of ``gradient_rms``, layers from the input to the output; layers whose
    gradient is zero or missing are left out. Unit: nats a layer. Range: the real line; 0 at the edge of chaos, positive when
    gradients vanish towards the input; NaN with fewer than two layers.
    Source: Schoenholz et al. 2017, arXiv:1611.01232, eq. 9 (chi_1 = exp(-2 s)).

    >>> round(backward_slope([0.25, 0.5, 1.0]), 3)
    0.693
    """
    return slope_of([math.log(value) if 0.0 < value < math.inf else math.nan for value in gradients])


def slope_of(logs: Sequence[float]) -> float:
    """Least-squares slope of a series over its positions; what is not finite is left out.

    Unit: that of the values, a position. Range: the real line; NaN with fewer than two points.
    Source: ordinary least squares.

    >>> slope_of([1.0, float("nan"), 3.0])
    1.0
    """
    points = [(depth, value) for depth, value in enumerate(logs) if math.isfinite(value)]
    if len(points) < 2:
        return math.nan
    middle = sum(depth for depth, _ in points) / len(points)
    return sum((depth - middle) * value for depth, value in points) / sum((depth - middle) ** 2 for depth, _ in points)


def total_gradient_norm(norms: Iterable[float | None]) -> float:
    """Euclidean norm of the gradient of all parameters together, on the scale of the loss.

    Computed without over- or underflow of the squares. Unit: loss per unit of parameter. Range: [0, inf], infinite or NaN if a
    parameter's norm is; NaN where no gradient came. Source: Pascanu et al. 2013, arXiv:1211.5063, section 3.2.

    >>> total_gradient_norm([3.0, None, 4.0])
    5.0
    """
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known else math.nan
