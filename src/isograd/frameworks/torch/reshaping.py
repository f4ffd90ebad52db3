"""Edits of a model's architecture, on a copy: wider layers, normalisation and residual paths put in from outside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from isograd.errors import ModelError
from isograd.frameworks.torch.places import modules_of

_SIZED = (nn.Linear, nn.modules.conv._ConvNd)
WIDEST = 1 << 24
"""Weights of one widened layer at most."""


def normalise(models: Sequence[nn.Module]) -> None:
    """Normalise the output of every weighted layer but the last, over its units. Raises ``ModelError`` where there is none."""
    layers = [module for _, module in modules_of(models) if isinstance(module, _SIZED)]
    if len(layers) < 2:
        raise ModelError("there is no hidden layer behind which to normalise")
    for layer in layers[:-1]:
        layer.register_forward_hook(_normalised)


def add_inputs(models: Sequence[nn.Module]) -> None:
    """Add its input to the output of every linear or convolutional layer; where the shapes differ nothing is added."""
    modules = [module for _, module in modules_of(models)]
    layers = [
        one for one in modules if isinstance(one, nn.modules.conv._ConvNd) or (isinstance(one, nn.Linear) and _square(one))
    ]
    if not layers:
        raise ModelError("no layer keeps the shape of its input, so that it could be added")
    for layer in layers:
        layer.register_forward_hook(_with_input)


def widen(models: Sequence[nn.Module], factor: float) -> None:
    """Make every hidden linear layer ``factor`` times as wide, weights drawn anew; of chains of linear layers alone.

    Raises ``ModelError`` where the layers do not follow one another, so that it is not known what reads what.
    """
    chain = [(path, module) for path, module in modules_of(models) if isinstance(module, nn.Linear)]
    others = [
        m for _, m in modules_of(models) if next(m.parameters(recurse=False), None) is not None and type(m) is not nn.Linear
    ]
    fits = all(a.out_features == b.in_features for (_, a), (_, b) in itertools.pairwise(chain))
    if len(chain) < 2 or others or not fits:
        raise ModelError("only a chain of linear layers can be made wider", remedy="widen the model by hand and try again")
    if not factor > 0.0:
        raise ModelError(f"width is a factor above 0, not {factor}")
    for position, (_, layer) in enumerate(chain):
        inner = layer.in_features if position == 0 else max(1, round(layer.in_features * factor))
        outer = layer.out_features if position == len(chain) - 1 else max(1, round(layer.out_features * factor))
        if inner * outer > WIDEST:
            raise ModelError("the wider layer would be too large", met=f"{inner} by {outer}")
        fresh = nn.Linear(inner, outer, layer.bias is not None, layer.weight.device, layer.weight.dtype)
        layer.in_features, layer.out_features = inner, outer
        layer.weight, layer.bias = fresh.weight, fresh.bias


def _square(module: nn.Linear) -> bool:
    return module.in_features == module.out_features


def _normalised(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    axis = 1 if isinstance(module, nn.modules.conv._ConvNd) else -1
    return F.layer_norm(output.movedim(axis, -1), (output.shape[axis],)).movedim(-1, axis)


def _with_input(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    given = args[0] if args else None
    return output + given if isinstance(given, Tensor) and given.shape == output.shape else output
