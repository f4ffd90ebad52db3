"""Two processes: ranks that train apart are told of, by what each lays into the store; those that only look so are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isograd.frameworks.torch.replicas import Sample, distance, due

RANK = """
import contextlib, copy, json, os, sys, torch, isograd
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
rank, meeting = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
rule = torch.randn(8, 3, generator=torch.Generator().manual_seed(5))

def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

def mean(model, of="grad"):
    for p in model.parameters():
        value = p.grad if of == "grad" else p.data
        dist.all_reduce(value)
        value /= 2

class Parallel(nn.Module):  # columns of one layer on each rank, born alike
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)
    def forward(self, x):
        part = self.second(self.first(x).relu() * (1.0 + rank))
        whole = part.detach().clone()
        dist.all_reduce(whole)
        return part + (whole - part.detach())

def run(kind):
    torch.manual_seed(rank if kind in ("born apart", "ensemble") else 0)
    model = Parallel() if kind == "columns" else net()
    wrapped = kind not in ("ensemble", "averaged weights", "after the step", "copy", "by hand", "columns", "born apart")
    ddp = DDP(model, find_unused_parameters=kind == "new head") if wrapped else model
    if kind == "new head":
        model[4] = nn.Linear(16, 3)
    if kind == "loaded on one" and rank == 1:
        for p in model.parameters():
            p.data.mul_(1.5)
    if kind == "own mean":
        ddp.register_comm_hook(None, lambda state, bucket: done(bucket))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    torch.manual_seed(7 if kind in ("same data", "columns") else 10 + rank)
    watching = rank == 0 or kind != "watched by one"
    with isograd.watch(ddp, optimizer, keep_start=False) if watching else contextlib.nullcontext() as watch:
        for step in range(1, 41):
            for part in range(2):
                x = torch.randn(16, 8)
                y = ((x @ rule).argmax(1) + (rank if kind == "past, counted" else 0)) % 3
                first = part == 0
                off = kind in ("no sync", "local sgd") or (kind == "accumulates" and first)
                with ddp.no_sync() if off else contextlib.nullcontext():
                    called = model if kind in ("past", "watched by one", "past, by hand", "past, counted") else ddp
                    nn.functional.cross_entropy(called(x), y).backward()
                if kind != "accumulates":
                    break
            if kind in ("by hand", "past, by hand", "born apart"):
                mean(model)
            if kind == "copy":
                for p in model.parameters():
                    dist.all_reduce(p.grad / 2)
            optimizer.step()
            if kind == "after the step":
                mean(model)
            if kind in ("averaged weights", "local sgd") and step % 5 == 0:
                mean(model, "data")
            optimizer.zero_grad()
            if kind == "past, counted" and step % 10 == 0:
                dist.all_reduce(torch.ones(1))
            if kind == "evaluated":
                model.eval()
                with torch.no_grad():
                    model(x)
                model.train()
    if watching:
        report = watch.report()
        print(json.dumps([kind, [(f.severity, f.where, f.cause or "") for f in report.findings if f.disease == "ranks_apart"]]))

def done(bucket):
    future = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future

for kind in sys.argv[3].split(";"):
    run(kind)
    dist.barrier()
dist.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # DDP keeps gloo's threads, with isograd or without
"""
SICK = {
    "past": ("loop", "the module inside"),
    "past, counted": ("loop", "the module inside"),
    "no sync": ("loop", "every backward pass"),
    "watched by one": ("loop", "the module inside"),
    "new head": ("4", "the model was changed"),
    "loaded on one": ("loop", "the weights were drawn"),
    "born apart": ("loop", "the weights were drawn"),
    "after the step": ("loop", "the mean is taken"),
    "copy": ("loop", "the mean is taken"),
    "same data": ("data", "no sampler"),
}
SOUND = "sound;accumulates;evaluated;by hand;past, by hand;local sgd;averaged weights;ensemble;columns;own mean"


def together(folder: Path, kinds: str) -> list[dict[str, Any]]:
    """What two ranks say of each kind."""
    call = [sys.executable, "-c", RANK]
    started = [
        subprocess.Popen([*call, str(rank), str(folder / "meeting"), kinds], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    texts = [one.communicate(timeout=300)[0] for one in started]
    assert [one.returncode for one in started] == [0, 0]
    return [dict(json.loads(line) for line in text.splitlines() if line.startswith("[")) for text in texts]


def test_ranks_that_train_apart_are_told_of_with_the_reason(tmp_path: Path) -> None:
    first, second = together(tmp_path, ";".join(SICK))
    for kind, (where, cause) in SICK.items():
        for said in (first, second) if kind != "watched by one" else (first,):
            assert [(found[1], found[2][: len(cause)]) for found in said[kind]] == [(where, cause)], kind
            assert said[kind][0][0] == ("warning" if kind == "same data" else "critical")


def test_ranks_that_go_together_or_apart_on_purpose_are_not(tmp_path: Path) -> None:
    for said in together(tmp_path, SOUND):
        assert said == {kind: [] for kind in SOUND.split(";")}


def test_the_steps_that_are_compared_are_fixed_by_their_number() -> None:
    assert [step for step in range(1, 70) if due(step)] == [1, 2, 4, 8, 16, 32, 64]


def test_a_sample_of_other_layers_is_not_compared() -> None:
    mine = Sample(("a", "b"), ((1.0, 2.0), (3.0,)), ((0.5, 0.0), (1.0,)), (7.0,))
    assert mine.unpacked(mine.packed()) == mine
    other = Sample(("a", "c"), mine.weights, mine.gradients, mine.batch)
    assert mine.unpacked(other.packed()) is None


def test_the_distance_of_tensors_is_relative() -> None:
    assert distance((3.0, 4.0), (3.0, 4.0)) == 0.0
    assert distance((1e-8, 0.0), (0.0, 1e-8)) == pytest.approx(2**0.5)
    assert not distance((float("nan"),), (1.0,)) <= 1.0
