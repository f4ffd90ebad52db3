"""What a fault may change about a program: one frozen record of settings, and the list of programs that consult it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

Side = Literal["calibration", "held-out", "fresh"]
Lot = Literal["first", "second", "third", "fourth"]
LOTS: dict[Side, tuple[Lot, ...]] = {"calibration": ("first", "second"), "held-out": ("third",), "fresh": ("fourth",)}
"""Programs and operators come in lots, and a lot's operators are put into its own programs alone. The second lot was held out
once; what has been looked at is for calibration, and the next look takes a new lot."""
Watch = Callable[..., AbstractContextManager[Any]]
"""Called as ``watch(models, optimizers, steps=planned)``; what it gives is entered around the loop."""


@dataclass(frozen=True)
class Settings:
    """Every choice that a fault may spoil; a program sets its own healthy values, and "right" means what the program wrote."""

    # the loop
    steps: int = 200
    batch: int = 32
    sampling: str = "shuffled"  # or "sorted" by label, "same" batch for ever, "few" examples, "one kind" of label
    clear: str = "before"  # when gradients are cleared: or "never", "between" backward and step, "rarely"
    accumulate: int = 1
    mode: str = "right"  # or "eval" while training, "swapped": evaluated in training mode too
    reborn: int = 0  # every so many steps the weights are drawn again
    replaced: str = "none"  # layers made anew after the optimizer: or "last", "all"
    raises: str = "none"  # a mistake that torch refuses: "twice", "in-place", "shapes", "dtype"
    # the optimizer
    optimizer: str = "adam"
    rate: float = 1e-3
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    penalty: float = 0.0  # weight of a hand-written L2 penalty in the loss
    schedule: str = "constant"  # or "cosine", "warm-up", "one cycle"; "x0.5" multiplies the rate at every step
    clip: float | None = None
    held: str = "all"  # which parameters the optimizer is given: or "last", "first", "biases"
    frozen: str = "none"  # which parameters ask for no gradient: or "body", "head", "all"
    # the model
    width: int = 32
    depth: int = 2
    init: str = "right"  # or "zeros", "constant 1", "normal 5": the number is value or deviation
    activation: str = "right"
    last: str = "right"  # what is applied to the outputs: or "relu", "tanh", "sigmoid", "softmax", "batch softmax"
    dropout: float = 0.0
    cut: str = "none"  # in the middle of the network: or "detach", "no_grad", "numpy"
    hidden: bool = False  # layers kept in a Python list
    dtype: str = "float32"
    loss: str = "right"
    # the data
    input_scale: float = 1.0
    input_shift: float = 0.0
    columns: str = "right"  # or "one huge", "constant", "nan", "no deviation"
    labels: str = "right"  # or "shuffled", "shifted", "one class"
    label_noise: float = 0.0
    target_scale: float = 1.0
    target_shift: float = 0.0
    class_weights: str = "right"
    # recurrent networks
    axes: str = "right"  # or "swapped": batch and time
    state: str = "fresh"  # or "carried" from batch to batch, "graph": carried with its graph
    read: str = "right"  # or "first": the output of the first time step
    # adversarial networks
    rival_rate: float = 1.0  # the discriminator's learning rate in units of its healthy one
    rival_steps: int = 1  # its steps for one of the generator
    own_rate: float = 1.0  # the generator's

    @property
    def since(self) -> int:
        """The first step at which a fault in them acts."""
        return self.reborn or 1

    def shortened(self) -> Settings:
        """The same for two steps."""
        return replace(self, steps=2)


COMMON = frozenset(
    [
        "steps",
        "batch",
        "sampling",
        "clear",
        "mode",
        "reborn",
        "replaced",
        "raises",
        "optimizer",
        "rate",
        "momentum",
        "betas",
        "eps",
        "weight_decay",
        "penalty",
        "schedule",
        "clip",
        "held",
        "frozen",
        "init",
        "loss",
    ]
)
"""Settings that every program consults."""


@dataclass(frozen=True)
class Program:
    """A training program: its lot, its healthy settings (or its ``Script``), what kind it is and which settings it consults.

    ``cut_at`` is the module path before which nothing learns where the graph is cut.
    """

    name: str
    lot: Lot
    settings: Any
    kinds: frozenset[str]
    honours: frozenset[str]
    train: Callable[[Any, int, Watch], float]
    cut_at: str = ""

    @property
    def side(self) -> Side:
        """The side of the split that its lot is on."""
        return next(side for side, lots in LOTS.items() if self.lot in lots)


PROGRAMS: dict[str, Program] = {}

Train = Callable[[Settings, int, Watch], float]


def program(lot: Lot, settings: Settings, kinds: str, honours: str, cut_at: str = "") -> Callable[[Train], Train]:
    """Enter a training function into the list of programs under its own name."""

    def enter(train: Train) -> Train:
        name = train.__name__
        PROGRAMS[name] = Program(
            name, lot, settings, frozenset(kinds.split()), COMMON | frozenset(honours.split()), train, cut_at
        )
        return train

    return enter


def unwatched(models: Any, optimizers: Any, *, steps: int) -> AbstractContextManager[Any]:
    """The watch of a plain run: none."""
    return contextlib.nullcontext()
