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
    """Make every hidden layer ``factor`` times as wide, weights drawn anew; chains of linear, recurrent and embedding layers.

    Raises ``ModelError`` where the layers do not follow one another, so that it is not known what reads what.
    """
    if not factor > 0.0:
        raise ModelError(f"width is a factor above 0, not {factor}")
    held = [module for _, module in modules_of(models) if next(module.parameters(recurse=False), None) is not None]
    chain = [module for module in held if isinstance(module, _CHAINED)]
    fits = all(_ends(one)[1] == _ends(other)[0] for one, other in itertools.pairwise(chain))
    if len(chain) < 2 or len(held) > len(chain) or not fits or _ends(chain[-1])[1] == 0:
        raise ModelError(
            "only a chain of linear, recurrent and embedding layers can be made wider", remedy="widen the model by hand"
        )
    sizes = [_ends(module) for module in chain]
    for place, module in enumerate(chain):
        inner = sizes[place][0] if place == 0 else max(1, round(sizes[place][0] * factor))
        outer = sizes[place][1] if place == len(chain) - 1 else max(1, round(sizes[place][1] * factor))
        if inner * outer > WIDEST:
            raise ModelError("the wider layer would be too large", met=f"{inner} by {outer}")
        fresh = _like(module, inner, outer)
        # in place: whoever holds the layer holds the wider one, with the hooks that it had
        module.__dict__.update({name: value for name, value in vars(fresh).items() if "hooks" not in name})


_CHAINED = (nn.Linear, nn.RNNBase, nn.Embedding)


def _ends(module: nn.Module) -> tuple[int, int]:
    """How many numbers a layer takes and gives; a bidirectional one is not followed."""
    if isinstance(module, nn.Embedding):
        return module.num_embeddings, module.embedding_dim
    if isinstance(module, nn.RNNBase):
        return module.input_size, 0 if module.bidirectional else module.hidden_size
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


def _like(module: nn.Module, inner: int, outer: int) -> nn.Module:
    weight = next(module.parameters())
    made: nn.Module
    if isinstance(module, nn.Embedding):
        made = nn.Embedding(inner, outer, module.padding_idx)
    elif isinstance(module, nn.RNNBase):
        options: dict[str, Any] = {"bias": module.bias, "batch_first": module.batch_first, "dropout": module.dropout}
        if isinstance(module, nn.RNN):
            options["nonlinearity"] = module.nonlinearity
        kind: Any = type(module)
        made = kind(inner, outer, module.num_layers, **options)
    else:
        made = nn.Linear(inner, outer, module.bias is not None)
    return made.to(weight.device, weight.dtype).train(module.training)


def _square(module: nn.Linear) -> bool:
    return module.in_features == module.out_features


def _normalised(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    axis = 1 if isinstance(module, nn.modules.conv._ConvNd) else -1
    return F.layer_norm(output.movedim(axis, -1), (output.shape[axis],)).movedim(-1, axis)


def _with_input(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    given = args[0] if args else None
    return output + given if isinstance(given, Tensor) and given.shape == output.shape else output
