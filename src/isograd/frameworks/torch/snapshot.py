"""A whole training state to come back to: weights, buffers and the optimizer's state, as tensors with names."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.frameworks.torch.saving import local


class Snapshot:
    """Copies of what a training has learned and remembers; ``tensors`` and ``plain`` are all of it, by name."""

    def __init__(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        self.tensors, self.plain = tensors, plain
        self._owners: list[weakref.ref[Tensor]] | None = None
        self._state: dict[Any, Any] = {}

    @classmethod
    def of(cls, models: Sequence[nn.Module], optimizer: Optimizer) -> Snapshot:
        """The state as it is now."""
        tensors, plain = {name: local(tensor).detach().clone() for name, tensor in _held(models, optimizer)}, dict[str, Any]()
        for number, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"state/{number}/{name}"] = local(value).detach().clone()
                else:
                    plain[f"state/{number}/{name}"] = copy.deepcopy(value)
        snapshot = cls(tensors, plain)
        snapshot.fits(models, optimizer)
        return snapshot

    def fits(self, models: Sequence[nn.Module], optimizer: Optimizer) -> bool:
        """Whether it is of what the optimizer and the models hold now: the same parameters, in the same order, state that was
        not loaded since, and buffers of the same shapes. One that was read back learns whose it is when it is first asked.
        """
        present = list(_parameters(optimizer))
        if self._owners is None:
            self._owners, self._state = [weakref.ref(one) for one in present], optimizer.state
        alike = len(present) == len(self._owners) and all(ref() is one for ref, one in zip(self._owners, present, strict=True))
        shapes = {name: local(tensor).shape for name, tensor in _held(models, optimizer)}
        known = {name: tensor.shape for name, tensor in self.tensors.items() if name.startswith(("weight/", "buffer/"))}
        return alike and shapes == known and self._state is optimizer.state

    def restore(self, models: Sequence[nn.Module], optimizer: Optimizer) -> None:
        """Make it the present state again; state that has come since goes."""
        with torch.no_grad():
            for name, tensor in _held(models, optimizer):
                local(tensor).copy_(self.tensors[name])
            parameters = list(_parameters(optimizer))
            states: dict[int, dict[str, Any]] = {}
            for full, value in {**self.tensors, **self.plain}.items():
                kind, number, name = full.split("/", 2)
                if kind == "state":
                    states.setdefault(int(number), {})[name] = value
            for place, parameter in enumerate(parameters):
                own: dict[str, Any] = optimizer.state.get(parameter, {})
                wanted = states.get(place, {})
                if not wanted:
                    optimizer.state.pop(parameter, None)
                    continue
                for name, value in wanted.items():
                    present = own.get(name)
                    if isinstance(present, Tensor) and isinstance(value, Tensor):
                        local(present).copy_(value)
                    else:
                        own[name] = copy.deepcopy(value)
                for name in [name for name in own if name not in wanted]:
                    del own[name]
                optimizer.state[parameter] = own


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _held(models: Sequence[nn.Module], optimizer: Optimizer) -> Iterable[tuple[str, Tensor]]:
    yield from ((f"weight/{number}/", parameter) for number, parameter in enumerate(_parameters(optimizer)))
    buffers = (buffer for model in models for buffer in model.buffers())
    yield from ((f"buffer/{number}/", buffer) for number, buffer in enumerate(buffers))
