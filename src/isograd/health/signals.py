"""Turn what was recorded into numbers with a unit: one plain function a signal, and ``measure`` that takes them all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

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


def activation_rms(sample: LayerSample) -> float:
    r"""How large a layer's output is.

    .. math:: a_l = \sqrt{\tfrac1{N n_l} \textstyle\sum_{n,i} x_{l,n,i}^2}

    Over examples and units, so that neither batch size nor width bends it. Unit: that of the output. Range: [0, inf); NaN
    where nothing finite was seen.
    Source: Poole et al. 2016, arXiv:1606.05340, eq. 3 (the length q of a layer's output; this is its root).

    >>> from isograd.records.moments import Moments
    >>> activation_rms(LayerSample("a", activation=Moments.of([3.0, -3.0])))
    3.0
    """
    return sample.activation.rms if sample.activation else math.nan


def gradient_rms(sample: LayerSample) -> float:
    r"""How large the gradient of one example's loss is at a layer's output.

    .. math:: \delta_l = N \sqrt{\tfrac1{N n_l} \textstyle\sum_{n,i} (\partial L / \partial x_{l,n,i})^2}

    The factor N (examples in the batch) undoes the mean over the batch in the loss, so that a larger batch does not look like
    a smaller gradient; under a loss that sums, it makes every layer's reading N times as large, and ratios of layers stay
    right. Unit: loss per unit of output. Range: [0, inf); NaN where no gradient came.
    Source: Schoenholz et al. 2017, arXiv:1611.01232, eq. 8 (the second moment of the backward signal; this is its root).

    >>> from isograd.records.moments import Moments
    >>> gradient_rms(LayerSample("a", examples=4, gradient=Moments.of([0.25, 0.25])))
    1.0
    """
    return sample.gradient.rms * max(1, sample.examples) if sample.gradient else math.nan


def zero_fraction(sample: LayerSample) -> float:
    """Share of a layer's outputs that are exactly zero.

    Unit: none. Range: [0, 1]; about 0.5 after a healthy ReLU; NaN where nothing finite was seen.
    Source: Glorot, Bordes & Bengio 2011, Deep sparse rectifier neural networks, section 3.1.

    >>> from isograd.records.moments import Moments
    >>> zero_fraction(LayerSample("a", activation=Moments.of([0.0, 2.0])))
    0.5
    """
    return sample.activation.zero_fraction if sample.activation else math.nan


def saturated_fraction(units: Units) -> float:
    """Share of looks at which a unit sat on a flat part of its activation.

    Unit: none. Range: [0, 1]; NaN where nothing was counted.
    Source: Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, section 3.

    >>> saturated_fraction(Units(4, (4, 4), (1, 3)))
    0.5
    """
    looks = units.seen * len(units.pinned)
    return sum(units.pinned) / looks if looks else math.nan


def dead_fraction(units: Units) -> float:
    """Share of a layer's units that fired at no look.

    Unit: none. Range: [0, 1]; NaN where nothing was counted.
    Source: Lu et al. 2019, Dying ReLU and initialization, arXiv:1903.06733.

    >>> dead_fraction(Units(4, (4, 0), (0, 0)))
    0.5
    """
    return len(units.dead) / len(units.fired) if units.seen and units.fired else math.nan


def stuck_fraction(units: Units) -> float:
    """Share of a layer's units that sat on a flat part at every look.

    Unit: none. Range: [0, 1]; NaN where nothing was counted.
    Source: Glorot & Bengio 2010, as for ``saturated_fraction``, counted by unit.

    >>> stuck_fraction(Units(4, (4, 0), (4, 1)))
    0.5
    """
    return len(units.stuck) / len(units.pinned) if units.seen and units.pinned else math.nan


def update_ratio(sample: ParameterSample) -> float:
    r"""How far one real optimizer step moves a parameter, relative to its size.

    .. math:: r = \lVert \Delta\theta \rVert / \lVert \theta \rVert

    The difference of the parameter after and before the step, so that momentum, weight decay, clipping and Adam's scaling are
    in it. Unit: none. Range: [0, inf], infinite for the first step of a parameter that is zero; NaN where none was seen.
    About 1e-3 is usual; below 2**-24 a float32 parameter does not move at all.
    Source: You et al. 2017, arXiv:1708.03888 (the inverse of their trust ratio, for the real update).

    >>> from isograd.records.moments import Moments, Pairs
    >>> update_ratio(ParameterSample("w", Moments.of([2.0]), motion=Pairs.of([0.5], [2.0])))
    0.25
    """
    if sample.motion is not None:
        return sample.motion.ratio
    if sample.update is None:
        return math.nan
    moved, size = sample.update.rms, sample.weight.rms
    return moved / size if size else (math.inf if moved else math.nan)


def turning_ratio(sample: ParameterSample) -> float:
    r"""How far one step *turns* a parameter: the part of the update across the weight, relative to the weight.

    .. math:: r_\perp = r \sqrt{1 - \cos^2(\Delta\theta, \theta)}

    Weight decay only shortens a weight; it moves a layer that learns nothing by ``learning_rate * weight_decay`` a step, and
    is not in this number. Unit: none. Range: [0, inf]; NaN where no update was seen next to its weight.
    Source: Wan et al. 2021, Spherical motion dynamics, arXiv:2006.08419 (the angular update, for small angles).

    >>> from isograd.records.moments import Moments, Pairs
    >>> turning_ratio(ParameterSample("w", Moments.of([2.0, 0.0]), motion=Pairs.of([-0.5, 1.0], [2.0, 0.0])))
    0.5
    """
    if sample.motion is None:
        return update_ratio(sample)
    ratio, cosine = sample.motion.ratio, sample.motion.cosine
    return ratio if math.isnan(cosine) else ratio * math.sqrt(max(0.0, 1.0 - cosine * cosine))


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


def measure(trace: Trace) -> Readings:
    """Every signal of a trace, by step and in the order of the layers.

    Signals that have no value at a place (no gradient came, nothing was counted) have no reading there.

    >>> from isograd.records.anatomy import Anatomy, Node
    >>> from isograd.records.moments import Moments
    >>> anatomy = Anatomy("reference", (Node("a", "linear", "Linear"),), ())
    >>> step = Step(1, loss=2.0, layers=(LayerSample("a", activation=Moments.of([1.0, -1.0])),))
    >>> [(r.signal, r.where, r.value) for r in measure(Trace(anatomy, steps=(step,))).values][:2]
    [('loss', '', 2.0), ('activation_rms', 'a', 1.0)]
    """
    rank = {node.path: position for position, node in enumerate(trace.anatomy.nodes)}
    seen = {sample.where for step in trace.steps for sample in step.layers}
    order = tuple(node.path for node in trace.anatomy.nodes if node.path in seen)
    values: list[Reading] = []
    recent: dict[str, list[tuple[Units, int]]] = {}
    for step in trace.steps:
        values.extend(_whole(step))
        layers = [_merged(samples) for samples in _by_place(step.layers, rank)]
        for sample in layers:
            values.extend(_layer(sample, step.index, recent))
        values.extend(reading for sample in step.parameters for reading in _parameter(sample, step.index))
        if step.sampled:
            values.extend(_norms(trace, step))
        slope = backward_slope(_gradients_by_depth(trace.anatomy, layers))
        if not math.isnan(slope):
            values.append(Reading("backward_slope", "", step.index, slope))
    if trace.planned_steps:
        values.append(Reading("planned_steps", "", 0, float(trace.planned_steps)))
    return Readings(tuple(values), order, tuple(step.index for step in trace.steps))


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
        yield Reading("input_nonfinite", "", step.index, float(sum(moments.nonfinite for moments in step.inputs)))
    if step.learning_rate is not None:
        yield Reading("learning_rate", "", step.index, step.learning_rate)
    if any(norm is not None for norm in step.gradient_norms):
        yield Reading("total_gradient_norm", "", step.index, total_gradient_norm(step.gradient_norms))


def _norms(trace: Trace, step: Step) -> Iterator[Reading]:
    for name, norm in zip(trace.parameters, step.gradient_norms, strict=False):
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
