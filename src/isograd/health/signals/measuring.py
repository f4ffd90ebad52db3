"""Take every signal of a recording, step by step, in the order of the layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from isograd.health.signals import attention, learning, rank, steps, time
from isograd.health.signals.depth import backward_slope, total_gradient_norm
from isograd.health.signals.layers import (
    activation_rms,
    dead_fraction,
    gradient_rms,
    saturated_fraction,
    stuck_fraction,
    zero_fraction,
)
from isograd.health.signals.parameters import turning_ratio, update_ratio
from isograd.records.anatomy import WEIGHTED, Anatomy
from isograd.records.moments import Units
from isograd.records.reading import Reading, Readings
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace

ENOUGH = 128
"""Looks at one unit that say something of a layer: three quarters of its units stay silent at so many only where a typical
one fires for fewer than 1 in 440 of them, 1 - 0.75**(1/128)."""

ALIKE = 8
"""Looks that one example counts for at most: the positions of one picture or the steps of one sequence are alike."""

WINDOW = 32
"""Sampled steps over which looks are added up at most. Only as many of the newest are taken as give ``ENOUGH``, so that a
unit that died on the way is not kept alive by what it did at the start."""


def measure(trace: Trace) -> Readings:
    """Every signal of a trace, by step and in the order of the layers.

    Signals that have no value at a place (no gradient came, nothing was counted) have no reading there.

    >>> from isograd.records.anatomy import Node
    >>> from isograd.records.moments import Moments
    >>> anatomy = Anatomy("reference", (Node("a", "linear", "Linear"),), ())
    >>> step = Step(1, loss=2.0, layers=(LayerSample("a", activation=Moments.of([1.0, -1.0])),))
    >>> [(r.signal, r.where, r.value) for r in measure(Trace(anatomy, steps=(step,))).values][:2]
    [('loss', '', 2.0), ('activation_rms', 'a', 1.0)]
    """
    measuring = Measuring(trace.anatomy, trace.parameters)
    for step in trace.steps:
        measuring.add(step)
    return measuring.readings(trace.planned_steps)


class Measuring:
    """The readings of a recording that grows: each step is measured once.

    What one step says depends on the steps before it only through the looks at units that are added up.
    """

    def __init__(self, anatomy: Anatomy, parameters: Sequence[str]) -> None:
        self._anatomy, self._names = anatomy, tuple(parameters)
        self._rank = {node.path: position for position, node in enumerate(anatomy.nodes)}
        self._values: list[Reading] = []
        self._steps: list[int] = []
        self._seen: set[str] = set()
        self._recent: dict[str, list[tuple[Units, int]]] = {}

    def add(self, step: Step) -> None:
        """Measure one more step."""
        self._steps.append(step.index)
        self._seen.update(sample.where for sample in step.layers)
        values = self._values
        values.extend(_whole(step))
        values.extend(learning.read(step))
        places = list(_by_place(step.layers, self._rank))
        for samples in places:
            values.extend(rank.read(samples, step.index))
            values.extend(time.read(samples, step.index))
            values.extend(attention.read(samples, step.index))
        layers = [_merged(samples) for samples in places]
        for sample in layers:
            values.extend(_layer(sample, step.index, self._recent))
        values.extend(reading for sample in step.parameters for reading in _parameter(sample, step.index))
        if step.sampled:
            values.extend(_norms(self._names, step))
            values.extend(steps.read(step))
        slope = backward_slope(_gradients_by_depth(self._anatomy, layers))
        if not math.isnan(slope):
            values.append(Reading("backward_slope", "", step.index, slope))

    def readings(self, planned_steps: int | None = None) -> Readings:
        """All readings so far."""
        order = tuple(node.path for node in self._anatomy.nodes if node.path in self._seen)
        planned = (Reading("planned_steps", "", 0, float(planned_steps)),) if planned_steps else ()
        return Readings((*self._values, *planned), order, tuple(self._steps))


def _by_place(samples: Sequence[LayerSample], rank: dict[str, int]) -> Iterator[list[LayerSample]]:
    known = sorted((s for s in samples if s.where in rank), key=lambda s: rank[s.where])
    for _, group in groupby(known, key=lambda s: s.where):
        yield list(group)


def _merged(samples: list[LayerSample]) -> LayerSample:
    """One sample of a layer that was called several times in a step."""
    if len(samples) == 1:
        return samples[0]
    activations = [s.activation for s in samples if s.activation]
    gradients = [s.gradient for s in samples if s.gradient]
    units = [s.units for s in samples if s.units]
    return LayerSample(
        samples[0].where,
        examples=max(s.examples for s in samples),
        activation=sum(activations[1:], activations[0]) if activations else None,
        gradient=sum(gradients[1:], gradients[0]) if gradients else None,
        units=sum(units[1:], units[0]) if units else None,
    )


def _whole(step: Step) -> Iterator[Reading]:
    if step.loss is not None:
        yield Reading("loss", "", step.index, step.loss)
    if step.inputs:
        yield Reading("input_nonfinite", "", step.index, float(sum(sample.values.nonfinite for sample in step.inputs)))
    if step.learning_rate is not None:
        yield Reading("learning_rate", "", step.index, step.learning_rate)
    if any(norm is not None for norm in step.gradient_norms):
        yield Reading("total_gradient_norm", "", step.index, total_gradient_norm(step.gradient_norms))


def _norms(names: Sequence[str], step: Step) -> Iterator[Reading]:
    for name, norm in zip(names, step.gradient_norms, strict=False):
        if norm is not None:
            yield Reading("gradient_norm", name, step.index, norm)


def _layer(sample: LayerSample, step: int, recent: dict[str, list[tuple[Units, int]]]) -> Iterator[Reading]:
    found = [
        ("activation_rms", activation_rms(sample)),
        ("gradient_rms", gradient_rms(sample)),
        ("zero_fraction", zero_fraction(sample)),
    ]
    if sample.activation:
        found.append(("activation_nans", float(sample.activation.nans)))
        found.append(("activation_infs", float(sample.activation.infs)))
    if sample.gradient:
        found.append(("gradient_nonfinite", float(sample.gradient.nonfinite)))
    broken = sample.activation is not None and sample.activation.nonfinite > 0  # what is not finite neither fires nor rests
    if sample.units and sample.units.seen and not broken:
        kept = recent.setdefault(sample.where, [])
        if kept and len(kept[-1][0].fired) != len(sample.units.fired):
            kept.clear()  # the layer changed its width: what was counted spoke of other units
        kept.append((sample.units, min(sample.units.seen, ALIKE * max(1, sample.examples))))
        del kept[:-WINDOW]
        units, looks = _newest(kept)
        found.append(("saturated_fraction", saturated_fraction(sample.units)))
        found.append(("dead_fraction", dead_fraction(units)))
        found.append(("stuck_fraction", stuck_fraction(units)))
        found.append(("unit_looks", float(looks)))
    for signal, value in found:
        if not math.isnan(value):
            yield Reading(signal, sample.where, step, value)


def _newest(kept: Sequence[tuple[Units, int]]) -> tuple[Units, int]:
    """The newest looks at a layer's units until there are enough of them, and how many they count for."""
    units, looks = kept[-1]
    for earlier, more in reversed(kept[:-1]):
        if looks >= ENOUGH:
            break
        units, looks = earlier + units, looks + more
    return units, looks


def _parameter(sample: ParameterSample, step: int) -> Iterator[Reading]:
    found = [
        ("weight_rms", sample.weight.rms),
        ("update_ratio", update_ratio(sample)),
        ("turning_ratio", turning_ratio(sample)),
    ]
    if sample.update:
        found.append(("update_rms", sample.update.rms))
    if sample.gradient:
        found.append(("parameter_gradient_rms", sample.gradient.rms))
    broken = sum(m.nonfinite for m in (sample.weight, sample.gradient, sample.update) if m)
    found.append(("parameter_nonfinite", float(broken)))
    for signal, value in found:
        if not math.isnan(value):
            yield Reading(signal, sample.name, step, value)


def _gradients_by_depth(anatomy: Anatomy, layers: Sequence[LayerSample]) -> list[float]:
    values = {sample.where: gradient_rms(sample) for sample in layers}
    return [values.get(node.path, math.nan) for node in anatomy.nodes if node.operation in WEIGHTED]
