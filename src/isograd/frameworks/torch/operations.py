"""What a torch module or function is in the vocabulary of ``Node.operation``, with its settings."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from isograd.records.anatomy import Scalar, Settings

Known = tuple[str, Settings]

_ACTIVATIONS: dict[str, tuple[str, ...]] = {
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
_FUNCTION_OF = {"LeakyReLU": "leaky_relu", "PReLU": "prelu", "RReLU": "rrelu", "LogSigmoid": "logsigmoid"}
_DEFAULTS: dict[str, dict[str, Scalar]] = {
    "leaky_relu": {"negative_slope": 0.01},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "softplus": {"beta": 1.0},
    "gelu": {"approximate": "none"},
}
_CURVES = frozenset({"sin", "cos", "abs", "square", "exp"})
"""Functions that are no layer of torch's and act on each number by itself."""
_FUNCTIONS = _CURVES | frozenset(_FUNCTION_OF.get(name, name.lower()) for name in _ACTIVATIONS)
_RESHAPES = frozenset(
    {
        "flatten",
        "view",
        "view_as",
        "reshape",
        "reshape_as",
        "transpose",
        "permute",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "t",
        "T",
        "mT",
        "H",
        "mH",
        "getitem",
        "chunk",
        "split",
        "unbind",
        "expand",
        "expand_as",
        "repeat",
        "swapaxes",
        "swapdims",
        "movedim",
        "moveaxis",
        "unflatten",
        "narrow",
        "select",
        "index_select",
        "flip",
        "roll",
        "clone",
        "to",
        "type",
        "float",
        "double",
        "half",
        "bfloat16",
        "type_as",
        "pixel_shuffle",
        "pixel_unshuffle",
        "pad",
        "tile",
        "ravel",
        "tensor_split",
    }
)
_CONCATS = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})
_NORMS = {"batch_norm": "batch", "layer_norm": "layer", "group_norm": "group", "instance_norm": "instance", "rms_norm": "rms"}
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
    if name in _ACTIVATIONS:
        constants = tuple((constant, getattr(module, constant)) for constant in _ACTIVATIONS[name])
        return "activation", (("function", _FUNCTION_OF.get(name, name.lower())), *constants)
    for kinds, read in _MODULES:
        if isinstance(module, kinds):
            return read(module)
    return "unknown", ()


def of_function(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, by_parameter: bool) -> Known:
    """Operation and settings of a function call; ``by_parameter``: its second argument comes from a parameter of the model.

    >>> of_function("relu", (), {}, by_parameter=False)
    ('activation', (('function', 'relu'),))
    """
    if name in _FUNCTIONS:
        constants = {key: kwargs.get(key, value) for key, value in _DEFAULTS.get(name, {}).items()}
        constants |= dict(zip(constants, args[1:], strict=False))
        return "activation", (("function", name), *((key, _scalar(value)) for key, value in constants.items()))
    if name in _RESHAPES:
        return "reshape", ()
    if name in _CONCATS:
        return "concat", ()
    if name in _ARITHMETIC:
        return _of_arithmetic(_ARITHMETIC[name], args)
    if name in ("pow", "ipow") and len(args) > 1 and args[1] == 2:
        return "activation", (("function", "square"),)
    if name in ("clamp", "clip", "clamp_min"):
        return _of_clamp(args, kwargs)
    return _of_layer_function(name, args, kwargs, by_parameter)


_ARITHMETIC = {
    **dict.fromkeys(("add", "iadd", "radd"), "add"),
    **dict.fromkeys(("sub", "isub", "rsub", "subtract"), "sub"),
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), "mul"),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide", "true_divide"), "div"),
    **dict.fromkeys(("neg", "negative"), "neg"),
}


def _of_arithmetic(kind: str, args: Sequence[Any]) -> Known:
    """A sum or product, with the number that it takes in beside tensors."""
    number = next((float(arg) for arg in args if isinstance(arg, int | float) and not isinstance(arg, bool)), None)
    if kind in ("add", "sub"):
        return "add", ((("minus", True),) if kind == "sub" else ()) + (() if number is None else (("shift", number),))
    if kind == "neg":
        return "multiply", (("factor", -1.0),)
    if kind == "mul":
        return "multiply", () if number is None else (("factor", number),)
    if number is None or not isinstance(args[0], Tensor) or number == 0.0:
        return "unknown", ()
    return "multiply", (("factor", 1.0 / number),)


def _of_clamp(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Known:
    low, high = (kwargs.get(name, args[i] if len(args) > i else None) for i, name in ((1, "min"), (2, "max")))
    if not all(bound is None or isinstance(bound, int | float) for bound in (low, high)):
        return "unknown", ()
    bounds = (("min_val", -math.inf if low is None else float(low)), ("max_val", math.inf if high is None else float(high)))
    return "activation", (("function", "relu"),) if bounds[0][1] == 0 and high is None else (("function", "hardtanh"), *bounds)


def _of_layer_function(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], by_parameter: bool) -> Known:
    weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
    if name == "linear" and isinstance(weight, Tensor):
        bias = kwargs.get("bias", args[2] if len(args) > 2 else None)
        return "linear", (("fan_in", weight.shape[-1]), ("fan_out", weight.shape[0]), ("bias", bias is not None))
    if name in ("matmul", "mm", "rmatmul") and by_parameter and isinstance(weight, Tensor) and weight.ndim == 2:
        return "linear", (("fan_in", weight.shape[0]), ("fan_out", weight.shape[1]), ("bias", False))
    if name.startswith("conv") and name[-1] == "d" and isinstance(weight, Tensor):
        return _of_convolution(name, weight, args, kwargs)
    if name in ("softmax", "log_softmax"):
        return "softmax", (("log", name == "log_softmax"),)
    if "dropout" in name:
        return "dropout", (("p", _scalar(kwargs.get("p", args[1] if len(args) > 1 else 0.5))),)
    if name in _NORMS:
        facts: Settings = (("kind", _NORMS[name]), ("eps", _scalar(kwargs.get("eps", 1e-5))))
        shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else None)
        groups = kwargs.get("num_groups", args[1] if len(args) > 1 else 1)
        if name in ("layer_norm", "rms_norm") and isinstance(shape, tuple | list):
            facts = (*facts, ("size", math.prod(shape)))
        return "norm", (*facts, ("groups", int(groups))) if name == "group_norm" else facts
    if "pool" in name or (name in ("mean", "sum") and (len(args) > 1 or "dim" in kwargs)):
        kernel = kwargs.get("kernel_size", args[1] if len(args) > 1 and "pool" in name else 0)
        total = (("total", True),) if name == "sum" else ()
        return "pool", (("kind", "max" if "max" in name else "average"), ("kernel", _scalar(kernel)), *total)
    if name == "scaled_dot_product_attention":
        return "attention", _of_fused_attention(args, kwargs)
    if name == "multi_head_attention_forward":
        return "attention", ()
    if name == "embedding" and isinstance(weight, Tensor):
        return "embedding", (("rows", weight.shape[0]), ("width", weight.shape[-1]))
    return "unknown", ()


def _of_fused_attention(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Settings:
    given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | dict(kwargs)
    facts: dict[str, Scalar] = {"projected": False, "head": given["query"].shape[-1]}
    facts["dropout"], facts["causal"] = float(given.get("dropout_p") or 0.0), bool(given.get("is_causal"))
    if given.get("scale") is not None:
        facts["scale"] = float(given["scale"])
    return tuple(facts.items())


def _of_convolution(name: str, weight: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Known:
    swapped = "transpose" in name
    order = ("bias", "stride", "padding", *(("output_padding", "groups", "dilation") if swapped else ("dilation", "groups")))
    given = dict(zip(order, args[2:], strict=False)) | dict(kwargs)
    groups = int(given.get("groups", 1))
    area = math.prod(weight.shape[2:])
    inputs, outputs = (weight.shape[0] // groups, weight.shape[1]) if swapped else (weight.shape[1], weight.shape[0] // groups)
    return "conv", (
        ("fan_in", inputs * area),
        ("fan_out", outputs * area),
        ("kernel", _scalar(tuple(weight.shape[2:]))),
        ("stride", _scalar(given.get("stride", 1))),
        ("padding", _scalar(given.get("padding", 0))),
        ("dilation", _scalar(given.get("dilation", 1))),
        ("groups", groups),
        ("bias", given.get("bias") is not None),
        ("transposed", swapped),
    )


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


def _scalar(value: object) -> Scalar:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and value.numel() == 1 and value.device.type != "meta":
        return float(value)
    if isinstance(value, tuple | list) and value:
        parts = [str(part) for part in value]
        return _scalar(value[0]) if len(set(parts)) == 1 else "x".join(parts)
    return str(value)


def _linear(module: nn.Linear) -> Known:
    return "linear", (("fan_in", module.in_features), ("fan_out", module.out_features), ("bias", module.bias is not None))


def _convolution(module: nn.modules.conv._ConvNd) -> Known:
    area = math.prod(module.kernel_size)
    return "conv", (
        ("fan_in", module.in_channels // module.groups * area),
        ("fan_out", module.out_channels // module.groups * area),
        ("kernel", _scalar(tuple(module.kernel_size))),
        ("stride", _scalar(tuple(module.stride))),
        ("padding", _scalar(module.padding)),
        ("padding_mode", str(module.padding_mode)),
        ("dilation", _scalar(tuple(module.dilation))),
        ("groups", module.groups),
        ("bias", module.bias is not None),
        ("transposed", module.transposed),
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
            return "pool", (("kind", kind), ("output", _scalar(module.output_size)))
        return "pool", (("kind", kind), ("kernel", _scalar(kernel)), ("stride", _scalar(module.stride)))

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
    ((nn.Embedding, nn.EmbeddingBag), lambda m: ("embedding", (("rows", m.num_embeddings), ("width", m.embedding_dim)))),
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
