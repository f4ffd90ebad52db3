"""Edits of a model's architecture, on a copy: wider layers, normalisation and residual paths put in from outside."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from isograd.errors import ModelError, did_you_mean
from isograd.frameworks.torch.edits import born_again
from isograd.frameworks.torch.exchanging import drop, dropped, exchanged, hold
from isograd.frameworks.torch.manner import CURVES
from isograd.frameworks.torch.operations import of_module
from isograd.frameworks.torch.places import modules_of
from isograd.records.anatomy import Anatomy

_SIZED = (nn.Linear, nn.modules.conv._ConvNd)
WIDEST = 1 << 24
"""Weights of one widened layer at most."""
FEWEST = 5
"""Channels that a convolution reads for it to be parted: images have up to four."""
GROUPS = 8
"""Groups of units at most, with two units in each at least."""
MEMBERS = 16
"""Numbers in a group at least: of two nothing but their order would be left."""

Exchanged = tuple[tuple[nn.Module, ...], list[nn.Module]]


def normalise(models: Sequence[nn.Module], kind: str, where: str) -> None:
    """Normalise the output of every weighted layer but the last over its units, over the examples or in groups of units.

    Without weights of its own. Raises ``ModelError`` where there is no hidden layer. Sources: Ba et al. 2016, arXiv:1607.06450;
    Ioffe & Szegedy 2015, arXiv:1502.03167; Wu & He 2018, arXiv:1803.08494.
    """
    if kind not in _NORMALISED:
        raise ModelError(f"no normalisation is called {kind!r}", remedy=", ".join(_NORMALISED))
    layers = [(path, module) for path, module in modules_of(models) if isinstance(module, _SIZED)]
    chosen = [module for path, module in layers[:-1] if where in ("", path)]
    if not chosen:
        raise ModelError("there is no hidden layer behind which to normalise", where=where)
    for layer in chosen:
        _bare(layer)
        if kind == "batch":
            weight = next(layer.parameters())
            statistics = nn.BatchNorm1d(_units(layer), affine=False).to(weight.device, weight.dtype)
            layer.add_module("normalised", statistics.train(layer.training))
        layer.register_forward_hook(_NORMALISED[kind])


def no_normalisation(models: Sequence[nn.Module]) -> None:
    """Take it out again; raises ``ModelError`` where no edit has put any in."""
    if not sum([_bare(module) for _, module in modules_of(models)]):
        raise ModelError("no edit has put a normalisation in, and the program's own stay")


def _bare(layer: nn.Module) -> int:
    layer._modules.pop("normalised", None)
    return drop(layer, *_NORMALISED.values())


def add_inputs(models: Sequence[nn.Module], where: str) -> None:
    """Add its input to the output of every linear or convolutional layer; where the shapes differ nothing is added."""
    layers = [
        one
        for path, one in modules_of(models)
        if where in ("", path) and (isinstance(one, nn.modules.conv._ConvNd) or (isinstance(one, nn.Linear) and _square(one)))
    ]
    if not layers:
        raise ModelError("no layer keeps the shape of its input, so that it could be added", where=where)
    for layer in layers:
        drop(layer, _with_input)
        layer.register_forward_hook(_with_input)


def no_inputs(models: Sequence[nn.Module]) -> None:
    """Take these paths out again; raises ``ModelError`` where no edit has put any in."""
    dropped(models, "residual paths", _with_input)


def bend(models: Sequence[nn.Module], anatomy: Anatomy, name: str, where: str) -> list[nn.Module]:
    """Put an activation in front of every layer that reads another directly (``Anatomy.straight``), behind what normalises it.

    ``where`` limits it to what follows one layer. Gives the layers that read it. Raises ``ModelError`` where there is none.
    """
    if name not in CURVES:
        raise ModelError(f"no activation is called {name!r}", remedy=did_you_mean(name, CURVES) or ", ".join(CURVES))
    known = dict(modules_of(models))
    paths = [anatomy.nodes[second].path for first, second in anatomy.straight if where in ("", anatomy.nodes[first].path)]
    layers = [known[path] for path in dict.fromkeys(paths) if isinstance(known.get(path), _SIZED)]
    if not layers:
        raise ModelError("no layer follows another with nothing between them", where=where or "the model")
    for layer in layers:
        layer.register_forward_pre_hook(functools.partial(_bent, name))
    return layers


def no_bend(models: Sequence[nn.Module]) -> int:
    """Take these activations out again; gives how many."""
    return sum(drop(module, _bent) for _, module in modules_of(models))


def _bent(name: str, module: nn.Module, args: Any) -> Any:
    return (CURVES[name](args[0]), *args[1:]) if args else None


def separable(models: Sequence[nn.Module], optimizer: Optimizer | None, where: str) -> Exchanged:
    """A convolution by channel and a 1 by 1 convolution instead of every full one, of the same shapes, weights drawn anew.

    One that reads fewer than FEWEST channels stays, as there is little to part. Raises ``ModelError`` where there is no other.
    Source: Howard et al. 2017, arXiv:1704.04861, section 3.1.
    """

    def made(path: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or where not in ("", path):
            return None
        full = module.groups == 1 and math.prod(module.kernel_size) > 1
        if not full or (module.in_channels < FEWEST and not where):
            return None
        kind: Any = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(module, kind))
        each = kind(
            module.in_channels,
            module.in_channels,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            groups=module.in_channels,
            bias=False,
            padding_mode=module.padding_mode,
        )
        return nn.Sequential(each, kind(module.in_channels, module.out_channels, 1, bias=module.bias is not None))

    found, new = exchanged(models, optimizer, made)
    if not new:
        raise ModelError("there is no full convolution that could be parted", where=where or "the model")
    return found, new


def deepen(
    models: Sequence[nn.Module], optimizer: Optimizer | None, factor: float, in_a_row: Callable[[Sequence[nn.Module]], bool]
) -> list[nn.Module]:
    """Make a chain of like layers ``factor`` times as long, in place: its last ones go, or fresh ones come behind each.

    A chain is, in a ``nn.Sequential``, the layers that keep the shape with what follows them up to the next weighted one; or
    the members of a ``nn.ModuleList`` that are alike and of which ``in_a_row`` says that each reads the one before. Gives what
    came in. Raises ``ModelError`` where there is none.
    """
    if not factor > 0.0:
        raise ModelError(f"depth is a factor above 0, not {factor:g}")
    new: list[nn.Module] = []
    changed = False
    for _, module in modules_of(models):
        blocks = _blocks(module)
        wanted = max(1, round(len(blocks) * factor))
        if not blocks or wanted == len(blocks) or (isinstance(module, nn.ModuleList) and not in_a_row(list(module))):
            continue
        changed = True
        new += _stretched(module, blocks, wanted, optimizer)
    if not changed:
        raise ModelError(
            "there is no chain of layers of one shape that could be made longer or shorter", met=f"{factor:g} times"
        )
    return new


def _stretched(module: Any, blocks: list[list[str]], wanted: int, optimizer: Optimizer | None) -> list[nn.Module]:
    held, new = module._modules, list[nn.Module]()
    gone = {name for block in blocks[wanted:] for name in block}
    order: list[nn.Module] = []
    copies = {names[-1]: (wanted - 1 - at) // len(blocks) for at, names in enumerate(blocks)}  # fresh ones behind each
    ends = {names[-1]: names for names in blocks}
    for name, child in held.items():
        if name in gone:
            hold(optimizer, list(child.parameters()), [])
            continue
        order.append(child)
        for _ in range(copies.get(name, 0)):
            fresh = [copy.deepcopy(held[one]) for one in ends[name]]
            born_again(fresh)
            sources = [p for one in ends[name] for p in held[one].parameters()]
            hold(optimizer, sources, [*sources, *(p for one in fresh for p in one.parameters())])
            order += fresh
            new += [one for one in fresh if next(one.parameters(), None) is not None]
    held.clear()
    held.update({str(place): child for place, child in enumerate(order)})
    return new


def _blocks(module: nn.Module) -> list[list[str]]:
    """The names of the members of each block of a chain; one block at least."""
    if isinstance(module, nn.ModuleList):
        alike = {tuple((name, p.shape) for name, p in child.named_parameters()) for child in module}
        distinct = len({id(child) for child in module}) == len(module) > 1
        return [[name] for name in module._modules] if len(alike) == 1 and distinct and alike != {()} else []
    if not isinstance(module, nn.Sequential) or len({id(child) for child in module}) < len(module):
        return []
    found: list[list[str]] = []
    names = list(module._modules)
    weighted = [
        name for name, child in module.named_children() if any(True for _ in child.parameters()) and not _follows(child)
    ]
    for name in weighted[:-1]:  # the last one answers
        child = module._modules[name]
        if _keeps_shape(child):
            behind = names[names.index(name) : names.index(weighted[weighted.index(name) + 1])]
            if all(_follows(module._modules[one]) for one in behind[1:]):
                found.append(behind)
    return found


def _follows(module: Any) -> bool:
    """Whether it works unit by unit or normalises: what a block has behind its weights."""
    return of_module(module)[0] in ("activation", "dropout", "norm") and not isinstance(module, nn.GLU)


def _keeps_shape(module: Any) -> bool:
    if isinstance(module, nn.Linear):
        return _square(module)
    if isinstance(module, nn.modules.conv._ConvNd) and not module.transposed:
        same = module.padding == "same" or (
            not isinstance(module.padding, str)
            and all(2 * p == d * (k - 1) for p, d, k in zip(module.padding, module.dilation, module.kernel_size, strict=True))
        )
        return same and module.in_channels == module.out_channels and set(module.stride) == {1}
    return False


def widen(models: Sequence[nn.Module], factor: float) -> None:
    """Make every hidden layer ``factor`` times as wide, weights drawn anew, with the norms between them.

    Layers in a chain, each of which reads what the one before gives: linear, convolutional (all places of a channel may be read
    at once, as behind a flattening), recurrent and embedding ones. Where they do not all follow one another those do of which
    the structure says so: the two of a transformer's feed-forward part, and members of one ``nn.Sequential`` with nothing but
    functions and norms between them; what such a part takes and gives stays. Raises ``ModelError`` where there is none either.
    """
    if not factor > 0.0:
        raise ModelError(f"width is a factor above 0, not {factor}")
    wider = _widened(_weighted([module for _, module in modules_of(models)]), factor)
    for part in () if wider else _parts(models):
        wider += _widened(part, factor)
    if not wider:
        raise ModelError(
            "only a chain of linear, convolutional, recurrent and embedding layers can be made wider",
            remedy="widen the model by hand",
        )
    for module, fresh in wider:
        for name, parameter in module.named_parameters(recurse=False):  # what was frozen stays so, or it would be thawed too
            getattr(fresh, name).requires_grad_(parameter.requires_grad)
        # in place: whoever holds the layer holds the wider one, with the hooks that it had
        module.__dict__.update({name: value for name, value in vars(fresh).items() if "hooks" not in name})


def _weighted(modules: Sequence[nn.Module]) -> list[nn.Module]:
    return [module for module in modules if next(module.parameters(recurse=False), None) is not None]


def _parts(models: Sequence[nn.Module]) -> Iterator[list[nn.Module]]:
    """The weighted layers of each part of which it is certain that each is read by the next alone."""
    for _, module in modules_of(models):
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            yield [module.linear1, module.linear2]
        elif isinstance(module, nn.Sequential) and len(set(module)) == len(module):
            for chained, part in groupby(module, lambda one: _follows(one) or isinstance(one, _INSIDE)):
                if chained:
                    yield _weighted(list(part))


def _widened(held: Sequence[nn.Module], factor: float) -> list[tuple[nn.Module, nn.Module]]:
    """Each layer of a chain with one that is wider; none where they are no chain."""
    last = next((module for module in reversed(held) if isinstance(module, _CHAINED)), None)
    wider, gave, gives = list[tuple[nn.Module, nn.Module]](), 0, 0
    for module in held:
        ends = _ends(module)
        reads, odd = divmod(ends[0], gave) if gave else (1, 0)
        if not all(ends) or odd or (reads > 1 and not isinstance(module, nn.Linear)):
            return []
        inner = reads * gives if gave else ends[0]
        outer = ends[1] if module is last else inner if isinstance(module, _NORMS) else max(1, round(ends[1] * factor))
        if inner * outer > WIDEST and not isinstance(module, _NORMS):
            raise ModelError("the wider layer would be too large", met=f"{inner} by {outer}")
        wider.append((module, _like(module, inner, outer)))
        gave, gives = ends[1], outer
    return wider if sum(isinstance(module, _CHAINED) for module, _ in wider) > 1 else []


_CHAINED = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.Embedding)
_INSIDE = (nn.Linear, nn.modules.conv._ConvNd, nn.Flatten)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def _ends(module: nn.Module) -> tuple[int, int]:
    """How many numbers a layer takes and gives; a bidirectional or grouped one, or one of another kind, is not followed."""
    if isinstance(module, nn.Embedding):
        return module.num_embeddings, module.embedding_dim
    if isinstance(module, nn.RNNBase):
        return module.input_size, 0 if module.bidirectional else module.hidden_size
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.in_channels, module.out_channels if module.groups == 1 else 0
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    shape = tuple(next(module.parameters()).shape)
    return (shape[0], shape[0]) if isinstance(module, _NORMS) and len(shape) == 1 else (0, 0)


def _like(module: nn.Module, inner: int, outer: int) -> nn.Module:
    weight = next(module.parameters())
    made: nn.Module
    kind: Any = type(module)
    if isinstance(module, nn.Embedding):
        made = nn.Embedding(inner, outer, module.padding_idx)
    elif isinstance(module, nn.RNNBase):
        options: dict[str, Any] = {"bias": module.bias, "batch_first": module.batch_first, "dropout": module.dropout}
        if isinstance(module, nn.RNN):
            options["nonlinearity"] = module.nonlinearity
        made = kind(inner, outer, module.num_layers, **options)
    elif isinstance(module, nn.modules.conv._ConvNd):
        names = ("kernel_size", "stride", "padding", "dilation", "padding_mode", "output_padding")
        settings = {name: getattr(module, name) for name in names if name != "output_padding" or module.transposed}
        made = kind(inner, outer, bias=module.bias is not None, **settings)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        made = kind(outer, module.eps, module.momentum, track_running_stats=module.track_running_stats)
    elif isinstance(module, nn.LayerNorm):
        made = nn.LayerNorm(outer, module.eps, bias=module.bias is not None)
    elif isinstance(module, nn.GroupNorm):
        made = nn.GroupNorm(module.num_groups if outer % module.num_groups == 0 else 1, outer, module.eps)
    else:
        made = nn.Linear(inner, outer, module.bias is not None)
    return made.to(weight.device, weight.dtype).train(module.training)


def _square(module: nn.Linear) -> bool:
    return module.in_features == module.out_features


def _units(layer: nn.Module) -> int:
    sized: Any = layer
    return int(sized.out_channels if isinstance(layer, nn.modules.conv._ConvNd) else sized.out_features)


def _by_unit(function: Callable[[Any, Tensor], Tensor]) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """A hook that calls ``function`` with the output as (examples and places, units); a single unit stays as it is."""

    def hook(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        axis = output.ndim - 1 - len(layer.kernel_size) if isinstance(layer, nn.modules.conv._ConvNd) else -1
        last = output.movedim(axis, -1)
        return output if last.shape[-1] < 2 else function(layer, last.flatten(0, -2)).reshape(last.shape).movedim(-1, axis)

    return hook


def _in_groups(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
    """A convolution's channels in groups, over all places of an example; of other layers each place by itself."""
    convolution = isinstance(layer, nn.modules.conv._ConvNd)
    units, numbers = _units(layer), output[0].numel() if convolution else _units(layer)
    able = (g for g in range(GROUPS, 1, -1) if units % g == 0 and units >= 2 * g and numbers >= MEMBERS * g)
    count = next(able, 1)
    if convolution:
        return F.group_norm(output, count)
    return F.group_norm(output.flatten(0, -2), count).reshape(output.shape)


_NORMALISED: dict[str, Callable[[nn.Module, Any, Tensor], Tensor]] = {
    "layer": _by_unit(lambda layer, rows: F.layer_norm(rows, rows.shape[-1:])),
    "batch": _by_unit(lambda layer, rows: layer.normalised(rows)),
    "group": _in_groups,
}


def _with_input(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    given = args[0] if args else None
    return output + given if isinstance(given, Tensor) and given.shape == output.shape else output
