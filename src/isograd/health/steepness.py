"""How steep the loss is: how large a part of it a change of the weights would make, if its gradient went on as it points."""

from __future__ import annotations

import math
import statistics

from isograd.health import layers as gather
from isograd.health.case import Case, at, middle
from isograd.health.outcome import outcome

STEEP, NORMED = 1e4, 1e6


def norms(case: Case) -> dict[int, float]:
    """Step -> norm of the gradient of all parameters together, before a clip where one was seen at work."""
    found = {step: float(fact.get("norm", -1.0)) for step, fact in case.facts("clipped")}
    found = found or {reading.step: reading.value for reading in case.series("total_gradient_norm")}
    return {step: norm for step, norm in found.items() if 0.0 < norm < math.inf}


def steepness(case: Case) -> float | None:
    r"""By how much of itself the loss would change with the weights, by a typical look.

    .. math:: S = \frac{\lVert g \rVert \; \lVert \theta \rVert}{\max(L, L_0)}

    for the gradient g before a clip, the weights theta as they were first seen, the loss L of that step and the loss L_0 of the
    best constant answer: a relative change of 1 / S along the gradient is worth the whole loss. No unit; above 0. The scales of
    the loss and of its targets drop out. None where nobody knows L_0 or no gradient was measured.

    Healthy runs (40 of the calibration side and 17 programs of the faults' grounds) had .5 to 250, over the loss of the step
    alone; three networks with recurrent weights ten times too large 3e6 to 8e7.
    """
    floor = outcome(case).floor
    if floor is None:  # too few steps for an outcome
        floors = [sample.floor for _, sample in case.losses if sample.training and sample.floor is not None]
        floor = statistics.median(floors) if floors else None
    size = math.sqrt(sum(parameter.values.rms**2 * parameter.values.count for parameter in case.anatomy.parameters))
    losses = {reading.step: reading.value for reading in case.series("loss") if math.isfinite(reading.value)}
    if floor is None or not floor > 0.0 or not 0.0 < size < math.inf:
        return None
    looks = [norm * size / max(losses[step], floor) for step, norm in norms(case).items() if step in losses]
    return statistics.median(looks) if looks else None


def bound(case: Case) -> float:
    """From which steepness on no step is short enough: 1e4; 1e6 where most of the gradient is that of weights before a norm.

    The size of those is nothing to the loss: 18 sound networks of torchvision, 8 examples a batch, begin at 65 to 1.1e5
    (ResNet-50), and a chain of 40 dense layers with batch norms, whose gradient explodes (Yang et al. 2019,
    arXiv:1902.08129), at 2e7.
    """
    normed, parts = gather.normalised(case.anatomy), dict[str, float]()
    for layer in gather.layers(case):
        size = middle(at(case.rows, "parameter_gradient_rms", layer.weight.name)) or 0.0
        parts[layer.node.path] = size**2 * layer.weight.values.count
    theirs = sum(part for path, part in parts.items() if path in normed)
    return NORMED if theirs > sum(parts.values()) / 2.0 else STEEP
