"""Say what a reference network is: its layers as nodes, its parameters, its optimizer."""

from __future__ import annotations

from typing import Any

from isograd.frameworks.reference import sums
from isograd.frameworks.reference.network import Layer, Linear, Network, Sgd
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter

_LABELS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def describe(network: Network, batch: Any = None, loss: str | None = None, optimizer: Sgd | None = None) -> Anatomy:
    """The anatomy of a network; its flow is a chain, so that no batch is needed to see it.

    >>> describe(Network((Linear.drawn("a", 4, 2, seed=0),))).nodes[1].get("fan_in", 0)
    4
    """
    width = next((layer.weight.shape[1] for layer in network.layers if isinstance(layer, Linear)), 0)
    nodes = [Node("input", "input", "input", shape=(width,))]
    for layer in network.layers:
        width = layer.weight.shape[0] if isinstance(layer, Linear) else width
        nodes.append(_node(layer, len(nodes) - 1, width))
    parameters = tuple(
        Parameter(name, name.rpartition(".")[0], value.shape, True, None if optimizer is None else True, sums.moments(value))
        for name, value in network.parameters().items()
    )
    described = None if optimizer is None else describe_optimizer(optimizer)
    return Anatomy("reference", tuple(nodes), parameters, described, loss, dtype="float64")


def describe_optimizer(optimizer: Sgd) -> Optimizer:
    """The optimizer's kind and constants.

    >>> describe_optimizer(Sgd(0.1)).get("learning_rate", 0.0)
    0.1
    """
    constants = (
        ("learning_rate", optimizer.learning_rate),
        ("momentum", optimizer.momentum),
        ("weight_decay", optimizer.weight_decay),
    )
    return Optimizer("sgd", constants)


def _node(layer: Layer, before: int, width: int) -> Node:
    if not isinstance(layer, Linear):
        settings = (("function", layer.function),)
        return Node(layer.path, "activation", _LABELS[layer.function], (before,), (width,), settings)
    fan_out, fan_in = layer.weight.shape
    names = (f"{layer.path}.weight",) + ((f"{layer.path}.bias",) if layer.bias is not None else ())
    facts = (("fan_in", fan_in), ("fan_out", fan_out), ("bias", layer.bias is not None))
    return Node(layer.path, "linear", "Linear", (before,), (width,), facts, names)
