"""Decide which numbers are bad, and why: one file a disease, each a pure function from a case to findings."""

from __future__ import annotations

from isograd.health.case import Case
from isograd.health.diagnosis import (
    batch_size,
    clipping,
    dead_units,
    exploding,
    learning_rate,
    momentum,
    nonfinite,
    precision,
    rank_collapse,
    symmetry,
    vanishing,
    weight_decay,
)
from isograd.records.finding import Finding

DISEASES = (
    nonfinite,
    exploding,
    vanishing,
    rank_collapse,
    dead_units,
    learning_rate,
    clipping,
    momentum,
    weight_decay,
    symmetry,
    precision,
    batch_size,
)
"""In the order in which one hides the others: what is not finite has no size any more."""

_WEIGHT = {"critical": 0, "warning": 1, "note": 2}


def diagnose(case: Case) -> tuple[Finding, ...]:
    """Everything that is wrong, the worst first.

    >>> from isograd.records.anatomy import Anatomy
    >>> diagnose(Case(Anatomy("reference", (), ())))
    ()
    """
    found = [finding for disease in DISEASES for finding in disease.diagnose(case)]
    return tuple(sorted(found, key=lambda finding: (_WEIGHT[finding.severity], -finding.confidence)))
