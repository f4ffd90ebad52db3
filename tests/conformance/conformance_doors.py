"""The doors under test: a new framework joins with one line in ``DOORS`` and a builder."""

from dataclasses import dataclass

import numpy as np
import pytest

from isograd.frameworks.reference.network import Activation, Linear, Network, Sgd
from isograd.frameworks.reference.patient import ReferencePatient


@dataclass(frozen=True)
class Case:
    """One network with its weights, batch, loss and optimizer, said without any framework."""

    widths: tuple[int, ...]
    function: str
    loss: str
    bias: bool = True
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-3
    gain: float = 1.0

    def __str__(self):
        return f"{self.function}-{'x'.join(map(str, self.widths))}-{self.loss}{'' if self.bias else '-nobias'}-{self.gain:g}"

    def network(self):
        layers = []
        last = len(self.widths) - 2
        for i, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            drawn = Linear.drawn(f"layer{i}", fan_in, fan_out, seed=i, bias=self.bias)
            layers.append(Linear(drawn.path, drawn.weight * self.gain, drawn.bias))
            if i < last and self.function != "identity":
                layers.append(Activation(f"act{i}", self.function))
        return Network(tuple(layers))

    def batch(self, rows=16):
        draw = np.random.default_rng(7)
        x = draw.normal(size=(rows, self.widths[0]))
        if self.loss == "cross_entropy":
            return x, draw.integers(0, self.widths[-1], rows)
        return x, draw.normal(size=(rows, self.widths[-1]))


def reference(case):
    optimizer = Sgd(case.learning_rate, case.momentum, case.weight_decay)
    return ReferencePatient.copy_of(case.network(), case.batch(), case.loss, optimizer), case.batch()


def torch(case):
    framework = pytest.importorskip("torch")
    from isograd.frameworks.torch.patient import TorchPatient

    nn = framework.nn
    kinds = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}
    model = nn.Sequential()
    for layer in case.network().layers:
        if isinstance(layer, Linear):
            module = nn.Linear(*layer.weight.shape[::-1], bias=layer.bias is not None, dtype=framework.float64)
            with framework.no_grad():
                module.weight.copy_(framework.from_numpy(layer.weight))
                if layer.bias is not None:
                    module.bias.copy_(framework.from_numpy(layer.bias))
        else:
            module = kinds[layer.function]()
        model.add_module(layer.path, module)
    batch = tuple(framework.from_numpy(array) for array in case.batch())
    loss = nn.functional.cross_entropy if case.loss == "cross_entropy" else nn.functional.mse_loss
    optimizer = framework.optim.SGD(
        model.parameters(), lr=case.learning_rate, momentum=case.momentum, weight_decay=case.weight_decay
    )
    return TorchPatient.copy_of(model, batch, loss, optimizer), batch


DOORS = {"reference": reference, "torch": torch}

CASES = [
    Case((4, 5, 3), "tanh", "cross_entropy"),
    Case((4, 5, 3), "sigmoid", "squared_error"),
    Case((6, 8, 8, 8, 3), "relu", "cross_entropy"),
    Case((6, 8, 8, 2), "relu", "squared_error", bias=False),
    Case((6, *[8] * 20, 2), "sigmoid", "cross_entropy"),
    Case((5, 16, 16, 3), "tanh", "squared_error", gain=30.0),
    Case((5, 4, 3), "tanh", "cross_entropy", learning_rate=0.0, momentum=0.0, weight_decay=0.0),
]
