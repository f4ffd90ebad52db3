"""Gather what is known of every weighted layer: read off, measured late in the recording, and foretold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isograd.health.case import Case, Table, at, middle
from isograd.records.anatomy import WEIGHTED, Anatomy, Node, Optimizer, Parameter

PLAIN = 1e-2
"""What a step may move the last layer by, relative to its size, where no optimizer says: the largest that it survives."""

COUPLED = ("sgd", "adam", "adagrad", "rmsprop", "nadam", "adamax", "radam")
"""Optimizers that add weight decay to the gradient instead of taking it off the weight."""

ADAPTIVE = ("adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad")
"""Optimizers that divide by the size of the gradient, which undoes a small one as long as it is above their eps."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One weighted layer that is meant to learn. Measured numbers are medians over the late half of the sampled steps.

    ``gradient`` is ``signals.gradient_rms`` of its output, ``movement`` what one real step turns its weight by, relative to
    the weight; ``foretold_gradient`` the log of the gradient relative to the last node, ``foretold_movement`` an upper
    bound of the movement from theory. None: not measured, or no theory.
    """

    node: Node
    weight: Parameter
    gradient: float | None
    movement: float | None
    foretold_gradient: float | None
    foretold_movement: float | None


def weight_of(node: Node, held: Mapping[str, Parameter]) -> Parameter | None:
    """The weight matrix of a layer."""
    return next((held[name] for name in node.parameters if name in held and len(held[name].shape) >= 2), None)


def layers(case: Case) -> tuple[Layer, ...]:
    """The weighted layers that are meant to learn, in the order of execution.

    Left out: frozen layers, layers outside the optimizer, and embeddings, whose rows move only when they are used.
    """
    rows, anatomy = case.rows, case.anatomy
    held = {parameter.name: parameter for parameter in anatomy.parameters}
    expected = {e.where: e for e in case.expectations.nodes}
    found: list[Layer] = []
    seen: set[str] = set()
    for node in anatomy.nodes:
        weight = weight_of(node, held)
        if node.operation not in WEIGHTED or node.operation == "embedding" or weight is None:
            continue
        if not weight.trainable or weight.in_optimizer is False or weight.name in seen:
            continue
        seen.add(weight.name)
        e = expected.get(node.path)
        before = [expected.get(anatomy.nodes[i].path) for i in node.inputs]
        arriving = before[0].activation_rms if before and before[0] else (1.0 if not node.inputs else None)
        log_gradient = e.log_gradient if e else None
        found.append(
            Layer(
                node,
                weight,
                middle(at(rows, "gradient_rms", node.path)),
                _movement(rows, weight.name, anatomy.optimizer),
                log_gradient,
                _foretold_movement(log_gradient, arriving, weight, anatomy.optimizer),
            )
        )
    return tuple(found)


def normalised(anatomy: Anatomy) -> frozenset[str]:
    """The nodes whose output goes into a normalisation: the size of their weights makes no difference to it."""
    places = {place for node in anatomy.nodes if node.operation == "norm" for place in node.inputs}
    return frozenset(anatomy.nodes[place].path for place in places)


def weights(case: Case) -> tuple[Parameter, ...]:
    """The weight matrices of ``layers``; where there is none (embeddings alone, calls not followed) all that learn."""
    found = tuple(layer.weight for layer in layers(case))
    return found or tuple(p for p in case.anatomy.matrices if p.trainable and p.in_optimizer is not False)


def _movement(rows: Table, name: str, optimizer: Optimizer | None) -> float | None:
    turned = middle(at(rows, "turning_ratio", name))
    if turned is None or optimizer is None:
        return turned
    decay = float(optimizer.get("weight_decay", 0.0))
    gradient, size = middle(at(rows, "parameter_gradient_rms", name)), middle(at(rows, "weight_rms", name))
    if decay and gradient is not None and size and optimizer.kind in COUPLED:
        # an adaptive optimizer cannot tell decay from gradient and makes both large: only the gradient's share is learning
        turned *= gradient / (gradient + decay * size)
    return turned


def _foretold_movement(
    log_gradient: float | None, arriving: float | None, weight: Parameter, optimizer: Optimizer | None
) -> float | None:
    r"""An upper bound of what one step moves a weight by: as if all examples of the batch agreed.

    .. math:: r_l \le \eta \, \delta_l \, a_{l-1} / \mathrm{rms}(W_l), \qquad \delta_L \le 1

    The gradient at the output is at most about 1 a unit for cross-entropy and for squared error on scaled targets. Momentum
    multiplies by 1 / (1 - momentum). An adaptive optimizer divides by |g| + eps, so the gradient cancels until it is below
    eps. Without an optimizer: the largest plain rate that a last layer survives (``PLAIN`` there).
    """
    size = weight.values.rms
    if log_gradient is None or arriving is None or not size > 0.0:
        return None
    gradient = math.exp(max(-745.0, min(700.0, log_gradient))) * arriving
    if optimizer is None:
        return PLAIN * gradient / max(arriving, 1e-300)
    rate = float(optimizer.get("learning_rate", 1e-3))
    if optimizer.kind in ADAPTIVE:
        return rate * gradient / (gradient + float(optimizer.get("eps", 1e-8))) / size
    return rate * gradient / size / max(1e-3, 1.0 - float(optimizer.get("momentum", 0.0)))


def parts(nodes: Sequence[Node]) -> list[int]:
    """The networks that nodes belong to: which of them hang together, each named by its first node.

    >>> parts([Node("a", "input", ""), Node("b", "input", ""), Node("c", "linear", "", (0,))])
    [0, 1, 0]
    """
    part = list(range(len(nodes)))
    for place, node in enumerate(nodes):
        for source in node.inputs:
            old, new = sorted((part[place], part[source]), reverse=True)
            part = [new if one == old else one for one in part]
    return part


def apart(anatomy: Anatomy) -> bool:
    """Whether several networks with weights are watched that do not hang together: they may play against each other."""
    of = parts(anatomy.nodes)
    return len({part for part, node in zip(of, anatomy.nodes, strict=True) if node.operation in WEIGHTED}) > 1
