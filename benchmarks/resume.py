"""Kill a training at random moments, many of them in the middle of writing a checkpoint, and see that it always goes on.

Each round starts a fresh run in a process of its own, kills it with SIGKILL (some rounds several times), starts the same
command again until it finishes, and compares the SHA-256 of all weights and every line of metrics with a run that was never
killed. `python benchmarks/resume.py [kills] [--to FILE]`; writes benchmarks/results/resume.json.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from common import table, write

KILLS = 50
IN_WRITING = 25  # so many of them are aimed at the moment in which a checkpoint is written
PER_EPOCH, BATCH, FEATURES = 30, 32, 64


def worker(folder: Path) -> None:
    """The training that is killed: everything that has state is on; tells on stdout when it writes a checkpoint."""
    import torch
    from torch.nn import functional as F

    from isograd import files
    from isograd.workbench import models, train
    from isograd.workbench.train import checkpoint

    @contextlib.contextmanager
    def told(path: Path) -> Iterator[Path]:
        os.write(1, b"w")
        with files.new_folder(path) as aside:
            yield aside
        os.write(1, b".")

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(PER_EPOCH * BATCH - 5, FEATURES, generator=generator)
    targets = (inputs[:, :8].sum(1) > 0).long() + 2 * (inputs[:, 8:16].sum(1) > 0).long()

    def batches(epoch: int, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch))
        for position in range(start, PER_EPOCH):
            chosen = order[position * BATCH : (position + 1) * BATCH]
            yield inputs[chosen], targets[chosen]

    def validate(model: torch.nn.Module) -> tuple[tuple[str, float], ...]:
        model.eval()
        with torch.no_grad():
            value = F.cross_entropy(model(inputs), targets).item()
        return (("log_loss", value),)

    options = {"hidden": [256, 256], "norm": "batch", "dropout": 0.3}
    model = models.build("mlp", inputs=(FEATURES,), outputs=4, options=options, seed=0)
    recipe = train.Recipe(
        epochs=4, batch_size=BATCH, ema=0.95, clip_norm=1.0, device="cpu", threads=1, watch=False, checkpoint_seconds=0.05
    )
    with mock.patch.object(checkpoint, "new_folder", told):
        fitted = train.fit(
            model,
            recipe=recipe,
            batches=batches,
            batches_per_epoch=PER_EPOCH,
            loss=train.loss_of("classification"),
            validate=validate,
            monitor=("log_loss", "min"),
            folder=folder,
            identity="resume",
            on_progress=lambda progress: time.sleep(0.01),  # a step costs next to nothing here: let it take some time
        )
    lines = repr([dataclasses.replace(epoch, seconds=0, rows_per_second=0) for epoch in fitted.epochs])
    damaged = sum("damaged" in remark for remark in fitted.remarks)
    journal = hashlib.sha256(lines.encode()).hexdigest()
    os.write(1, f"\ndone {fitted.last_sha256} {fitted.sha256} {journal} {damaged}\n".encode())


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--worker", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def finish(process: subprocess.Popen[bytes]) -> tuple[str, ...]:
    """What a run that nobody kills says at its end."""
    out, complaint = process.communicate()
    lines = [line for line in out.decode().splitlines() if line.startswith("done ")]
    if process.returncode or not lines:
        raise RuntimeError(f"the run did not go on: {complaint.decode()[-2000:]}")
    return tuple(lines[-1].split()[1:])


def kill(process: subprocess.Popen[bytes], chance: random.Random, aim: bool) -> str:
    """Kill it while it writes its n-th checkpoint (``aim``), or some time after its first; says what it was doing."""
    assert process.stdout is not None
    out = process.stdout.fileno()
    state, writes = "starting", 0
    wanted = chance.randint(1, 12)
    deadline = None if aim else time.monotonic() + 60
    while True:
        patience = 60.0 if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([out], [], [], patience)
        if not ready:
            break
        byte = os.read(out, 1)
        if byte in (b"", b"\n"):
            return "finished before"
        writes += byte == b"w"
        state = "writing" if byte == b"w" else "training"
        if aim and state == "writing" and writes >= wanted:
            time.sleep(chance.uniform(0.0, 0.006))  # somewhere within the some milliseconds that it takes
            break
        if not aim and writes == 1 and state == "writing":
            deadline = time.monotonic() + chance.uniform(0.0, 1.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for code in process.stdout.read():  # what it still said before it died
        state = {ord("w"): "writing", ord("."): "training"}.get(code, state)
    return state


def main(kills: int, to: Path | None) -> None:
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        expected = finish(start(Path(place) / "whole"))[:3]
        done = exact = writing = halves = damaged = rounds = 0
        while done < kills:
            folder = Path(place) / str(rounds)
            rounds += 1
            died = 0
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                state = kill(start(folder), chance, aim=chance.random() < IN_WRITING / KILLS * 1.1)
                if state == "finished before":
                    break
                died += 1
                writing += state == "writing"
                halves += any((folder / "checkpoints").glob(".aside-*"))
            said = finish(start(folder))
            damaged += int(said[3])
            done += died
            exact += died * (said[:3] == expected)
            shutil.rmtree(folder)
    rows = [
        ("kills", done),
        ("of them while a checkpoint was written", writing),
        ("of them that left a half-written one aside", halves),
        ("runs", rounds),
        ("checkpoints found damaged", damaged),
        ("kills after which all weights and metrics were the same", exact),
    ]
    print(table(rows, ("resume after SIGKILL", "count")))
    result = {"rows": dict(rows), "passed": exact == done and writing >= 0.4 * done}
    if to is None:
        write("resume", result)
    else:
        to.write_text(json.dumps(result), encoding="utf-8")
    if exact != done:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(Path(sys.argv[2]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("kills", type=int, nargs="?", default=KILLS)
        parser.add_argument("--to", type=Path, help="a file for the result, instead of benchmarks/results/")
        chosen = parser.parse_args()
        main(chosen.kills, chosen.to)
