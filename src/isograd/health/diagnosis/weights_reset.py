"""Weights reset: between two steps another hand draws weights anew, or puts them back to what they were at the start.

Certain as a fact: between the end of one step and the beginning of the next a matrix changed so that it is hardly parallel to
what it was (cosine below 1/2; two independent draws have 0 +- 1 / sqrt(entries)), or is again exactly as it was first seen.
What the steps before learned is gone.

Bounds:
  LEAST   three times, or twice where the run has ended and it was so at every look: one reset is a phase of its own
  OFTEN   and in at least a tenth of the looks since the first time

Look-alikes that are healthy: weight clipping, averages copied in, projection onto a norm, pruning, a first initialisation
that depends on data; a reset once a task.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import Lasting, lasting, listed
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding

LEAST = 3
OFTEN = 0.1


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding, with all layers that are reset."""
    found = {where: one for where, one in lasting(case, "weights_changed").items() if one.last > 1}
    sure = {where: one for where, one in found.items() if _sure(case, one)}
    some = sure or found
    if not some:
        return
    where, one = max(some.items(), key=lambda pair: pair[1].seen)
    restored = bool(one.fact.get("restored", False))
    how = "put back to what they were at the start" if restored else "drawn anew"
    whom = listed([spoken(place) for place in some])
    cosine = float(one.fact.get("cosine", 0.0))
    node = case.anatomy.node(where)
    yield Finding(
        "weights_reset",
        "critical" if sure else "note",
        0.97 if sure else 0.8,
        where,
        f"The weights of {whom} are {how} between the steps, {one.seen} times so far: what was learned is lost.",
        (
            Evidence(
                f"cosine of old and new weights of {one.fact.get('parameter', '')}: {cosine:.2f}",
                "weights_changed",
                cosine,
                bound=0.5,
            ),
        ),
        tuple(some),
        node.source if node else None,
        one.first,
        cause="initialisation, or loading of a state, inside the loop",
        remedy="initialise or load once, before the loop",
    )


def _sure(case: Case, one: Lasting) -> bool:
    often = one.seen >= OFTEN * one.looks
    return often and (one.seen >= LEAST or (case.ended and one.always and one.seen >= 2))
