"""The long proofs of a watch: a program compiled by inductor, and two processes, end with the same bits with and without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMPILED = """
import hashlib, sys, contextlib, torch, isograd
from torch import nn
torch.manual_seed(0)
body = [nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Linear(64, 4)]
model = nn.Sequential(*body)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
fast = torch.compile(model)
x, y = torch.randn(64, 16), torch.randint(0, 4, (64,))
watch = isograd.watch(model, optimizer) if sys.argv[1] == "watched" else contextlib.nullcontext()
with watch:
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(fast(x), y).backward()
        optimizer.step()
state = b"".join(t.detach().numpy().tobytes() for t in model.state_dict().values()) + torch.get_rng_state().numpy().tobytes()
print(hashlib.sha256(state).hexdigest())
if sys.argv[1] == "watched":
    trace = watch.trace
    assert watch.meter.steps == 40, watch.meter
    assert any(any(norm for norm in step.gradient_norms) for step in trace.steps)
    assert all(layer.gradient.norm > 0.0 for layer in trace.steps[0].layers) and len(trace.steps[0].layers) >= 6
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
"""

RANK = """
import contextlib, hashlib, os, sys, torch, isograd
import torch.distributed as dist
from torch import nn
rank, mode, kind, meeting = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
if kind == "ddp":
    model = nn.parallel.DistributedDataParallel(model)
else:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
torch.manual_seed(rank)
x, y = torch.randn(32, 16), torch.randint(0, 4, (32,))
watch = isograd.watch(model, optimizer) if mode == "watched" else contextlib.nullcontext()
with watch:
    for step in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
local = [getattr(p, "_local_tensor", p).detach() for p in model.parameters()]
state = b"".join(t.contiguous().numpy().tobytes() for t in local) + torch.get_rng_state().numpy().tobytes()
print(hashlib.sha256(state).hexdigest())
if mode == "watched":
    assert watch.meter.steps == 60, watch.meter
    assert watch.report().healthy, str(watch.report())
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # DDP keeps gloo's threads, with isograd or without; now and then they abort an interpreter that closes down
"""


@pytest.mark.proof
def test_a_program_compiled_by_inductor_ends_with_the_same_bits() -> None:
    ends = [
        subprocess.run([sys.executable, "-c", COMPILED, mode], capture_output=True, text=True, timeout=600)
        for mode in ("plain", "watched")
    ]
    assert all(end.returncode == 0 for end in ends), ends[-1].stderr[-3000:]
    assert ends[0].stdout == ends[1].stdout


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_end_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    found = {}
    for mode in ("plain", "watched"):
        command = [sys.executable, "-c", RANK]
        ranks = [
            subprocess.Popen(
                [*command, str(rank), mode, kind, str(tmp_path / mode)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in (0, 1)
        ]
        ends = [rank.communicate(timeout=300) for rank in ranks]
        assert all(rank.returncode == 0 for rank in ranks), ends[0][1][-3000:] + ends[1][1][-3000:]
        found[mode] = [out for out, _ in ends]
    assert found["plain"] == found["watched"]
