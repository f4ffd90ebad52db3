"""A reference network with its loss and optimizer as a ``Patient``: describe, observe, apply, reborn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self, get_args

import numpy as np

from isograd.errors import ModelError
from isograd.frameworks.reference import sums
from isograd.frameworks.reference.describe import describe
from isograd.frameworks.reference.judging import skill_of
from isograd.frameworks.reference.losses import loss_sample
from isograd.frameworks.reference.network import LOSSES, Activation, Array, Function, Layer, Linear, Loss, Network, Pass, Sgd
from isograd.ports import Patient
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
from isograd.records.skill import Skill
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace, deep


@dataclass(frozen=True, slots=True)
class ReferencePatient(Patient):
    """A network, a loss by name and an optimizer; every method leaves all three as they are."""

    network: Network
    batch: tuple[Array, Array] | None
    loss: Loss
    optimizer: Sgd

    @classmethod
    def copy_of(cls, model: Network, batch: Any, loss: Any, optimizer: Sgd) -> Self:
        """A patient apart from the objects it was made of. Raises ``ModelError`` for an unknown loss."""
        if loss not in LOSSES:
            raise ModelError(f"the reference door knows the losses {', '.join(LOSSES)}, not {loss!r}")
        return cls(model.with_parameters(model.parameters()), batch, loss, optimizer.copy())

    def describe(self) -> Anatomy:
        """What the network is."""
        return describe(self.network, self.batch, self.loss, self.optimizer)

    def observe(self, batches: Iterable[tuple[Array, Array]], steps: int) -> Trace:
        """Run ``steps`` real optimizer steps with everything measured at every step."""
        network, optimizer = self.network, self.optimizer.copy()
        last: dict[str, Array] = {}
        found: list[Step] = []
        at = 0
        for index, (x, targets) in enumerate(islice(batches, steps), 1):
            passed = _passed(network, x, targets, self.loss)
            before = network.parameters()
            after, used = optimizer.step(before, passed.parameters)
            at = index if deep(index, index, at) else at
            layers = tuple(_layers(network, passed, alike=at == index))
            step = _step(index, network, passed, layers, optimizer.learning_rate, before, after, used, last)
            lost = loss_sample(network, passed.values[-1], np.asarray(targets), self.loss, passed.loss)
            found.append(replace(step, losses=(lost,)))
            network, last = network.with_parameters(after), used
        return Trace(self.describe(), tuple(self.network.parameters()), tuple(found))

    def apply(self, edit: Edit) -> Self:
        """A new patient that differs by ``edit`` alone; ``Edit.where`` limits an edit of layers to one path.

        Raises ``ModelError`` for what this door cannot do: its loop is always right, and its layers are few.
        """
        if edit.kind in _SETTINGS:
            setting: dict[str, Any] = {edit.kind: 0.0 if edit.off else _number(edit)}
            return replace(self, optimizer=replace(self.optimizer.copy(), **setting))
        if edit.kind in _CLIPPING:
            bound = None if edit.off else _number(edit)
            bounds: dict[str, Any] = {name: bound if name == edit.kind else None for name in _CLIPPING}
            return replace(self, optimizer=replace(self.optimizer.copy(), **bounds))
        if edit.kind == "reset_state" and self.optimizer.memory:
            return replace(self, optimizer=self.optimizer.fresh())
        if edit.kind == "activation":
            return replace(self, network=_with_activation(self.network, edit))
        if edit.kind == "nonlinearity":
            return replace(self, network=_bent(self.network, edit))
        if edit.kind != "initialisation":
            raise ModelError(f"the reference door cannot do this: {edit.text}")
        return replace(
            self, network=_drawn(self.network, str(edit.value), edit.where, seed=0), optimizer=self.optimizer.fresh()
        )

    def trained(
        self,
        batches: Sequence[tuple[Array, Array]],
        steps: int,
        looks: Sequence[int] = (),
        seen: Callable[[int, Self], bool] | None = None,
    ) -> Self:
        """A new patient after ``steps`` steps on the batches, round and round; shown to ``seen`` after those of ``looks``."""
        network, optimizer = self.network, self.optimizer.copy()
        for index in range(steps):
            x, targets = batches[index % len(batches)]
            after, _ = optimizer.step(network.parameters(), _passed(network, x, targets, self.loss).parameters)
            network = network.with_parameters(after)
            if seen is not None and index + 1 in looks:
                now = replace(self, network=network, optimizer=optimizer.copy())
                if seen(index + 1, now):
                    return now
        return replace(self, network=network, optimizer=optimizer)

    def judge(self, batches: Iterable[tuple[Array, Array]]) -> Skill:
        """Calibrated skill on all examples of the batches together."""
        pairs = list(batches)
        outputs = np.concatenate([self.network(x) for x, _ in pairs])
        return skill_of(outputs, np.concatenate([np.asarray(targets) for _, targets in pairs]), self.loss)

    def simple(self, training: Sequence[Any], held: Sequence[Any]) -> Skill | None:
        """Nothing: no simple learner is at hand here."""
        return None

    def reborn(self, seed: int) -> Self:
        """A new patient with weights drawn anew by torch's rule, and an optimizer that remembers nothing."""
        return replace(self, network=_drawn(self.network, "uniform", "", seed), optimizer=self.optimizer.fresh())


_SETTINGS = ("learning_rate", "momentum", "weight_decay", "decay_l1", "decay_decoupled")
_BENT = ".bent"
"""How the path of an activation that an edit has put in ends."""
_CLIPPING = ("clip_norm", "clip_value", "clip_unit")


def _passed(network: Network, x: Array, targets: Array, loss: Loss) -> Pass:
    try:
        return network.passed(x, targets, loss)
    except (ValueError, IndexError) as error:
        raise ModelError(f"the batch does not fit the network and the loss {loss}: {error}") from error


def _step(
    index: int,
    network: Network,
    passed: Pass,
    layers: tuple[LayerSample, ...],
    learning_rate: float,
    before: dict[str, Array],
    after: dict[str, Array],
    used: dict[str, Array],
    last: dict[str, Array],
) -> Step:
    parameters = tuple(
        ParameterSample(
            name,
            sums.moments(value),
            sums.moments(used[name]),
            sums.moments(after[name] - value),
            sums.pairs(after[name] - value, value),
            sums.pairs(used[name], last[name]) if name in last else None,
        )
        for name, value in before.items()
    )
    return Step(
        index,
        passed.loss,
        learning_rate,
        tuple(float(np.linalg.norm(used[name])) for name in before),
        layers,
        parameters,
        (sums.input_sample(passed.values[0]),),
    )


def _layers(network: Network, passed: Pass, *, alike: bool) -> Iterable[LayerSample]:
    for layer, value, gradient in zip(network.layers, passed.values[1:], passed.gradients, strict=True):
        flat = sums.PINNED.get(layer.function) if isinstance(layer, Activation) else None
        counted = sums.units(value, flat(value) if flat else None)
        gram = sums.gram(value) if alike else None
        yield LayerSample(layer.path, 0, len(value), sums.moments(value), sums.moments(gradient), counted, gram=gram)


def _number(edit: Edit) -> float:
    if edit.value is None or isinstance(edit.value, str):
        raise ModelError(f"{edit.kind} takes a number, not {edit.value!r}")
    return float(edit.value)


def _function(edit: Edit) -> Function:
    """The activation that an edit names."""
    found: Function | None = next((known for known in get_args(Function) if known == edit.value), None)
    if found is None:
        raise ModelError(f"the reference door knows {', '.join(get_args(Function))}, not {edit.value!r}")
    return found


def _with_activation(network: Network, edit: Edit) -> Network:
    function = _function(edit)
    return Network(
        tuple(
            replace(layer, function=function) if isinstance(layer, Activation) and edit.where in ("", layer.path) else layer
            for layer in network.layers
        )
    )


def _bent(network: Network, edit: Edit) -> Network:
    """An activation in front of every layer that reads another directly; ``off``: those that an edit put in are taken out."""
    if edit.off:
        layers = [one for one in network.layers if not one.path.endswith(_BENT)]
        if len(layers) == len(network.layers):
            raise ModelError("no edit has put activations between layers in, and the program's own stay")
        return Network(tuple(layers))
    network = Network(tuple(one for one in network.layers if not one.path.endswith(_BENT)))
    wanted = {second - 1 for first, second in describe(network).straight if edit.where in ("", network.layers[first - 1].path)}
    if not wanted:
        raise ModelError("no layer follows another with nothing between them", where=edit.where or "the network")
    function = _function(edit)
    made: list[Layer] = []
    for place, layer in enumerate(network.layers):
        made += [Activation(f"{layer.path}{_BENT}", function)] if place in wanted else []
        made.append(layer)
    return Network(tuple(made))


def _drawn(network: Network, rule: str, where: str, seed: int) -> Network:
    """Weights drawn anew, each layer from (seed, its position), so that no layer depends on another's size."""
    layers = [
        _draw(layer, rule, np.random.default_rng((seed, position)))
        if isinstance(layer, Linear) and where in ("", layer.path)
        else layer
        for position, layer in enumerate(network.layers)
    ]
    return Network(tuple(layers))


def _draw(layer: Linear, rule: str, draw: np.random.Generator) -> Linear:
    """``uniform`` is torch's default with its biases; the named rules set biases to zero."""
    fan_out, fan_in = shape = layer.weight.shape
    if rule == "uniform":
        bound = 1.0 / math.sqrt(fan_in)
        weight = draw.uniform(-bound, bound, shape)
        return replace(layer, weight=weight, bias=None if layer.bias is None else draw.uniform(-bound, bound, (fan_out,)))
    if rule == "he":
        weight = draw.normal(0.0, math.sqrt(2.0 / fan_in), shape)
    elif rule == "lecun":
        weight = draw.normal(0.0, math.sqrt(1.0 / fan_in), shape)
    elif rule == "glorot":
        bound = math.sqrt(6.0 / (fan_in + fan_out))
        weight = draw.uniform(-bound, bound, shape)
    elif rule == "orthogonal":
        tall = draw.normal(size=(max(shape), min(shape)))
        q, r = np.linalg.qr(tall)
        q = q * np.sign(np.diag(r))
        weight = q if fan_out >= fan_in else q.T
    else:
        raise ModelError(f"no initialisation is called {rule!r}; there are he, glorot, lecun and orthogonal")
    return replace(layer, weight=weight, bias=None if layer.bias is None else np.zeros(fan_out))
