"""Where gradients were in a step: left over, cleared too early, missing, or at parameters that no optimizer holds."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.frameworks.torch.places import Place, places_of
from isograd.frameworks.torch.roster import Held
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample

LOOKED_AT = 64
"""Parameters whose gradients are looked into before a backward pass; of more, so many spread evenly."""
LAYERS = 64
"""Layers named in one step at most."""
DRAWN = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.Embedding)
"""Layers whose weights are drawn where they are made; a normalisation made anew is what it was."""
ROUNDING = 1e-6
"""Share of the largest possible sum below which a sum is nought but for the rounding of float32 (16 units of 6e-8)."""
_HEAD = 4_096


def full(gradients: Sequence[Tensor | None]) -> list[bool]:
    """Which gradients hold anything but zeros; NaN is something. Reads the device once where all of them do.

    >>> full([None, torch.zeros(3), torch.tensor([0.0, 1.0])])
    [False, False, True]
    """
    found = [False] * len(gradients)
    there = [(place, _local(gradient)) for place, gradient in enumerate(gradients) if gradient is not None]
    for width in (_HEAD, None):  # mostly the first entries tell
        flags = [(values.reshape(-1)[:width] != 0).any() for _, values in there]
        told = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist() if flags else []
        for (place, _), flag in zip(there, told, strict=True):
            found[place] = found[place] or flag
        there = [(place, values) for place, values in there if not found[place] and values.numel() > _HEAD]
    return found


def _local(gradient: Tensor) -> Tensor:
    local: Tensor = getattr(gradient, "_local_tensor", gradient).detach()
    return local._values() if local.layout == torch.sparse_coo else local


@dataclass
class Arrivals:
    """The gradients of one looked-at step, seen just before its backward passes and just before its optimizers step."""

    models: Sequence[nn.Module]
    places: tuple[Place, ...] = ()
    backwards: int = 0
    dirty: dict[int, bool] = field(default_factory=dict)
    """By parameter: whether its gradient held something when the first backward pass since its optimizer's step began."""
    carried: list[bool] = field(default_factory=list)
    """The same of the parameters whose optimizer has stepped."""
    stepped: dict[int, bool] = field(default_factory=dict)
    """By parameter: whether it had a gradient, of zeros or not, when its optimizer, or one of those that share it, stepped."""
    filled: bool = False
    """Whether any of these held anything but zeros."""
    ran: set[str] = field(default_factory=set)
    ahead: bool = False
    """Whether all backward passes since the last step came before any pass of the models, and so are of the step before."""
    leaves: set[str] = field(default_factory=set)
    strangers: dict[int, tuple[weakref.ref[nn.Module], str]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    """Weighted layers that ran and belong to no model, by path: their kind."""
    emptied: list[bool] = field(default_factory=list)
    """Of the second and later passes of a step: whether they found every gradient empty again, and the weights untouched."""
    clean: int = 0
    """The last step at which a gradient was seen to begin empty."""
    frozen: set[int] = field(default_factory=set)
    """Parameters that were seen to be frozen, by identity."""
    _before: dict[int, tuple[weakref.ref[Tensor], int]] = field(default_factory=dict)
    _versions: list[int] = field(default_factory=list)
    _rounds: list[set[int]] = field(default_factory=list)
    """The parameters of each optimizer that has stepped."""

    def begin(self, held: set[int], *, again: bool) -> None:
        """A step that is to be looked at; ``held`` are the parameters that an optimizer holds, ``again`` looks them all up."""
        self.backwards, self.carried, self._rounds, self.filled, self.emptied = 0, [], [], False, []
        for kept in (self.dirty, self.stepped, self.ran, self.leaves, self.strangers, self.made, self._before):
            kept.clear()
        if again or not self.places:
            self.places = places_of(self.models)
        for place in self.places:
            gradient = place.parameter.grad
            if not place.parameter.requires_grad:
                self.frozen.add(id(place.parameter))
            if gradient is not None and id(place.parameter) not in held:
                self._before[id(place.parameter)] = (weakref.ref(gradient), gradient._version)

    def backward(self) -> None:
        """A backward pass is about to begin."""
        self.backwards += 1
        self.ahead = not self.ran and (self.ahead or self.backwards == 1)
        places = [place for place in self.places if place.parameter.requires_grad]
        looked = [place.parameter for place in places[:: 1 + len(places) // LOOKED_AT]]
        held, versions = full([p.grad for p in looked]), [p._version for p in looked]
        if self.backwards > 1:  # weights that moved in between were tried elsewhere (sharpness-aware steps)
            self.emptied.append(not any(held) and versions == self._versions and not self._rounds)
        self._versions = versions
        for parameter, holds in zip(looked, held, strict=True):
            # What a pass for another model left, or the last step, may be cleared before the pass that counts.
            self.dirty[id(parameter)] = holds and self.dirty.get(id(parameter), True)

    def step(self, held: Held) -> None:
        """An optimizer is about to step."""
        for parameter in reversed(held.parameters):  # near the loss gradients are rarely zero
            if id(parameter) in self.dirty:
                self.carried.append(self.dirty.pop(id(parameter)))
            self.stepped[id(parameter)] = parameter.grad is not None or self.stepped.get(id(parameter), False)
            self.filled = self.filled or full([parameter.grad])[0]
        self._rounds.append({id(parameter) for parameter in held.parameters})

    def trained(self, path: str) -> bool:
        """Whether a parameter of the model at ``path`` got a gradient and was stepped."""
        mine = (place.parameter for place in self.places if not path or f"{place.layer}.".startswith(f"{path}."))
        return any(self.stepped.get(id(parameter)) for parameter in mine)

    def close(self, index: int, optimizers: Sequence[Optimizer], layers: Sequence[LayerSample]) -> Iterator[Fact]:
        """The step is over: what is to be told of its gradients. ``optimizers`` are all that stepped in this program."""
        yield from self._carried(index)
        if not self.stepped:
            return
        if not self.backwards:
            if not self.filled:  # gradients may be set by hand
                yield Fact("no_backward")
            return
        arrived = {sample.where.split("@")[0]: sample.gradient for sample in layers if sample.gradient}
        reached = {layer for layer, gradient in arrived.items() if gradient.largest > 0}
        mine = [place for place in self.places if place.parameter.requires_grad and id(place.parameter) in self.stepped]
        if mine and not self.filled:
            if any(place.layer in reached and place.layer in self.leaves and self._emptied(place, arrived) for place in mine):
                yield Fact("cleared_early")
                return
            if not reached and self.ahead and self.ran:
                yield Fact("cleared_early", settings=(("ahead", True),))
                return
            if not reached:
                yield Fact("loss_outside")
        if self.emptied and all(self.emptied) and self.filled:
            yield Fact("cleared_between", settings=(("passes", self.backwards),))
        for parameters in self._rounds:
            own = [place for place in mine if id(place.parameter) in parameters]
            if own and len(own) < len(mine) and not any(self.stepped[id(place.parameter)] for place in own):
                settings = (("parameters", len(own)), ("layers", " ".join(dict.fromkeys(place.layer for place in own))))
                yield Fact("loss_outside", own[0].layer, settings=settings)
        yield from self._cut(place for place in mine if not self.stepped[id(place.parameter)])
        held = {id(parameter) for one in optimizers for group in one.param_groups for parameter in group["params"]}
        yield from self._unheld(held)
        yield from self._stale(optimizers)
        yield from self._resting(optimizers)

    def _emptied(self, place: Place, arrived: Mapping[str, Moments]) -> bool:
        """Whether a gradient that this parameter must have got is gone; zeros may be what the examples of a batch add up to.

        A bias gets the sum of what arrives at its layer: where that is not zero, and the bias has zeros, they were written.
        """
        if not self.stepped[id(place.parameter)]:
            return True
        total = arrived[place.layer]
        return place.name.endswith("bias") and abs(total.total) > ROUNDING * total.count * total.largest

    def within(self, optimizers: Sequence[Optimizer]) -> Iterator[Fact]:
        """A step with a closure is over: whether none of its passes, the first included, found empty gradients, and which
        parameters have gradients that none of the ``optimizers`` holds.
        """
        if self.dirty and all(self.dirty.values()):
            settings = (("parameters", len(self.dirty)), ("share", 1.0), ("age", 1), ("passes", self.backwards))
            yield Fact("carried", settings=settings)
        held = {id(parameter) for one in optimizers for group in one.param_groups for parameter in group["params"]}
        yield from self._unheld(held)

    def _carried(self, index: int) -> Iterator[Fact]:
        if not all(self.carried):
            self.clean = index
        if any(self.carried):
            count = sum(self.carried)
            settings = (("parameters", count), ("share", count / len(self.carried)), ("age", index - self.clean))
            yield Fact("carried", settings=settings)

    def _cut(self, places: Iterable[Place]) -> Iterator[Fact]:
        for layer, some in _by_layer(places):
            used = self._used(layer)
            yield Fact("cut_off", layer, settings=(("parameter", some[0].name), ("used", used), ("count", len(some))))

    def _used(self, layer: str) -> bool:
        return layer in self.ran or any(layer.startswith(f"{leaf}.") or not leaf for leaf in self.leaves)

    def _unheld(self, held: set[int]) -> Iterator[Fact]:
        missed = (p for p in self.places if p.parameter.requires_grad and id(p.parameter) not in held)
        for layer, some in _by_layer(place for place in missed if self._fresh(place.parameter)):
            thawed = any(id(place.parameter) in self.frozen for place in some)
            missing = (("parameter", some[0].name), ("count", len(some)), ("thawed", thawed))
            yield Fact("not_in_optimizer", layer, settings=missing)
        gone = {path for reference, path in self.strangers.values() if reference() is None}
        for path in sorted(gone & set(self.made)):
            yield Fact("hidden_module", path, settings=(("kind", self.made[path]), ("anew", True)))
        for reference, path in self.strangers.values():
            module = reference()
            own = [] if module is None else [p for p in module.parameters(recurse=False) if p.requires_grad]
            if module is not None and any(p.grad is not None and id(p) not in held for p in own):
                settings = (("kind", type(module).__name__), ("holder", self._holder(module)))
                yield Fact("hidden_module", path, settings=settings)

    def _holder(self, module: nn.Module) -> str:
        """Where a module that is not registered is kept: the class of what holds it, and the attribute; "" where unknown."""
        for one in (found for model in self.models for found in model.modules()):
            for name, held in vars(one).items():
                kept = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else ()
                plain = (each for each in kept if isinstance(each, nn.Module) and not name.startswith("_"))
                if any(part is module for each in plain for part in each.modules()):
                    return f"{type(one).__name__}.{name}"
        return ""

    def _fresh(self, parameter: nn.Parameter) -> bool:
        """Whether the gradient came in this step: one may lie there from another training."""
        gradient = parameter.grad
        if gradient is None:
            return False
        known = self._before.get(id(parameter))
        return known is None or known[0]() is not gradient or known[1] != gradient._version

    def _resting(self, optimizers: Sequence[Optimizer]) -> Iterator[Fact]:
        """Layers that got a gradient and stand in a group whose rate is 0, beside one whose rate is not."""
        groups = [group for one in optimizers for group in one.param_groups if "lr" in group]
        resting = {id(p) for group in groups if not float(group["lr"]) for p in group["params"]}
        if not resting or all(not float(group["lr"]) for group in groups):
            return
        reached = (p for p in self.places if id(p.parameter) in resting and self.stepped.get(id(p.parameter)))
        for layer, some in _by_layer(reached):
            yield Fact("rate_zero", layer, settings=(("parameter", some[0].name), ("count", len(some))))

    def _stale(self, optimizers: Sequence[Optimizer]) -> Iterator[Fact]:
        mine = {id(place.parameter) for place in self.places}
        for optimizer in optimizers:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            if not any(id(parameter) in mine for parameter in parameters):
                continue
            stale = [p for p in parameters if id(p) not in mine and p.requires_grad and p.grad is None]
            if stale:
                shapes = " ".join("x".join(map(str, p.shape)) for p in stale[:4])
                settings = (("count", len(stale)), ("shapes", shapes))
                yield Fact("stale_parameters", "optimizer", settings=settings)


def _by_layer(places: Iterable[Place]) -> list[tuple[str, list[Place]]]:
    """Parameters by the layer that holds them, so many layers at most as are named in one step."""
    layers: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        layers[place.layer].append(place)
    return list(layers.items())[:LAYERS]
