"""Find attention that was written by hand: softmax of a product of queries and keys, times values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isograd.records.anatomy import Node

INSIDE = "inside"
"""Operation of the nodes between queries, keys and values and the output: part of the attention, without a map of their own."""

_BETWEEN = ("multiply", "dropout", "reshape", "add", "unknown")
"""What may stand between the product, the softmax and the second product: scaling, masks, dropout."""


def attention(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes with every product of softmax weights and values as one attention of queries, keys and values.

    Recognised is ``values' = dropout(softmax(mask(scale(q @ k)))) @ v`` where the two products are of two signals and nothing
    else reads what lies between them.
    """
    found = list(nodes)
    for position, node in enumerate(nodes):
        if not _is_product(node) or len(node.inputs) != 2:
            continue
        chain = _chain(nodes, node.inputs[0])
        if chain is None:
            continue
        first, between, kept = chain
        readers = {i for place in between for i, other in enumerate(nodes) if place in other.inputs}
        if not readers <= {*between, position}:
            continue
        query, key = first.inputs
        scale = 1.0
        for place in between:
            scale *= float(nodes[place].get("factor", 1.0)) if nodes[place].operation == "multiply" else 1.0
            found[place] = replace(nodes[place], operation=INSIDE, inputs=())
        settings = (("projected", False), ("scale", scale), ("dropout", kept), ("head", node.shape[-1] if node.shape else 1))
        found[position] = replace(node, operation="attention", inputs=(query, key, node.inputs[1]), settings=settings)
    return tuple(found)


def _is_product(node: Node) -> bool:
    return node.operation == "unknown" and node.label in ("matmul", "bmm", "einsum")


def _chain(nodes: Sequence[Node], start: int) -> tuple[Node, list[int], float] | None:
    """From the weights back to the product of queries and keys: that product, all nodes on the way, the share dropped."""
    between, dropped, softmax, here = [], 0.0, False, start
    while True:
        node = nodes[here]
        between.append(here)
        if softmax and _is_product(node) and len(node.inputs) == 2:
            return node, between, dropped
        if node.operation == "softmax" and not softmax:
            softmax = True
        elif node.operation == "dropout":
            dropped = float(node.get("p", 0.0))
        elif node.operation not in _BETWEEN or _is_product(node):
            return None
        if not node.inputs:
            return None
        here = node.inputs[0]
