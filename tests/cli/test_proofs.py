"""The long proofs at the person's door: killed and started again, and real data to the promised figure."""

from __future__ import annotations

import json
import os
import random
import shutil
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
epochs = 6
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
    """The hashes of the tensors of every checkpoint that is left, and the metrics without their times."""
    run = next((folder / "runs").iterdir())
    files = sorted(run.glob("checkpoints/*/manifest.json"))
    tensors = [
        digest
        for file in files
        for name, digest in sorted(json.loads(file.read_text("utf-8")).items())
        if name.endswith(".safetensors")
    ]
    epochs = [json.loads(line)["record"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [*tensors, *(str((epoch["epoch"], epoch["step"], epoch["loss"], epoch["metrics"])) for epoch in epochs)]


def train(folder: Path, kill_after: float | None = None) -> int:
    command = [sys.executable, "-m", "isograd", "train", str(folder), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


@pytest.mark.proof
def test_a_training_killed_again_and_again_ends_like_one_that_never_was(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        (folder / "isograd.toml").write_text(TOML, "utf-8")
    start = time.monotonic()
    assert train(whole) == 0
    length = time.monotonic() - start
    draw = random.Random(0)
    kills = 0
    while train(cut, kill_after=draw.uniform(0.5, 1.2) * length / 2) != 0:
        kills += 1
        assert kills < 100
    assert kills >= 1
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
