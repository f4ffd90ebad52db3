"""Random configurations, good and bad ones alike, and the networks and optimizers they mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foretelling.data import FORMS, Data

Config = dict[str, Any]
ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
}
RATES = {"sgd": (1e-4, 3.0), "momentum": (1e-4, 0.5), "adam": (1e-5, 0.1), "adamw": (1e-5, 0.1), "rmsprop": (1e-5, 0.1)}


def draw(index: int, steps: int) -> Config:
    """The configuration of that number for runs of that length; the same on every machine."""
    rng = np.random.default_rng([20_261, index, steps])

    def one(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def wide(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))

    family = one("dense", "dense", "dense", "conv", "conv", "recurrent", "recurrent", "attention", "attention")
    optimizer = one(*RATES)
    return {
        "index": index,
        "steps": steps,
        "family": family,
        "data": one(*FORMS[family]),
        "depth": max(1, round(wide(1, {"dense": 12, "conv": 6, "recurrent": 2.4, "attention": 3}[family]))),
        "width": 4 * round(wide(2, {"dense": 16, "conv": 8, "recurrent": 12, "attention": 6}[family])),
        "activation": one(*ACTIVATIONS, "relu", "relu", "tanh"),
        "cell": one("RNN", "LSTM", "GRU"),
        "init": one("default", "default", "scaled", "fixed"),
        "gain": wide(0.2, 4.0),
        "norm": one("none", "none", "batch", "layer"),
        "residual": bool(rng.random() < 0.35),
        "dropout": one(0.0, 0.0, 0.0, 0.1, 0.3, 0.6),
        "optimizer": optimizer,
        "rate": wide(*RATES[optimizer]),
        "batch": one(16, 32, 64),
        "decay": one(0.0, 0.0, 0.0, 1e-4, 1e-2, 0.3),
        "scale": wide(0.01, 100.0) if rng.random() < 0.2 else 1.0,
        "squared": bool(rng.random() < 0.1),
        "bias": one(0.0, 0.0, 0.0, 0.0, wide(0.1, 3.0), -wide(0.1, 3.0)),
        "seed": int(rng.integers(2**31)),
    }


def build(c: Config, data: Data) -> nn.Module:
    """The network of a configuration, drawn from its seed."""
    torch.manual_seed(c["seed"])
    makers = {"dense": _dense, "conv": _conv, "recurrent": Recurrent, "attention": Attention}
    net: nn.Module = makers[c["family"]](c, data.train[0].shape[1:], data.classes or 1)
    _initialise(net, c)
    return net


def optimizer_of(c: Config, net: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a configuration."""
    kind, rate, decay = c["optimizer"], c["rate"], c["decay"]
    if kind in ("sgd", "momentum"):
        momentum = 0.9 if kind == "momentum" else 0.0
        return torch.optim.SGD(net.parameters(), rate, momentum=momentum, weight_decay=min(decay, 1e-2), fused=True)
    if kind == "rmsprop":
        return torch.optim.RMSprop(net.parameters(), rate, weight_decay=min(decay, 1e-2), foreach=True)
    if kind == "adam":
        return torch.optim.Adam(net.parameters(), rate, weight_decay=min(decay, 1e-2), fused=True)
    return torch.optim.AdamW(net.parameters(), rate, weight_decay=decay, fused=True)


class Loss(nn.Module):
    """Cross-entropy, or the squared error of numbers or of one-hot classes."""

    def __init__(self, classes: int, squared: bool) -> None:
        super().__init__()
        self.classes, self.squared = classes, squared

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch."""
        if not self.classes:
            return nn.functional.mse_loss(outputs, targets)
        if self.squared:
            return nn.functional.mse_loss(outputs, nn.functional.one_hot(targets, self.classes).float())
        return nn.functional.cross_entropy(outputs, targets)


class Block(nn.Module):
    """One hidden layer: weights, norm, activation, dropout, and a skip around them where the shapes allow."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None, c: Config, same: bool) -> None:
        super().__init__()
        self.layer, self.norm, self.skip = layer, norm, c["residual"] and same
        self.activation = ACTIVATIONS[c["activation"]]()
        self.dropout = nn.Dropout(c["dropout"]) if c["dropout"] else None

    def forward(self, x: Tensor) -> Tensor:
        """The output for a batch."""
        y: Tensor = self.layer(x)
        y = self.activation(y if self.norm is None else self.norm(y))
        y = y if self.dropout is None else self.dropout(y)
        return x + y if self.skip else y


def _dense(c: Config, shape: torch.Size, out: int) -> nn.Module:
    width, inputs = c["width"], math.prod(shape)
    norms = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    layers: list[nn.Module] = []
    for depth in range(c["depth"]):
        fan_in = width if depth else inputs
        norm = norms[c["norm"]](width) if c["norm"] in norms else None
        layers.append(Block(nn.Linear(fan_in, width), norm, c, fan_in == width))
    return nn.Sequential(*layers, nn.Linear(width, out))


def _conv(c: Config, shape: torch.Size, out: int) -> nn.Module:
    flat = len(shape) == 2
    width, made = max(4, c["width"] // 2), nn.Conv1d if flat else nn.Conv2d
    layers: list[nn.Module] = []
    for depth in range(c["depth"]):
        fan_in = width if depth else shape[0]
        norm: nn.Module | None = None
        if c["norm"] == "batch":
            norm = nn.BatchNorm1d(width) if flat else nn.BatchNorm2d(width)
        elif c["norm"] == "layer":
            norm = nn.GroupNorm(1, width)
        stride = 2 if depth == 1 else 1
        layers.append(Block(made(fan_in, width, 3, stride, padding=1), norm, c, fan_in == width and stride == 1))
    pool: nn.Module = nn.AdaptiveAvgPool1d(4) if flat else nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(4 * width, out))


class Recurrent(nn.Module):
    """A recurrent stack read at its last step."""

    def __init__(self, c: Config, shape: torch.Size, out: int) -> None:
        super().__init__()
        layers, dropout = c["depth"], c["dropout"] if c["depth"] > 1 else 0.0
        self.memory = getattr(nn, c["cell"])(shape[-1], c["width"], layers, batch_first=True, dropout=dropout)
        self.norm = nn.LayerNorm(c["width"]) if c["norm"] == "layer" else None
        self.head = nn.Linear(c["width"], out)

    def forward(self, x: Tensor) -> Tensor:
        """The output for a batch."""
        last = self.memory(x)[0][:, -1]
        return self.head(last if self.norm is None else self.norm(last))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Tokens with learned places, encoder layers (norm first or last, or none), the mean over the tokens, a head."""

    def __init__(self, c: Config, shape: torch.Size, out: int) -> None:
        super().__init__()
        width = max(8, 8 * round(c["width"] / 8))
        self.embed = nn.Linear(shape[-1], width)
        self.places = nn.Parameter(0.02 * torch.randn(shape[0], width))
        activation = ACTIVATIONS[c["activation"]]()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 2, 2 * width, c["dropout"], activation, batch_first=True, norm_first=c["norm"] == "layer"
            )
            for _ in range(c["depth"])
        )
        self.head = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        """The output for a batch."""
        x = self.embed(x) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))  # type: ignore[no-any-return]


def _initialise(net: nn.Module, c: Config) -> None:
    if c["init"] == "default":
        return
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.ndim >= 2 and name != "places":
                fan_in = parameter[0].numel()
                parameter.normal_(0.0, c["gain"] / math.sqrt(fan_in) if c["init"] == "scaled" else 0.1 * c["gain"])
            elif "bias" in name and "norm" not in name and c["bias"]:
                parameter.fill_(c["bias"])
