"""What a torch function is in the vocabulary of ``Node.operation``, with its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from isograd.frameworks.torch.operations import ACTIVATIONS, FUNCTION_OF, Known, scalar
from isograd.records.anatomy import Scalar, Settings

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
_FUNCTIONS = _CURVES | frozenset(FUNCTION_OF.get(name, name.lower()) for name in ACTIVATIONS)
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


def of_function(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, by_parameter: bool) -> Known:
    """Operation and settings of a function call; ``by_parameter``: its second argument comes from a parameter of the model.

    >>> of_function("relu", (), {}, by_parameter=False)
    ('activation', (('function', 'relu'),))
    """
    if name in _FUNCTIONS:
        constants = {key: kwargs.get(key, value) for key, value in _DEFAULTS.get(name, {}).items()}
        constants |= dict(zip(constants, args[1:], strict=False))
        return "activation", (("function", name), *((key, scalar(value)) for key, value in constants.items()))
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
        return "dropout", (("p", scalar(kwargs.get("p", args[1] if len(args) > 1 else 0.5))),)
    if name in _NORMS:
        facts: Settings = (("kind", _NORMS[name]), ("eps", scalar(kwargs.get("eps", 1e-5))))
        shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else None)
        groups = kwargs.get("num_groups", args[1] if len(args) > 1 else 1)
        if name in ("layer_norm", "rms_norm") and isinstance(shape, tuple | list):
            facts = (*facts, ("size", math.prod(shape)))
        return "norm", (*facts, ("groups", int(groups))) if name == "group_norm" else facts
    if "pool" in name or (name in ("mean", "sum") and (len(args) > 1 or "dim" in kwargs)):
        kernel = kwargs.get("kernel_size", args[1] if len(args) > 1 and "pool" in name else 0)
        total = (("total", True),) if name == "sum" else ()
        return "pool", (("kind", "max" if "max" in name else "average"), ("kernel", scalar(kernel)), *total)
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
        ("kernel", scalar(tuple(weight.shape[2:]))),
        ("stride", scalar(given.get("stride", 1))),
        ("padding", scalar(given.get("padding", 0))),
        ("dilation", scalar(given.get("dilation", 1))),
        ("groups", groups),
        ("bias", given.get("bias") is not None),
        ("transposed", swapped),
    )
