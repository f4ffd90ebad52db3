"""Made-up networks and their readings, so that an answer can be known by thought."""

import math

from isograd.health import signals
from isograd.health.case import Case, table
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.expectation import Expectations
from isograd.records.moments import Moments, Pairs, Units
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace

WIDTH = 64
SGD = Optimizer("sgd", (("learning_rate", 0.1), ("momentum", 0.0), ("weight_decay", 0.0)))
ADAM = Optimizer("adam", (("learning_rate", 1e-3), ("eps", 1e-8), ("weight_decay", 0.0)))


def case(readings, anatomy, expectations=None, *, ended=False):
    """What a diagnosis looks at, from readings alone."""
    return Case(
        anatomy, expectations or Expectations(), readings, table(readings), taken=max(readings.steps, default=0), ended=ended
    )


def body(depth, *, optimizer=SGD, function="relu", mean_square=1 / WIDTH, frozen=(), dtype="float32", outside=(), width=WIDTH):
    """A chain of linear layers l0, l1, ... with an activation a0, a1, ... between them."""
    nodes, parameters = [Node("input", "input", "input", shape=(width,))], []
    for i in range(depth):
        facts = (("fan_in", width), ("fan_out", width), ("bias", False))
        nodes.append(Node(f"l{i}", "linear", "Linear", (len(nodes) - 1,), (width,), facts, (f"l{i}.weight",), "net.py:7"))
        values = Moments.from_sums(width**2, 0.0, mean_square * width**2, 1.0)
        parameters.append(Parameter(f"l{i}.weight", f"l{i}", (width, width), i not in frozen, i not in outside, values))
        if i < depth - 1:
            nodes.append(Node(f"a{i}", "activation", "", (len(nodes) - 1,), (width,), (("function", function),)))
    return Anatomy("reference", tuple(nodes), tuple(parameters), optimizer, "cross_entropy", dtype)


def recording(anatomy, gradients, movements, *, steps=2, planned=None, losses=None, update=None, weight=0.125):
    """The same numbers at every step: the gradient of each layer, and the part of its weight that a step turns."""
    found = []
    for index in range(1, steps + 1):
        layers, parameters = [], []
        for i, (gradient, movement) in enumerate(zip(gradients, movements, strict=True)):
            layers.append(LayerSample(f"l{i}", 0, 8, Moments.of([1.0, -1.0]), Moments.of([gradient / 8])))
            moved = weight * movement
            parameters.append(
                ParameterSample(
                    f"l{i}.weight",
                    Moments.of([weight, -weight]),
                    Moments.of([gradient, gradient]),
                    Moments.of([moved, moved] if update is None else [update, update]),
                    Pairs.of([moved, moved], [weight, -weight]),
                )
            )
        loss = None if losses is None else losses[index - 1]
        found.append(Step(index, loss, 0.1, tuple(gradients), tuple(layers), tuple(parameters)))
    names = tuple(f"l{i}.weight" for i in range(len(gradients)))
    return signals.measure(Trace(anatomy, names, tuple(found), planned))


def geometric(depth, ratio, last=1.0):
    """From the first layer to the last: each layer down has ``ratio`` of the one above."""
    return [last * ratio ** (depth - 1 - i) for i in range(depth)]


def looks(anatomy, where, fired, seen=1024, pinned=None):
    """One step in which a layer's units were counted."""
    units = Units(seen, tuple(fired), tuple(pinned or [0] * len(fired)))
    return signals.measure(Trace(anatomy, (), (Step(1, layers=(LayerSample(where, examples=seen, units=units),)),)))


__all__ = ["ADAM", "SGD", "WIDTH", "body", "geometric", "looks", "math", "recording"]
