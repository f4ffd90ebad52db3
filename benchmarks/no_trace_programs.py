"""Programs for ``no_trace.py`` that need a process of their own: compiled ones, and ranks over gloo.

    python benchmarks/no_trace_programs.py compiled inductor budget FOLDER 0

Arguments: kind, variant, mode, a folder that the ranks share, rank. Prints a hash of weights, buffers, optimizer state and
random stream, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from no_trace import numbers, watching


def net(norm: bool) -> nn.Sequential:
    """A net with dropout, and a batch norm where one is wanted."""
    middle = [nn.BatchNorm1d(64)] if norm else [nn.LayerNorm(64)]
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 64), *middle, nn.GELU(), nn.Linear(64, 4))


def compiled(backend: str, mode: str, folder: Path, autocast: bool) -> Any:
    """Thirty steps of a compiled model; it is watched through the model that was compiled."""
    model = net(norm=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    fast = torch.compile(model, backend=backend)
    x, y = torch.randn(64, 16), torch.randint(0, 4, (64,))
    seen: list[Tensor] = []
    with watching(mode, folder, [])(model, optimizer):
        for step in range(30):
            if step % 5 == 4:
                model.eval()
                with torch.no_grad():
                    seen.append(F.cross_entropy(fast(x).float(), y))
                model.train()
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16) if autocast else contextlib.nullcontext():
                loss = F.cross_entropy(fast(x).float(), y)
            loss.backward()
            optimizer.step()
    return [model, optimizer, seen]


def ranks(kind: str, mode: str, folder: Path, rank: int) -> Any:
    """Forty steps on two ranks with data of their own."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    model: Any = net(norm=False)
    if kind == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (2,))
        for layer in (model[0], model[3]):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    else:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(rank)
    x, y = torch.randn(32, 16), torch.randint(0, 4, (32,))
    own = folder / str(rank)
    own.mkdir()
    seen: list[Tensor] = []
    with watching(mode, own, [])(model, optimizer):
        for step in range(40):
            hold = kind == "ddp accumulating" and step % 2 == 0
            with model.no_sync() if hold else contextlib.nullcontext():
                F.cross_entropy(model(x), y).backward()
            if not hold:
                optimizer.step()
                optimizer.zero_grad()
            if step % 7 == 0:
                with torch.no_grad():
                    seen.append(F.cross_entropy(model(x), y))
    dist.barrier()
    dist.destroy_process_group()
    local = [getattr(p, "_local_tensor", p) for p in model.parameters()]
    moments = [getattr(v, "_local_tensor", v) for state in optimizer.state.values() for v in state.values()]
    return [local, moments, seen]


def main() -> None:
    kind, variant, mode, folder, rank = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if kind == "ranks":
        left = ranks(variant, mode, Path(folder), int(rank))
    else:
        left = compiled(variant, mode, Path(folder), autocast=kind.endswith("autocast"))
    print(hashlib.sha256(repr([numbers(left), numbers(torch.get_rng_state())]).encode()).hexdigest())


if __name__ == "__main__":
    main()
