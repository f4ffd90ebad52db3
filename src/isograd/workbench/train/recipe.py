"""All settings of a training, checked at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isograd.errors import Fault, RequestError, did_you_mean

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
SCHEDULES = ("constant", "warmup_cosine", "one_cycle", "plateau")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "bfloat16")
LOSSES = ("auto", "focal")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; every field is recorded with the run. Raises ``RequestError`` with all faults at once.

    ``loss`` "auto" is cross-entropy or squared error; ``class_weights`` "balanced" lets every class count alike.
    ``label_smoothing`` is the share of each label that is spread over all classes.
    ``learning_rate`` is the largest that the schedule reaches; ``warmup`` the share of the steps in which it rises
    (warmup_cosine, one_cycle). ``weight_decay`` acts on matrices and kernels, not on biases and norms. ``ema`` is the decay
    of the average of the weights, None for none. ``patience`` counts epochs without a better validation. ``threads`` 0 takes
    all cores. ``checkpoint_seconds`` 0 saves after every step. ``first_aid`` takes back a step that leaves the range
    of its past. ``frozen`` parts of the model are not trained; those of ``thaw`` = ((part, epoch), ...) are, after that epoch.

    >>> Recipe(optimizer="adam", schedule="one_cycle").epochs
    30
    """

    epochs: int = 30
    batch_size: int = 64
    loss: str = "auto"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.01
    schedule: str = "warmup_cosine"
    warmup: float = 0.05
    plateau_patience: int = 3
    plateau_factor: float = 0.3
    clip_norm: float | None = None
    ema: float | None = None
    patience: int | None = None
    precision: str = "float32"
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    checkpoint_seconds: float = 30.0
    watch: bool = True
    watch_budget: float = 0.03
    first_aid: bool = False
    frozen: tuple[str, ...] = ()
    thaw: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        faults = [*_words(self), *_numbers(self)]
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            faults.append(Fault("nesterov needs sgd with momentum", "train.nesterov", remedy='optimizer = "sgd"'))
        if self.first_aid and not self.watch:
            faults.append(Fault("first aid is given by the watch", "watch.first_aid", remedy="enabled = true under [watch]"))
        faults += _thawing(self)
        if faults:
            raise RequestError(faults)


def _thawing(recipe: Recipe) -> list[Fault]:
    """Parts that are to thaw and were never frozen, or thaw when the training is over."""
    faults = []
    for part, epoch in recipe.thaw:
        if not any(part == frozen or part.startswith(f"{frozen}.") for frozen in recipe.frozen):
            met = f"frozen: {', '.join(recipe.frozen) or 'nothing'}"
            faults.append(Fault(f"{part} is to thaw and was never frozen", "model.unfreeze", met, f'freeze = ["{part}"]'))
        if not 0 < epoch < recipe.epochs:
            met = f"after epoch {epoch} of {recipe.epochs}"
            faults.append(
                Fault(f"{part} is to thaw when nothing is trained", "model.unfreeze", met, "an epoch before the last")
            )
    return faults


def _words(recipe: Recipe) -> list[Fault]:
    rules = (
        *(("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("device", DEVICES), ("precision", PRECISIONS)),
        *(("loss", LOSSES), ("class_weights", CLASS_WEIGHTS)),
    )
    return [
        Fault(
            f"there is no {name} {value!r}",
            where=f"train.{name}",
            met=f"{name}: " + ", ".join(choices),
            remedy=did_you_mean(str(value), choices),
        )
        for name, choices in rules
        if (value := getattr(recipe, name)) not in choices
    ]


def _numbers(recipe: Recipe) -> list[Fault]:
    whole, real, inf = int, float, math.inf
    # name, type, least, whether least itself is allowed, most (excluded), whether None is allowed
    rules: tuple[tuple[str, type, float, bool, float, bool], ...] = (
        ("epochs", whole, 1, True, inf, False),
        ("batch_size", whole, 1, True, inf, False),
        ("focal_gamma", real, 0, True, inf, False),
        ("label_smoothing", real, 0, True, 1, False),
        ("learning_rate", real, 0, False, inf, False),
        ("momentum", real, 0, True, 1, False),
        ("weight_decay", real, 0, True, inf, False),
        ("warmup", real, 0, True, 1, False),
        ("plateau_patience", whole, 1, True, inf, False),
        ("plateau_factor", real, 0, False, 1, False),
        ("clip_norm", real, 0, False, inf, True),
        ("ema", real, 0, True, 1, True),
        ("patience", whole, 1, True, inf, True),
        ("threads", whole, 0, True, inf, False),
        ("seed", whole, 0, True, 2**63, False),
        ("checkpoint_seconds", real, 0, True, inf, False),
        ("watch_budget", real, 0, False, inf, False),
    )
    faults = []
    for name, kind, least, closed, most, optional in rules:
        value = getattr(recipe, name)
        if value is None and optional:
            continue
        number = isinstance(value, int if kind is whole else int | float) and not isinstance(value, bool)
        if not number or not (least < value < most or (closed and value == least)):
            said = f"{'a whole number' if kind is whole else 'a number'} {'from' if closed else 'above'} {least:g}"
            below = "" if most == inf else f" and below {most:g}"
            faults.append(Fault(f"train.{name} does not fit", f"train.{name}", repr(value), said + below))
    return faults
