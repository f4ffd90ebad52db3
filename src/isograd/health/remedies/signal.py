r"""What keeps a signal on its way: an activation that passes it, clipping, normalisation, residual paths, another optimizer.

Where single steps burst, BURST times the usual, and steps grow with the gradient, each unit or entry has a bound of its own: a
bound on the whole shrinks what is sound as well. A unit moves by at most FARTHEST of its size a step, the most
that steps of sound trainings do (``rates``): :math:`\lambda \eta / (1 - \mu)`, where the :math:`\lambda` of .01 of Brock et al.
2021, arXiv:2102.06171, section 4, belongs to large batches and their large rates. An entry is bound where the largest of some
thousand normal ones would be, EXTREME times the rms, in the layer where that is largest; at the lower quartile of its looks, as
half of them may be bursts (Zhang et al. 2020, arXiv:1912.03194, section 4).

A plain network is trained through REACHED times its depth scale, :math:`6 / |\log \chi|` layers, twice the nats by which the
gradient shrinks a layer being :math:`|\log \chi|` (Schoenholz et al. 2017, arXiv:1611.01232, section 5); with fewer layers
than it has it may learn what it cannot learn with all, and that is tried last, as it takes most of somebody's network away.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.diagnosis import spikes
from isograd.health.hypotheses import DEEP, usual_norms
from isograd.health.present import Present
from isograd.health.remedies.rates import TOLERANCE, USUAL, rounded, to_adam
from isograd.health.remedies.weights import RELU_LIKE
from isograd.records.edit import Edit

BURST = spikes.FACTOR
FARTHEST = USUAL * TOLERANCE
EXTREME = 4.0
REACHED = 6.0


def candidates(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """The smallest first."""
    activation = present.word("activation")
    if activation and activation not in RELU_LIKE:
        yield Edit("activation", "relu", before=activation), "its slope is 1 wherever it is not 0"
        if present.depth > DEEP and activation != "tanh":
            yield Edit("activation", "tanh", before=activation), "with orthogonal weights it keeps a signal over any depth"
    elif activation == "relu" and present.depth > 1:
        yield Edit("activation", "leaky_relu", before=activation), "its units cannot die"
    adam = to_adam(present)
    if adam is not None and present.word("optimizer"):
        yield adam, "its steps depend neither on the size of the gradient nor on their number"
    if present.loop.clip_norm is None:
        yield Edit("clip_norm", 1.0), "no step is led by one batch"
    yield from _bounds(case, present)
    if any(node.operation == "attention" for node in case.anatomy.nodes):
        yield Edit("norm_first"), "the gradient has a path that no normalisation shrinks"
    if present.depth > 2:
        for kind in usual_norms(present):
            yield Edit("normalisation", kind), "the scale of every layer is 1"
        yield Edit("residual"), "the gradient has a path of slope 1"
    yield from _shallower(case, present)


def _shallower(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """As many hidden layers as the first gradient reaches back through, where that is half of them or less."""
    slope, hidden = next((one.value for one in case.series("backward_slope")), 0.0), present.depth - 1
    if not 0.0 < slope < math.inf or hidden <= DEEP:
        return
    reached = max(1.0, 0.5 * REACHED / slope)
    if reached <= 0.5 * hidden:
        yield Edit("depth", float(f"{reached / hidden:.2g}")), f"the gradient reaches through {reached:.0f} layers"


def _bounds(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """A bound for each unit, and one for each entry, where the gradient bursts."""
    norms = [r.value for r in case.series("total_gradient_norm") if 0.0 < r.value < math.inf]
    effective, loop = present.number("learning_rate"), present.loop
    clipped = loop.clip_norm is not None or loop.clip_value is not None
    if present.word("optimizer") != "sgd" or clipped or not norms or max(norms) < BURST * statistics.median(norms):
        return
    if effective:
        yield Edit("clip_unit", rounded(FARTHEST / effective)), "no unit moves far in one step"
    names = {one.name for one in case.anatomy.matrices}
    seen = (series for name, series in case.rows.get("parameter_gradient_rms", {}).items() if name in names)
    rms = [sorted(found)[len(found) // 4] for one in seen if (found := [r.value for r in one if 0.0 < r.value < math.inf])]
    if rms:
        yield Edit("clip_value", rounded(EXTREME * max(rms))), "no entry is far beyond what all are"
