r"""Foretell from the anatomy alone how signals and gradients travel: mean-field theory over the graph of operations.

Forward, every node carries moments of one unit's value x over fresh draws of the weights (``state.Flow``)::

    square   E[x^2]          second moment
    mean     E[x]            zero after a layer of zero-mean weights, positive after ReLU
    alike    E[x y]          of two positions of one example, of two examples: what they have in common

A linear or convolutional layer maps ``square`` to ``fan_in * mean(W^2) * square + mean(b^2)`` and an activation to
E[phi^2]; the same with E[phi(u) phi(v)] for ``alike``. Weights enter by their *measured* second moments, so that any
initialisation is covered and no name of one is needed. Backward (``state.Back``), the energy of the gradient travels along
the same graph: a layer multiplies it by ``fan_in * mean(W^2)``, an activation by E[phi'^2], branches of a residual joint add
up, normalisation divides by the variance it removes. Each file beside this one has the maps of one kind of operation.

Finite width: the log of the energy that one layer passes on differs with variance c / n, n its width; 2 for a linear
layer, 5 for one with ReLU, of one example. Over a batch it averages as far as the gradients of the examples point into
different directions, which is why ``Back`` carries their mean squared cosine. Causes that branches share stay shared.
``spread`` is half the root of the total, for a norm is the root of an energy.

Sources: Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232; Yang & Schoenholz 2017,
arXiv:1712.08969 (residual); Xiao et al. 2018, arXiv:1806.05393 (convolution); Yang et al. 2019, arXiv:1902.08129 (batch
norm); Hanin 2018, arXiv:1801.03744, Hanin & Rolnick 2018, arXiv:1803.01719 (finite width: sum of c / n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.health import signals
from isograd.health.theory import maps, movement, recognise, recurrent, start, units
from isograd.health.theory.state import Back, Flow, World, joined, variance
from isograd.records.anatomy import DYING, WEIGHTED, Anatomy, Node
from isograd.records.batch import InputSample
from isograd.records.expectation import Expectation, Expectations


def foretell(anatomy: Anatomy, input_rms: float | None = None, inputs: Sequence[InputSample] = ()) -> Expectations:
    """What theory expects at every node, for inputs of root mean square ``input_rms`` (1 where it is not given).

    ``inputs`` are those of one batch, where one was measured: their moments, what examples and positions have in common and
    how many examples there are. A node behind (for the forward signal) or in front of (for the gradient) an operation without
    a map has no expectation: it is measured, never guessed. No tensor is touched.

    >>> from isograd.records.anatomy import Parameter
    >>> from isograd.records.moments import Moments
    >>> weight = Moments.from_sums(10_000, 0.0, 100.0, 0.5)             # mean square 1 / fan_in
    >>> layer = (("fan_in", 100), ("fan_out", 100), ("bias", False))
    >>> names = ("a", "b", "c")
    >>> nodes = tuple(
    ...     Node(n, "linear", "Linear", (i - 1,) if i else (), (100,), layer, (n + ".weight",)) for i, n in enumerate(names)
    ... )
    >>> parameters = tuple(Parameter(n + ".weight", n, (100, 100), True, True, weight) for n in names)
    >>> found = foretell(Anatomy("reference", nodes, parameters))
    >>> [round(node.log_gradient, 6) for node in found.nodes], found.depth_scale
    ([0.0, 0.0, 0.0], inf)
    """
    nodes = recognise.attention(maps.chained(anatomy))
    if not nodes:
        return Expectations()
    world = World.of(anatomy, start.examples(inputs))
    forward = _forward(nodes, world, start.inputs(nodes, input_rms, inputs))
    backward = _backward(nodes, world, forward, anatomy.loss)
    expected = tuple(_expectation(nodes, place, forward, backward, world) for place in range(len(nodes)))
    logs = [b.log_square / 2 if b else math.nan for n, b in zip(nodes, backward, strict=True) if n.operation in WEIGHTED]
    slope = signals.slope_of(logs)
    return Expectations(
        expected,
        None if math.isnan(slope) else slope,
        None if math.isnan(slope) else (1.0 / slope if slope > 1e-9 else math.inf),
        tuple(node.path for place, node in enumerate(nodes) if _stops(nodes, place, forward)),
        movement.drift(anatomy, nodes, forward, backward, world),
    )


def _stops(nodes: Sequence[Node], place: int, forward: Sequence[Flow | None]) -> bool:
    """Whether theory ends at this node: it has no map, or none that what is known of it suffices for."""
    node = nodes[place]
    if node.operation == recognise.INSIDE:
        return False
    return not maps.has_map(node) or (forward[place] is None and all(forward[i] is not None for i in node.inputs))


def _expectation(
    nodes: Sequence[Node], place: int, forward: Sequence[Flow | None], backward: Sequence[Back | None], world: World
) -> Expectation:
    node, ahead, behind = nodes[place], forward[place], backward[place]
    source = forward[node.inputs[0]] if node.inputs else None
    return Expectation(
        node.path,
        math.sqrt(ahead.square) if ahead else None,
        behind.log_square / 2.0 if behind else None,
        math.sqrt(variance(behind.noise)) / 2.0 if behind else None,
        ahead is not None and behind is not None,
        math.sqrt(variance(ahead.noise)) / 2.0 if ahead else None,
        ahead.correlation(ahead.alike.same) if ahead else None,
        units.dead(source, world)
        if source is not None and node.operation == "activation" and node.activation in DYING
        else None,
        recurrent.time_slope(node, source, world) if source is not None and node.operation == "recurrent" else None,
    )


def _forward(nodes: Sequence[Node], world: World, given: dict[int, Flow]) -> list[Flow | None]:
    found: list[Flow | None] = []
    for position, node in enumerate(nodes):
        if node.operation == "input":
            found.append(given[position])
        elif not node.inputs:
            found.append(maps.forward(node, [given[position]], [node], world))
        else:
            found.append(maps.forward(node, [found[i] for i in node.inputs], [nodes[i] for i in node.inputs], world))
    return found


def _backward(nodes: Sequence[Node], world: World, forward: Sequence[Flow | None], loss: str | None) -> list[Back | None]:
    """The gradient at every output, from the last node back; None behind what has no map."""
    arriving: list[list[Back | None]] = [[] for _ in nodes]
    arriving[-1].append(start.output(nodes[-1], forward[-1], loss, world))
    found: list[Back | None] = [None] * len(nodes)
    for position in reversed(range(len(nodes))):
        parts, x = arriving[position], forward[position]
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            here = None
        else:
            here = joined(known, world, x.units if x else 1.0, x.positions if x else 1.0)
            here = replace(here, noise=world.mixed([(1.0, here.noise)]))
        found[position] = here
        for source in dict.fromkeys(nodes[position].inputs):
            back = maps.back(nodes, position, source, forward, here, world) if here is not None else None
            arriving[source].append(back)
    return found
