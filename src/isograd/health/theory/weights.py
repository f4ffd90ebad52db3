"""Read the second moments of a node's weights, and its settings as numbers."""

from __future__ import annotations

import math

from isograd.health.theory.borders import numbers
from isograd.health.theory.state import World
from isograd.records.anatomy import Node, Parameter


def matrix(node: Node, world: World, name: str = "") -> float | None:
    """Mean square of the node's weight matrix, the one whose name ends in ``name``; nothing where it has none."""
    for parameter in _of(node, world):
        if parameter.name.endswith(name) and len(parameter.shape) >= 2 and parameter.values.count:
            return parameter.values.rms**2
    return None


def bias(node: Node, world: World, name: str = "bias") -> float:
    """Mean square of the node's bias; 0 where it has none."""
    for parameter in _of(node, world):
        if name in parameter.name.rpartition(".")[2] and len(parameter.shape) == 1 and parameter.values.count:
            return parameter.values.rms**2
    return 0.0


def bias_mean(node: Node, world: World) -> float:
    """Mean of the node's bias; 0 where it has none."""
    for parameter in _of(node, world):
        if parameter.name.endswith("bias") and len(parameter.shape) == 1 and parameter.values.count:
            return parameter.values.mean
    return 0.0


def scale(node: Node, world: World) -> float:
    """Mean square of a norm's scale; 1 where it has none."""
    for parameter in _of(node, world):
        if not parameter.name.endswith("bias") and parameter.values.count:
            return parameter.values.rms**2
    return 1.0


def _of(node: Node, world: World) -> list[Parameter]:
    return [world.held[name] for name in node.parameters if name in world.held]


def loose(node: Node, world: World) -> list[Parameter]:
    """The parameters that a function reads beside its inputs: a positional table, a class token, a layer scale."""
    return [parameter for parameter in _of(node, world) if parameter.values.count]


def number(node: Node, name: str, default: float) -> float:
    """One setting as a number."""
    value = node.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def area(node: Node, axes: int) -> float:
    """Entries of a kernel over so many spatial axes."""
    return math.prod(numbers(node.get("kernel", 1), max(1, axes)))
