"""How far the layers of a network have moved, how large a step is, and whether its gradients agree: what a rate is judged by.

A step of turning ratio r moves a layer by r of its size, so n steps move it by at most the sum of their ratios, its path. A
layer whose path is much shorter than 1 still computes what it computed at birth, whatever its gradients say.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from isograd.health import layers as gather
from isograd.health.case import DEFAULT_STEPS, Case, at, late
from isograd.records.reading import Reading

SHORT = 0.1
"""A path that leaves a layer what it was: to turn a weight into another of its size takes a path of sqrt(2) at least, and
networks that learned were found to go 0.4 and more (no alarm on 420 healthy calibration runs)."""
LOOKS, GAP, RECENT = 4, 0.6, 0.6
EVEN, EVENLY = 3.0, 3
MOST = 1.0
"""What one step may add to a path: a layer that starts at zero moves infinitely far, relative to its size."""


@dataclass(frozen=True, slots=True)
class Movement:
    """How the layers that are meant to learn have moved so far.

    ``path`` is the longest path of a layer over the steps taken, ``planned_path`` over the whole run if it goes on like this.
    ``turning`` is the late turning ratio of a typical (median) layer, ``largest`` the largest step ever of a typical layer in
    units of 1 / sqrt(fan_in), the size at which it replaces what was there. ``agreement`` is the late median of
    ``gradient_turn``; ``fed`` says whether most layers get a gradient, ``sure`` whether the looks lie so close that a path can
    be told from them, ``recent`` whether the last look lies in the last four tenths of the steps.
    """

    layers: int
    path: float
    planned_path: float
    turning: float
    largest: float
    agreement: float | None
    fed: bool
    sure: bool
    recent: bool

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
    names = [weight.name for weight in gather.weights(case)]
    rows = {name: [r for r in at(case.rows, "turning_ratio", name) if not math.isnan(r.value)] for name in names}
    rows = {name: series for name, series in rows.items() if series}
    if not rows:
        return None
    rates = rates_so_far(case)
    path = max(path_of(series, case.taken, rates) for series in rows.values())
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
        _close(next(iter(rows.values())), case.taken),
        max(series[-1].step for series in rows.values()) >= RECENT * case.taken,
    )


FIRST_STEPS, NOWHERE = 2, 0.1 * SHORT
"""What ``check`` sees of a run, and the path of a whole run that is too short beyond doubt, told from them alone."""


BRIEF = 100
"""An announced run of fewer steps leads nowhere at any rate that is safe: its length is to blame."""


def leads_nowhere(case: Case, moved: Movement) -> float | None:
    """The path of a run of which the first steps alone were seen, where it is too short whatever comes; else None.

    A length that was not announced is taken to be ``DEFAULT_STEPS``. A rate of 0 is not judged: warm-ups begin with it.

    >>> from isograd.records.anatomy import Anatomy
    >>> leads_nowhere(Case(Anatomy("torch", (), ()), taken=2), Movement(1, 2e-8, 2e-8, 1e-8, 1e-8, None, True, False, True))
    0.0001
    """
    resting = any(reading.value == 0.0 for reading in case.series("learning_rate"))
    short = case.planned is not None and case.planned < BRIEF
    if not 0 < case.taken <= FIRST_STEPS or not moved.fed or resting or short:
        return None
    path = moved.path / case.taken * (case.planned or DEFAULT_STEPS)
    return path if path < NOWHERE else None


def rates_so_far(case: Case) -> list[float]:
    """Sum of the learning rates of the first n steps, n from 0 on; a step that was not kept had that of the one before.

    Empty where no rate is known.
    """
    known = {reading.step: reading.value for reading in case.series("learning_rate")}
    if not known:
        return []
    rate, total, sums = known[min(known)], 0.0, [0.0]
    for step in range(1, case.taken + 1):
        rate = known.get(step, rate)
        total += rate
        sums.append(total)
    return sums


def path_of(series: Sequence[Reading], taken: int, rates: Sequence[float] = ()) -> float:
    """Sum of the turning ratios over all steps up to ``taken``; steps between two looks by the mean of both.

    Where ``rates`` (``rates_so_far``) are known the ratio is taken per unit of the rate: schedules change between looks.

    >>> path_of([Reading("turning_ratio", "w", 1, 0.2), Reading("turning_ratio", "w", 3, 0.1)], 5)
    0.65
    >>> path_of([Reading("turning_ratio", "w", 1, 0.2), Reading("turning_ratio", "w", 3, 0.1)], 3, [0.0, 1.0, 1.0, 2.0])
    0.3
    """
    looks = [(reading.step, min(MOST, reading.value)) for reading in series if reading.step <= taken]
    if not looks:
        return 0.0
    if rates:
        each = [(step, value, rates[step] - rates[step - 1]) for step, value in looks]
        per = [(step, value / rate) for step, value, rate in each if rate > 0.0]
    if not rates or not per:  # no rate is known at any look: ratios speak for themselves
        per, rates = looks, range(taken + 1)
    total = sum(value for _, value in looks)
    marks = [(0, per[0][1]), *per, (taken + 1, per[-1][1])]
    for (start, before), (end, after) in pairwise(marks):
        between = rates[end - 1] - rates[start]
        between -= sum(rates[step] - rates[step - 1] for step, _ in looks if start < step < end)  # counted above
        total += min(0.5 * (before + after) * between, MOST * (end - start))
    return round(total, 12)


def _close(series: Sequence[Reading], taken: int) -> bool:
    """Whether there are four looks at least, and no gap between them longer than six tenths of what was taken.

    A gap is none where the steps at both its ends are of about the same size: then those between were so too. Where all looks
    saw steps of about the same size, none is, and three (``EVENLY``) of them are enough.
    """
    if len(series) >= EVENLY and max(r.value for r in series) <= EVEN * min(r.value for r in series):
        return True
    steps = [reading.step for reading in series]
    ends = ((a, b) for a, b in pairwise(series) if not a.value <= EVEN * b.value <= EVEN**2 * a.value)
    gaps = [b.step - a.step for a, b in ends]
    return len(steps) >= LOOKS and max([steps[0], taken - steps[-1], *gaps]) <= GAP * taken


def _largest(case: Case, fan_in: dict[str, float]) -> float:
    """Over the looks, the largest step of a median layer."""
    steps: dict[int, list[float]] = {}
    for name, inputs in fan_in.items():
        for reading in at(case.rows, "update_rms", name):
            if inputs and math.isfinite(reading.value):
                steps.setdefault(reading.step, []).append(reading.value * math.sqrt(inputs))
    return max((statistics.median(sizes) for sizes in steps.values()), default=0.0)
