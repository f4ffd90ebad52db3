"""Symmetry: layers that start with one and the same number everywhere, so that their units are copies of each other.

From theory: where every row of a weight is alike all units of the layer compute the same, and where every column of the next
weight is alike they also get the same gradient: they stay copies for ever, and the layer is as wide as one unit (with zeros
and ReLU not even that: no gradient passes). Two successive weights without spread are needed. Unequal biases or dropout break
the symmetry slowly; so it is an alarm only where the outcome is poor or not known yet.
Bound: none, a standard deviation of zero is exact (up to the rounding of its own computation).
Look-alikes that are healthy: a last layer, or the last layer of a residual branch, that starts at zero; orthogonal and
identity initialisations; normalisation scales (vectors) that start at one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from isograd.health import layers as gather
from isograd.health.case import Case
from isograd.health.layers import Layer
from isograd.health.outcome import outcome
from isograd.records.anatomy import Node, Parameter, capital, spoken
from isograd.records.finding import Evidence, Finding, Severity

ROUNDING = 1e-6
SKILL = 0.6
UNITS = 2
REFERENCES = ("Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4",)


def diagnose(case: Case) -> Iterator[Finding]:
    """The layers whose units are born as copies."""
    found = gather.layers(case)
    copies = [here for here, behind in pairwise(found) if _alike(here) and _alike(behind)]
    copies = [layer for layer in copies if layer.weight.shape[0] >= UNITS]
    if copies:
        yield _finding(case, [(layer.weight, layer.node) for layer in copies])
    elif not found:  # tables that are multiplied: rows of zeros get no gradient from each other
        tables = [weight for weight in gather.weights(case) if weight.values.count > 1 and min(weight.shape) >= UNITS]
        if len(tables) >= 2 and all(_flat(weight) for weight in tables):
            yield _finding(case, [(weight, case.anatomy.node(weight.layer)) for weight in tables])


def _alike(layer: Layer) -> bool:
    return layer.weight.values.count > 1 and _flat(layer.weight)


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
