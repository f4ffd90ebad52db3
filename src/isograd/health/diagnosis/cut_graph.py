"""Cut graph: layers that run, and whose output later layers use, get no gradient, because the graph is cut behind them.

Certain as a fact: the optimizer holds the parameter, it ran, the backward pass came, and its gradient is nothing at all (not
zero: there is no path). Intent is not certain, so an alarm needs that it does harm:
  ALL      no parameter at all of a model, or of one optimizer, is reached: the loss is not computed from what it puts out (and
           between the looks no norm shows a gradient and no weight moves); of one optimizer, through SPAN steps, because it
           may be fed in every so many only; or
  BEHIND   layers that do learn compute from the layer's output, and its weights are still as torch draws them for a new
           layer (``looks.as_drawn``): random features that nobody loaded and that will stay random; or the way in which the
           graph was left is one that nobody chooses for its own sake (numpy, .tolist, .data, a new tensor); or nothing at all
           was learned without them; or
  DROPPED a loss with a graph was computed from the layer's output in every look, no backward pass began with it, and the
          layer is new: its loss was meant to count; or
  THROWN  new layers read what the model is given, nothing that learns computes from them, no line left the graph on purpose,
          and the answers stay POOR, below half of the way to perfect: what they read is missing
  LEAST    three looks (two where the run has ended), and every one since the first

Look-alikes that are healthy: a pretrained trunk under no_grad, target networks and teachers (nothing that learns computes
from them), heads and experts that did not run, ``detach`` for a log, discriminators fed with detached fakes, a spare head on
a trunk that learns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.health.looks import Lasting, fresh, holds, lasting, listed, looked, opening, over
from isograd.health.movement import FIRST_STEPS
from isograd.health.outcome import decided, outcome
from isograd.records.anatomy import Anatomy, spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

LEAST = 3
SPAN = 8
POOR = 0.5
STILL = 1e-6
"""Part of its size by which a weight that nothing moves may differ from look to look: sums of float32 in another order."""
BLIND = ("numpy", "data", "rewrap", "tolist")
_WORDS = {
    "detach": ".detach()",
    "data": ".data",
    "numpy": ".numpy()",
    "item": ".item()",
    "tolist": ".tolist()",
    "rewrap": "torch.tensor(...) around a tensor",
    "no_grad": "torch.no_grad()",
}


def diagnose(case: Case) -> Iterator[Finding]:
    """The layers that are cut off, and the remark on layers that never run."""
    outside = [found for found in lasting(case, "loss_outside").values() if holds(found, case, least=LEAST)]
    outside = [found for found in outside if _spans(case, found) and not _came(case, found)]
    cut = {where: found for where, found in lasting(case, "cut_off").items() if found.always}
    used = {where: found for where, found in cut.items() if found.fact.get("used", False) and _computes(where, found, case)}
    for one in outside:
        yield _outside(case, one, _layers(one) or tuple(used))
    dropped = _dropped(case, used)
    if dropped:
        yield _without(case, dropped)
        used = {where: found for where, found in used.items() if where not in dropped}
    rest = {where: found for where, found in used.items() if all(_layers(one) and where not in _layers(one) for one in outside)}
    if rest:
        yield from _cut(case, rest)
    idle = [where for where in cut if not cut[where].fact.get("used", False)]
    idle = [] if 0 < case.taken <= FIRST_STEPS else idle  # two looks say little of a part that may have its turn
    if idle:
        whom, looks = listed([spoken(where) for where in idle]), cut[idle[0]].looks
        yield Finding(
            "cut_graph",
            "note",
            0.9,
            idle[0],
            f"{opening(whom)} did not run in any of {looks} looks, and learned nothing.",
            layers=tuple(idle),
            since=min(cut[where].first for where in idle),
        )


def _computes(where: str, found: Lasting, case: Case) -> bool:
    """Whether the parameter itself was seen at work: a module may hold one that it does not use."""
    names = {name for node in case.anatomy.nodes for name in node.parameters}
    return not case.anatomy.traced or str(found.fact.get("parameter", "")) in names


def _cut(case: Case, used: dict[str, Lasting]) -> Iterator[Finding]:
    anatomy, places = case.anatomy, tuple(used)
    first = used[places[0]]
    left = _left(case, places)
    operation = str(left.get("operation", "")) if left else ""
    behind = _feeds(anatomy, places) or not anatomy.traced
    new = fresh(anatomy, places)
    missed = bool(case.steps) and behind and decided(case) and outcome(case).learning is False
    thrown = (
        not behind and bool(new) and left is None and decided(case) and outcome(case).poor(POOR) and _reads(anatomy, places)
    )
    harmful = (behind and bool(new)) or (operation in BLIND and left is not None) or missed or thrown
    sure = harmful and all(holds(found, case, least=LEAST) for found in used.values())
    at = f" at {left.source}" if left and left.source else ""
    if thrown:
        how = ": nothing that the loss is made of is computed from what the model reads there"
    else:
        how = f": {_WORDS.get(operation, operation)}{at} cuts the graph behind it" if operation else ""
    whom = listed([spoken(where) for where in places])
    gets = "gets" if len(places) == 1 else "get"
    yield Finding(
        "cut_graph",
        "note" if not sure else "critical" if 2 * len(places) > len(_trained(anatomy)) else "warning",
        0.6 if not sure else 0.8 if not new and operation not in BLIND else 0.97,
        places[0],
        f"{opening(whom)} {gets} no gradient although the optimizer is to train {'it' if len(places) == 1 else 'them'}{how}.",
        tuple(_evidence(first, new)),
        places,
        left.source if left else _source(anatomy, places[0]),
        first.first,
        cause=f"{_WORDS.get(operation, operation)} in the forward pass" if operation else None,
        remedy="hand on what they put out: a state, a context or an argument that is forgotten on the way"
        if thrown
        else "let the tensor through as it is; where the layers are to stay as they are, requires_grad_(False) says so",
    )


def _dropped(case: Case, used: dict[str, Lasting]) -> dict[str, Lasting]:
    """The losses that no backward pass begins with, by the new layer that was cut off with them."""
    if not decided(case):
        return {}
    found = {
        where: one for where, one in lasting(case, "loss_dropped").items() if where in used and holds(one, case, least=LEAST)
    }
    new = fresh(case.anatomy, tuple(found))
    return {where: found[where] for where in new}


def _without(case: Case, dropped: dict[str, Lasting]) -> Finding:
    where, first = next(iter(dropped.items()))
    whom = listed([spoken(place) for place in dropped])
    gets, it, its = ("gets", "it", "its") if len(dropped) == 1 else ("get", "them", "their")
    line = f" ({first.fact.source})" if first.fact.source else ""
    return Finding(
        "cut_graph",
        "warning",
        0.9,
        where,
        f"{opening(whom)} {gets} no gradient although the optimizer is to train {it}: a loss is computed from {its} "
        f"output{line}, and no backward pass begins with it.",
        (Evidence(f"{first.fact.get('function', '')} in {first.seen} of {first.looks} looks", "loss_dropped", 1.0),),
        tuple(dropped),
        first.fact.source or _source(case.anatomy, where),
        first.first,
        cause="a loss that is computed and not added",
        remedy="add that loss to the one that backward() is called on, as a tensor: .item() and float() leave a number alone",
    )


def _reads(anatomy: Anatomy, places: Sequence[str]) -> bool:
    """Whether some of these layers read what the model is given, and none of them what other layers put out."""
    mine = {p.name for p in anatomy.parameters if p.layer in places}
    weighted = {place for place, node in enumerate(anatomy.nodes) if node.parameters}
    own = {place for place, node in enumerate(anatomy.nodes) if mine & set(node.parameters)}
    above: set[int] = set()
    waiting = [below for place in own for below in anatomy.nodes[place].inputs]
    while waiting:
        place = waiting.pop()
        if place not in above:
            above.add(place)
            waiting.extend(anatomy.nodes[place].inputs)
    return bool(own) and not above & (weighted - own)


def _outside(case: Case, outside: Lasting, places: tuple[str, ...]) -> Finding:
    left = _left(case, places)
    at = f" ({_WORDS.get(str(left.get('operation', '')), '')} at {left.source})" if left else ""
    whom = f"No parameter of {listed([spoken(where) for where in places])}" if _layers(outside) else "No parameter"
    made = "what they put out" if _layers(outside) else "the model's output"
    return Finding(
        "cut_graph",
        "critical",
        1.0,
        outside.fact.where or "loss",
        f"{whom} gets a gradient: no loss is computed from {made}{at}.",
        (Evidence(f"in {outside.seen} of {outside.looks} looks the backward pass reached none of them", "loss_outside", 0.0),),
        places,
        left.source if left else outside.fact.source,
        outside.first,
        remedy="compute the loss from what model(inputs) returns, without detach, numpy or a new tensor on the way",
    )


def _layers(outside: Lasting) -> tuple[str, ...]:
    """The layers of the one optimizer that gets no gradient; none where no optimizer does."""
    return tuple(str(outside.fact.get("layers", "")).split())


def _spans(case: Case, outside: Lasting) -> bool:
    """Whether the looks span a cycle of optimizers that take turns."""
    return over(case) or not _layers(outside) or looked(case)[-1] - outside.first + 1 >= SPAN


def _came(case: Case, outside: Lasting) -> bool:
    """Whether a gradient came to one of these layers between the looks: it has a norm, or an optimizer's weights moved.

    Where no optimizer gets a gradient there may be zeros, and then weight decay moves weights too.
    """
    layers = _layers(outside)
    names = [p.name for p in case.anatomy.parameters if not layers or p.layer in layers]
    if any(reading.step >= outside.first for name in names for reading in case.series("gradient_norm", name)):
        return True
    sizes = ({r.value for r in case.series("weight_rms", name) if r.step >= outside.first} for name in names)
    return bool(layers) and any(
        max(several, default=0.0) - min(several, default=0.0) > STILL * max(several, default=0.0) for several in sizes
    )


def _evidence(first: Lasting, new: Sequence[str]) -> Iterator[Evidence]:
    yield Evidence(
        f"{first.fact.get('parameter', '')} had no gradient in {first.seen} of {first.looks} looks, though its layer ran",
        "cut_off",
        first.seen / max(1, first.looks),
        "of the looks",
        0.0,
    )
    if new:
        yield Evidence(f"the weights of {listed(new)} are as torch draws them for a new layer", "as_drawn", float(len(new)))


def _left(case: Case, places: Sequence[str]) -> Fact | None:
    """The line at which the graph was left: right behind one of the layers before any other, inside before outside."""
    facts = [fact for _, fact in case.facts("detached")]
    inside = {f"{where}." for where in places}

    def near(fact: Fact) -> tuple[bool, bool, bool, bool]:
        return (
            str(fact.get("after", "")) not in places and fact.where not in places,
            not any(f"{fact.get('after', '')}.".startswith(where) for where in inside),
            not fact.where,
            fact.get("operation", "") not in BLIND,
        )

    return min(facts, key=near, default=None)


def _feeds(anatomy: Anatomy, places: Sequence[str]) -> bool:
    """Whether a layer that learns computes from one of these."""
    mine = {p.name for p in anatomy.parameters if p.layer in places}
    others = {p.name for p in anatomy.parameters if p.layer not in places and p.trainable and p.in_optimizer is not False}
    below: set[int] = set()
    for position, node in enumerate(anatomy.nodes):
        if mine & set(node.parameters) or below & set(node.inputs):
            if others & set(node.parameters):
                return True
            below.add(position)
    return False


def _trained(anatomy: Anatomy) -> set[str]:
    return {p.layer for p in anatomy.parameters if p.trainable and p.in_optimizer is not False}


def _source(anatomy: Anatomy, where: str) -> str | None:
    node = anatomy.node(where)
    return node.source if node else None
