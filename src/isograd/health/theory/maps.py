"""Which map belongs to which operation, forward and backward; nothing for an operation that has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isograd.health import activations
from isograd.health.theory import attention, dense, joints, norms, pools, recurrent, units
from isograd.health.theory.state import Back, Flow, World
from isograd.records.anatomy import Anatomy, Node

MAPPED = (
    "input",
    "linear",
    "conv",
    "norm",
    "dropout",
    "pool",
    "add",
    "multiply",
    "concat",
    "embedding",
    "recurrent",
    "attention",
    "softmax",
    "reshape",
)


def has_map(node: Node) -> bool:
    """Whether theory knows this operation.

    >>> has_map(Node("a", "linear", "Linear")), has_map(Node("b", "unknown", "Fft"))
    (True, False)
    """
    if node.operation == "activation":
        return activations.known(node)
    if node.operation == "norm":
        return node.get("kind", "") in norms.KINDS
    return node.operation in MAPPED


def chained(anatomy: Anatomy) -> tuple[Node, ...]:
    """The nodes with their inputs; where the flow was not seen, each node is taken to read the one before it."""
    if anatomy.traced or any(node.inputs for node in anatomy.nodes):
        return anatomy.nodes
    return tuple(replace(node, inputs=(i - 1,) if i else ()) for i, node in enumerate(anatomy.nodes))


def forward(node: Node, sources: Sequence[Flow | None], before: Sequence[Node], world: World) -> Flow | None:
    """The moments of a node's output from those of its inputs; nothing where there is no map or an input is unknown."""
    if not has_map(node):
        return None
    if node.operation == "embedding":
        return dense.embedding_forward(node, world)
    if node.operation == "norm":
        return norms.forward(node, sources[0] if sources else None, world)
    flows = [source for source in sources if source is not None]
    if not flows or len(flows) < len(sources):
        return None
    x, first = flows[0], before[0]
    match node.operation:
        case "linear":
            return dense.linear_forward(node, x, world)
        case "conv":
            return dense.conv_forward(node, x, first, world)
        case "activation":
            return units.activation_forward(node, x, world)
        case "dropout":
            return units.dropout_forward(node, x, world)
        case "softmax":
            return units.softmax_forward(node, x)
        case "pool":
            return pools.pool_forward(node, x, first)
        case "reshape":
            return pools.reshape_forward(node, x, first)
        case "add":
            return joints.add_forward(node, flows, world)
        case "multiply":
            return joints.multiply_forward(node, flows, world)
        case "concat":
            return joints.concat_forward(node, flows, before, world)
        case "recurrent":
            return recurrent.forward(node, x, world)
        case "attention":
            return attention.forward(node, flows, world)
    return x


def picked(nodes: Sequence[Node], position: int, x: Flow | None, world: World) -> tuple[float, float] | None:
    """How many values the max pool behind an activation picks from, and how they are correlated; nothing without one.

    The gradient that comes back through a max pool arrives at the largest of them, whose derivative is not that of a typical
    value.
    """
    node = nodes[position]
    if node.operation != "activation" or x is None:
        return None
    readers = world.readers(nodes, position)
    if len(readers) != 1 or readers[0].operation != "pool" or readers[0].get("kind", "max") != "max":
        return None
    return pools.peak_of(replace(x, peak=(node, x)), pools.window(readers[0], node))


def back(
    nodes: Sequence[Node], position: int, source: int, flows: Sequence[Flow | None], here: Back, world: World
) -> Back | None:
    """The gradient that node ``source`` gets from node ``position``, whose own gradient is ``here``."""
    node, before, x = nodes[position], nodes[source], flows[source]
    if not has_map(node):
        return None
    match node.operation:
        case "linear":
            return dense.linear_back(node, x, here, world)
        case "conv":
            return dense.conv_back(node, x, before, here, world)
        case "activation":
            return units.activation_back(node, x, here, world, picked(nodes, position, x, world))
        case "norm":
            return norms.back(node, x, here, world)
        case "dropout":
            return units.dropout_back(node, x, here, world)
        case "softmax":
            return units.softmax_back(node, here, world)
        case "pool":
            return pools.pool_back(node, x, before, here)
        case "reshape":
            return pools.reshape_back(node, x, here)
        case "add":
            return joints.add_back(node, source, x, flows[position], before, here)
        case "multiply":
            other = next((flows[i] for i in node.inputs if i != source), None)
            return joints.multiply_back(node, source, x, other, before, here, world)
        case "concat":
            return here
        case "recurrent":
            return recurrent.back(node, x, here, world)
        case "attention":
            known = [flow for flow in (flows[i] for i in node.inputs) if flow is not None]
            return attention.back(node, source, known, here, world) if len(known) == len(node.inputs) else None
    return None
