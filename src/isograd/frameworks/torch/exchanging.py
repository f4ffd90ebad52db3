"""Put other modules in the place of a model's own, on a copy: the optimizer follows, and a pass shows that they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import LBFGS, Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch.copying import members_of
from isograd.frameworks.torch.places import modules_of

Made = Callable[[str, nn.Module], nn.Module | None]
"""From a path and a module to what takes its place; None: it stays."""


def exchanged(
    models: Sequence[nn.Module], optimizer: Optimizer | None, made: Made
) -> tuple[tuple[nn.Module, ...], list[nn.Module]]:
    """The models with other modules in them, in place but for a model that is itself exchanged, and these modules.

    What was shared stays shared; the new parameters learn where the old ones did, in the same group of the optimizer.
    """
    new: dict[int, nn.Module] = {}
    found = {id(module): (path, module) for path, module in modules_of(models)}
    for key, (path, module) in found.items():
        other = made(path, module)
        if other is not None:
            device = next((p.device for p in module.parameters()), None)
            kind = next((p.dtype for p in module.parameters()), None)
            new[key] = other.to(device, kind).train(module.training)
            hold(optimizer, list(module.parameters()), list(other.parameters()))
    for _, holder in found.values():
        for name, child in holder._modules.items():
            if child is not None and id(child) in new:
                holder._modules[name] = new[id(child)]
    return tuple(new.get(id(model), model) for model in models), list(new.values())


def hold(optimizer: Optimizer | None, old: Sequence[nn.Parameter], new: Sequence[nn.Parameter]) -> None:
    """Let the optimizer hold the new parameters where it held the first of the old ones, which it gives up."""
    moving = any(p.requires_grad for p in old)
    for parameter in new:
        parameter.requires_grad_(moving)
    if optimizer is None:
        return
    gone, kept = {id(p) for p in old}, {id(p) for p in new}
    for group in optimizer.param_groups:
        held = group["params"]
        if any(id(p) in gone for p in held):
            group["params"] = [p for p in held if id(p) not in gone or id(p) in kept]
            group["params"] += [p for p in new if all(p is not one for one in group["params"])]
    for parameter in old:
        if id(parameter) not in kept:
            for one in members_of(optimizer):
                one.state.pop(parameter, None)
    if isinstance(optimizer, LBFGS):  # it keeps a list of its own, how many numbers that holds, and moments of all as one
        optimizer._params, optimizer._numel_cache = optimizer.param_groups[0]["params"], None
        optimizer.state.clear()


def drop(module: nn.Module, *ours: Callable[..., Any]) -> int:
    """Take hooks away again, those that are one of ``ours`` or made of one by ``functools.partial``; gives how many."""
    gone = 0
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for key, hook in list(hooks.items()):
            if getattr(hook, "func", hook) in ours:
                del hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
                module._forward_hooks_with_kwargs.pop(key, None)
                gone += 1
    return gone


def dropped(models: Sequence[nn.Module], what: str, *ours: Callable[..., Any]) -> None:
    """Take ``ours`` away wherever they are; raises ``ModelError`` where none is."""
    if not sum(drop(module, *ours) for _, module in modules_of(models)):
        raise ModelError(f"no edit has put {what} in, and the program's own stay")
