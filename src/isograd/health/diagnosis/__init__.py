"""Decide which numbers are bad, and why: one file a disease, each a pure function from readings to findings."""

from __future__ import annotations

from isograd.health.diagnosis import dead_units, exploding, nonfinite, vanishing
from isograd.records.anatomy import Anatomy
from isograd.records.expectation import Expectations
from isograd.records.finding import Finding
from isograd.records.reading import Readings

DISEASES = (nonfinite, exploding, vanishing, dead_units)
"""In the order in which one hides the others: what is not finite has no size any more."""

_WEIGHT = {"critical": 0, "warning": 1, "note": 2}


def diagnose(readings: Readings, expectations: Expectations, anatomy: Anatomy) -> tuple[Finding, ...]:
    """Everything that is wrong, the worst first.

    >>> diagnose(Readings(), Expectations(), Anatomy("reference", (), ()))
    ()
    """
    found = [finding for disease in DISEASES for finding in disease.diagnose(readings, expectations, anatomy)]
    return tuple(sorted(found, key=lambda finding: (_WEIGHT[finding.severity], -finding.confidence)))
