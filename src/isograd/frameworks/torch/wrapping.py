"""How a model is called that stands in a data-parallel wrapper: through it, past it, or with its averaging switched off.

Read off this process alone: which wrapper is active while the model runs, whether it is to average what comes back, which
parameters it was made with, and how many collectives its group has run (a counter of the group's own). Nothing is sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from isograd.frameworks.torch.places import Place, unwrapped
from isograd.records.fact import Fact

PAST, SWITCHED_OFF = "past", "no_sync"


def collectives(groups: Sequence[Any]) -> int:
    """How many collectives these groups have run on this rank so far; -1 where a backend does not count them."""
    try:
        return sum(group._get_sequence_number_for_group() for group in {id(one): one for one in groups}.values())
    except (AttributeError, RuntimeError):
        return -1


@dataclass
class Wrapping:
    """The passes of one looked-at step through the wrappers of the models."""

    wrappers: dict[int, DistributedDataParallel] = field(default_factory=dict)
    """By the identity of the module inside."""
    _inside: set[int] = field(default_factory=set)
    """Identities of the modules inside the wrappers."""
    _passes: dict[str, list[str]] = field(default_factory=dict)
    """By model: for each pass that learns "" where it is averaged, else why not."""
    _before: int = 0
    _start: int | None = None

    def meet(self, models: Sequence[nn.Module]) -> None:
        """Wrappers among the models that are watched."""
        for model in models:
            outer = getattr(model, "_orig_mod", model)
            if isinstance(outer, DistributedDataParallel) and outer.process_group.size() > 1:
                self._meet(outer)

    def begin(self) -> None:
        """A step that is looked at begins."""
        self._passes.clear()
        if self.wrappers:
            self._before = collectives(self._groups())
            self._start = self._before if self._start is None else self._start

    def given(self, module: nn.Module, path: str) -> None:
        """A model is called to learn."""
        active: Any = getattr(DistributedDataParallel, "_active_ddp_module", None)
        if active is not None and unwrapped(active) is module and active.process_group.size() > 1:
            if id(module) not in self.wrappers:
                self._meet(active)
            self._passes.setdefault(path, []).append("" if active.require_backward_grad_sync else SWITCHED_OFF)
        elif active is None and id(module) in self._inside:
            self._passes.setdefault(path, []).append(PAST)

    def facts(self, places: Sequence[Place]) -> Iterator[Fact]:
        """What is to be told of the step: models none of whose passes is averaged, and parameters that no wrapper knows."""
        if not self.wrappers:
            return
        now = collectives(self._groups())
        ran, since = (now - self._before, now - (self._start or 0)) if now >= 0 else (-1, -1)
        for path, passes in self._passes.items():
            if all(passes):
                settings = (("reason", passes[-1]), ("passes", len(passes)), ("collectives", ran), ("since", since))
                yield Fact("not_averaged", path, settings=settings)
        yield from self._strangers(places)

    def averaged(self) -> set[int]:
        """The parameters, by identity, whose gradients a wrapper averages in the usual way: without a hook of the program's."""
        plain = [one for one in self.wrappers.values() if not getattr(one, "_comm_hooks", None)]
        return {id(parameter) for wrapper in plain for parameter in getattr(wrapper, "_module_parameters", ())}

    def forget(self) -> None:
        """Let go of the wrappers."""
        self.wrappers.clear()
        self._inside.clear()

    def _meet(self, wrapper: DistributedDataParallel) -> None:
        self.wrappers[id(unwrapped(wrapper))] = wrapper
        self._inside |= {id(module) for module in wrapper.module.modules()}

    def _groups(self) -> list[Any]:
        world = torch.distributed.group.WORLD
        return [world, *(wrapper.process_group for wrapper in self.wrappers.values())]

    def _strangers(self, places: Sequence[Place]) -> Iterator[Fact]:
        for wrapper in self.wrappers.values():
            with contextlib.suppress(AttributeError):
                known = {id(parameter) for parameter in wrapper._module_parameters}
                left_out = set(wrapper.parameters_to_ignore)
                mine = {id(p): name for name, p in wrapper.module.named_parameters() if p.requires_grad}
                new = [p for p in places if id(p.parameter) in mine and id(p.parameter) not in known]
                new = [place for place in new if mine[id(place.parameter)] not in left_out]
                for layer in dict.fromkeys(place.layer for place in new):
                    own = [place.name for place in new if place.layer == layer]
                    yield Fact("unknown_to_wrapper", layer, settings=(("parameter", own[0]), ("count", len(own))))
