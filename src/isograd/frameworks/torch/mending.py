"""Mend a model where it stands, what it learned kept: forget moments, rescale layers, revive dead units; each can be undone."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from isograd.frameworks.torch.operations import name_of
from isograd.frameworks.torch.places import modules_of
from isograd.frameworks.torch.state import untouched

Run = Callable[[], object]
"""A forward pass on examples, as the training makes it."""

FLAT = 1e-6
"""A unit whose deviation over the examples is below so many times its mean, or its layer's deviation, says nothing."""
SWEEPS = 5
"""Times that a chain of layers is balanced from end to end."""
PINNED = 0.99
"""A tanh beyond this, or a sigmoid as near to its ends, for every example is as dead as a ReLU that never fires."""

_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_DEAD: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x <= 0.0,
    "tanh": lambda x: x.tanh().abs() > PINNED,
    "sigmoid": lambda x: (2.0 * x.sigmoid() - 1.0).abs() > PINNED,
}
"""The places of what goes into an activation from which no gradient comes back."""
_HOMOGENEOUS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Identity,
    nn.Flatten,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
)
"""Modules with f(c x) = c f(x) for every c > 0, channel by channel."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What was changed, in how many units of which layers, and how to take it back."""

    units: dict[str, int]
    undo: Callable[[], None]


def reset_moments(optimizer: Optimizer, parameters: Iterable[Tensor] | None = None) -> Mended | None:
    """Let the optimizer forget what it remembers of the parameters (None: of all), step counts too; None if nothing."""
    chosen = list(optimizer.state) if parameters is None else [p for p in parameters if p in optimizer.state]
    kept = {p: optimizer.state.pop(p) for p in chosen if optimizer.state.get(p)}
    if not kept:
        return None
    return Mended({"optimizer": len(kept)}, lambda: optimizer.state.update(kept))


def rescale(models: Sequence[nn.Module], run: Run, *, centred: bool = False, where: str = "") -> Mended | None:
    r"""Scale every hidden linear and convolutional layer so that its output has deviation 1 over the examples, in one pass.

    .. math:: W \leftarrow W / \sigma, \quad b \leftarrow (b - \mu) / \sigma

    with :math:`\sigma` over examples and units; :math:`\mu`, by unit, is subtracted where ``centred``. The last layer, layers
    in front of a normalisation and layers that share weights stay. None where no layer is left.
    Source: Mishkin & Matas 2016, arXiv:1511.06422, algorithm 1 (there without biases, which makes it iterate).
    """
    heard = _heard(models, run)
    names = {id(module): path for path, module in modules_of(models)}
    alone = single(models)
    able = [m for m in heard.order[:-1] if id(m) in alone and id(m) not in heard.normalised and where in ("", names[id(m)])]
    saved, done = _Saved(), dict[str, int]()

    def scaled(module: nn.Module, args: Any, output: Any) -> Any:
        if names[id(module)] in done or not isinstance(output, Tensor):
            return None
        rows = by_unit(module, output)
        mean = rows.mean(0) if centred and module.bias is not None else torch.zeros_like(rows[0])
        deviation = (rows - mean).square().mean().sqrt() if centred else rows.std(correction=0)
        if not bool(torch.isfinite(deviation)) or float(deviation) <= FLAT * float(rows.abs().mean()):
            return None
        for parameter in module.parameters(recurse=False):
            saved.keep(parameter)
        _weight(module).div_(deviation)
        if isinstance(module.bias, Tensor):
            module.bias.sub_(mean).div_(deviation)
        done[names[id(module)]] = rows.shape[1]
        return _along(module, output, mean, deviation)

    with _hooked(models, able, scaled):
        run()
    return Mended(done, saved.undo) if done else None


def balance(models: Sequence[nn.Module]) -> Mended | None:
    r"""Make the norms into and out of every hidden unit equal, in chains of layers with ReLU-like functions; outputs stay.

    .. math:: c_i = \sqrt{\lVert w^{out}_i \rVert / \lVert (w^{in}_i, b_i) \rVert}, \quad
        w^{in}_i \leftarrow c_i w^{in}_i, \; b_i \leftarrow c_i b_i, \; w^{out}_i \leftarrow w^{out}_i / c_i

    As relu(c x) = c relu(x) for c > 0, the function is the same up to rounding. Only layers that follow one another in a
    ``nn.Sequential`` are known to. None where there are no two. Source: Neyshabur et al. 2015, arXiv:1506.02617, section 2;
    Stock et al. 2019, arXiv:1902.10416, eq. 7.
    """
    pairs = list(_chained(models))
    saved, done = _Saved(), dict[str, int]()
    with torch.no_grad():
        for _ in range(SWEEPS):
            for path, first, second in pairs:
                held = [*first.parameters(recurse=False), *second.parameters(recurse=False)]
                for parameter in held:
                    saved.keep(parameter)
                into = _weight(first).flatten(1)
                into = into if first.bias is None else torch.cat([into, first.bias[:, None]], 1)
                out = _outgoing(first, second)
                norms = torch.linalg.vector_norm(into, dim=1), torch.linalg.vector_norm(out, dim=(0, 2))
                factor = torch.where((norms[0] > 0.0) & (norms[1] > 0.0), (norms[1] / norms[0].clamp_min(1e-30)).sqrt(), 1.0)
                _weight(first).mul_(factor.reshape(-1, *[1] * (_weight(first).ndim - 1)))
                if isinstance(first.bias, Tensor):
                    first.bias.mul_(factor)
                out.div_(factor[None, :, None])
                done[path] = len(factor)
    return Mended(done, saved.undo) if done else None


def revive(
    models: Sequence[nn.Module], run: Run, *, optimizer: Optimizer | None = None, where: str = "", seed: int = 0
) -> Mended | None:
    r"""Bring back the units that no example makes fire, or that all pin: their input gets mean 0 and deviation 1.

    .. math:: w_i \leftarrow w_i / \sigma_i, \quad b_i \leftarrow (b_i - \mu_i) / \sigma_i

    with mean and deviation over the examples; where the unit says the same of all, its weights are drawn by He's rule first. A
    normalised unit gets weight 1 and bias 0. The optimizer's moments of these units become zero. Looks in front of ReLU, tanh
    and sigmoid; without a bias a unit can only be drawn again. None where every unit lives.
    """
    heard = _heard(models, run)
    names = {id(module): path for path, module in modules_of(models)}
    alone = single(models)
    able = [
        module
        for module in heard.before
        if id(module) in alone and where in ("", names[id(module)]) and len(getattr(module, "normalized_shape", "1")) == 1
    ]
    saved, done = _Saved(optimizer), dict[str, int]()
    generator = torch.Generator().manual_seed(seed)

    def woken(module: nn.Module, args: Any, output: Any) -> Any:
        if names[id(module)] in done or not isinstance(output, Tensor):
            return None
        rows = by_unit(module, output)
        dead = _DEAD[heard.before[module]](rows).all(0) & torch.isfinite(rows).all(0)
        if not bool(dead.any()):
            return None
        for parameter in module.parameters(recurse=False):
            saved.keep(parameter, dead)
        done[names[id(module)]] = int(dead.sum())
        if isinstance(module, _NORMS):
            _at(module, "weight", dead, 1.0)
            _at(module, "bias", dead, 0.0)
        else:
            _centre(module, args, rows, dead, generator)
        return module.forward(*args)

    with _hooked(models, able, woken):
        run()
    return Mended(done, saved.undo) if done else None


def _centre(module: Any, args: Any, rows: Tensor, dead: Tensor, generator: torch.Generator) -> None:
    """Give the dead units of a weighted layer outputs of mean 0 and deviation 1."""
    weight, deviation = _weight(module), rows.std(0, correction=0)
    silent = dead & (deviation <= FLAT * (rows.mean(0).abs() + deviation.max()))
    drawn = dead if module.bias is None else silent
    if bool(drawn.any()):
        fresh = torch.randn(weight.shape, generator=generator, dtype=torch.float32) * (2.0 / weight[0].numel()) ** 0.5
        weight[drawn] = fresh.to(weight)[drawn]
        rows = by_unit(module, module.forward(*args))
        deviation = rows.std(0, correction=0)
    if module.bias is None:
        return
    scale = torch.where(deviation > 0.0, deviation, 1.0)
    weight[dead] = weight[dead] / scale[dead].reshape(-1, *[1] * (weight.ndim - 1))
    module.bias[dead] = ((module.bias - rows.mean(0)) / scale)[dead]


class _Saved:
    """Copies of parameters, and of the optimizer's state of them, from before they were changed."""

    def __init__(self, optimizer: Optimizer | None = None) -> None:
        self.optimizer = optimizer
        self.values: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(self, parameter: Tensor, units: Tensor | None = None) -> None:
        """Copy a parameter unless it was; moments of the ``units`` become zero, and are copied too."""
        self._copy(parameter)
        if self.optimizer is not None and units is not None:
            for value in self.optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    self._copy(value)
                    value[units.to(value.device)] = 0.0

    def _copy(self, tensor: Tensor) -> None:
        self.values.setdefault(id(tensor), (tensor, tensor.detach().clone()))

    def undo(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for tensor, value in self.values.values():
                tensor.copy_(value)


@dataclass
class _Heard(TorchFunctionMode):
    """One pass: weighted layers in their order, those in front of a normalisation, and what is in front of an activation."""

    order: list[Any] = field(default_factory=list)
    normalised: set[int] = field(default_factory=set)
    before: dict[Any, str] = field(default_factory=dict)
    made: dict[int, tuple[Any, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = name_of(function)
        if name in _DEAD and args:
            module = self.maker(args[0])
            if module is not None:
                self.before.setdefault(module, name)
        return function(*args, **(kwargs or {}))

    def maker(self, tensor: Any) -> Any:
        """The module that gave this very tensor."""
        module, kept = self.made.get(id(tensor), (None, None))
        return module if kept is tensor else None


def _heard(models: Sequence[nn.Module], run: Run) -> _Heard:
    heard = _Heard()

    def entered(module: nn.Module, args: Any) -> None:
        maker = heard.maker(args[0]) if args else None
        if maker is not None:
            heard.normalised.add(id(maker))

    def left(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            heard.made[id(output)] = (module, output)
        if isinstance(module, _WEIGHTED) and module not in heard.order:
            heard.order.append(module)

    handles = []
    for _, module in modules_of(models):
        if isinstance(module, (*_WEIGHTED, *_NORMS)):
            handles.append(module.register_forward_hook(left))
        if isinstance(module, _NORMS):
            handles.append(module.register_forward_pre_hook(entered))
    try:
        with untouched(models), torch.no_grad(), heard:
            run()
    finally:
        for handle in handles:
            handle.remove()
        heard.made.clear()
    return heard


@contextlib.contextmanager
def _hooked(models: Sequence[nn.Module], able: Sequence[nn.Module], hook: Any) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in able]
    try:
        with untouched(models), torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()


def single(models: Sequence[nn.Module]) -> set[int]:
    """The ids of the modules whose parameters no other module holds."""
    modules = [module for _, module in modules_of(models)]
    held = Counter(id(p) for module in modules for p in module._parameters.values() if p is not None)
    return {id(m) for m in modules if all(held[id(p)] == 1 for p in m._parameters.values() if p is not None)}


def _chained(models: Sequence[nn.Module]) -> Iterator[tuple[str, Any, Any]]:
    """Weighted layers of a Sequential with nothing between them that is not homogeneous."""
    alone = single(models)
    for path, module in modules_of(models):
        if not isinstance(module, nn.Sequential):
            continue
        first: tuple[str, Any] | None = None
        for name, child in module.named_children():
            if isinstance(child, _WEIGHTED):
                able = id(child) in alone and not _transposed(child)
                if first is not None and able and _outgoing_fits(first[1], child):
                    yield first[0], first[1], child
                first = (f"{path}.{name}".lstrip("."), child) if able else None
            elif not isinstance(child, _HOMOGENEOUS):
                first = None


def _transposed(module: Any) -> bool:
    return bool(getattr(module, "transposed", False))


def _outgoing_fits(first: Any, second: Any) -> bool:
    units, inner = _weight(first).shape[0], _weight(second).shape[1] * getattr(second, "groups", 1)
    plain = getattr(second, "groups", 1) == 1
    return plain and bool(inner == units if not isinstance(second, nn.Linear) else inner % units == 0)


def _outgoing(first: Any, second: Any) -> Tensor:
    """A view (rows, units of the first layer, places) of the weights that read them; flattened channels are side by side."""
    weight = _weight(second)
    return weight.view(weight.shape[0], _weight(first).shape[0], -1)


def _weight(module: Any) -> Tensor:
    weight: Tensor = module.weight
    return weight.detach()


def by_unit(module: nn.Module, output: Tensor) -> Tensor:
    """The output of a weighted layer or a norm as (examples and places, units)."""
    return output.movedim(_axis(module, output), -1).flatten(0, -2)


def _axis(module: nn.Module, output: Tensor) -> int:
    dense = isinstance(module, nn.Linear | nn.LayerNorm | nn.RMSNorm)
    if isinstance(module, nn.modules.conv._ConvNd):
        return output.ndim - 1 - len(module.kernel_size)
    return output.ndim - 1 if dense else 1


def _along(module: nn.Module, output: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    axis = _axis(module, output)
    return (output - mean.reshape([-1 if at == axis else 1 for at in range(output.ndim)])) / deviation


def _at(module: Any, name: str, units: Tensor, value: float) -> None:
    parameter = getattr(module, name, None)
    if isinstance(parameter, Tensor):
        parameter[units.reshape(parameter.shape)] = value
