"""How far the layers of a network have moved, how large a step is, and whether its gradients agree: what a rate is judged by.

A step of turning ratio r moves a layer by r of its size, so n steps move it by at most the sum of their ratios, its path. A
layer whose path is much shorter than 1 still computes what it computed at birth, whatever its gradients say.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.health import layers as gather
from isograd.health.case import Case, at, late
from isograd.records.reading import Reading

SHORT = 0.1
"""A path that leaves a layer what it was: to turn a weight into another of its size takes a path of sqrt(2) at least, and
networks that learned were found to go 0.4 and more (to be calibrated)."""
MOST = 1.0
"""What one step may add to a path: a layer that starts at zero moves infinitely far, relative to its size."""


@dataclass(frozen=True, slots=True)
class Movement:
    """How the layers that are meant to learn have moved so far.

    ``path`` is the longest path of a layer over the steps taken, ``planned_path`` over the whole run if it goes on like this.
    ``turning`` is the late turning ratio of a typical (median) layer, ``largest`` the largest step ever of a typical layer in
    units of 1 / sqrt(fan_in), the size at which it replaces what was there. ``agreement`` is the late median of
    ``gradient_turn``; ``fed`` says whether most layers get a gradient.
    """

    layers: int
    path: float
    planned_path: float
    turning: float
    largest: float
    agreement: float | None
    fed: bool

    @property
    def starved(self) -> bool:
        """Whether no layer comes anywhere although gradients arrive."""
        return self.fed and self.planned_path < SHORT


def movement(case: Case) -> Movement | None:
    """How the layers have moved; nothing where no real update was seen.

    >>> from isograd.records.anatomy import Anatomy
    >>> movement(Case(Anatomy("torch", (), ()))) is None
    True
    """
    fan_in = {layer.weight.name: float(layer.node.get("fan_in", 0)) for layer in gather.layers(case)}
    names = list(fan_in) or [p.name for p in case.anatomy.matrices if p.trainable and p.in_optimizer is not False]
    rows = {name: [r for r in at(case.rows, "turning_ratio", name) if not math.isnan(r.value)] for name in names}
    rows = {name: series for name, series in rows.items() if series}
    if not rows:
        return None
    path = max(path_of(series, case.taken) for series in rows.values())
    longer = max(1.0, case.planned / case.taken) if case.planned and case.taken and not case.ended else 1.0
    gradients = [statistics.median(late(series)) for name in rows if (series := at(case.rows, "parameter_gradient_rms", name))]
    turns = late(at(case.rows, "gradient_turn"))
    return Movement(
        len(rows),
        path,
        path * longer,
        statistics.median(statistics.median(late(series)) for series in rows.values()),
        _largest(case, fan_in),
        statistics.median(turns) if turns else None,
        2 * sum(gradient > 0.0 for gradient in gradients) > len(rows),
    )


def path_of(series: Sequence[Reading], taken: int) -> float:
    """Sum of the turning ratios over all steps up to ``taken``, steps between two looks by the mean of both.

    >>> path_of([Reading("turning_ratio", "w", 1, 0.2), Reading("turning_ratio", "w", 3, 0.1)], 5)
    0.65
    """
    total, before, seen = 0.0, min(MOST, series[0].value), 0
    for reading in series:
        value = min(MOST, reading.value)
        total += (reading.step - seen - 1) * 0.5 * (before + value) + value
        before, seen = value, reading.step
    return round(total + max(0, taken - seen) * before, 12)


def _largest(case: Case, fan_in: dict[str, float]) -> float:
    """Over the looks, the largest step of a median layer."""
    steps: dict[int, list[float]] = {}
    for name, inputs in fan_in.items():
        for reading in at(case.rows, "update_rms", name):
            if inputs and math.isfinite(reading.value):
                steps.setdefault(reading.step, []).append(reading.value * math.sqrt(inputs))
    return max((statistics.median(sizes) for sizes in steps.values()), default=0.0)
