"""Weights reset: between two steps another hand draws weights anew, puts them back, or takes back what a step moved.

Certain as a fact: between the end of one step and the beginning of the next a matrix changed so that it is hardly parallel to
what it was (cosine below 1/2; two independent draws have 0 +- 1 / sqrt(entries)), or is again exactly as it was first seen.
What the steps before learned is gone.

Where another hand changes weights little, but at each of the later looks by half (BACK) of what a step moves them or more, in
most of the layers that were looked at, the steps are taken back: averages copied into the network that is trained, a
projection onto what it was. It is told where next to nothing is learned (LITTLE), or lost again (``evaluated.forgotten``).
What draws towards the start is nil at the start, and holds the weights where it is as large as the steps: so the earlier half
of the looks does not count.

A state that is loaded back and holds the weights themselves restores nothing: ``state_dict()`` is no copy, and goes on with the
training. Told where steps were made since it was taken, and nobody wrote into it after the last of them. Certain, once AFTER
steps were made in the watch: before them there was nothing to keep.

Bounds:
  LEAST   three times, or twice where the run has ended: one reset is a phase of its own
  OFTEN   critical where it happens in one of a hundred steps or more, for then little is learned in between

Look-alikes that are healthy: a state that is changed in place and loaded, weight clipping, averages copied in, projection onto
a norm, pruning, a first initialisation that depends on data; a reset once a task.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.evaluated import by_place, forgotten
from isograd.health.looks import holds, lasting, listed, over
from isograd.health.outcome import outcome
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding, Severity

LEAST = 3
OFTEN = 0.01
BACK = 0.5
AFTER = 10
LITTLE = 0.1
"""Skill of the last answers, 0 for a constant one; a third of what ``forgetting`` calls learned."""


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding of each kind."""
    yield from _reset(case)
    yield from _taken_back(case)
    yield from _kept_by_reference(case)


def _taken_back(case: Case) -> Iterator[Finding]:
    """Changes by another hand as large as the steps, where nothing was learned."""
    found = {where: one for where, one in lasting(case, "weights_moved").items() if holds(one, case)}
    ended = outcome(case)
    gone = any(forgotten(tried) for tried in by_place(case, lambda one: one.accuracy is not None))
    if not found or not ended.decided or not (ended.learning is False or ended.short_of(LITTLE) or gone):
        return
    shares: dict[str, list[float]] = defaultdict(list)
    for index, fact in case.facts("weights_moved"):
        steps = [r.value for r in case.series("update_rms", str(fact.get("parameter", ""))) if r.step == index]
        if fact.where in found and steps and steps[0] > 0.0:
            shares[fact.where].append(float(fact.get("rms", 0.0)) / steps[0])
    late = {where: several[-(len(several) // 2) :] for where, several in shares.items() if len(several) > 1}
    back = {where: min(several) for where, several in late.items() if min(several) >= BACK}
    matrices = {p.layer for p in case.anatomy.matrices if p.trainable}
    if not back or 2 * len(back) < len(matrices):
        return
    where, least = min(back.items(), key=lambda item: item[1])
    text = f"the change between the steps is {least:.2g} times what the step moves, or more, at each of the later looks"
    yield Finding(
        "weights_reset",
        "critical",
        0.9,
        where,
        f"Another hand than the optimizer's changes the weights of {listed([spoken(place) for place in back])} between the "
        "steps, as far as the steps move them, and next to nothing is learned.",
        (Evidence(text, "weights_moved", least, "of the step", BACK),),
        tuple(back),
        since=found[where].first,
        cause="weights are overwritten inside the loop: an average copied back, a state loaded, a projection",
        remedy="keep averages in a copy of the model, and load them into it for evaluation alone",
    )


def _kept_by_reference(case: Case) -> Iterator[Finding]:
    """A state that was kept without a copy, and loaded."""
    found = [(step, fact) for step, fact in case.facts("loaded_itself") if step > AFTER]
    if not found:
        return
    step, fact = found[-1]
    text = f"all {fact.get('count', 0)} parameters that were loaded are the model's own"
    yield Finding(
        "weights_reset",
        "warning",
        0.95,
        "loop",
        "A state is loaded that was kept without a copy: it holds the weights as they are now, and nothing is restored.",
        (Evidence(text, "loaded_itself", float(fact.get("count", 0)), "parameters", 0.0),),
        source=fact.source,
        since=step,
        cause="state_dict() gives the weights themselves, which the next steps change",
        remedy="copy.deepcopy(model.state_dict()), or save it to a file",
    )


def _reset(case: Case) -> Iterator[Finding]:
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
