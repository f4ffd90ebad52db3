"""What a loop may do against accidents between the backward pass and the step: the rivals of first aid, from their papers.

A treatment is made anew for each run. It is given the parameters with their gradients, and gives whether it acted, and whether
the step is to be left out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from torch import nn

Treat = Callable[[list[nn.Parameter]], tuple[bool, bool]]
"""Change the gradients of a step; tells whether anything was done, and whether the step is to be left out."""


def _norm(parameters: list[nn.Parameter]) -> float:
    return math.sqrt(sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None))


def scale(parameters: list[nn.Parameter], factor: float) -> None:
    """Multiply all gradients by ``factor``, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def nothing() -> Treat:
    """Every step is made as it comes."""
    return lambda parameters: (False, False)


def skipping(bound: Callable[[float], float] | None = None) -> Treat:
    """Leave out what is not finite; clip the rest where ``bound`` of its norm is smaller."""

    def treat(parameters: list[nn.Parameter]) -> tuple[bool, bool]:
        norm = _norm(parameters)
        if not math.isfinite(norm):
            return True, True
        most = math.inf if bound is None else bound(norm)
        if norm > most:
            scale(parameters, most / norm)
        return norm > most, False

    return treat


def autoclip(percentile: float = 10.0) -> Treat:
    """Seetharaman et al. 2020, algorithm 1: the bound is a percentile of all norms so far, this one among them."""
    norms: list[float] = []

    def bound(norm: float) -> float:
        norms.append(norm)
        ordered = sorted(norms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percentile / 100.0))]

    return skipping(bound)


def zclip(threshold: float = 2.5, alpha: float = 0.97, warm: int = 25) -> Treat:
    """Kumar et al. 2025, sec. 3: z by exponential means of norm and variance, reciprocal clipping, the clipped one enters."""
    first: list[float] = []
    mean = variance = 0.0

    def bound(norm: float) -> float:
        nonlocal mean, variance
        if len(first) < warm:
            first.append(norm)
            mean, variance = statistics.fmean(first), statistics.pvariance(first)
            return math.inf
        deviation = math.sqrt(variance) + 1e-12
        z = (norm - mean) / deviation
        most = mean + threshold**2 / z * deviation if z > threshold else norm
        mean, variance = alpha * mean + (1 - alpha) * most, alpha * variance + (1 - alpha) * (most - mean) ** 2
        return most if z > threshold else math.inf

    return skipping(bound)


ARMS: dict[str, Callable[[], Treat]] = {
    "nothing": nothing,
    "skip": skipping,
    "clip 1": lambda: skipping(lambda norm: 1.0),
    "autoclip": autoclip,
    "zclip": zclip,
    "isograd": nothing,
}
