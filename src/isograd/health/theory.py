r"""Foretell from the anatomy alone how signals and gradients travel: mean-field theory over the graph of operations.

Forward, every node carries three moments of one unit's value x over fresh draws of the weights::

    square   E[x^2]          second moment
    mean     E[x]            zero after a layer of zero-mean weights, positive after ReLU
    shared   E[x_a x_b]      of two different examples: what all examples have in common

A linear or convolutional layer maps ``square`` to ``fan_in * mean(W^2) * square + mean(b^2)`` and an activation to
E[phi^2]; the same with E[phi(u) phi(v)] for ``shared``. Weights enter by their *measured* second moments, so that any
initialisation is covered and no name of one is needed. Backward, the energy of the gradient (sum of squares over units)
travels along the same graph: a layer multiplies it by ``fan_in * mean(W^2)``, an activation by E[phi'^2], branches of a
residual joint add up, normalisation divides by the variance it removes.

Finite width: the log of the energy that one layer passes on fluctuates with variance c / n, n its width in, with
c = 3 E[phi'^4] / E[phi'^2]^2 - 1 (chi-square with n degrees of freedom through a random mask): 2 for a linear layer, 5 for
ReLU. The variances of the layers add up. ``spread`` is half the root of their sum, for a norm is the root of an energy.

Sources: Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232; Yang & Schoenholz 2017,
arXiv:1712.08969 (residual); Xiao et al. 2018, arXiv:1806.05393 (convolution); Yang et al. 2019, arXiv:1902.08129 (batch
norm); Hanin 2018, arXiv:1801.03744, Hanin & Rolnick 2018, arXiv:1803.01719 (finite width: sum of c / n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isograd.health import flow, signals
from isograd.health.flow import Flow
from isograd.records.anatomy import WEIGHTED, Anatomy, Node, Parameter
from isograd.records.expectation import Expectation, Expectations


@dataclass(frozen=True, slots=True)
class Back:
    """The gradient at a node's output: the log of its mean square, and the variance of that log from finite width."""

    log_square: float
    variance: float


def foretell(anatomy: Anatomy, input_rms: float | None = None) -> Expectations:
    """What theory expects at every node, for inputs of root mean square ``input_rms`` (1 where it is not given).

    A node behind (for the forward signal) or in front of (for the gradient) an operation without a map has no expectation:
    it is measured, never guessed. Cost: no tensor is touched; a few milliseconds for a hundred layers.

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
    nodes = flow.chained(anatomy)
    if not nodes:
        return Expectations()
    held = {parameter.name: parameter for parameter in anatomy.parameters}
    forward = _forward(nodes, held, 1.0 if input_rms is None else input_rms)
    backward = _backward(nodes, held, forward)
    expected = tuple(_expectation(*row) for row in zip(nodes, forward, backward, strict=True))
    logs = [b.log_square / 2 if b else math.nan for n, b in zip(nodes, backward, strict=True) if n.operation in WEIGHTED]
    slope = signals.slope_of(logs)
    return Expectations(
        expected,
        None if math.isnan(slope) else slope,
        None if math.isnan(slope) else (1.0 / slope if slope > 1e-9 else math.inf),
        tuple(node.path for node in nodes if not flow.has_map(node)),
    )


def _expectation(node: Node, ahead: Flow | None, behind: Back | None) -> Expectation:
    return Expectation(
        node.path,
        math.sqrt(ahead.square) if ahead else None,
        behind.log_square / 2.0 if behind else None,
        math.sqrt(behind.variance) / 2.0 if behind else None,
        ahead is not None and behind is not None,
    )


def _forward(nodes: tuple[Node, ...], held: dict[str, Parameter], input_rms: float) -> list[Flow | None]:
    found: list[Flow | None] = []
    for node in nodes:
        sources = [found[i] for i in node.inputs]
        if node.operation == "input" or not node.inputs:
            start = Flow(input_rms**2, 0.0, 0.0)
            found.append(start if node.operation == "input" else flow.forward(node, [start], [node], held))
        else:
            found.append(flow.forward(node, sources, [nodes[i] for i in node.inputs], held))
    return found


def _backward(nodes: tuple[Node, ...], held: dict[str, Parameter], forward: list[Flow | None]) -> list[Back | None]:
    """Mean square of the gradient at every output, from the last node (1) back; None behind what has no map."""
    arriving: list[list[Back | None]] = [[] for _ in nodes]
    arriving[-1].append(Back(0.0, 0.0))
    found: list[Back | None] = [None] * len(nodes)
    for position in reversed(range(len(nodes))):
        node = nodes[position]
        here = _joined(arriving[position])
        found[position] = here
        for source in set(node.inputs):
            repeats = node.inputs.count(source)
            step = None
            if here is not None:
                pooled = flow.pool_ahead(nodes, position)
                step = flow.backward(node, nodes[source], forward[source], held, pooled)
            if here is None or step is None:
                arriving[source].append(None)
            else:
                # x + x sends the same gradient twice: amplitudes add, so the energy grows with the square of the repeats
                gain = math.log(step.gain * repeats**2) if step.gain > 0 else -math.inf
                arriving[source].append(Back(here.log_square + gain, here.variance + step.variance))
    return found


def _joined(parts: list[Back | None]) -> Back | None:
    """The gradient where several branches meet: energies add; nothing is known if one branch is not."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    top = max(part.log_square for part in known)
    if top == -math.inf:
        return Back(top, 0.0)
    weights = [math.exp(part.log_square - top) for part in known]
    total = sum(weights)
    variance = sum((w / total) ** 2 * part.variance for w, part in zip(weights, known, strict=True))
    return Back(top + math.log(total), variance)
