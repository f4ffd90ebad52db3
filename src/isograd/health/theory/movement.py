"""Foretell how far one step of the optimizer moves the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.health.theory import weights
from isograd.health.theory.state import Back, Flow, World
from isograd.records.anatomy import WEIGHTED, Anatomy, Node

ADAPTIVE = ("adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad")
"""Optimizers that divide by the size of the gradient."""


def drift(
    anatomy: Anatomy, nodes: Sequence[Node], forward: Sequence[Flow | None], backward: Sequence[Back | None], world: World
) -> float | None:
    r"""How far a step moves an output, as a decimal logarithm; nothing without an optimizer or where a layer is unknown.

    .. math:: \log_{10} \frac{\eta}{1 - \mu} \frac{K}{C}, \qquad K = \sum_l (n_{l-1} q_{l-1} + 1) \lVert \delta_l \rVert^2

    for plain gradient descent, K the trace of the neural tangent kernel over C outputs: above 0 a step goes further than the
    gradient at the output asks for. An adaptive optimizer moves every weight by about its rate, whatever the gradient:

    .. math:: \log_{10} \eta \lVert \partial f / \partial \theta \rVert_1, \qquad
        \lVert \partial f / \partial W_l \rVert_1 = \tfrac{2}{\pi} N_l \sqrt{q_{l-1}}\, \mathrm{rms}(\delta_l)

    Unit: none. Range: the real line. Frozen layers do not count.
    Source: Jacot et al. 2018, arXiv:1806.07572; Karakida et al. 2019, arXiv:1806.01316 (mean field of K).
    """
    if anatomy.optimizer is None or not nodes or not nodes[-1].shape:
        return None
    rate = float(anatomy.optimizer.get("learning_rate", 1e-3))
    outputs, total = float(math.prod(nodes[-1].shape)), 0.0
    adaptive = anatomy.optimizer.kind in ADAPTIVE
    for place, node in enumerate(nodes):
        learning = [world.held[name] for name in node.parameters if name in world.held and world.held[name].trainable]
        if node.operation not in WEIGHTED or not learning:
            continue
        behind = backward[place]
        source = forward[node.inputs[0]] if node.inputs else None
        square = 1.0 if node.operation == "embedding" else source.square if source is not None else None
        if behind is None or square is None:
            return None
        size = math.exp(min(700.0, behind.log_square))
        if adaptive:
            count = sum(parameter.size for parameter in learning)
            total += 2.0 / math.pi * count * math.sqrt(square * size) / math.sqrt(outputs)
        else:
            fan_in = weights.number(node, "fan_in", 1.0)
            total += (fan_in * square + 1.0) * math.prod(node.shape) * size / outputs
    if not adaptive:
        rate /= max(1e-3, 1.0 - float(anatomy.optimizer.get("momentum", 0.0)))
    return math.log10(rate * total) if rate * total > 0.0 else None
