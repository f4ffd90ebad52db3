"""The optimizer is made anew again and again: momentum and Adam's averages begin from nothing at every step.

Certain as a fact: another object steps the same parameters. What it costs follows from the optimizer: plain SGD remembers
nothing and loses nothing; momentum loses the average (a factor 1 / (1 - momentum) of the step); Adam with its correction of
the first step makes every step a sign step of size lr, because m / sqrt(v) is g / |g| at its first step: it cannot settle.

Bounds:
  OFTEN   another object in at least half of the steps: one a phase or an epoch is a restart on purpose
  LEAST   five objects

Look-alikes that are healthy: a new optimizer after unfreezing, one a phase or a task, several optimizers for several parts,
or for several losses of the same parts, which take turns (one that comes back was not made anew).
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import lasting
from isograd.records.finding import Evidence, Finding, Severity

OFTEN = 0.5
LEAST = 5


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding."""
    found = lasting(case, "optimizer_replaced").get("optimizer")
    if found is None or not found.always:
        return
    count = int(found.fact.get("count", 0))
    often = count >= LEAST and count >= OFTEN * found.last
    optimizer = case.anatomy.optimizer
    plain = optimizer is None or (optimizer.kind == "sgd" and not float(optimizer.get("momentum", 0.0)))
    severity: Severity = "warning" if often and not plain else "note"
    kind = optimizer.kind if optimizer else "the optimizer"
    loses = (
        "Nothing is lost, for it remembers nothing."
        if plain
        else f"What {kind} remembers of the steps before is lost each time."
    )
    yield Finding(
        "optimizer_restarted",
        severity,
        0.98 if often else 0.9,
        "optimizer",
        f"{count:,} optimizer objects stepped the same parameters in {found.last:,} steps. {loses}",
        (Evidence(f"{count:,} objects in {found.last:,} steps", "optimizer_replaced", count / found.last, "a step", OFTEN),),
        source=found.fact.source,
        since=found.first,
        cause="the optimizer is made inside the loop",
        remedy="make the optimizer once, before the loop",
    )
