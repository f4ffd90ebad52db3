"""Weights reset: between two steps another hand draws weights anew, or puts them back to what they were at the start.

Certain as a fact: between the end of one step and the beginning of the next a matrix changed so that it is hardly parallel to
what it was (cosine below 1/2; two independent draws have 0 +- 1 / sqrt(entries)), or is again exactly as it was first seen.
What the steps before learned is gone.

Bounds:
  LEAST   three times, or twice where the run has ended: one reset is a phase of its own
  OFTEN   critical where it happens in one of a hundred steps or more, for then little is learned in between

Look-alikes that are healthy: weight clipping, averages copied in, projection onto a norm, pruning, a first initialisation
that depends on data; a reset once a task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import lasting, listed, over
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding, Severity

LEAST = 3
OFTEN = 0.01


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding, with all layers that are reset."""
    found = {where: one for where, one in lasting(case, "weights_changed").items() if one.last > 1}
    if not found:
        return
    times: Counter[str] = Counter()
    for _, fact in case.facts("weights_changed"):
        times[fact.where] += int(fact.get("times", 1))
    sure = [where for where in found if times[where] >= (2 if over(case) else LEAST)]
    where = max(sure or found, key=lambda place: times[place])
    some, one, count = sure or list(found), found[where], times[where]
    severity: Severity = "note" if not sure else "critical" if count >= OFTEN * one.last else "warning"
    restored = bool(one.fact.get("restored", False))
    how = "put back to what they were at the start" if restored else "drawn anew"
    whom = listed([spoken(place) for place in some])
    cosine = float(one.fact.get("cosine", 0.0))
    node = case.anatomy.node(where)
    yield Finding(
        "weights_reset",
        severity,
        0.97 if sure else 0.8,
        where,
        f"The weights of {whom} are {how} between the steps, {count} times so far: what was learned is lost.",
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
