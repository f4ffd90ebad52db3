"""The learning rate through a run: pure functions from the step (counted from 0) to a factor of the largest rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from isograd.workbench.train.progress import Direction

Schedule = Callable[[int, int, float], float]


def constant(step: int, steps: int, warmup: float) -> float:
    """1 at every step.

    >>> constant(3, 10, 0.1)
    1.0
    """
    return 1.0


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Rises in a line to 1 over the first ``warmup * steps`` steps, then falls as half a cosine towards 0.

    Range: (0, 1]. Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts; the rise: Goyal et al. 2017,
    arXiv:1706.02677.

    >>> [round(warmup_cosine(step, 10, 0.2), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Rises from 1/25 to 1 over the first ``warmup * steps`` steps, then falls to 1/250000, both as half a cosine.

    Range: (0, 1]. Source: Smith & Topin 2018, arXiv:1708.07120, with the cosine form that became usual.

    >>> [round(one_cycle(step, 11, 0.3), 2) for step in range(11)]
    [0.04, 0.28, 0.76, 1.0, 0.95, 0.81, 0.61, 0.39, 0.19, 0.05, 0.0]
    """
    rise = round(warmup * steps)
    start, end = 1 / 25, 1 / 250_000
    if step < rise:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * step / rise))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - 1 - rise)))


SCHEDULE: dict[str, Schedule] = {
    "constant": constant,
    "warmup_cosine": warmup_cosine,
    "one_cycle": one_cycle,
    "plateau": constant,  # times `plateau`, which changes between epochs only
}


def plateau(values: Sequence[float], direction: Direction, patience: int, factor: float) -> float:
    """``factor`` once for every ``patience`` epochs in a row without a better value than all before.

    A function of the whole history, so that nothing but the history has to be remembered. NaN is never better.

    >>> plateau([1.0, 0.5, 0.6, 0.7, 0.8], "min", patience=2, factor=0.1)
    0.1
    """
    best, waited, product = math.inf, 0, 1.0
    for value in values:
        signed = value if direction == "min" else -value
        if signed < best:
            best, waited = signed, 0
        else:
            waited += 1
            if waited == patience:
                product, waited = product * factor, 0
    return product
