"""What a network is, before any data: its operations, how data flows through them, its parameters and its optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from isograd.records.moments import Moments

Scalar = float | int | bool | str
Settings = tuple[tuple[str, Scalar], ...]

OPERATIONS = (
    "input",  # what the batch brings
    "linear",  # settings: fan_in, fan_out, bias
    "conv",  # fan_in (channels_in / groups * kernel area), fan_out, kernel, stride, padding, dilation, groups, bias, transposed
    "activation",  # function ("relu", "tanh", "sigmoid", ...), and its constants
    "norm",  # kind ("batch", "layer", "group", "instance", "rms"), eps, affine, size (entries of a layer norm's group)
    "dropout",  # p
    "pool",  # kind ("max", "average"), kernel, stride; total where it is a sum
    "reshape",  # flatten, view, transpose: the same numbers in another form; index of a slice
    "add",  # the sum of its inputs: a residual joint; minus, shift
    "multiply",  # the product of its inputs, of its parameters and of a number (factor)
    "concat",
    "embedding",  # rows, width
    "recurrent",  # kind ("rnn_tanh", "rnn_relu", "lstm", "gru"), input, hidden, layers, bidirectional, steps, forget_bias
    "attention",  # heads, width, projected (it holds its projections), dropout, causal
    "softmax",
    "unknown",  # measured, never guessed
)
"""The closed vocabulary of ``Node.operation`` that every door speaks."""

WEIGHTED = ("linear", "conv", "embedding", "recurrent", "attention")
"""The operations that count as a layer where depth is counted: those that hold a weight matrix."""

PASSED = ("reshape", "dropout", "norm", "pool")
"""Operations behind a layer that leave what it gives as straight as it was, or nearly: they stand in for no activation."""

_SIZED = ("linear", "conv")
_STRAIGHT = (*PASSED, *_SIZED, "input", "embedding", "concat", "add")

DYING = ("relu", "relu6", "threshold")
"""Activations whose unit is dead when it never fires: zero output and zero derivative below zero."""


def spoken(path: str) -> str:
    """A place in a sentence: a bare number gets a word, and the root of a module a name.

    >>> spoken("0"), spoken("encoder.2"), spoken("")
    ('layer 0', 'encoder.2', 'the model')
    """
    return f"layer {path}" if path.replace(".", "").isdigit() else path or "the model"


def spot(where: str, source: str | None) -> str:
    """A place and its line as they are said; empty where neither is known.

    >>> spot("2.0", "train.py:41"), spot("", None)
    ('layer 2.0, train.py:41', '')
    """
    return ", ".join(part for part in (spoken(where) if where else "", source or "") if part)


def capital(text: str) -> str:
    """A sentence with a capital letter; it must not begin with the name of a module, which has its own spelling.

    >>> capital("the step is 3 times as long")
    'The step is 3 times as long'
    """
    return text[:1].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation in the order of execution; ``inputs`` are the positions of the nodes it reads.

    ``path`` names a module ("encoder.2"), or, for a function call, the module around it and the function ("encoder.relu_1"):
    it is unique and is what a trace and a finding call the place. ``shape`` is that of the output without the batch axis.
    """

    path: str
    operation: str
    label: str
    inputs: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    settings: Settings = ()
    parameters: tuple[str, ...] = ()
    source: str | None = None

    def get(self, name: str, default: Scalar) -> Scalar:
        """The setting called ``name``, or ``default``."""
        return dict(self.settings).get(name, default)

    @property
    def activation(self) -> str:
        """The activation's name without case and underscores; the label where no function is set.

        >>> Node("a", "activation", "LeakyReLU", settings=(("function", "leaky_relu"),)).activation
        'leakyrelu'
        """
        return str(self.get("function", self.label)).lower().replace("_", "")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One weight or bias: its full name, the path of the layer that holds it, and what it is worth now."""

    name: str
    layer: str
    shape: tuple[int, ...]
    trainable: bool
    in_optimizer: bool | None
    values: Moments

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What turns gradients into updates: its kind ("sgd", "adamw", ...) and its constants, by the field's names.

    ``source`` is the line that makes it ("train.py:41"), where exactly one can be meant.
    """

    kind: str
    settings: Settings = ()
    source: str | None = field(default=None, compare=False)

    def get(self, name: str, default: Scalar) -> Scalar:
        """The constant called ``name``, or ``default``."""
        return dict(self.settings).get(name, default)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A network as a list of operations; ``nodes`` is in the order of execution and ends with the output.

    ``traced`` says whether the flow was seen on a real batch; otherwise the nodes are the modules in their order of
    registration and ``inputs`` and ``shape`` may be missing.
    """

    framework: str
    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    optimizer: Optimizer | None = None
    loss: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    traced: bool = True

    def node(self, path: str) -> Node | None:
        """The node at ``path``, or nothing."""
        return next((node for node in self.nodes if node.path == path), None)

    @property
    def before(self) -> tuple[frozenset[int], ...]:
        """For each node the positions of all nodes that its output comes through, itself not among them.

        >>> chain = tuple(Node(name, "linear", "Linear", (i - 1,) if i else ()) for i, name in enumerate("abc"))
        >>> [sorted(places) for places in Anatomy("torch", chain, ()).before]
        [[], [0], [0, 1]]
        """
        found: list[frozenset[int]] = []
        for node in self.nodes:
            found.append(frozenset(node.inputs).union(*(found[source] for source in node.inputs)))
        return tuple(found)

    @property
    def straight(self) -> tuple[tuple[int, int], ...]:
        """Pairs of linear or convolutional layers of which the second reads the first with nothing between that bends.

        Left out is what is meant so: channel by channel or transposed and then across the channels, a layer that is narrower
        than what it reads and what reads it (a bottleneck, a matrix of low rank), what is added to something on its way.

        >>> chain = tuple(Node(name, "linear", "Linear", (i - 1,) if i else ()) for i, name in enumerate("abc"))
        >>> Anatomy("torch", chain, ()).straight
        ((0, 1), (1, 2))
        """
        if not self.traced:
            return ()
        behind: dict[int, int] = {}
        found: list[tuple[int, int]] = []
        for place, node in enumerate(self.nodes):
            first = behind.get(node.inputs[0]) if len(node.inputs) == 1 else None
            if node.operation in _SIZED:
                if first is not None and not self._meant(first, place):
                    found.append((first, place))
                behind[place] = place
            elif node.operation in PASSED and first is not None:
                behind[place] = first
        return tuple(found)

    @property
    def bends(self) -> bool:
        """Whether anything before the last weighted layer bends the signal, other than a normalisation or a pool.

        >>> layers = [Node("a", "linear", ""), Node("b", "activation", "tanh", (0,)), Node("c", "linear", "", (1,))]
        >>> Anatomy("torch", tuple(layers), ()).bends, Anatomy("torch", tuple(layers[:2]), ()).bends
        (True, False)
        """
        last = max((place for place, node in enumerate(self.nodes) if node.operation in _SIZED), default=0)
        return any(node.operation not in _STRAIGHT for node in self.nodes[:last])

    def _meant(self, first: int, second: int) -> bool:
        """Whether two layers follow each other directly by design."""
        one, other = self.nodes[first], self.nodes[second]
        if any(int(node.get("groups", 1)) > 1 or node.get("transposed", False) for node in (one, other)):
            return True
        ends = [one, other]
        if not self.bends:  # then it counts whether the whole map is limited by it
            layers = [node for node in self.nodes if node.operation in _SIZED]
            ends = [layers[0], layers[-1]]
        return 0 < self._widths(one)[1] < min(self._widths(ends[0])[0], self._widths(ends[1])[1])

    def _widths(self, node: Node) -> tuple[int, int]:
        """Units or channels that a layer reads and gives."""
        shapes = (one.shape for one in self.parameters if one.name in node.parameters and len(one.shape) >= 2)
        given, read = next(shapes, (int(node.get("fan_out", 0)), int(node.get("fan_in", 0))))[:2]
        return read, given

    @property
    def matrices(self) -> tuple[Parameter, ...]:
        """The parameters of two and more axes; biases and scales are not among them (one born at zero moves infinitely far)."""
        return tuple(parameter for parameter in self.parameters if len(parameter.shape) >= 2)
