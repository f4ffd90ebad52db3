"""Gradients not cleared: every backward pass adds to what the steps before left, so that old batches steer the new step.

The fact is certain: a gradient held something when the first backward pass since its optimizer's step began. Without any
clearing the gradient after n steps is the sum of n gradients, which is a momentum of 1: the steps grow like n, and the
weights swing around the minimum instead of settling (a heavy ball with momentum 1 has no friction at all).

Bounds:
  LEAST   seen at every look, in three looks (two where the run has ended): one look may be a loop that clears later
          A step with a closure has several passes: there each of three counts as a look
  OFTEN   or, where some looks were clean, in half of at least four: clearing every few steps is a loop gone wrong
  WELL    a training that answers nine of ten chances right with it is warned of, not condemned

Look-alikes that are healthy: accumulation over several passes before each step; a generator's pass that dirties the gradients
of its judge, which are cleared before they count; gradients that are set to zero instead of to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import Lasting, holds, lasting
from isograd.health.outcome import outcome
from isograd.records.finding import Evidence, Finding, Severity

LEAST = 3
OFTEN = 0.5
WELL = 0.9
REMEDY = "optimizer.zero_grad() in every step, before loss.backward()"


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding."""
    found = lasting(case, "carried").get("")
    if found is None:
        return
    fact, share = found.fact, float(found.fact.get("share", 1.0))
    count, age = int(fact.get("parameters", 0)), int(fact.get("age", 0))
    passes = int(fact.get("passes", 1))
    always = holds(found, case, least=LEAST) or (found.always and passes >= LEAST)
    often = found.looks >= 4 and found.seen >= OFTEN * found.looks
    never = always and share >= 1.0 and (age >= found.last - 1 or passes > 1)
    severity: Severity = "warning" if always or often else "note"
    if never and not outcome(case).well(WELL):
        severity = "critical"
    which = "gradients" if share >= 1.0 else f"{100 * share:.0f} % of the gradients"
    what = "are never cleared" if never else "are not cleared between steps"
    yield Finding(
        "gradients_not_cleared",
        severity,
        1.0 if never else 0.95 if always else 0.8,
        "loop",
        f"The {which} {what}: every step goes along the sum of all gradients since step {max(1, found.last - age)}, "
        "not along that of its batch.",
        (_evidence(found, count),),
        source=fact.source,
        since=found.first,
        cause="nothing sets the gradients to zero between two steps" if never else None,
        remedy=f"{REMEDY} (the first line of the closure)"
        if passes > 1
        else REMEDY
        if share >= 1.0
        else f"{REMEDY}, of every optimizer, and after passes for other models",
    )


def _evidence(found: Lasting, count: int) -> Evidence:
    text = f"in {found.seen} of {found.looks} looks {count} gradients held something before the first backward pass of the step"
    return Evidence(text, "carried", found.seen / max(1, found.looks), "of the looks", 0.0)
