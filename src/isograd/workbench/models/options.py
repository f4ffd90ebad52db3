"""What each family of networks can be told: names, types, defaults, bounds and help, as data; and the check of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isograd.errors import Fault, ModelError, did_you_mean
from isograd.workbench.models.option import Option

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "selu", "gelu", "silu")
INITIALISATIONS = ("auto", "he", "glorot", "lecun", "orthogonal", "torch")
NORMS = ("none", "batch", "layer")
MONOTONE = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "selu")

TABLES, TEXTS, PICTURES = ("classification", "regression"), ("text-classification",), ("image-classification",)
SOUNDS = ("sound-classification",)
SEQUENCES = ("sequence-classification", "sequence-regression")
SERVES: dict[str, tuple[str, ...]] = {
    "mlp": TABLES + TEXTS + PICTURES + SOUNDS + SEQUENCES,
    "linear": TABLES + TEXTS + PICTURES + SOUNDS + SEQUENCES,
    "tabular": TABLES,
    "bag": TEXTS,
    "text-cnn": TEXTS,
    "rnn": TEXTS + SOUNDS + SEQUENCES,
    "gru": TEXTS + SOUNDS + SEQUENCES,
    "lstm": TEXTS + SOUNDS + SEQUENCES,
    "tcn": SOUNDS + SEQUENCES,
    "transformer": TEXTS,
    "cnn": PICTURES + SOUNDS,
    "resnet": PICTURES + SOUNDS,
    "mobilenet": PICTURES + SOUNDS,
    "crnn": SOUNDS,
}
"""Which tasks each family is for."""
TOKENS = ("bag", "text-cnn", "rnn", "gru", "lstm", "transformer")
"""Families that read a text as the sequence of its tokens."""
STEPS = ("rnn", "gru", "lstm", "tcn")
"""Families that read quantities step by step."""


def _shared(activation: str, norm: str) -> dict[str, Option]:
    return {
        "activation": Option("choice", activation, "the non-linear function after each hidden layer", choices=ACTIVATIONS),
        "norm": Option("choice", norm, "normalisation before each activation", choices=NORMS),
        "dropout": _dropout(0.0),
        "initialisation": Option(
            "choice",
            "auto",
            "how weights are drawn; auto takes what theory asks of the activation (he, glorot or lecun)",
            choices=INITIALISATIONS,
        ),
    }


_DROPOUT = "share of units that are dropped at random in training"


def _dropout(share: float) -> Option:
    return Option("number", share, _DROPOUT, least=0, most=1)


def _mirror() -> Option:
    return Option(
        "choice",
        "no",
        "yes: an answer is the mean of those to a picture and to its mirror image; training goes on as without, answers take "
        "twice as long",
        choices=("no", "yes"),
    )


def _pool() -> Option:
    return Option("choice", "max", "what becomes of the states of all steps", choices=("max", "mean", "last"))


def _recurrent(**more: Option) -> dict[str, Option]:
    return {
        "width": Option("integer", None, "numbers in the embedding of a word (texts); default 64", least=1, most=4096),
        "units": Option("integer", 64, "units of each recurrent layer, in each direction", least=1, most=4096),
        "layers": Option("integer", 1, "recurrent layers", least=1, most=8),
        "directions": Option("choice", "both", "forward reads from the start only", choices=("both", "forward")),
        "pool": _pool(),
        "dropout": _dropout(0.3),
        **more,
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
        "mirror": _mirror(),
        **_shared("relu", "batch"),
    },
    "resnet": {
        "channels": Option("integers", (16, 32, 64), "channels of each stage; each but the first halves the image", 1, 4096),
        "blocks": Option("integer", 1, "residual blocks of two convolutions in each stage", least=1, most=100),
        "mirror": _mirror(),
        **_shared("relu", "batch"),
    },
    "mobilenet": {
        "channels": Option("integers", (32, 64, 128), "channels of each stage; each but the first halves the image", 1, 4096),
        "blocks": Option("integer", 2, "separable convolutions in each stage", least=1, most=100),
        "mirror": _mirror(),
        **_shared("relu", "batch"),
    },
    "crnn": {
        "channels": Option("integers", (32, 64), "channels of each conv-norm-act-pool block", least=1, most=4096),
        "units": Option("integer", 64, "units of the GRU, in each direction", least=1, most=4096),
        "dropout": _dropout(0.2),
    },
    "linear": {},
    "tabular": {
        "width": Option("integer", 128, "units of each residual block", least=1, most=65536),
        "blocks": Option("integer", 2, "residual blocks", least=1, most=100),
        "bins": Option("integer", 64, "pieces that each quantity is cut into, at its quantiles", least=1, most=1000),
        "embedding": Option("integer", 16, "numbers in the embedding of each quantity", least=1, most=1024),
        "dropout": _dropout(0.3),
    },
    "bag": {
        "ngrams": Option("integer", 2, "longest run of words that is seen as one thing", least=1, most=5),
        "buckets": Option("integer", 2**17, "rows that runs of two words and more share", least=1, most=2**24),
        "width": Option("integer", 16, "numbers in the embedding of a run of words", least=1, most=4096),
        "dropout": _dropout(0.5),
    },
    "text-cnn": {
        "width": Option("integer", 64, "numbers in the embedding of a word", least=1, most=4096),
        "kernels": Option("integers", (3, 4, 5), "words that a filter sees at a time", least=1, most=64),
        "channels": Option("integer", 100, "filters of each size", least=1, most=4096),
        "activation": Option("choice", "relu", "the non-linear function after the convolutions", choices=MONOTONE),
        "dropout": _dropout(0.5),
    },
    "rnn": _recurrent(
        initialisation=Option(
            "choice", "orthogonal", "of the recurrent weights; identity goes with ReLU", choices=("orthogonal", "identity")
        )
    ),
    "gru": _recurrent(),
    "lstm": _recurrent(),
    "tcn": {
        "channels": Option("integer", 64, "channels of each block", least=1, most=4096),
        "blocks": Option("integer", None, "residual blocks; default: enough to see a whole sequence", least=1, most=16),
        "kernel": Option("integer", 5, "steps that a convolution sees, 2^i apart in block i; odd", least=3, most=63),
        "directions": Option("choice", "both", "forward: a step sees the past only", choices=("both", "forward")),
        "pool": _pool(),
        "dropout": _dropout(0.1),
    },
    "transformer": {
        "width": Option("integer", 64, "numbers in the vector of a word; a multiple of heads", least=1, most=4096),
        "layers": Option("integer", 2, "layers of attention", least=1, most=48),
        "heads": Option("integer", 4, "heads of attention in each layer", least=1, most=64),
        "dropout": _dropout(0.1),
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
    given = {**{name: option.default for name, option in known_options.items()}, **options}
    if not faults and kind == "transformer" and int(str(given["width"])) % int(str(given["heads"])):
        met = f"width = {given['width']}, heads = {given['heads']}"
        faults.append(Fault("the width of a transformer must be a multiple of its heads", "model.width", met))
    if not faults and kind == "tcn" and int(str(given["kernel"])) % 2 == 0:
        faults.append(Fault("the kernel of a tcn must be odd, so that it has a middle", "model.kernel", f"{given['kernel']}"))
    if faults:
        raise ModelError(faults)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
