"""One decision for all processes of a training: their readings added in one all-reduce of one small vector a step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from torch import nn

_KEY = "isograd/first_aid"


class Alone:
    """One process, which decides by itself."""

    def complete(self) -> bool:
        """Whether every process takes part that steps together with this one."""
        return True

    def joined(self, numbers: list[float]) -> list[float]:
        """The numbers of all processes together."""
        return numbers


class Unknown(Alone):
    """Several processes, of which nobody knows which step together: one that decided by itself would leave the others."""

    def complete(self) -> bool:
        """Whether every process takes part."""
        return False


class Ranks(Alone):
    """The processes of one group, which step together.

    Every rank adds its numbers to those of the others, so that all decide from the same bits. Sums serve everything: a loss
    becomes the mean over ranks that the gradients belong to; squares of local shards become those of the whole; those of
    replicas are counted as often at every step, which no comparison with the past notices; what is not finite stays so.
    """

    _made = 0

    def __init__(self, group: Any, device: torch.device) -> None:
        self._group = group
        on_device = torch.distributed.get_backend(group) != "gloo"
        self._device = device if on_device else torch.device("cpu")
        Ranks._made += 1
        self._key = f"{_KEY}/{Ranks._made}"
        self._ranks = torch.distributed.get_process_group_ranks(group or torch.distributed.group.WORLD)
        self._store().set(f"{self._key}/{torch.distributed.get_rank()}", "here")

    def complete(self) -> bool:
        """Whether every rank of the group watches with first aid: asked after their first backward pass, which they share.

        All ranks have begun to watch before it, or never will; so the answer is the same on all that ask, and none waits.
        """
        return bool(self._store().check([f"{self._key}/{rank}" for rank in self._ranks]))

    def joined(self, numbers: list[float]) -> list[float]:
        """Sums over the ranks."""
        vector = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(vector, group=self._group)
        found: list[float] = vector.tolist()
        return found

    def _store(self) -> Any:
        return torch.distributed.distributed_c10d._get_default_store()


def ranks_of(models: Sequence[nn.Module]) -> Alone:
    """Who steps together with this process: the group of a data-parallel wrapper or of sharded parameters."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return Alone()
    sharding: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", ())
    for model in models:
        device = next(model.parameters()).device
        for module in model.modules():
            if isinstance(module, nn.parallel.DistributedDataParallel) or (sharding and isinstance(module, sharding)):
                return Ranks(module.process_group, device)
        meshes = (getattr(parameter, "device_mesh", None) for parameter in model.parameters())
        mesh: Any = next((mesh for mesh in meshes if mesh is not None), None)
        if mesh is not None:
            return Ranks(mesh.get_group() if mesh.ndim == 1 else None, device)
    return Unknown()
