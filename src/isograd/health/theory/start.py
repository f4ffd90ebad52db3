"""Where both signals start: the moments of the inputs, and of the gradient that a loss sends into the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.health.theory.softmax import spread
from isograd.health.theory.state import Alike, Back, Flow, World
from isograd.records.anatomy import Node
from isograd.records.batch import InputSample

STRANGERS = Alike(0.0, 0.0, 0.0, 0.0)


def examples(inputs: Sequence[InputSample]) -> float:
    """How many examples the batch had; 1 where none was measured."""
    return float(inputs[0].shape[0]) if inputs and inputs[0].shape else 1.0


def inputs(nodes: Sequence[Node], rms: float | None, measured: Sequence[InputSample]) -> dict[int, Flow]:
    """The flow at every input, and at every node that reads nothing: measured, or of unit variance and nothing in common."""
    samples = iter(measured)
    found = {}
    for position, node in enumerate(nodes):
        if node.operation == "input":
            sample = next(samples, None)
            found[position] = _input(nodes, position, rms, sample)
        elif not node.inputs:
            found[position] = Flow((rms or 1.0) ** 2, 0.0, STRANGERS, float(math.prod(node.shape) or 1), 1.0)
    return found


def _input(nodes: Sequence[Node], position: int, rms: float | None, sample: InputSample | None) -> Flow:
    shape = nodes[position].shape
    first = _is_picture(nodes, position)
    units = float((shape[0] if first else shape[-1]) if shape else 1)
    places = max(1.0, math.prod(shape) / units) if shape and units else 1.0
    square = (1.0 if rms is None else rms) ** 2
    if sample is None or not sample.values.count:
        return Flow(square, 0.0, STRANGERS, units, places, {}, None, 1.0 / max(1.0, units), 1.0 / max(1.0, units))
    square = sample.values.rms**2 if sample.values.rms > 0.0 else square
    shares = sample.pictures if first else sample.sequences
    if len(shares) < 7:
        return Flow(square, sample.values.mean, STRANGERS, units, places, {}, None, 1.0 / units, 1.0 / units)
    alike = Alike(*(square * share for share in shares[:4]))
    far2, cross2, uneven = shares[4:7]
    return Flow(square, sample.values.mean, alike, units, places, {}, None, far2, cross2, uneven)


def _is_picture(nodes: Sequence[Node], position: int) -> bool:
    """Whether an input's units are on its first axis: where the first thing that mixes them is a convolution."""
    reached = {position}
    for node in nodes[position + 1 :]:
        if reached.isdisjoint(node.inputs):
            continue
        if node.operation in ("linear", "recurrent", "attention", "embedding"):
            return False
        if node.operation == "conv":
            return len(nodes[position].shape) == len(node.shape)
        if node.operation in ("norm", "pool") and len(nodes[position].shape) > 2:
            return True
        reached.add(nodes.index(node))
    return False


def output(node: Node, x: Flow | None, loss: str | None, world: World) -> Back:
    r"""The gradient at the last node, whose mean square is the unit.

    Cross-entropy over K classes sends p - e_t into K outputs, which lie in K - 1 dimensions: the mean squared cosine of two
    examples is 1 / (K - 1). Other losses send one number into each of K outputs: 1 / K. What all examples have in common is the
    part of the outputs that they share, beside the targets' unit variance.
    Where no loss is known the gradient counts as independent of the output.
    """
    if x is None:
        outputs = float(node.shape[-1]) if node.shape else 1.0
        return Back(0.0, far2=1.0 / outputs, cross2=1.0 / outputs)
    outputs = max(1.0, x.units)
    classes = loss in (None, "cross_entropy", "nll_loss") and outputs > 1
    cosine = 1.0 / max(1.0, outputs - 1.0) if classes else 1.0 / outputs
    common = x.alike.same / outputs if classes else x.alike.same
    size = 1.0 - 1.0 / outputs + x.square / outputs if classes else 1.0 + x.square
    own = 0.0 if loss is None else _linear(x.square, outputs) if classes else x.square / size
    shared = max(0.0, min(1.0, common / size))
    return Back(0.0, 0.0, shared, cosine, shared**2 + (1.0 - shared) ** 2 * cosine, own=own)


def _linear(square: float, classes: float) -> float:
    r"""Share of p - e_t that is a multiple of the logits z: Stein's lemma gives ``E[p z] = q (1 - A)``, A = E[sum p^2].

    .. math:: \frac{(1 - A)^2 q / K}{1 + A - 2 / K}
    """
    square = min(square, 1e3)
    most = spread(square, classes).one
    return min(1.0, max(0.0, (1.0 - most) ** 2 * square / classes / (1.0 + most - 2.0 / classes)))
