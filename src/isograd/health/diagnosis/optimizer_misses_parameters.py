"""The optimizer misses parameters: they get gradients, and no optimizer that steps in this program holds them.

Certain as a fact; intent is not, so an alarm needs one of:
  REPLACED   an optimizer holds parameters of no model, of the very shape, without gradients: the layer was replaced later
  HIDDEN     a module runs inside the model that does not register it (a Python list), with trainable parameters
  AFTER      a layer that is missed computes from one that is trained: nobody trains what feeds a random layer for its own sake
  THAWED     the missed layers were frozen at first, and the program made them trainable in its loop: they are meant to be
  NEW        the missed layers come first but are still as torch draws them (``looks.as_drawn``): random, not loaded
and that a cycle of all optimizers was seen: LEAST looks over SPAN steps, or the end of the run.

An optimizer that the watch was given and that never made a step moves nothing either, whatever it holds: certain once IDLE
steps of others were made and the announced run is all but over (some begin late).

Look-alikes that are healthy: a pretrained trunk of which only the head is trained (and nobody switched its gradients off),
training of biases or norms alone (of loaded weights), the partner of a GAN, teachers and target networks, gradients left by
another training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.health.looks import Lasting, fresh, lasting, listed, looked, opening, over, weighted
from isograd.health.outcome import outcome
from isograd.records.anatomy import Anatomy, capital, spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding, Severity

IDLE, NEARLY = 50, 0.9
LEAST = 3
SPAN = 8
WELL = 0.9


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for registered layers that are missed, one for hidden ones."""
    missed = {where: found for where, found in lasting(case, "not_in_optimizer").items() if found.always}
    if missed:
        yield _missed(case, missed)
    hidden = {where: found for where, found in lasting(case, "hidden_module").items() if found.always}
    anew = {where: found for where, found in hidden.items() if found.fact.get("anew", False)}
    if anew:
        yield _anew(case, anew)
    if len(hidden) > len(anew):
        yield _hidden(case, {where: found for where, found in hidden.items() if where not in anew})
    for step, fact in case.facts("optimizer_idle"):
        yield _idle(case, step, fact)


def _idle(case: Case, step: int, fact: Fact) -> Finding:
    kind, numbers = fact.get("kind", "optimizer"), int(fact.get("parameters", 0))
    over_ = case.planned is None or case.taken >= NEARLY * case.planned
    text = f"the {kind} that holds {numbers:,} numbers never made a step, while others made {case.taken:,}"
    alarm = case.taken >= IDLE and over_
    return Finding(
        "optimizer_misses_parameters",
        "critical" if alarm else "note",
        0.97 if alarm else 0.7,
        "optimizer",
        f"{capital(text)}: what it holds is what it was at the start.",
        (Evidence(text, "optimizer_idle", 0.0, "steps", 1.0),),
        since=1,
        remedy="call its step() after the backward pass of its own loss",
    )


def _sure(case: Case, found: Lasting) -> bool:
    steps = looked(case)
    spans = bool(steps) and steps[-1] - found.first + 1 >= SPAN
    return (found.seen >= LEAST and spans) or (over(case) and found.seen >= 2)


def _missed(case: Case, missed: dict[str, Lasting]) -> Finding:
    anatomy, places = case.anatomy, tuple(missed)
    stale = lasting(case, "stale_parameters").get("optimizer")
    shapes = set(str(stale.fact.get("shapes", "")).split()) if stale and stale.last == missed[places[0]].last else set()
    replaced = [where for where in places if shapes & _shapes(anatomy, where)]
    new, after = fresh(anatomy, places), _after(anatomy, places)
    thawed = [where for where in places if missed[where].fact.get("thawed", False)]
    few = not new and not any(len(p.shape) >= 2 for p in anatomy.parameters if p.in_optimizer)
    alarm = bool(replaced or after or new or thawed) and not few
    lost = sum(p.size for p in anatomy.parameters if p.layer in missed)
    total = max(1, sum(p.size for p in anatomy.parameters))
    severity: Severity = "note"
    if alarm and (_sure(case, missed[places[0]]) or (thawed and over(case))):
        result = outcome(case)
        known = not replaced and not after and not thawed and result.well(WELL)  # random features that do
        severity = "note" if known else "critical" if replaced or result.learning is False else "warning"
    whom, gets, they = listed([spoken(where) for where in places]), *(("gets", "it") if len(places) == 1 else ("get", "them"))
    why = " They were made trainable in the loop, after the optimizer was made." if thawed else ""
    why = " It was replaced after the optimizer was made, which still holds the old one." if replaced else why
    return Finding(
        "optimizer_misses_parameters",
        severity,
        0.97 if severity != "note" else 0.6,
        (replaced or after or list(places))[0],
        f"{opening(whom)} {gets} gradients, but no optimizer holds {they}: "
        f"{100 * lost / total:.0f} % of the parameters never move.{why}",
        tuple(_evidence(missed, replaced, new)),
        places,
        _source(anatomy, (replaced or after or list(places))[0]),
        min(found.first for found in missed.values()),
        cause="the layer was replaced after the optimizer was made" if replaced else None,
        remedy="make the optimizer after the last change of the model, from model.parameters()"
        if replaced
        else "optimizer.add_param_group({'params': layer.parameters()}) where they are made trainable"
        if thawed
        else "give them to the optimizer (model.parameters()), or say that they are not to be trained: requires_grad_(False)",
    )


def _hidden(case: Case, hidden: dict[str, Lasting]) -> Finding:
    places = tuple(hidden)
    first = hidden[places[0]]
    kinds = sorted({str(found.fact.get("kind", "module")) for found in hidden.values()})
    holder = str(first.fact.get("holder", ""))
    inside = f"in {holder}" if holder else f"inside {spoken(places[0].rpartition('.')[0])}"
    return Finding(
        "optimizer_misses_parameters",
        "warning" if _sure(case, first) else "note",
        0.97 if _sure(case, first) else 0.7,
        places[0].rpartition(".")[0] or "optimizer",
        f"Modules ({', '.join(kinds)}) run {inside} that are not registered: "
        "model.parameters() does not list them, so that no optimizer holds them, and they are neither saved nor moved.",
        (Evidence(f"seen in {first.seen} of {first.looks} looks, with gradients", "hidden_module", float(len(places))),),
        places,
        first.fact.source,
        first.first,
        cause="modules in a plain list, tuple or dict are not registered",
        remedy="nn.ModuleList([...]) or nn.ModuleDict({...}) instead of the plain one, before the optimizer is made",
    )


def _anew(case: Case, anew: dict[str, Lasting]) -> Finding:
    places = tuple(anew)
    first, sure = anew[places[0]], _sure(case, anew[places[0]])
    kinds = sorted({str(found.fact.get("kind", "layer")) for found in anew.values()})
    well = outcome(case).well(WELL)  # random features that do
    return Finding(
        "optimizer_misses_parameters",
        "note" if well or not sure else "warning",
        0.97 if sure else 0.7,
        places[0].rpartition(".")[0] or "optimizer",
        f"Layers ({', '.join(kinds)}) are made anew in each pass of {spoken(places[0].rpartition('.')[0])}: "
        "their weights are drawn again each time, no optimizer holds them, and nothing that they learn is kept.",
        (Evidence(f"in {first.seen} of {first.looks} looks, gone after the step", "hidden_module", float(len(places))),),
        places,
        first.fact.source,
        first.first,
        cause="a layer is made in forward",
        remedy="make it in __init__ (self.layer = ...), and call it in forward",
    )


def _evidence(missed: dict[str, Lasting], replaced: Sequence[str], new: Sequence[str]) -> Iterator[Evidence]:
    first = next(iter(missed.values()))
    text = f"{first.fact.get('parameter', '')} got a gradient in {first.seen} of {first.looks} looks, and no optimizer held it"
    yield Evidence(text, "not_in_optimizer", first.seen / max(1, first.looks), "of the looks", 0.0)
    if replaced:
        yield Evidence("the optimizer holds parameters of the same shape that no model has", "stale_parameters", 1.0)
    if new:
        yield Evidence(f"the weights of {listed(new)} are as torch draws them for a new layer", "as_drawn", float(len(new)))


def _after(anatomy: Anatomy, places: Sequence[str]) -> list[str]:
    """Those of the missed layers with a matrix that come after a trained one."""
    order = weighted(anatomy)
    held = {p.layer for p in anatomy.matrices if p.in_optimizer}
    first = next((position for position, layer in enumerate(order) if layer in held), len(order))
    return [layer for position, layer in enumerate(order) if layer in places and position > first]


def _source(anatomy: Anatomy, where: str) -> str | None:
    node = anatomy.node(where)
    return node.source if node else None


def _shapes(anatomy: Anatomy, where: str) -> set[str]:
    return {"x".join(map(str, p.shape)) for p in anatomy.parameters if p.layer == where}
