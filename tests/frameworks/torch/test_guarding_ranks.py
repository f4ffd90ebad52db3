"""The long proof of first aid in two processes: both decide the same, from what only one of them has seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RANK = """
import contextlib, hashlib, json, os, sys, warnings, torch, isograd
import torch.distributed as dist
from torch import nn
rank, kind, meeting = int(sys.argv[1]), sys.argv[2].split()[0], sys.argv[3]
clipped, lasting = "clipped" in sys.argv[2], "lasting" in sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
if kind in ("ddp", "alone"):
    model = nn.parallel.DistributedDataParallel(model)
elif kind == "fsdp":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
torch.manual_seed(rank)
act = None if kind == "alone" and rank else True
with isograd.watch(model, optimizer, act=act, keep_start=False) as watch, warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for step in range(80 if lasting else 60):
        x = torch.randn(32, 16)
        y = x[:, :4].argmax(1)
        if step == 30 and rank == 1:
            x, y = 100.0 * x, (y + 1) % 4  # one rank has a bad batch
        if step == 40 and rank == 0:
            x = x * float("nan")
        if clipped and step == 20:
            watch._aid._guard.clip = 1e-3  # as where trouble lasts
        optimizer.param_groups[0]["lr"] = 10.0 if step == 50 or (lasting and step > 41) else 1e-2
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
whole = [(p.full_tensor() if hasattr(p, "full_tensor") else p).detach() for p in model.parameters()]
local = [getattr(p.grad, "_local_tensor", p.grad) for p in model.parameters()]
print(json.dumps({
    "local": 0.0 if not clipped else sum(float(one.square().sum()) for one in local),
    "weights": hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in whole)).hexdigest(),
    "finite": all(bool(t.isfinite().all()) for t in whole),
    "actions": [(action.step, action.kind, action.reason, action.value) for action in watch.actions],
    "state": watch.state_dict(),
    "said": [str(one.message) for one in caught if "first aid" in str(one.message)],
}))
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # DDP keeps gloo's threads, with isograd or without; now and then they abort an interpreter that closes down
"""


def two_ranks(kind: str, tmp_path: Path) -> list[dict[str, object]]:
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), kind, str(tmp_path / "meeting")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    ends = [rank.communicate(timeout=200) for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), ends[0][1][-3000:] + ends[1][1][-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in ends]


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_every_rank_takes_the_same_decision(kind: str, tmp_path: Path) -> None:
    first, second = two_ranks(kind, tmp_path)
    assert json.dumps(first) == json.dumps(second)  # NaN does not equal itself
    assert first["finite"] and not first["said"]
    assert [action[:3] for action in first["actions"]] == [
        [31, "rejected", "loss"],
        [41, "rejected", "nonfinite"],
        [51, "rejected", "update"],
    ]


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["alone", "by hand"])
def test_where_not_every_rank_takes_part_none_acts_and_none_waits(kind: str, tmp_path: Path) -> None:
    ends = two_ranks(kind, tmp_path)
    assert [end["actions"] for end in ends] == [[], []]
    assert "every rank must watch" in str(ends[0]["said"])


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_bound_on_the_gradient_is_one_for_all_ranks(kind: str, tmp_path: Path) -> None:
    first, second = two_ranks(f"{kind} clipped", tmp_path)
    assert first["weights"] == second["weights"] and first["finite"] and not first["said"]
    square = float(str(first["local"])) + float(str(second["local"]))  # replicas count twice, as in the bound
    assert square == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_every_rank_goes_back_to_the_same_state_and_holds_the_same_rate(kind: str, tmp_path: Path) -> None:
    first, second = two_ranks(f"{kind} lasting", tmp_path)
    assert json.dumps(first["actions"]) == json.dumps(second["actions"]) and first["weights"] == second["weights"]
    assert first["finite"] and not first["said"]
    kinds = [action[1] for action in first["actions"]]
    assert kinds.count("back") == kinds.count("held") == 1 and kinds.index("back") > kinds.index("accepted")
