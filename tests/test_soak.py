"""A long run under a watch: memory is bounded, the file stays small and readable whenever the program is killed."""

import itertools
import math
import signal
import subprocess
import sys
import time
import tracemalloc

import pytest

import isograd
from isograd import watching

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

PROGRAM = """
import sys, torch, isograd
from isograd import watching
from torch import nn
torch.set_num_threads(1)
watching._BLOCK_SECONDS = 0.02
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
with isograd.watch(net, optimizer, budget=0.5, trace=sys.argv[1]):
    step = 0
    while True:
        step += 1
        optimizer.zero_grad()
        net(torch.ones(4, 4)).square().mean().backward()
        optimizer.step()
        if step % 500 == 0:
            print(step, flush=True)
"""


def soak(steps, path=None, *, traced=True, **options):
    """A tiny training; gives the watch, and Python's memory after a tenth, a half and all of it where that is ``traced``."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer, x = torch.optim.SGD(net.parameters(), lr=0.01), torch.randn(16, 4)
    held = []
    if traced:
        tracemalloc.start()
    try:
        with isograd.watch(net, optimizer, trace=path, **options) as watch:
            for step in range(1, steps + 1):
                optimizer.zero_grad()
                loss = net(x).square().mean()
                if step == steps // 3:
                    loss = loss * 1e6
                loss.backward()
                if step == steps // 3:
                    optimizer.zero_grad()
                optimizer.step()
                if step in (steps // 10, steps // 2, steps):
                    held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return watch, held


def bounded(steps, path):
    watch, (tenth, half, whole) = soak(steps, path)
    assert watch.meter.steps == steps
    trace = watch.trace
    indices = [step.index for step in trace.steps]
    assert indices == sorted(set(indices)) and indices[0] == 1 and indices[-1] == steps
    assert steps // 3 in indices  # the extreme one stays
    assert len(indices) <= 2 * 2048 + 512
    assert whole - half < 0.5 * max(tenth, 4_000_000)
    assert path.stat().st_size < 8_000_000
    assert isograd.diagnose(path).record.steps == steps
    return watch


def test_memory_and_file_are_bounded(tmp_path, monkeypatch):
    from isograd.frameworks.torch import history

    monkeypatch.setattr(history, "GLANCES", 256)
    monkeypatch.setattr(history, "STEPS", 256)
    bounded(6_000, tmp_path / "trace.jsonl")


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_steps_are_bounded(tmp_path):
    bounded(100_000, tmp_path / "trace.jsonl")


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_steps_cost_little(tmp_path):
    watch, _ = soak(100_000, tmp_path / "trace.jsonl", traced=False)  # tracing makes Python dearer, and leaves torch as it is
    assert watch.meter.share < 0.06


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize(
    "after", [500, pytest.param(1500, marks=pytest.mark.proof), pytest.param(2500, marks=pytest.mark.proof)]
)
def test_a_program_that_is_killed_leaves_a_readable_trace(tmp_path, after):
    path = tmp_path / "trace.jsonl"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= after and path.exists():
            time.sleep(0.01 * (after % 7))
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    report = isograd.diagnose(path)
    assert report.record.steps > 1
    assert not any("recordings" in remark for remark in report.record.remarks)


def test_the_end_stands_in_the_file_with_what_became_known_on_the_way(tmp_path):
    path = tmp_path / "trace.jsonl"
    watch, _ = soak(30, path, budget=None)
    read, remarks = watching_read(path)
    assert read.ended and not remarks and read.anatomy == watch.trace.anatomy
    assert read.meter.steps == 30 and math.isclose(read.meter.own_seconds, watch.meter.own_seconds)
    again, _ = soak(30, path, budget=None)
    read, remarks = watching_read(path)
    assert any("2 recordings" in remark for remark in remarks) and len(read.steps) == len(again.trace.steps)


def watching_read(path):
    from isograd.recordings import read_trace

    return read_trace(path)


def test_blocks_come_less_often_in_a_long_run(tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    watch = isograd.watch(nn.Linear(2, 1), trace=tmp_path / "t")
    monkeypatch.setattr(watch, "_write", lambda: (written.append(now[0]), setattr(watch, "_written", now[0])))
    for second in range(20_000):
        now[0] = float(second)
        watch._looked(False)
    assert written[:3] == [2.0, 4.0, 6.0] and len(written) < 600
    assert max(b - a for a, b in itertools.pairwise(written)) <= 201.0
