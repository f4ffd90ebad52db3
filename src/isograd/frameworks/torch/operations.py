"""What a torch module is in the vocabulary of ``Node.operation``, with its settings."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from isograd.records.anatomy import Scalar, Settings

Known = tuple[str, Settings]

ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "ReLU": (),
    "ReLU6": (),
    "LeakyReLU": ("negative_slope",),
    "PReLU": (),
    "RReLU": ("lower", "upper"),
    "ELU": ("alpha",),
    "SELU": (),
    "CELU": ("alpha",),
    "GELU": ("approximate",),
    "SiLU": (),
    "Mish": (),
    "Tanh": (),
    "Sigmoid": (),
    "Hardtanh": ("min_val", "max_val"),
    "Hardsigmoid": (),
    "Hardswish": (),
    "Softplus": ("beta",),
    "Softsign": (),
    "LogSigmoid": (),
    "Tanhshrink": (),
    "Softshrink": ("lambd",),
    "Hardshrink": ("lambd",),
    "GLU": (),
    "Threshold": ("threshold", "value"),
}
FUNCTION_OF = {"LeakyReLU": "leaky_relu", "PReLU": "prelu", "RReLU": "rrelu", "LogSigmoid": "logsigmoid"}
_SAME_NUMBERS = (nn.Flatten, nn.Unflatten, nn.Identity, nn.PixelShuffle, nn.PixelUnshuffle)

LOSSES = frozenset(
    {
        "cross_entropy",
        "mse_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "nll_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "kl_div",
        "poisson_nll_loss",
        "gaussian_nll_loss",
        "ctc_loss",
        "hinge_embedding_loss",
        "margin_ranking_loss",
        "cosine_embedding_loss",
        "triplet_margin_loss",
        "multi_margin_loss",
        "soft_margin_loss",
    }
)
"""Losses by the names of their functions."""

UNMEASURED = frozenset({"input", "reshape", "dropout", "concat"})
"""Operations whose output has the numbers of their input: known from it, so not measured again."""


def of_module(module: nn.Module) -> Known:
    """Operation and settings of a module; "unknown" where it is none of the vocabulary.

    >>> of_module(nn.Linear(3, 2))
    ('linear', (('fan_in', 3), ('fan_out', 2), ('bias', True)))
    >>> of_module(nn.LeakyReLU(0.2))
    ('activation', (('function', 'leaky_relu'), ('negative_slope', 0.2)))
    """
    name = type(module).__name__
    if name in ACTIVATIONS:
        constants = tuple((constant, getattr(module, constant)) for constant in ACTIVATIONS[name])
        return "activation", (("function", FUNCTION_OF.get(name, name.lower())), *constants)
    for kinds, read in _MODULES:
        if isinstance(module, kinds):
            return read(module)
    return "unknown", ()


def loss_name(loss: Any) -> str | None:
    """The name of a loss as its function has it, for a module of torch too; the person's own name for another.

    >>> loss_name(nn.CrossEntropyLoss()), loss_name(nn.MSELoss()), loss_name(nn.functional.mse_loss)
    ('cross_entropy', 'mse_loss', 'mse_loss')
    """
    if loss is None:
        return None
    name = getattr(loss, "__name__", type(loss).__name__)
    plain = {"BCELoss": "binary_cross_entropy", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits"}.get(name, name)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).lower()
    return next((known for known in (snake, snake.removesuffix("_loss")) if known in LOSSES), name)


def name_of(function: Any) -> str:
    """The plain name of a function a torch call goes to: no dunder, no in-place underscore, the property behind a getter.

    >>> name_of(Tensor.add_), name_of(Tensor.__getitem__), name_of(Tensor.mT.__get__)
    ('add', 'getitem', 'mT')
    """
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    return name.strip("_")


def flat_part(settings: Settings) -> Callable[[Tensor], Tensor] | None:
    """Which outputs of an activation sit on a flat part of it, or nothing for a function whose flat part is zero or none.

    sigmoid: within 0.01 of 0 or 1; tanh and softsign: beyond 0.99; hardtanh, hardsigmoid, relu6: at a bound other than the
    zero of relu6; elu, celu and selu: within 1 % of their lower bound. A ReLU at zero did not fire, which is counted there.
    """
    facts = dict(settings)
    function = facts.get("function")
    if function == "sigmoid":
        return lambda y: (y < 0.01) | (y > 0.99)
    if function in ("tanh", "softsign"):
        return lambda y: y.abs() > 0.99
    if function == "hardsigmoid":
        return lambda y: (y <= 0.0) | (y >= 1.0)
    if function == "relu6":
        return lambda y: y >= 6.0
    if function == "hardtanh":
        low, high = float(facts.get("min_val", -1.0)), float(facts.get("max_val", 1.0))
        return lambda y: (y <= low) | (y >= high)
    if function in ("elu", "celu", "selu"):
        bound = -1.7580993408473766 if function == "selu" else -float(facts.get("alpha", 1.0))
        return lambda y: y < 0.99 * bound
    return None


def unit_axis(operation: str, dimensions: int) -> int | None:
    """The axis of a layer's units in its output, or nothing where the operation hands on the axis of what it reads."""
    if operation == "conv" or (operation in ("norm", "pool") and dimensions > 3):
        return 1
    return -1 if operation in ("linear", "embedding", "recurrent", "attention") else None


def scalar(value: object) -> Scalar:
    """A setting of torch's as one number or word: (3, 3) is 3, (3, 5) is "3x5"."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and value.numel() == 1 and value.device.type != "meta":
        return float(value)
    if isinstance(value, tuple | list) and value:
        parts = [str(part) for part in value]
        return scalar(value[0]) if len(set(parts)) == 1 else "x".join(parts)
    return str(value)


def _linear(module: nn.Linear) -> Known:
    return "linear", (("fan_in", module.in_features), ("fan_out", module.out_features), ("bias", module.bias is not None))


def _convolution(module: nn.modules.conv._ConvNd) -> Known:
    area = math.prod(module.kernel_size)
    return "conv", (
        ("fan_in", module.in_channels // module.groups * area),
        ("fan_out", module.out_channels // module.groups * area),
        ("kernel", scalar(tuple(module.kernel_size))),
        ("stride", scalar(tuple(module.stride))),
        ("padding", scalar(module.padding)),
        ("dilation", scalar(tuple(module.dilation))),
        ("groups", module.groups),
        ("bias", module.bias is not None),
        ("transposed", module.transposed),
        *((("padding_mode", module.padding_mode),) if module.padding_mode != "zeros" else ()),
    )


def _norm(kind: str) -> Callable[[Any], Known]:
    def read(module: Any) -> Known:
        affine = getattr(module, "affine", getattr(module, "elementwise_affine", True))
        facts: Settings = (("kind", kind), ("eps", float(module.eps or 0.0)), ("affine", bool(affine)))
        shape = getattr(module, "normalized_shape", None)
        facts = facts if shape is None else (*facts, ("size", math.prod(shape)))
        return "norm", (*facts, ("groups", module.num_groups)) if kind == "group" else facts

    return read


def _pool(kind: str) -> Callable[[Any], Known]:
    def read(module: Any) -> Known:
        kernel = getattr(module, "kernel_size", None)
        if kernel is None:  # an adaptive pool knows the size of its output only
            return "pool", (("kind", kind), ("output", scalar(module.output_size)))
        return "pool", (("kind", kind), ("kernel", scalar(kernel)), ("stride", scalar(module.stride)))

    return read


def _recurrent(module: Any) -> Known:
    cell = isinstance(module, nn.RNNCellBase)
    kind = type(module).__name__.removesuffix("Cell").lower()
    if kind == "rnn":
        kind = f"rnn_{module.nonlinearity}"
    return "recurrent", (
        ("kind", kind),
        ("input", module.input_size),
        ("hidden", module.hidden_size),
        ("layers", 1 if cell else module.num_layers),
        ("bidirectional", False if cell else module.bidirectional),
        ("cell", cell),
    )


_MODULES: tuple[tuple[Any, Callable[[Any], Known]], ...] = (
    (nn.Linear, _linear),
    (nn.modules.conv._ConvNd, _convolution),
    (nn.modules.instancenorm._InstanceNorm, _norm("instance")),
    (nn.modules.batchnorm._BatchNorm, _norm("batch")),
    (nn.LayerNorm, _norm("layer")),
    (nn.RMSNorm, _norm("rms")),
    (nn.GroupNorm, _norm("group")),
    (nn.modules.dropout._DropoutNd, lambda module: ("dropout", (("p", module.p),))),
    ((nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd), _pool("max")),
    ((nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd), _pool("average")),
    (_SAME_NUMBERS, lambda _: ("reshape", ())),
    (nn.Embedding, lambda m: ("embedding", (("rows", m.num_embeddings), ("width", m.embedding_dim)))),
    (nn.EmbeddingBag, lambda m: ("embedding", (("rows", m.num_embeddings), ("width", m.embedding_dim), ("bag", m.mode)))),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    (
        nn.MultiheadAttention,
        lambda m: (
            "attention",
            (
                ("heads", m.num_heads),
                ("width", m.embed_dim),
                ("projected", True),
                ("dropout", float(m.dropout) if m.training else 0.0),
            ),
        ),
    ),
    ((nn.Softmax, nn.Softmin, nn.Softmax2d), lambda _: ("softmax", (("log", False),))),
    (nn.LogSoftmax, lambda _: ("softmax", (("log", True),))),
)
