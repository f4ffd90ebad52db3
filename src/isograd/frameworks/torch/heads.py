"""What an output came through since the last weighted layer: a walk back over its graph, with the line of each function."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor

HEADS = frozenset({"softmax", "log_softmax", "sigmoid", "relu", "tanh", "softmin", "logsigmoid"})
"""Functions whose line is kept where they are called on an output, by name."""

FARTHEST = 16
"""Operations that are gone back over at most."""

LAYER = "isograd.layer"
"""What the path of a weighted layer is written on its output's graph under."""

_KEY = "isograd"
_VIEWS = frozenset(
    {
        "View",
        "ReshapeAlias",
        "UnsafeView",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Permute",
        "T",
        "Expand",
        "Slice",
        "Select",
        "Alias",
        "Clone",
        "ToCopy",
    }
)
_BASES = {
    "Addmm": "linear",
    "Mm": "linear",
    "Linear": "linear",
    "MkldnnLinear": "linear",
    "Mv": "linear",
    "Addmv": "linear",
    "Convolution": "conv",
    "MkldnnConvolution": "conv",
    "Embedding": "embedding",
}


@dataclass(frozen=True, slots=True)
class Head:
    """Names of functions, the last first; where and at which line the last was called; what they stand on ("": not found).

    ``bounds`` are what the first of ``functions`` was called with, where it is a clamp. ``axis`` is what the last softmax
    among them ran over, ``shape`` that of its output, ``at`` its place and line.
    """

    functions: tuple[str, ...] = ()
    where: str = ""
    source: str | None = None
    base: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    axis: int | None = None
    shape: tuple[int, ...] = ()
    at: tuple[str, str | None] = ("", None)


def tag(output: Any, where: str, source: str | None) -> None:
    """Write on an output's graph where it was computed: it goes when the graph goes."""
    mark(output, _KEY, (where, source))


def mark(output: Any, key: str, value: object) -> None:
    """Write something small on the graph of an output, if it has one."""
    node: Any = output.grad_fn if isinstance(output, Tensor) else None
    if node is not None and hasattr(node, "metadata"):
        node.metadata[key] = value


def place_of(node: Any) -> tuple[str, str | None]:
    """What ``tag`` wrote on a node of a graph."""
    found = getattr(node, "metadata", {}).get(_KEY)
    return found if isinstance(found, tuple) else ("", None)


def made_by(output: Tensor) -> str:
    """The path of the layer that an output comes from by a lone chain of functions, as ``mark`` wrote it; "" where unknown."""
    node: Any = output.grad_fn
    for _ in range(FARTHEST):
        if node is None:
            return ""
        found = getattr(node, "metadata", {}).get(LAYER)
        if isinstance(found, str):
            return found
        below = [other for other, _ in node.next_functions if other is not None and kind_of(other) != "AccumulateGrad"]
        if len(below) != 1:
            return ""
        node = below[0]
    return ""


def kind_of(node: Any) -> str:
    """The operation whose backward a node is: "Softmax" of SoftmaxBackward0.

    >>> import torch
    >>> kind_of(torch.ones(2, requires_grad=True).relu().grad_fn)
    'Relu'
    """
    return re.sub(r"Backward\d*$", "", str(node.name()).rpartition("::")[2])


def head_of(output: Tensor) -> Head:
    """The head that an output came through; empty for one without a graph.

    >>> import torch
    >>> logits = torch.nn.Linear(3, 2)(torch.ones(4, 3))
    >>> found = head_of(logits.softmax(1))
    >>> found.functions, found.base, found.axis, found.shape
    (('softmax',), 'linear', 1, (4, 2))
    """
    return head_at(output.grad_fn)


def head_at(node: Any) -> Head:
    """The head whose last function a node of a graph stands for."""
    names: list[str] = []
    nodes: list[Any] = []
    for _ in range(FARTHEST):
        if node is None:
            return _head(names, nodes, "")
        kind = kind_of(node)
        if kind in _BASES:
            return _head(names, nodes, _BASES[kind])
        below = [other for other, _ in node.next_functions if other is not None]
        if len(below) > 1:  # a bias or a scale is no second signal
            below = [other for other in below if kind_of(other) != "AccumulateGrad"]
        if len(below) != 1:
            return _head([*names, _snake(kind)], [*nodes, node], "")
        if kind not in _VIEWS and not (kind == "Add" and _is_product(below[0])):
            names.append(_snake(kind))
            nodes.append(node)
        node = below[0]
    return _head(names, nodes, "")


def _head(names: list[str], nodes: list[Any], base: str) -> Head:
    if not nodes:
        return Head(base=base)
    where, source = place_of(nodes[0])
    bounds = _bounds(nodes[0])
    over = next((node for name, node in zip(names, nodes, strict=True) if name in ("softmax", "log_softmax")), None)
    if over is None:
        return Head(tuple(names), where, source, base, bounds)
    axis = int(over._saved_dim)
    if axis >= 1 << 63:
        axis -= 1 << 64  # torch keeps it without a sign
    shape = tuple(over._input_metadata[0].shape)
    return Head(tuple(names), where, source, base, bounds, axis % max(1, len(shape)), shape, place_of(over))


def _bounds(node: Any) -> tuple[float, float]:
    """What a clamp (or a hardtanh, a relu6) was called with; tensors as bounds are not followed."""
    found = []
    for side, sign in (("min", -1.0), ("max", 1.0)):
        value = None
        with contextlib.suppress(RuntimeError):  # a tensor that was saved is gone after the backward pass
            value = next(
                (getattr(node, name) for name in (f"_saved_{side}", f"_saved_{side}_val") if hasattr(node, name)), None
            )
        found.append(float(value) if isinstance(value, int | float) else sign * math.inf)
    return found[0], found[1]


def _is_product(node: Any) -> bool:
    """Whether a node is a product of matrices, seen through views: what a bias is added to."""
    for _ in range(3):
        kind = kind_of(node)
        if kind in _VIEWS and node.next_functions:
            node = node.next_functions[0][0]
            if node is None:
                return False
            continue
        return kind in _BASES
    return False


def _snake(kind: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
