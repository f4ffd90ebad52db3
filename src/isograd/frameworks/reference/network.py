"""A network in NumPy and float64, its backward pass written out by hand, and SGD with momentum.

Index letters, here and in the einsums: ``b`` example, ``i`` input unit, ``o`` output unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Loss = Literal["cross_entropy", "squared_error"]
Function = Literal["tanh", "sigmoid", "relu"]


@dataclass(frozen=True, slots=True)
class Linear:
    """``y[b,o] = sum_i x[b,i] weight[o,i] + bias[o]``; no bias where it is None."""

    path: str
    weight: Array
    bias: Array | None = None

    @classmethod
    def drawn(cls, path: str, fan_in: int, fan_out: int, *, seed: int, bias: bool = True) -> Self:
        """Weights and biases uniform in +-1/sqrt(fan_in), the rule that torch follows.

        >>> Linear.drawn("a", 4, 2, seed=0).weight.shape
        (2, 4)
        """
        draw = np.random.default_rng(seed)
        bound = 1.0 / math.sqrt(fan_in)
        weight = draw.uniform(-bound, bound, (fan_out, fan_in))
        return cls(path, weight, draw.uniform(-bound, bound, fan_out) if bias else None)

    def forward(self, x: Array) -> Array:
        """The output, shape (b, o)."""
        y: Array = np.einsum("bi,oi->bo", x, self.weight)
        return y if self.bias is None else np.add(y, self.bias)

    def backward(self, x: Array, gradient: Array) -> tuple[Array, dict[str, Array]]:
        """Gradient of the loss with respect to the input and to each parameter, from that of the output."""
        parameters = {"weight": np.einsum("bo,bi->oi", gradient, x)}
        if self.bias is not None:
            parameters["bias"] = np.einsum("bo->o", gradient)
        return np.einsum("bo,oi->bi", gradient, self.weight), parameters


@dataclass(frozen=True, slots=True)
class Activation:
    """``tanh``, ``sigmoid`` or ``relu`` (whose derivative at 0 is 0, as in torch), unit by unit."""

    path: str
    function: Function

    def forward(self, x: Array) -> Array:
        """The output, shape of ``x``."""
        if self.function == "tanh":
            return np.asarray(np.tanh(x))
        if self.function == "relu":
            return np.maximum(x, 0.0)
        # each half where its exponential cannot overflow
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))

    def backward(self, x: Array, gradient: Array) -> tuple[Array, dict[str, Array]]:
        """Gradient with respect to the input; an activation has no parameters."""
        y = self.forward(x)
        if self.function == "tanh":
            return gradient * (1.0 - y * y), {}
        if self.function == "relu":
            return gradient * (x > 0), {}
        return gradient * y * (1.0 - y), {}


Layer = Linear | Activation


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward pass: ``values[0]`` is the input, ``values[k + 1]`` the output of layer k.

    ``gradients[k]`` is that of the loss with respect to the output of layer k, ``parameters`` by full name.
    """

    loss: float
    values: tuple[Array, ...]
    gradients: tuple[Array, ...]
    parameters: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Network:
    """Layers, one after the other."""

    layers: tuple[Layer, ...]

    def __call__(self, x: Array) -> Array:
        """The output, shape (b, o)."""
        return self.forward(x)[-1]

    def forward(self, x: Array) -> tuple[Array, ...]:
        """The input and the output of every layer."""
        values = [np.asarray(x, dtype=np.float64)]
        for layer in self.layers:
            values.append(layer.forward(values[-1]))
        return tuple(values)

    def passed(self, x: Array, targets: Array, loss: Loss) -> Pass:
        """Forward, loss and backward.

        >>> network = Network((Linear("a", np.array([[2.0]])),))
        >>> found = network.passed(np.array([[3.0]]), np.array([[5.0]]), "squared_error")      # (6 - 5)^2
        >>> found.loss, found.parameters["a.weight"].item()
        (1.0, 6.0)
        """
        values = self.forward(x)
        value, gradient = LOSSES[loss](values[-1], targets)
        gradients: list[Array] = []
        parameters: dict[str, Array] = {}
        for layer, before in zip(reversed(self.layers), reversed(values[:-1]), strict=True):
            gradients.append(gradient)
            gradient, found = layer.backward(before, gradient)
            parameters |= {f"{layer.path}.{name}": array for name, array in found.items()}
        return Pass(value, values, tuple(reversed(gradients)), parameters)

    def parameters(self) -> dict[str, Array]:
        """Every parameter by its full name, in the order of the layers."""
        found: dict[str, Array] = {}
        for layer in self.layers:
            if isinstance(layer, Linear):
                found[f"{layer.path}.weight"] = layer.weight
                if layer.bias is not None:
                    found[f"{layer.path}.bias"] = layer.bias
        return found

    def with_parameters(self, values: dict[str, Array]) -> Network:
        """The same layers with other parameters."""
        return Network(tuple(_filled(layer, values) for layer in self.layers))


def _filled(layer: Layer, values: dict[str, Array]) -> Layer:
    if isinstance(layer, Activation):
        return layer
    bias = None if layer.bias is None else values[f"{layer.path}.bias"].copy()
    return replace(layer, weight=values[f"{layer.path}.weight"].copy(), bias=bias)


def cross_entropy(outputs: Array, targets: Array) -> tuple[float, Array]:
    r"""Softmax cross-entropy, mean over examples, and its gradient with respect to the outputs.

    .. math:: L = -\tfrac1B \sum_b \log p_{b,t_b}, \qquad \partial L / \partial y_{b,o} = (p_{b,o} - [o = t_b]) / B

    ``outputs`` (b, o) are logits, ``targets`` (b,) integer classes.

    >>> loss, gradient = cross_entropy(np.zeros((1, 2)), np.array([0]))
    >>> round(loss, 4), gradient.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    rows, classes = np.arange(len(outputs)), np.asarray(targets, dtype=np.int64)
    gradient = exponentials / totals
    loss = float(np.mean(np.log(totals[:, 0]) - shifted[rows, classes]))
    gradient[rows, classes] -= 1.0
    return loss, gradient / len(outputs)


def squared_error(outputs: Array, targets: Array) -> tuple[float, Array]:
    r"""Squared error, mean over examples and outputs, and its gradient with respect to the outputs.

    .. math:: L = \tfrac1{BO} \sum_{b,o} (y_{b,o} - t_{b,o})^2, \qquad \partial L / \partial y = 2 (y - t) / (BO)

    >>> squared_error(np.array([[3.0]]), np.array([[1.0]]))
    (4.0, array([[4.]]))
    """
    difference = outputs - np.asarray(targets, dtype=np.float64)
    return float(np.mean(difference**2)), 2.0 * difference / difference.size


LOSSES: dict[str, Callable[[Array, Array], tuple[float, Array]]] = {
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}


def total_norm(gradients: Sequence[Array]) -> float:
    """Euclidean norm of all gradients together."""
    return math.hypot(*(float(np.linalg.norm(gradient)) for gradient in gradients))


@dataclass(slots=True)
class Sgd:
    r"""Stochastic gradient descent with momentum and weight decay, by torch's formulas.

    .. math:: g \leftarrow g + \lambda\theta, \quad m \leftarrow \mu m + g \;(m = g \text{ first}), \quad
        \theta \leftarrow \theta - \eta m

    ``clip_norm``: the gradient is scaled down to this total norm first, by ``c / (norm + 1e-6)``; ``clip_value`` bounds each
    entry, ``clip_unit`` the norm of each row by so many times that of its weights (1e-3 at least). ``decay_l1`` is added
    times the sign of the weights; ``decay_decoupled``: they shrink by learning rate times this beforehand.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    clip_unit: float | None = None
    decay_l1: float = 0.0
    decay_decoupled: float = 0.0
    memory: dict[str, Array] = field(default_factory=dict)

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The parameters after one step, and the gradients as they were used (clipped).

        >>> after, _ = Sgd(0.5).step({"w": np.array([1.0])}, {"w": np.array([1.0])})
        >>> after["w"].tolist()
        [0.5]
        """
        if self.clip_norm is not None:
            factor = min(1.0, self.clip_norm / (total_norm(list(gradients.values())) + 1e-6))
            gradients = {name: gradient * factor for name, gradient in gradients.items()}
        if self.clip_value is not None:
            gradients = {name: gradient.clip(-self.clip_value, self.clip_value) for name, gradient in gradients.items()}
        if self.clip_unit is not None:
            gradients = {name: _clipped(gradient, parameters[name], self.clip_unit) for name, gradient in gradients.items()}
        gradients = {name: gradient + self.decay_l1 * np.sign(parameters[name]) for name, gradient in gradients.items()}
        after = {}
        for name, value in parameters.items():
            value = value * (1.0 - self.learning_rate * self.decay_decoupled)
            push = gradients[name] + self.weight_decay * value
            if self.momentum:
                push = self.momentum * self.memory[name] + push if name in self.memory else push
                self.memory[name] = push
            after[name] = value - self.learning_rate * push
        return after, gradients

    def fresh(self) -> Sgd:
        """The same constants with an empty memory."""
        return replace(self, memory={})

    def copy(self) -> Sgd:
        """The same constants and the same memory, apart."""
        return replace(self, memory={name: value.copy() for name, value in self.memory.items()})


def _clipped(gradient: Array, weight: Array, bound: float) -> Array:
    """Each row, or a vector as a whole, scaled down to ``bound`` times the norm of its weights."""
    axis = 1 if weight.ndim > 1 else None
    norms = np.linalg.norm(gradient, axis=axis, keepdims=True)
    most = bound * np.maximum(np.linalg.norm(weight, axis=axis, keepdims=True), 1e-3)
    return np.asarray(gradient * np.where(norms > most, most / np.maximum(norms, 1e-30), 1.0))
