"""The long proofs at the person's door: killed and started again, and real data to the promised figure."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = os.environ.get("ISOGRAD_DATA", "")
TOML = """\
name = "killed"
task = "image-classification"
[data]
source = "builtin:digits"
[model]
kind = "cnn"
channels = [16, 32]
dropout = 0.2
[train]
epochs = 40
schedule = "plateau"
optimizer = "sgd"
learning_rate = 0.05
ema = 0.9
checkpoint_seconds = 0.2
"""

needs_mnist = pytest.mark.skipif(
    not (Path(DATA) / "mnist-5k").is_dir() and "ISOGRAD_REQUIRE_DATA" not in os.environ,
    reason="no MNIST: name the folder that holds mnist-5k with ISOGRAD_DATA",
)


def weights(folder: Path) -> list[str]:
    """The hash of all tensors of the last checkpoint, and the metrics without their times."""
    run = next((folder / "runs").iterdir())
    last = max((run / "checkpoints").iterdir(), key=lambda step: int(step.name))  # the one before depends on the clock
    tensors = json.loads((last / "manifest.json").read_text("utf-8"))["tensors.safetensors"]
    epochs = [json.loads(line)["record"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [last.name, tensors, *(str((epoch["epoch"], epoch["step"], epoch["loss"], epoch["metrics"])) for epoch in epochs)]


def train(folder: Path, kill_after: float | None = None) -> int:
    """Run the command; with ``kill_after``, kill it so many seconds after it wrote a checkpoint of its own."""

    def written() -> set[str]:
        return {path.name for path in folder.glob("runs/*/checkpoints/[0-9]*")}

    before = written()
    command = [sys.executable, "-m", "isograd", "train", str(folder), "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    while kill_after is not None and process.poll() is None:
        if written() - before:
            time.sleep(kill_after)
            process.kill()
            break
        time.sleep(0.01)
    return process.wait(timeout=1200)  # a busy machine is no failure


@pytest.mark.proof
def test_a_training_killed_again_and_again_ends_like_one_that_never_was(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        (folder / "isograd.toml").write_text(TOML, "utf-8")
    assert train(whole) == 0
    draw = random.Random(0)
    ends: list[int] = []
    while len(ends) < 5 and 0 not in ends:
        ends.append(train(cut, kill_after=draw.uniform(0.0, 0.3)))
    assert -signal.SIGKILL in ends
    if ends[-1] != 0:
        assert train(cut) == 0
    assert weights(cut) == weights(whole)
    assert len(list((cut / "runs").iterdir())) == 1


@pytest.mark.proof
@needs_mnist
def test_the_mnist_project_reaches_its_goal(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "mnist" / "isograd.toml", tmp_path)
    command = [sys.executable, "-m", "isograd", "run", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, env=os.environ | {"OMP_NUM_THREADS": ""})
    assert done.returncode in (0, 3), done.stderr[-2000:]
    accuracy = json.loads(done.stdout)["record"]["metrics"][0]
    assert accuracy["name"] == "accuracy"
    assert accuracy["value"] >= 0.98


@needs_mnist
def test_the_example_of_a_loop_of_your_own_runs_on_a_few_rows() -> None:
    command = [sys.executable, str(ROOT / "examples" / "mnist_cnn.py"), "--epochs", "2", "--rows", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "accuracy on 10,000 test images: 0.9" in done.stdout or "accuracy on 10,000 test images: 0.8" in done.stdout
