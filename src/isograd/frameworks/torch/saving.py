"""Copy what one optimizer step may change, measure how far it went, and put everything back to the bit.

Copies live in buffers that are used again at every step: a copy costs one pass over the memory. Nothing is copied between
devices and no collective is used: of what is sharded, the local shard.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

CHUNK = 65_536
"""Entries that fit into a processor's nearer caches: a difference and its sum of squares are taken so many at a time."""
GROUP = {True: 262_144, False: 16_777_216}
"""Entries of small tensors whose differences are taken in one call, in the memory of the host (True) or on a device."""
_WIDE = (torch.float32, torch.float64)
_RUNNING = ("running_mean", "running_var")
_PLAIN = (Tensor, nn.Parameter)
_FIXED = (int, float, bool, str, type(None), tuple)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that is in this process."""
    part: Tensor = getattr(tensor, "_local_tensor", tensor)
    return part


class Copies:
    """Copies of some tensors, in buffers that stay."""

    def __init__(self) -> None:
        self.live: list[Tensor] = []
        self.kept: list[Tensor] = []
        self._together: list[tuple[list[Tensor], list[Tensor]]] = []
        self._alone: list[int] = []

    def save(self, tensors: list[Tensor]) -> None:
        """Copy ``tensors`` as they are now; quick where they are those of the last time."""
        if len(tensors) != len(self.live) or not all(map(operator.is_, tensors, self.live)):
            self._prepare(tensors)
        for live, kept in self._together:
            torch._foreach_copy_(kept, live)
        for place in self._alone:
            self.kept[place] = self.live[place].detach().clone()

    def restore(self) -> None:
        """Write the copies back, in place."""
        for live, kept in self._together:
            torch._foreach_copy_(live, kept)
        for place in self._alone:
            self.live[place].copy_(self.kept[place])

    def _prepare(self, tensors: list[Tensor]) -> None:
        old = self.kept
        self.live, self.kept, self._alone = tensors, [], []
        groups: dict[torch.device, tuple[list[Tensor], list[Tensor]]] = {}
        for place, tensor in enumerate(tensors):
            if type(tensor) not in _PLAIN or tensor.layout is not torch.strided:
                self._alone.append(place)
                self.kept.append(tensor)
                continue
            before = old[place] if place < len(old) else None
            fits = before is not None and (before.shape, before.dtype, before.device) == (
                tensor.shape,
                tensor.dtype,
                tensor.device,
            )
            kept = before if fits and before is not None else torch.empty_like(tensor, requires_grad=False)
            self.kept.append(kept)
            live, copies = groups.setdefault(tensor.device, ([], []))
            live.append(tensor)
            copies.append(kept)
        self._together = list(groups.values())


class Saved:
    """What one step of one optimizer may change: its parameters, its state, the settings of its groups."""

    def __init__(self) -> None:
        self._copies = Copies()
        self._sizes: list[int] = []

    def save(self, optimizer: Optimizer, *, whole: bool) -> None:
        """Copy it all; of the parameters (and their state) those that have a gradient, or the ``whole`` of them."""
        by_group = [[p for p in group["params"] if whole or p.grad is not None] for group in optimizer.param_groups]
        self._sizes = [len(group) for group in by_group]
        self._settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        self._had = set(optimizer.state)
        self._entries: list[tuple[Any, dict[str, Any]]] = []
        tensors = [local(parameter) for group in by_group for parameter in group]
        for key, entry in optimizer.state.items():
            if not whole and getattr(key, "grad", entry) is None:
                continue
            own: dict[str, Any] = {}
            for name, value in entry.items():
                if isinstance(value, Tensor):
                    tensors.append(local(value))
                    own[name] = value
                else:
                    own[name] = value if isinstance(value, _FIXED) else copy.deepcopy(value)
            self._entries.append((key, own))
        self._copies.save(tensors)

    def moved(self) -> list[Tensor]:
        """By group, the sum of squares of what the step added to the parameters: scalars in float64, where they are."""
        found, start = [], 0
        for size in self._sizes:
            end = start + size
            found.append(_squares(self._copies.live[start:end], self._copies.kept[start:end]))
            start = end
        return found

    def restore(self, optimizer: Optimizer) -> None:
        """Make the step undone: what it added to the state goes, what it replaced comes back."""
        self._copies.restore()
        for key in [key for key in optimizer.state if key not in self._had]:
            del optimizer.state[key]
        for key, own in self._entries:
            entry = optimizer.state[key]
            for name in [name for name in entry if name not in own]:
                del entry[name]
            entry.update(own)
        for group, settings in zip(optimizer.param_groups, self._settings, strict=False):
            for name, value in settings.items():
                if group.get(name) is not value:
                    group[name] = value


class Buffers:
    """The buffers of some modules (running means of a batch norm), which a forward pass changes before any step."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = [module for module in modules if module._buffers]
        self._copies = Copies()
        self._owners: list[tuple[dict[str, Tensor | None], str, Tensor]] = []

    def save(self) -> None:
        """Copy them as they are now."""
        if not self._modules:
            return
        self._owners = [
            (module._buffers, name, buffer)
            for module in self._modules
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.device.type != "meta"
        ]
        self._copies.save([local(buffer) for *_, buffer in self._owners])

    def moved(self) -> Tensor | None:
        """Sum of squares of what running means and variances have moved by since; None where there are none."""
        pairs = [
            (now, kept)
            for (buffers, name, _), kept in zip(self._owners, self._copies.kept, strict=True)
            if name in _RUNNING and (now := buffers.get(name)) is not None and now.shape == kept.shape
        ]
        return _squares([local(now) for now, _ in pairs], [kept for _, kept in pairs]) if pairs else None

    def restore(self) -> None:
        """Put them back; one that was replaced since by another tensor becomes again what it was."""
        for buffers, name, buffer in self._owners:
            buffers[name] = buffer
        self._copies.restore()


def squares_of(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Sum of squares of all gradients: of what is sharded the local shard, a scalar in float64, where they are."""
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    plain = [one for one in gradients if type(one) in _PLAIN and one.layout is torch.strided and one.dtype in _WIDE]
    parts = list(torch._foreach_norm(plain)) if plain else []
    known = set(map(id, plain))
    parts.extend(_norm(one.detach()) for one in gradients if id(one) not in known)
    return _total(parts)


def _squares(now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Sum over all entries of the squared difference."""
    if not now:
        return _total([])
    parts: list[Tensor] = []
    group: list[tuple[Tensor, Tensor]] = []
    host, size = now[0].device.type == "cpu", 0
    for one, other in zip(now, before, strict=True):
        if type(one) not in _PLAIN or one.layout is not torch.strided:
            parts.append(_norm((one - other).detach()))
        elif host and one.numel() > CHUNK and one.is_contiguous():
            parts.extend(_in_chunks(one, other))
        else:
            group.append((one, other))
            size += one.numel()
            if size > GROUP[host]:
                parts.extend(_together(group))
                group, size = [], 0
    parts.extend(_together(group))
    return _total(parts)


def _total(norms: list[Tensor]) -> Tensor:
    if not norms:
        return torch.zeros((), dtype=torch.float64)
    if len({norm.device for norm in norms}) > 1:  # one model on several devices
        norms = [norm.cpu() for norm in norms]
    return torch.stack(norms).double().square().sum()


def _together(group: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    if not group:
        return []
    wide = [one.dtype in _WIDE for one, _ in group]
    if not all(wide):
        return [_norm(one.detach() - other) for one, other in group]
    difference = torch._foreach_sub([one for one, _ in group], [other for _, other in group])
    return list(torch._foreach_norm(difference))


def _in_chunks(one: Tensor, other: Tensor) -> list[Tensor]:
    flat, before = one.detach().view(-1), other.view(-1)
    if flat.dtype not in _WIDE:
        return [_norm(left - right) for left, right in zip(torch.split(flat, CHUNK), torch.split(before, CHUNK), strict=True)]
    scratch = torch.empty(CHUNK, dtype=flat.dtype)
    found = []
    for left, right in zip(torch.split(flat, CHUNK), torch.split(before, CHUNK), strict=True):
        difference = torch.sub(left, right, out=scratch[: len(left)])
        found.append(torch.linalg.vector_norm(difference))
    return found


def _norm(difference: Tensor) -> Tensor:
    values = difference.coalesce().values() if difference.layout is torch.sparse_coo else difference
    values = torch.view_as_real(values) if values.is_complex() else values
    norm: Tensor = torch.linalg.vector_norm(values.float() if values.dtype is not torch.float64 else values)
    return norm
