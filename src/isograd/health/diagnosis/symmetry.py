"""Symmetry: layers that start with one and the same number everywhere, so that their units are copies of each other.

From theory: where every row of a weight is alike all units of the layer compute the same, and where every column of the next
weight is alike they also get the same gradient: they stay copies for ever, and the layer is as wide as one unit (with zeros
and ReLU not even that: no gradient passes). Two successive weights without spread are needed. Unequal biases or dropout break
the symmetry slowly; so it is an alarm only where the outcome is poor or not known yet.
Nearly the same are weights near zero in most layers: a signal and its gradient shrink by rms * sqrt(fan_in) a layer, so that
all units begin as one and the same nothing. The origin is a saddle, left in a time that grows with the logarithm of how near to
it one starts (Saxe et al. 2014). SMALL, 0.02: two such layers leave 0.04 % of the gradient; the smallest custom, a deviation of
0.02, passes on 0.08 at a width of 16. An alarm only where the run is decided and REACHED, 0.75, was not.
Between the two are weights of one sign (``torch.rand``, ``uniform_``): all but a rest of each unit is one and the same sum of
the inputs. A matrix of n by m with the mean a and the standard deviation s around it has one singular value of about
a sqrt(n m) beside others up to s (sqrt(n) + sqrt(m)) (Bai & Yin 1993). ONE_SIDED: a mean of half the rms, where independent
draws have 1 / sqrt(n m); and the one singular value above all others, LEADS. In at least two layers and in half of them; an
alarm unless the run is known to go well. A single layer may be meant so.
Bound for the first: none, a standard deviation of zero is exact (up to the rounding of its own computation).
Look-alikes that are healthy: a last layer, or the last layer of a residual branch, that starts at zero; orthogonal and
identity initialisations; normalisation scales (vectors) that start at one; kernels that average; a layer with one input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from isograd.health import layers as gather
from isograd.health.case import Case
from isograd.health.layers import Layer
from isograd.health.outcome import outcome
from isograd.records.anatomy import Node, Parameter, capital, spoken
from isograd.records.finding import Evidence, Finding, Severity

ROUNDING = 1e-6
SMALL = 0.02
REACHED = 0.75
SKILL = 0.6
ONE_SIDED = 0.5
LEADS = 1.0
FEWEST, CLEAR = 16, 5.0
"""Weights of a layer below which their mean says nothing, and standard errors that it must be away from zero."""
UNITS = 2
REFERENCES = ("Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4",)


def diagnose(case: Case) -> Iterator[Finding]:
    """The layers whose units are born as copies."""
    found = gather.layers(case)
    copies = [here for here, behind in pairwise(found) if _alike(here) and _alike(behind)]
    copies = [layer for layer in copies if layer.weight.shape[0] >= UNITS]
    if copies:
        yield _finding(case, [(layer.weight, layer.node) for layer in copies])
    elif near := near_zero(case):
        if outcome(case).short_of(REACHED):
            yield _small(case, near)
    elif sided := [layer for layer in found if _one_sided(layer.weight)]:
        if len(sided) >= UNITS and 2 * len(sided) >= len(found):
            yield _drawn_from_one_side(case, sided)
    elif not found:  # tables that are multiplied: rows of zeros get no gradient from each other
        tables = [weight for weight in gather.weights(case) if weight.values.count > 1 and min(weight.shape) >= UNITS]
        if len(tables) >= 2 and all(_flat(weight) for weight in tables):
            yield _finding(case, [(weight, case.anatomy.node(weight.layer)) for weight in tables])


def _alike(layer: Layer) -> bool:
    return layer.weight.values.count > 1 and _flat(layer.weight)


def near_zero(case: Case) -> list[Layer]:
    """The layers that were born next to nothing, where they are the most; none otherwise.

    >>> from isograd.records.anatomy import Anatomy
    >>> near_zero(Case(Anatomy("torch", (), ())))
    []
    """
    found = gather.layers(case)
    near = [layer for layer in found if _near_zero(layer)]
    return near if len(near) >= UNITS and 2 * len(near) > len(found) else []


def _near_zero(layer: Layer) -> bool:
    size = layer.weight.values.rms * math.sqrt(float(layer.node.get("fan_in", 0)))
    return 0.0 < size < SMALL


def _small(case: Case, near: Sequence[Layer]) -> Finding:
    sizes = [layer.weight.values.rms * math.sqrt(float(layer.node.get("fan_in", 0))) for layer in near]
    first, largest = near[0], max(sizes)
    text = f"the weights of {len(near)} layers start so small that each passes on {100 * largest:.1g} % of its signal at most"
    return Finding(
        "symmetry",
        "warning",
        0.85,
        first.weight.layer,
        f"{capital(text)}: all units begin as copies of nearly nothing, at a saddle that the run has lost its time in.",
        (Evidence(text, "weight_rms", largest, "of 1 / sqrt(fan_in)", SMALL),),
        tuple(layer.weight.layer for layer in near),
        first.node.source,
        since=1 if case.taken else None,
        remedy="leave torch's default initialisation, or He (kaiming_normal_) for ReLU, Glorot for tanh",
        references=(*REFERENCES, "Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning, arXiv:1312.6120"),
    )


def _one_sided(weight: Parameter) -> bool:
    values = weight.values
    rows, columns = weight.shape[0], math.prod(weight.shape[1:])
    by_chance = values.count < FEWEST or abs(values.mean) * math.sqrt(values.count) <= CLEAR * values.std
    if by_chance:
        return False
    edge = values.std * (math.sqrt(rows) + math.sqrt(columns))
    leads = abs(values.mean) * math.sqrt(rows * columns) > LEADS * edge > 0.0
    return leads and abs(values.mean) >= ONE_SIDED * values.rms


def _drawn_from_one_side(case: Case, sided: Sequence[Layer]) -> Finding:
    first = sided[0]
    share = (first.weight.values.mean / first.weight.values.rms) ** 2
    mean = f"mean {first.weight.values.mean:.2g} at {spoken(first.weight.layer)}"
    text = f"the weights of {len(sided)} layers start on one side of zero ({mean})"
    return Finding(
        "symmetry",
        "note" if outcome(case).well(REACHED) else "warning",
        0.9,
        first.weight.layer,
        f"{capital(text)}: {100 * share:.0f} % of what they do is one and the same sum of the inputs in every unit, growing "
        "from layer to layer and drowns what tells examples apart.",
        (Evidence("mean of the weights over their rms", "weight_mean", share**0.5, "", ONE_SIDED),),
        tuple(layer.weight.layer for layer in sided),
        first.node.source,
        since=1 if case.taken else None,
        remedy="weights around zero: leave torch's default initialisation, or He (kaiming_normal_) for ReLU, Glorot for tanh",
        references=(*REFERENCES, "Bai & Yin 1993, Limit of the smallest eigenvalue of a large covariance matrix"),
    )


def _flat(weight: Parameter) -> bool:
    return weight.values.std <= ROUNDING * weight.values.rms


def _finding(case: Case, copies: Sequence[tuple[Parameter, Node | None]]) -> Finding:
    judged = outcome(case)
    goes_well = judged.learning is True and not judged.poor(SKILL)
    severity: Severity = "note" if goes_well else "critical" if judged.learning is False and judged.decided else "warning"
    first, node = copies[0]
    what = "zero" if first.values.rms == 0.0 else f"the same number ({first.values.mean:.3g})"
    places = ", ".join(spoken(weight.layer) for weight, _ in copies[:3])
    more = f" and {len(copies) - 3} more" if len(copies) > 3 else ""
    behind = ", and of the layer behind," if gather.layers(case) else ""
    text = f"all weights of {places}{more}{behind} start as {what}"
    return Finding(
        "symmetry",
        severity,
        0.95 if judged.learning is False else 0.85,
        first.layer,
        f"{capital(text)}: their units are copies of each other, get the same gradient and stay copies.",
        (Evidence(text, "weight_std", first.values.std, bound=0.0),),
        tuple(weight.layer for weight, _ in copies),
        node.source if node else None,
        since=1 if case.taken else None,
        remedy="a random initialisation: leave torch's default, or He (kaiming_normal_) for ReLU, Glorot for tanh",
        references=REFERENCES,
    )
