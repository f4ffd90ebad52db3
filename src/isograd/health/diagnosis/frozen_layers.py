"""Frozen layers: parameters with ``requires_grad=False`` that nobody trained and nobody loaded.

That they are frozen is certain, that it is a mistake is not: transfer learning freezes on purpose. What tells them apart is
the weights themselves: a frozen layer whose weights are still as torch draws them for a new layer (``looks.as_drawn``: uniform
within 1 / sqrt(fan_in), which a trained or loaded weight crosses) computes random features for ever. A layer drawn by another
rule is not known as new and gets no more than a remark. One whose matrices are all zero needs no other sign (``looks.blank``).

Layers are judged together, and those that were handed to the optimizer once more by themselves: of a loaded trunk and new
layers on top of it, all frozen, only the new ones are meant to be trained.

A table of embeddings that moved a little still looks as drawn, from the normal: where the scales of a norm elsewhere differ
from each other, the network was loaded, and the table with it.

A network that is frozen as a whole beside one that learns (a teacher, a target network, a yardstick) is not meant to be trained
by gradients, even where it was made new: it is copied or averaged into. So is a part of a model whose layers another part has
too, and trains, where both meet in the loss alone.

Bounds:
  STEPS   twenty steps at least, and so much of the run that layers that are thawed on the way would have been (``decided``)
  WELL    a training that reaches three quarters of what is to be had with random features, give or take two standard errors,
          does not need the layer
Of layers that are not known as new it is an alarm where the training has learned nothing at all, and they hold most of the
weights: whatever they were meant to be, what is left to be trained does not do.

Where every matrix is frozen and biases or norms alone are trained, the same holds: they move what random features show.

Look-alikes that are healthy: a loaded trunk, adapters between frozen layers, random projections that suffice, biases that are
tuned in a network that was loaded (Ben Zaken et al. 2022, BitFit).
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import blank, frozen_by_accident, listed, opening, over, weighted
from isograd.health.outcome import decided, outcome
from isograd.records.anatomy import Anatomy, spoken
from isograd.records.finding import Evidence, Finding

STEPS = 20
WELL = 0.75


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding: new layers that are frozen, or the remark that some are."""
    anatomy = case.anatomy
    order = weighted(anatomy)
    moving = {p.layer for p in anatomy.matrices if p.trainable}
    frozen = [layer for layer in order if layer not in moving]
    if not frozen or not any(p.trainable for p in anatomy.parameters):
        return
    new = [layer for layer in frozen_by_accident(anatomy) if layer in frozen]
    new = [] if _tables(anatomy, new) and _trained(anatomy) else new
    empty = bool(new) and set(new) <= set(blank(anatomy))
    enough = (decided(case) and (case.taken >= STEPS or over(case))) or not case.steps
    found = outcome(case)
    alarm = bool(new) and enough and not _apart(anatomy, new) and (found.skill is None or found.poor(WELL))
    last = bool(order) and order[-1] in new
    some = new or frozen
    hollow = not new and bool(case.steps) and enough and _hollow(case, frozen)
    whom, is_ = listed([spoken(layer) for layer in some]), "is" if len(some) == 1 else "are"
    text = f"{opening(whom)} {is_} frozen (requires_grad=False)"
    it = "it computes" if is_ == "is" else "they compute"
    told = f"{text} with the weights of a new layer: what {it} stays random."
    if empty:
        told = f"{text} with weights that are all zero: what {it} is the same whatever comes in."
    node = anatomy.node(some[0])
    meant = f"{text}; fine where {'it was' if is_ == 'is' else 'they were'} trained before."
    meant = f"{text}, and what is left to be trained has learned nothing." if hollow else meant
    yield Finding(
        "frozen_layers",
        "warning" if alarm or hollow else "note",
        (0.95 if last or len(new) > 1 else 0.9) if alarm else 0.75 if hollow else 0.6,
        some[-1] if last else some[0],
        told if new else meant,
        _evidence(new, empty=empty),
        tuple(some),
        node.source if node else None,
        1 if case.steps else None,
        remedy="requires_grad_(True), and give them to the optimizer; or load trained weights before freezing",
    )


def _tables(anatomy: Anatomy, layers: list[str]) -> bool:
    nodes = [anatomy.node(layer) for layer in layers]
    return all(node is not None and node.operation == "embedding" for node in nodes) and not set(layers) & set(blank(anatomy))


def _trained(anatomy: Anatomy) -> bool:
    """Whether the scales of a norm are not all alike: they begin as ones."""
    norms = {node.path for node in anatomy.nodes if node.operation == "norm"}
    return any(p.layer in norms and p.name.endswith("weight") and p.values.std > 0.0 for p in anatomy.parameters)


def _evidence(new: list[str], *, empty: bool) -> tuple[Evidence, ...]:
    if empty:
        return (Evidence(f"the weights of {listed(new)} are zero", "weight_rms", 0.0),)
    return (Evidence(f"the weights of {listed(new)} are as torch draws them", "as_drawn", float(len(new))),) if new else ()


def _hollow(case: Case, frozen: list[str]) -> bool:
    """Whether nothing was learned where most of the weights are frozen, and not in a network of their own."""
    sizes = {True: 0, False: 0}
    for parameter in case.anatomy.matrices:
        sizes[parameter.layer in frozen] += parameter.size
    return sizes[True] > sizes[False] and outcome(case).learning is False and not _apart(case.anatomy, frozen)


def _apart(anatomy: Anatomy, layers: list[str]) -> bool:
    """Whether no layer that is trained comes before or behind any of these: then they are another network."""
    if not anatomy.traced:
        return False
    trained = {p.layer for p in anatomy.matrices if p.trainable} or {p.layer for p in anatomy.parameters if p.trainable}
    joined = tuple(enumerate(anatomy.before))
    if _copied(anatomy, layers):  # the loss, which the model itself may compute, is where a copy and its original meet
        joined = tuple((place, places) for place, places in joined if anatomy.nodes[place].path in {*trained, *layers})
    chains = [{anatomy.nodes[at].path for at in (place, *places)} for place, places in joined]
    return not any(chain & trained and chain.intersection(layers) for chain in chains)


def _copied(anatomy: Anatomy, layers: list[str]) -> bool:
    """Whether these layers stand in one module, and another has the same ones, of the same shapes, and trains them."""
    parts = [layer.split(".") for layer in layers]
    depth = next((d for d in range(min(map(len, parts)) - 1, -1, -1) if len({tuple(p[: d + 1]) for p in parts}) == 1), -1)
    if depth < 0:
        return False
    held = {(tuple(p.layer.split(".")), p.shape): p.trainable for p in anatomy.matrices}
    mine = {(path[depth + 1 :], shape) for path, shape in held if ".".join(path) in layers}
    others = {path[: depth + 1] for path, _ in held if len(path) > depth} - {tuple(parts[0][: depth + 1])}
    return any(all(held.get((other + path, shape), False) for path, shape in mine) for other in others)
