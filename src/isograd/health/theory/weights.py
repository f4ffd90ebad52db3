"""Read the second moments of a node's weights, and its settings as numbers."""

from __future__ import annotations

import math
import re

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


def numbers(value: object, count: int) -> tuple[float, ...]:
    """A setting such as 3 or "3x3" as ``count`` numbers.

    >>> numbers("3x5", 2), numbers(2, 2)
    ((3.0, 5.0), (2.0, 2.0))
    """
    found = [float(text) for text in re.findall(r"\d+", str(value))] or [1.0]
    return tuple(found[i] if i < len(found) else found[-1] for i in range(count))


def number(node: Node, name: str, default: float) -> float:
    """One setting as a number."""
    value = node.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def inside(node: Node, before: Node) -> float:
    """Share of a convolution's taps that fall on the picture and not on its zero padding."""
    spatial = before.shape[1:]
    if not spatial or len(node.shape) != len(before.shape) or node.get("padding_mode", "zeros") != "zeros":
        return 1.0
    kernels, strides = (numbers(node.get(name, 1), len(spatial)) for name in ("kernel", "stride"))
    dilations = numbers(node.get("dilation", 1), len(spatial))
    if node.get("padding", 0) == "same":
        pads = tuple((d * (k - 1)) // 2 for k, d in zip(kernels, dilations, strict=True))
    else:
        pads = numbers(node.get("padding", 0), len(spatial))
    share = 1.0
    for size, out, k, s, p, d in zip(spatial, node.shape[1:], kernels, strides, pads, dilations, strict=True):
        taps = (o * s - p + d * t for o in range(out) for t in range(int(k)))
        share *= sum(0 <= tap < size for tap in taps) / max(1.0, out * k)
    return share


def area(node: Node, axes: int) -> float:
    """Entries of a kernel over so many spatial axes."""
    return math.prod(numbers(node.get("kernel", 1), max(1, axes)))
