"""Layers that a model makes in forward: they keep the weights that the first of them had, which the model then holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from isograd.frameworks.torch.arrivals import DRAWN
from isograd.frameworks.torch.edits import unregistered

STORE = "made_in_forward"
"""The name under which the first model of a copy holds them."""


@contextmanager
def kept(models: Sequence[nn.Module]) -> Iterator[nn.ModuleList]:
    """Within, the layers that a pass makes are, one after the other, those of the first pass; gives the list of these."""
    store = models[0]._modules.setdefault(STORE, nn.ModuleList())
    assert isinstance(store, nn.ModuleList)
    mine = {id(one) for model in models for module in model.modules() for one in (module, *unregistered(module))}
    mine -= {id(one) for one in store}
    depth, place = [0], [0]

    def enters(module: nn.Module, args: Any) -> None:
        depth[0] += 1
        place[0] = 0 if depth[0] == 1 else place[0]

    def leaves(module: nn.Module, args: Any, output: Any) -> None:
        depth[0] -= 1

    def runs(module: nn.Module, args: Any) -> None:
        if not depth[0] or id(module) in mine or not isinstance(module, DRAWN):
            return
        at, place[0] = place[0], place[0] + 1
        if at == len(store):
            store.append(module)
        elif _shapes(store[at]) == _shapes(module):
            module._parameters = store[at]._parameters

    handles = [model.register_forward_pre_hook(enters) for model in models]
    handles += [model.register_forward_hook(leaves, always_call=True) for model in models]
    handles.append(register_module_forward_pre_hook(runs))
    try:
        yield store
    finally:
        for handle in handles:
            handle.remove()


def _shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(parameter.shape)) for name, parameter in module.named_parameters(recurse=False)]
