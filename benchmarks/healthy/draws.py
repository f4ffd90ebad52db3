"""The configuration of one run: everything that a person could have chosen otherwise, drawn from a seed and written down."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

SEEDS = {"first": 10_000, "second": 20_000, "third": 30_000}
"""Configurations of the lots come from seeds that never meet; their programs differ as well."""

_MAKERS: dict[str, tuple[Callable[..., Optimizer], float, float]] = {
    "sgd": (lambda p, lr: torch.optim.SGD(p, lr=lr), 0.05, 0.2),
    "momentum": (lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), 0.01, 0.05),
    "nesterov": (lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4), 0.01, 0.05),
    "adam": (lambda p, lr: torch.optim.Adam(p, lr=lr), 1e-3, 8e-3),
    "adam, beta2 0.95": (lambda p, lr: torch.optim.Adam(p, lr=lr, betas=(0.9, 0.95)), 1e-3, 5e-3),
    "amsgrad": (lambda p, lr: torch.optim.Adam(p, lr=lr, amsgrad=True), 2e-3, 8e-3),
    "adamw": (lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.01), 1e-3, 8e-3),
    "adamw, decay 0.1": (lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1), 1e-3, 8e-3),
    "nadam": (lambda p, lr: torch.optim.NAdam(p, lr=lr), 1e-3, 6e-3),
    "radam": (lambda p, lr: torch.optim.RAdam(p, lr=lr), 3e-3, 1e-2),
    "rmsprop": (lambda p, lr: torch.optim.RMSprop(p, lr=lr), 5e-4, 3e-3),
    "adagrad": (lambda p, lr: torch.optim.Adagrad(p, lr=lr), 0.02, 0.06),
    "adamax": (lambda p, lr: torch.optim.Adamax(p, lr=lr), 3e-3, 1e-2),
}
OPTIMIZERS = tuple(_MAKERS)
ADAPTIVE = tuple(name for name in OPTIMIZERS if name not in ("sgd", "momentum", "nesterov"))

_SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler]] = {
    "cosine to zero": lambda o, n: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=n),
    "linear to zero": lambda o, n: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=n),
    "tenth after 70 %": lambda o, n: torch.optim.lr_scheduler.StepLR(o, step_size=max(1, int(0.7 * n)), gamma=0.1),
    "exponential": lambda o, n: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.05 ** (1.0 / n)),
    "warm-up from zero": lambda o, n: torch.optim.lr_scheduler.LambdaLR(o, lambda k: min(1.0, k / max(1, n // 10))),
    "warm-up, then cosine": lambda o, n: torch.optim.lr_scheduler.LambdaLR(
        o, lambda k: min(1.0, k / max(1, n // 8)) * 0.5 * (1.0 + float(np.cos(np.pi * min(1.0, k / n))))
    ),
    "one cycle": lambda o, n: torch.optim.lr_scheduler.OneCycleLR(
        o, max_lr=[2.0 * group["lr"] for group in o.param_groups], total_steps=n + 1, cycle_momentum=False
    ),
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky relu": lambda: nn.LeakyReLU(0.1),
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "prelu": nn.PReLU,
}
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}


class Draw:
    """Choices of one run, in the order in which the program asks for them; ``made`` is what came out.

    ``task`` names the part of the choices that changes what can be reached at all: runs are compared within it.

    >>> one, other = Draw("blobs", "first", 3), Draw("blobs", "first", 3)
    >>> one.pick("width", [16, 32, 64]) == other.pick("width", [16, 32, 64])
    True
    """

    def __init__(self, family: str, lot: str, index: int) -> None:
        self.seed = SEEDS[lot] + index
        self._random = np.random.default_rng([zlib.crc32(family.encode()), self.seed])
        self.made: dict[str, Any] = {}
        self.task = ""
        torch.manual_seed(self.seed)

    def pick(self, name: str, choices: Iterable[Any]) -> Any:
        """One of the choices, all as likely."""
        options = list(choices)
        chosen = options[int(self._random.integers(len(options)))]
        self.made[name] = _named(chosen)
        return chosen

    def variant(self, name: str, choices: Iterable[Any]) -> Any:
        """One of the choices, where what can be reached depends on it."""
        chosen = self.pick(name, choices)
        self.task += f" {name} {chosen}"
        return chosen

    def log(self, name: str, low: float, high: float) -> float:
        """A number between the bounds, uniform in its logarithm."""
        self.made[name] = value = float(f"{np.exp(self._random.uniform(np.log(low), np.log(high))):.3g}")
        return value

    def optimizer(
        self,
        parameters: Iterable[Tensor] | Sequence[dict[str, Any]],
        *,
        gentle: float = 1.0,
        kinds: Iterable[str] = OPTIMIZERS,
        name: str = "",
    ) -> Optimizer:
        """An optimizer at a usual learning rate, times ``gentle``."""
        kind = self.pick(f"{name}optimizer", kinds)
        make, low, high = _MAKERS[kind]
        return make(list(parameters), lr=self.log(f"{name}learning rate", gentle * low, gentle * high))

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """None, half of the time, or a schedule that is stepped once a step."""
        kind = self.pick("schedule", ["constant"] * 6 + list(_SCHEDULES))
        return None if kind == "constant" else _SCHEDULES[kind](optimizer, steps)

    def clip(self) -> float | None:
        """None, a bound that is seldom met, or one that is met at every step."""
        bound: float | None = self.pick("clip", [None, None, None, 5.0, 1.0, 0.2])
        return bound

    def activation(self, kinds: Iterable[str] = tuple(_ACTIVATIONS)) -> Callable[[], nn.Module]:
        """A maker of activation modules."""
        return _ACTIVATIONS[self.pick("activation", kinds)]

    def norm(self, kinds: Iterable[str] = tuple(_NORMS)) -> Callable[[int], nn.Module]:
        """A maker of normalisations of a width."""
        return _NORMS[self.pick("norm", kinds)]


def _named(choice: Any) -> Any:
    """A choice as it is written down: numbers and words as they are, everything else by its name."""
    if isinstance(choice, bool | int | float | str) or choice is None:
        return choice
    if isinstance(choice, list | tuple):
        return [_named(one) for one in choice]
    return getattr(choice, "__name__", type(choice).__name__)


def mlp(
    draw: Draw,
    inputs: int,
    outputs: int,
    *,
    widths: Sequence[int] = (16, 32, 64, 128),
    depths: Sequence[int] = (1, 2, 3),
    activations: Iterable[str] = tuple(_ACTIVATIONS),
    norms: Iterable[str] = tuple(_NORMS),
    dropouts: Sequence[float] = (0.0, 0.0, 0.0, 0.1),
) -> nn.Sequential:
    """Linear, normalisation, activation, dropout, as often as drawn, and a linear head."""
    width, depth = draw.pick("width", widths), draw.pick("depth", depths)
    act, norm, dropout = draw.activation(activations), draw.norm(norms), draw.pick("dropout", dropouts)
    layers: list[nn.Module] = []
    for layer in range(depth):
        layers.append(nn.Linear(width if layer else inputs, width))
        layers += [] if isinstance(normed := norm(width), nn.Identity) else [normed]
        layers.append(act())
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(width if depth else inputs, outputs))
