"""Hear in the person's own passes which units say nothing and get no gradient, and bring those back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from isograd.frameworks.torch.hooks import Quiet
from isograd.frameworks.torch.mending import FLAT, by_unit, single
from isograd.frameworks.torch.places import modules_of

PINNED = 2.65
"""Where a tanh gives .99: what is beyond it for every example is as dead as what is below zero in front of a ReLU."""
HALF = 0.5
"""Of a layer's units that must be dead: with fewer the rest can do their work, and most networks have some."""
_PLAIN = (Tensor, nn.Parameter)
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


@dataclass(slots=True)
class _Unit:
    """What the units of one layer said: how often, sums, extremes, in float64; ``moved``: which got a gradient."""

    count: Tensor
    total: Tensor
    squares: Tensor
    low: Tensor
    high: Tensor
    moved: Tensor

    @classmethod
    def none(cls, units: int) -> _Unit:
        """Nothing heard so far."""
        zeros, inf = torch.zeros(units, dtype=torch.float64), torch.full((units,), torch.inf, dtype=torch.float64)
        return cls(torch.zeros(1, dtype=torch.float64), zeros, zeros.clone(), inf, -inf, zeros.clone())

    def __add__(self, other: _Unit) -> _Unit:
        return _Unit(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            torch.minimum(self.low, other.low),
            torch.maximum(self.high, other.high),
            self.moved + other.moved,
        )

    @property
    def dead(self) -> Tensor:
        """Units without any gradient whose output never left one side: at most 0, or pinned."""
        silent = (self.high <= 0.0) | (self.low >= PINNED)
        return silent & (self.moved == 0.0) & bool(self.count)

    @property
    def mean(self) -> Tensor:
        """Of each unit, over all that was heard."""
        return self.total / self.count

    @property
    def deviation(self) -> Tensor:
        """The same."""
        return (self.squares / self.count - self.mean.square()).clamp_min(0.0).sqrt()


class Silence:
    """Listens in some steps to weighted layers and norms; what a step that was taken back said is forgotten.

    A unit is dead where none of its examples gave it a gradient and its output was never above 0, or always beyond ``PINNED``.
    Layers that share weights, or whose weights are computed, sharded or not to be learned, are left alone.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        able = single(models)
        known: list[Any] = [module for _, module in modules_of(models) if isinstance(module, (*_WEIGHTED, *_NORMS))]
        self._modules = [module for module in known if id(module) in able and _plain(module)]
        self._places = {id(module): place for place, module in enumerate(self._modules)}
        self._heard: dict[int, _Unit] = {}
        self._step: dict[int, _Unit] = {}
        self._order: dict[int, None] = {}
        self._handle: RemovableHandle | None = None

    def listen(self, on: bool) -> None:
        """Hear the coming step; or no more, and forget what was heard in a row of steps."""
        if on and self._handle is None:
            self._handle = nn.modules.module.register_module_forward_hook(self._passed)
        elif not on and self._handle is not None:
            self._handle.remove()
            self._handle = None
            self._heard, self._step, self._order = {}, {}, {}

    def stepping(self) -> None:
        """The step is about to be made: which units got a gradient."""
        for place, heard in self._step.items():
            heard.moved += _moved(self._modules[place])

    def stepped(self) -> None:
        """The step was made, and stands."""
        for place, heard in self._step.items():
            self._heard[place] = self._heard[place] + heard if place in self._heard else heard
        self._step = {}

    def taken_back(self) -> None:
        """The step was made, and taken back: its batch is no measure of units."""
        self._step = {}

    def revive(self, optimizer: Optimizer) -> bool:
        r"""Bring every dead unit back, where half of a layer or more is dead; whether there was one.

        .. math:: w_i \leftarrow w_i / \sigma_i, \quad b_i \leftarrow (b_i - \mu_i) / \sigma_i

        with mean and deviation of what it said. A unit that says the same of all, or that stands behind a layer changed here,
        is drawn by He's rule without a bias. A norm's unit gets weight 1 and bias 0. Moments of these units become zero.
        """
        dead = {place: heard.dead & _kept(self._modules[place]) for place in self._order if (heard := self._heard.get(place))}
        if not any(float(units.double().mean()) >= HALF for units in dead.values()):
            return False
        changed, generator = False, torch.Generator().manual_seed(0)
        with torch.no_grad():
            for place, units in dead.items():
                if bool(units.any()):
                    _mend(self._modules[place], self._heard[place], units, generator, behind=changed)
                    _forget(optimizer, self._modules[place], units)
                    changed = True
        return changed

    def kept(self) -> dict[str, Tensor]:
        """All that was heard so far, by name."""
        found = {f"unit/{place}/{name}": getattr(heard, name) for place, heard in self._heard.items() for name in _NAMES}
        return found | {"unit/order/": torch.tensor(list(self._order))} if self._order else found

    def keep(self, given: dict[str, Tensor]) -> None:
        """Go on with what ``kept`` gave."""
        self._heard, self._step, self._order = {}, {}, {}
        for name in given:
            if name.endswith("/total"):
                place = name.split("/")[1]
                self._heard[int(place)] = _Unit(*(given[f"unit/{place}/{part}"].cpu().clone() for part in _NAMES))
        self._order = dict.fromkeys(given["unit/order/"].tolist()) if "unit/order/" in given else {}

    def _passed(self, module: nn.Module, args: Any, output: Any) -> None:
        place = self._places.get(id(module))
        if place is None or not module.training or not torch.is_grad_enabled() or not isinstance(output, Tensor):
            return
        with Quiet():
            rows = by_unit(module, output.detach())
            if not rows.numel() or not rows.is_floating_point():
                return
            wide = rows.double()
            low, high = wide.aminmax(dim=0)
            made = (wide.sum(0), wide.square().sum(0), low, high, torch.zeros_like(low))
            found = _Unit(torch.tensor([float(len(wide))], dtype=torch.float64), *(one.cpu() for one in made))
            self._step[place] = self._step[place] + found if place in self._step else found
            self._order.setdefault(place)


_NAMES = tuple(_Unit.__dataclass_fields__)


def _plain(module: Any) -> bool:
    """Whether its parameters are all its own, in this process, and all to be learned."""
    own = list(module.parameters(recurse=False))
    if not own or getattr(module, "parametrizations", None) or "weight" not in module._parameters:
        return False
    one_axis = len(getattr(module, "normalized_shape", "1")) == 1
    return one_axis and all(type(parameter) in _PLAIN and parameter.requires_grad for parameter in own)


def _moved(module: Any) -> Tensor:
    """By unit, 1 where its weight or bias got any gradient, or none is known of."""
    weight, bias = module.weight, module.bias
    if weight.grad is None or weight.grad.layout is not torch.strided:
        return torch.ones(len(weight), dtype=torch.float64)
    gradient: Tensor = weight.grad.detach()
    found = gradient.flatten(1).ne(0.0).any(1) if weight.ndim > 1 else gradient.ne(0.0)
    if bias is not None and bias.grad is not None:
        found = found | bias.grad.detach().ne(0.0)
    return found.double().cpu()


def _kept(module: Any) -> Tensor:
    """The units whose weights are not all zero: those were taken out on purpose."""
    weight: Tensor = module.weight.detach()
    return (weight.flatten(1).ne(0.0).any(1) if weight.ndim > 1 else torch.ones_like(weight, dtype=torch.bool)).cpu()


def _mend(module: Any, heard: _Unit, dead: Tensor, generator: torch.Generator, *, behind: bool) -> None:
    weight, bias = module.weight, module.bias
    units = dead.to(weight.device)
    if isinstance(module, _NORMS):
        weight[units] = 1.0
        if bias is not None:
            bias[units] = 0.0
        return
    mean, deviation = heard.mean, heard.deviation
    drawn = dead & ((deviation <= FLAT * (mean.abs() + 1.0)) | (behind or bias is None))
    fresh = torch.randn(weight.shape, generator=generator, dtype=torch.float32) * (2.0 / weight[0].numel()) ** 0.5
    at = drawn.to(weight.device)
    weight[at] = fresh.to(weight)[at]
    if bias is not None:
        bias[at] = 0.0
    told = (dead & ~drawn).to(weight.device)
    if bias is not None and bool(told.any()):
        mean, deviation = mean.to(weight), deviation.to(weight)
        bias[told] = ((bias - mean) / deviation)[told]
        weight[told] = weight[told] / deviation[told].reshape(-1, *[1] * (weight.ndim - 1))


def _forget(optimizer: Optimizer, module: nn.Module, dead: Tensor) -> None:
    for parameter in module.parameters(recurse=False):
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value[dead.to(value.device)] = 0.0
