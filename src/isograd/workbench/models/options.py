"""What each family of networks can be told: names, types, defaults, bounds and help, as data; and the check of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from isograd.errors import Fault, ModelError, did_you_mean

Kind = Literal["integer", "integers", "number", "choice"]

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "selu", "gelu", "silu")
INITIALISATIONS = ("auto", "he", "glorot", "lecun", "orthogonal", "torch")
NORMS = ("none", "batch", "layer")


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its kind, default and help; ``least`` and ``most`` bound numbers, ``choices`` list words.

    A default of None means that the setting may be left out. ``most`` itself is excluded for a "number".
    """

    kind: Kind
    default: int | float | str | tuple[int, ...] | None
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a value has to be, in words.

        >>> OPTIONS["mlp"]["dropout"].expected
        'a number, at least 0, below 1'
        """
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        words = {"integer": "a whole number", "integers": "a list of whole numbers", "number": "a number"}[self.kind]
        least = "" if self.least is None else f", {'each ' if self.kind == 'integers' else ''}at least {self.least:g}"
        most = "" if self.most is None else f", {'below' if self.kind == 'number' else 'at most'} {self.most:g}"
        return words + least + most

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is of the right type and within bounds."""
        if value is None:
            return self.default is None
        if self.kind == "choice":
            return value in self.choices if isinstance(value, str) else False
        if self.kind == "integers":
            return isinstance(value, list | tuple) and len(value) > 0 and all(self._whole(item) for item in value)
        if self.kind == "integer":
            return self._whole(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (self.least is None or value >= self.least) and (self.most is None or value < self.most)

    def _whole(self, value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def _shared(activation: str, norm: str) -> dict[str, Option]:
    return {
        "activation": Option("choice", activation, "the non-linear function after each hidden layer", choices=ACTIVATIONS),
        "norm": Option("choice", norm, "normalisation before each activation", choices=NORMS),
        "dropout": Option("number", 0.0, "share of units that are dropped at random in training", least=0, most=1),
        "initialisation": Option(
            "choice",
            "auto",
            "how weights are drawn; auto takes what theory asks of the activation (he, glorot or lecun)",
            choices=INITIALISATIONS,
        ),
    }


OPTIONS: dict[str, dict[str, Option]] = {
    "mlp": {
        "hidden": Option("integers", None, "units of each hidden layer; default [256, 128]", least=1, most=65536),
        "depth": Option("integer", None, "number of hidden layers of equal width, instead of hidden", least=0, most=1000),
        "width": Option("integer", None, "units of each of the depth layers; default 128", least=1, most=65536),
        **_shared("relu", "none"),
    },
    "cnn": {
        "channels": Option("integers", (32, 64, 128), "channels of each conv-norm-act-pool block", least=1, most=4096),
        "convolutions": Option("integer", 1, "convolutions in each block", least=1, most=8),
        **_shared("relu", "batch"),
    },
    "resnet": {
        "channels": Option("integers", (16, 32, 64), "channels of each stage; each but the first halves the image", 1, 4096),
        "blocks": Option("integer", 1, "residual blocks of two convolutions in each stage", least=1, most=100),
        **_shared("relu", "batch"),
    },
}
"""The options of each family, by name: what a project file may say under its model."""


def checked(kind: str, options: Mapping[str, object]) -> dict[str, Any]:
    """All options of ``kind``: those given, checked, and the defaults of the rest.

    Raises ``ModelError`` with every fault at once: unknown family, unknown name, wrong type, out of bounds.

    >>> checked("mlp", {"depth": 3})["activation"]
    'relu'
    """
    if kind not in OPTIONS:
        known = ", ".join(OPTIONS)
        raise ModelError(f'no model is called "{kind}"', met=f"models: {known}", remedy=did_you_mean(kind, OPTIONS))
    known_options = OPTIONS[kind]
    faults = [
        Fault(
            f'a {kind} has no option "{name}"',
            where=f"model.{name}",
            met="options: " + ", ".join(known_options),
            remedy=did_you_mean(name, known_options),
        )
        for name in options
        if name not in known_options
    ]
    faults += [
        Fault(
            f"model.{name} does not fit",
            where=f"model.{name}",
            met=repr(value),
            remedy=(did_you_mean(value, known_options[name].choices) if isinstance(value, str) else "")
            or known_options[name].expected,
        )
        for name, value in options.items()
        if name in known_options and not known_options[name].accepts(value)
    ]
    if kind == "mlp" and options.get("hidden") is not None and not {"depth", "width"}.isdisjoint(options):
        faults.append(Fault("hidden and depth x width are two ways to say the same", "model.hidden", remedy="keep one of them"))
    if faults:
        raise ModelError(faults)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return {name: given.get(name, option.default) for name, option in known_options.items()}
