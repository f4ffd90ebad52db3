"""Map the moments of a signal through one operation, forward and backward: a function a kind of operation."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isograd.health import activations
from isograd.records.anatomy import Anatomy, Node, Parameter

_MAPPED = ("input", "linear", "conv", "norm", "dropout", "pool", "add", "concat", "embedding", "softmax", "reshape")
_NORMS = ("batch", "layer", "group", "rms")


@dataclass(frozen=True, slots=True)
class Flow:
    """Moments of one unit's value: E[x^2], E[x] and, of two different examples, E[x_a x_b]."""

    square: float
    mean: float
    shared: float


@dataclass(frozen=True, slots=True)
class Gain:
    """What an operation does to the mean square of the gradient on its way back: a factor, and the variance of its log."""

    gain: float
    variance: float = 0.0


def has_map(node: Node) -> bool:
    """Whether theory knows this operation.

    >>> has_map(Node("a", "linear", "Linear")), has_map(Node("b", "attention", "MultiheadAttention"))
    (True, False)
    """
    if node.operation == "activation":
        return activations.known(node)
    if node.operation == "norm":
        return node.get("kind", "") in _NORMS
    return node.operation in _MAPPED


def chained(anatomy: Anatomy) -> tuple[Node, ...]:
    """The nodes with their inputs; where the flow was not seen, each node is taken to read the one before it."""
    if anatomy.traced or any(node.inputs for node in anatomy.nodes):
        return anatomy.nodes
    return tuple(replace(node, inputs=(i - 1,) if i else ()) for i, node in enumerate(anatomy.nodes))


def _mean_square(node: Node, held: dict[str, Parameter], *, matrix: bool) -> float | None:
    """Mean square of the node's weight matrix (or of its one-dimensional parameters: bias, scale)."""
    for name in node.parameters:
        parameter = held.get(name)
        if parameter is not None and (len(parameter.shape) >= 2) == matrix and parameter.values.count:
            if not matrix and not name.endswith("bias"):
                continue
            return parameter.values.rms**2
    return None


def _scale(node: Node, held: dict[str, Parameter]) -> float:
    """Mean square of a norm's scale; 1 where it has none."""
    for name in node.parameters:
        if name in held and not name.endswith("bias") and held[name].values.count:
            return held[name].values.rms ** 2
    return 1.0


def _numbers(value: object, count: int) -> tuple[float, ...]:
    """A setting such as 3 or "3x3" as ``count`` numbers."""
    found = [float(text) for text in re.findall(r"\d+", str(value))] or [1.0]
    return tuple(found[i] if i < len(found) else found[-1] for i in range(count))


def _inside(node: Node, before: Node) -> float:
    """Share of a convolution's taps that fall on the picture and not on its zero padding."""
    spatial = before.shape[1:]
    if not spatial or len(node.shape) != len(before.shape) or node.get("padding_mode", "zeros") != "zeros":
        return 1.0
    kernels, strides = (_numbers(node.get(name, 1), len(spatial)) for name in ("kernel", "stride"))
    dilations = _numbers(node.get("dilation", 1), len(spatial))
    if node.get("padding", 0) == "same":
        pads = tuple((d * (k - 1)) // 2 for k, d in zip(kernels, dilations, strict=True))
    else:
        pads = _numbers(node.get("padding", 0), len(spatial))
    share = 1.0
    for size, out, k, s, p, d in zip(spatial, node.shape[1:], kernels, strides, pads, dilations, strict=True):
        taps = (o * s - p + d * t for o in range(out) for t in range(int(k)))
        share *= sum(0 <= tap < size for tap in taps) / max(1.0, out * k)
    return share


def _entries(node: Node) -> float:
    return float(math.prod(node.shape)) if node.shape else math.nan


def forward(node: Node, sources: Sequence[Flow | None], before: Sequence[Node], held: dict[str, Parameter]) -> Flow | None:
    """The moments of a node's output from those of its inputs; nothing where there is no map or an input is unknown."""
    if node.operation == "embedding":
        square = _mean_square(node, held, matrix=True)
        return None if square is None else Flow(square, 0.0, 0.0)
    if node.operation == "norm":
        return _norm_forward(node, sources[0], held)
    flows = [source for source in sources if source is not None]
    if not has_map(node) or len(flows) < len(sources):
        return None
    x = flows[0]
    if node.operation in ("linear", "conv"):
        weight = _mean_square(node, held, matrix=True)
        if weight is None:
            return None
        gain = float(node.get("fan_in", 1)) * weight * (_inside(node, before[0]) if node.operation == "conv" else 1.0)
        if node.get("transposed", False):
            gain = weight * float(node.get("fan_out", 1)) * _entries(before[0]) / _entries(node)
        bias = _mean_square(node, held, matrix=False) or 0.0
        return Flow(gain * x.square + bias, 0.0, gain * x.shared + bias)
    if node.operation == "activation":
        return _activation_forward(node, x)
    if node.operation == "dropout":
        keep = 1.0 - float(node.get("p", 0.5))
        return replace(x, square=x.square / keep) if keep > 0 else Flow(0.0, 0.0, 0.0)
    if node.operation == "add":
        return _sum(flows, before)
    if node.operation == "concat":
        sizes = [_entries(source) for source in before]
        weights = [size / sum(sizes) for size in sizes] if all(size > 0 for size in sizes) else [1.0 / len(flows)] * len(flows)
        return Flow(*(sum(w * part for w, part in zip(weights, parts, strict=True)) for parts in _columns(flows)))
    if node.operation == "softmax":
        classes = float(node.shape[-1]) if node.shape else 2.0
        return (
            Flow(math.log(classes) ** 2, -math.log(classes), math.log(classes) ** 2)
            if _is_log(node)
            else Flow(1.0 / classes**2, 1.0 / classes, 1.0 / classes**2)
        )
    return x  # input, reshape, and pooling of neighbours that are alike


def _columns(flows: Sequence[Flow]) -> tuple[list[float], list[float], list[float]]:
    return [f.square for f in flows], [f.mean for f in flows], [f.shared for f in flows]


def _is_log(node: Node) -> bool:
    return bool(node.get("log", False)) or "log" in f"{node.label}{node.get('function', '')}".lower()


def _activation_forward(node: Node, x: Flow) -> Flow:
    name, settings = node.activation, node.settings
    moments = activations.gauss(name, settings, x.square, x.mean)
    variance = x.square - x.mean**2
    alike = (x.shared - x.mean**2) / variance if variance > 0 else 0.0
    return Flow(moments.square, moments.mean, activations.overlap(name, settings, x.square, round(alike, 3), x.mean))


def _sum(flows: Sequence[Flow], before: Sequence[Node]) -> Flow:
    """Branches carry independent weights, so only their means have a product; a branch that is added to itself doubles."""
    square = sum(f.square for f in flows)
    shared = sum(f.shared for f in flows)
    for i, one in enumerate(flows):
        for j, other in enumerate(flows):
            if i != j:
                same = before[i].path == before[j].path
                square += one.square if same else one.mean * other.mean
                shared += one.shared if same else one.mean * other.mean
    return Flow(square, sum(f.mean for f in flows), shared)


def _removed(node: Node, x: Flow) -> float:
    """The variance that a norm divides by: over examples ("batch"), or over the units of one example."""
    kind = node.get("kind", "")
    if kind == "batch":
        return max(0.0, x.square - x.shared)
    return x.square if kind == "rms" else max(0.0, x.square - x.mean**2)


def _norm_forward(node: Node, x: Flow | None, held: dict[str, Parameter]) -> Flow | None:
    if not has_map(node):
        return None
    scale, bias = _scale(node, held), _mean_square(node, held, matrix=False) or 0.0
    if node.get("kind", "") == "batch":
        return Flow(scale + bias, 0.0, bias)  # what all examples share is exactly what it takes away
    if x is None or x.square <= 0.0:
        return Flow(scale + bias, 0.0, bias) if x is None else Flow(bias, 0.0, bias)
    eps = float(node.get("eps", 1e-5))
    taken = _removed(node, x)
    centre = 0.0 if node.get("kind", "") == "rms" else x.mean**2
    size = scale / (taken + eps)
    return Flow(size * taken + bias, 0.0, size * max(0.0, x.shared - centre) + bias)


def pool_ahead(nodes: Sequence[Node], position: int) -> float:
    """How many independent values the max pooling behind an activation picks from; 1 where there is none.

    The gradient that comes back through a max pool arrives at the largest of k values, whose derivative is not that of a
    typical one. Neighbours are neither independent nor equal; the root of k lies in the middle.
    """
    readers = [node for node in nodes[position + 1 :] if position in node.inputs]
    if nodes[position].operation == "activation" and len(readers) == 1:
        pool = readers[0]
        if pool.operation == "pool" and pool.get("kind", "max") == "max":
            axes = max(1, len(nodes[position].shape) - 1)
            return math.sqrt(max(1.0, math.prod(_numbers(pool.get("kernel", 1), axes))))
    return 1.0


def backward(node: Node, before: Node, x: Flow | None, held: dict[str, Parameter], picked_from: float = 1.0) -> Gain | None:
    """What ``node`` does to the mean square of the gradient between its output and its input ``before``.

    ``x`` are the moments of that input. The energy (mean square times number of units) of a linear map grows by fan_in times
    the mean square of its weights: each output sends its gradient to fan_in inputs.
    """
    if not has_map(node) or node.operation in ("embedding", "input"):
        return None
    spread_over = _entries(node) / _entries(before)
    if node.operation in ("linear", "conv"):
        return _weighted_back(node, before, held, spread_over)
    if node.operation == "activation":
        return _activation_back(node, before, x, picked_from)
    if node.operation == "norm":
        return _norm_back(node, x, held)
    if node.operation == "dropout":
        keep = 1.0 - float(node.get("p", 0.5))
        return Gain(1.0 / keep) if keep > 0 else Gain(0.0)
    if node.operation == "pool":
        return _pool_back(node, before, spread_over)
    if node.operation == "softmax":
        classes = float(node.shape[-1]) if node.shape else 2.0
        return Gain(1.0 if _is_log(node) else classes**-2.0, 1.0)
    if node.operation == "reshape":  # part of the numbers, or each of them several times
        return Gain(1.0 if math.isnan(spread_over) else spread_over)
    return Gain(1.0)  # add, concat: every input gets the gradient of its place


def _weighted_back(node: Node, before: Node, held: dict[str, Parameter], spread_over: float) -> Gain | None:
    weight = _mean_square(node, held, matrix=True)
    if weight is None:
        return None
    fan_in, fan_out = float(node.get("fan_in", 1)), float(node.get("fan_out", 1))
    if node.operation == "linear":
        return Gain(fan_out * weight, 2.0 / max(1.0, fan_in))
    if math.isnan(spread_over):
        return None
    if node.get("transposed", False):
        return Gain(fan_out * weight, 2.0 / max(1.0, fan_in))
    return Gain(fan_in * weight * _inside(node, before) * spread_over, 2.0 / max(1.0, fan_in))


def _activation_back(node: Node, before: Node, x: Flow | None, picked_from: float) -> Gain | None:
    name = node.activation
    if x is None and name not in ("relu", "leakyrelu", "prelu", "identity", "linear"):
        return None  # the slope of the others depends on how large their input is
    moments = activations.gauss(name, node.settings, x.square if x else 1.0, x.mean if x else 0.0, picked_from)
    width = float(before.shape[0]) if before.shape else 1.0
    if moments.slope2 <= 0.0:
        return Gain(0.0)
    random_mask = 3.0 * (moments.slope4 / moments.slope2**2 - 1.0)
    pooling = 0.1 if picked_from > 1.0 else 0.0  # between independent and equal neighbours lie 0.3 nats each way in energy
    return Gain(moments.slope2, random_mask / max(1.0, width) + pooling)


def _norm_back(node: Node, x: Flow | None, held: dict[str, Parameter]) -> Gain | None:
    if x is None:
        return None
    taken = _removed(node, x)
    scale = _scale(node, held)
    return Gain(scale / (taken + float(node.get("eps", 1e-5))), 0.0)


def _pool_back(node: Node, before: Node, spread_over: float) -> Gain | None:
    """A max pool sends each gradient to one input; an average pool sends a k-th of it to each of k inputs."""
    if math.isnan(spread_over):
        return None
    if node.get("kind", "max") == "max":
        return Gain(spread_over)
    axes = max(1, len(before.shape) - 1)
    area = math.prod(_numbers(node.get("kernel", 1), axes))
    told = str(node.get("kernel", "0")) != "0" and "adaptive" not in f"{node.label}{node.path}".lower()
    if len(node.shape) < len(before.shape) or not told:
        area = 1.0 / spread_over  # a global or adaptive pool: its windows tile the input
    return Gain(spread_over / area)
