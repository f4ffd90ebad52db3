"""What a step costs, tried on a copy before a training begins: its time, and the memory that a batch of any size takes."""

from __future__ import annotations

import contextlib
import copy
import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from isograd.workbench.train.losses import Loss
from isograd.workbench.train.machine import borrowed
from isograd.workbench.train.optimizers import make_optimizer
from isograd.workbench.train.recipe import Recipe

STEPS, SECONDS = 8, 5.0
"""Steps that are timed at most, and the time after which no other one begins; the first loads and allocates: it is left out."""
_FEW, _MORE = 2, 4
_MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2, "rmsprop": 2, "adagrad": 1}
_GROUP = Path("/sys/fs/cgroup/memory.max")
_SYSTEM = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a step takes at least: ``fixed`` for weights, gradients and moments, and ``row`` for each row of a batch."""

    fixed: int
    row: int

    def of(self, rows: int) -> int:
        """Bytes of a step with so many rows."""
        return self.fixed + rows * self.row

    def rows_in(self, size: int) -> int:
        """The largest power of two whose rows fit into so many bytes; 0 where none does.

        >>> Memory(1_000, 100).rows_in(2_000), Memory(1_000, 100).rows_in(1_050)
        (8, 0)
        """
        rows = (size - self.fixed) // max(1, self.row)
        return 1 << (rows.bit_length() - 1) if rows > 0 else 0


def weights_of(model: nn.Module, recipe: Recipe) -> int:
    """Bytes of weights, of the best ones so far and of their average, of gradients and of the moments of the optimizer."""
    weights = sum(parameter.nbytes for parameter in model.parameters())
    moving = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return (2 + (recipe.ema is not None)) * weights + (1 + _MOMENTS[recipe.optimizer]) * moving


def memory_of(model: nn.Module, inputs: torch.Tensor, recipe: Recipe, have: int | None = None) -> Memory:
    """What a training step keeps until its backward pass, from passes over two and four rows of ``inputs`` on a copy.

    What lives only for a moment (the gradients of activations, the scratch of a kernel) is not in it: it is a lower bound.
    Where the weights alone are more than ``have`` bytes nothing is tried, and a row counts nothing.
    """
    fixed = weights_of(model, recipe)
    if have is not None and fixed > have:
        return Memory(fixed, 0)
    twin = copy.deepcopy(model).to(recipe.device).train()
    for module in twin.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # rows that are repeated have no deviation
    own = {parameter.untyped_storage().data_ptr() for parameter in twin.parameters()}
    sizes = []
    with borrowed(recipe):
        for rows in (_FEW, _MORE):
            kept: dict[int, int] = {}

            def pack(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in own:
                    kept[storage.data_ptr()] = storage.nbytes()
                return tensor

            batch = inputs[torch.arange(rows) % len(inputs)].to(recipe.device)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                held = twin(batch)
            sizes.append(sum(kept.values()))
            del held
    return Memory(fixed, max(0, sizes[1] - sizes[0]) // (_MORE - _FEW))


def memory_size(device: str) -> int | None:
    """Bytes that a device has, free or not: the same in every session on a machine. None where it cannot be asked."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        found.append(int(_GROUP.read_text("ascii")))
    return min(found, default=None)


def memory_here(device: str) -> int | None:
    """Bytes that are free on a device, as far as it can be asked; what the system holds for files counts as free."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        lines = dict(line.split(":", 1) for line in _SYSTEM.read_text("ascii").splitlines() if ":" in line)
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
        found.append(int(_GROUP.read_text("ascii")))
    except (AttributeError, OSError, ValueError, KeyError):  # no such question on this system, or no bound
        pass
    return min(found, default=None)


def step_seconds(model: nn.Module, recipe: Recipe, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], loss: Loss) -> float:
    """The median time of some training steps on a copy, without the first; model and generators stay as they are."""
    twin = copy.deepcopy(model).to(recipe.device).train()
    took: list[float] = []
    with borrowed(recipe):
        optimizer = make_optimizer(twin.parameters(), recipe)
        began = time.perf_counter()
        for inputs, targets in batches:
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss(twin(inputs.to(recipe.device)).float(), targets.to(recipe.device)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if recipe.device == "cuda":
                torch.cuda.synchronize()
            took.append(time.perf_counter() - start)
            if len(took) >= STEPS or time.perf_counter() - began > SECONDS:
                break
    return statistics.median(took[1:] or took)
