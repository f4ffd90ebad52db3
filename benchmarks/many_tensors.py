"""Ten thousand parameters, sharded over two ranks: how many reductions across ranks, and fused norms, a watched step adds.

    python benchmarks/many_tensors.py --tensors 10000

The ranks are pretended (torch's fake process group): collectives are counted, and nothing is sent. A collective that a watch
asks for is one that every rank has to meet in; the goal is at most one a step. Counted over every step measured in full, and
over steps at the default budget, less what the same steps do without a watch.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import isograd
from common import table, write

WIDTH = 4


class Wide(nn.Module):
    """Many small layers side by side in blocks of twenty: 2 tensors a layer."""

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(tensors // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, WIDTH) to (N, WIDTH)."""
        total = torch.zeros_like(x)
        for start in range(0, len(self.layers), 20):
            inner = x
            for layer in self.layers[start : start + 20]:
                inner = inner + 0.1 * torch.tanh(layer(inner))
            total = total + inner
        return total / len(self.layers)


class Counting(TorchDispatchMode):
    """Counts collectives, fused norms, and values read from a tensor into Python."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the call and let it go on."""
        name = str(func)
        if name.startswith(("c10d", "_c10d")) and "wait" not in name and "barrier" not in name:
            self.calls["collectives"] += 1
            self.calls[name.split(".")[1]] += 1
        elif "_foreach_norm" in name:
            self.calls["fused norms"] += 1
        elif "_local_scalar_dense" in name:
            self.calls["values read"] += 1
        return func(*args, **(kwargs or {}))


def counted(model: nn.Module, steps: int, watched: bool, budget: float | None) -> tuple[Counter[str], int, float]:
    """Calls in a few steps, steps that were sampled, seconds."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(8, WIDTH), torch.randn(8, WIDTH)
    watch: Any = isograd.watch(model, optimizer, budget=budget) if watched else contextlib.nullcontext()
    counting = Counting()
    with watch:
        start = time.process_time()
        for _ in range(steps):
            with counting:
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
        seconds = time.process_time() - start
    return counting.calls, watch.meter.sampled if watched else 0, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensors", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--dry", action="store_true", help="print and write no file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    results = {}
    for kind in ("one process", "FSDP2, two ranks"):
        model = Wide(options.tensors)
        if kind != "one process":
            fully_shard(model, mesh=mesh)
        counted(model, 1, watched=False, budget=None)
        plain, _, plain_seconds = counted(model, options.steps, watched=False, budget=None)
        for name, budget in (("every step", None), ("default", 0.03)):
            calls, sampled, seconds = counted(model, options.steps, watched=True, budget=budget)
            added = {key: (calls[key] - plain[key]) / options.steps for key in ("collectives", "fused norms", "values read")}
            results[f"{kind}, {name}"] = added | {
                "tensors": sum(1 for _ in model.parameters()),
                "steps": options.steps,
                "sampled": sampled,
                "plain_collectives": plain["collectives"] / options.steps,
                "ratio": seconds / plain_seconds,
            }
    dist.destroy_process_group()
    if not options.dry:
        write("many_tensors", results)
    headers = ("", "tensors", "sampled", "plain collectives", "added a step", "fused norms", "values read", "CPU ratio")
    names = ("tensors", "sampled", "plain_collectives", "collectives", "fused norms", "values read", "ratio")
    print(table([(kind, *(found[name] for name in names)) for kind, found in results.items()], headers))


if __name__ == "__main__":
    main()
