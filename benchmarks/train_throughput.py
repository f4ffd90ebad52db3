"""isograd's training loop against a loop written by hand, for every family: same model, data, optimizer; watching off and on.

Blocks of many steps alternate between the loops in random order, each from the same initial weights; CPU time of the process
and wall time of each block, as a ratio to the hand-written block of the same round. Both end with one validation on one batch
and save model and optimizer once, by hand with torch.save. A block has as many steps as fill ``--seconds`` by hand.
`python benchmarks/train_throughput.py [--only FAMILY ...] [--rounds 5] [--seconds 7]`; writes
benchmarks/results/train_throughput.json, family by family, each with the load of the machine and the day; those that were not
asked for keep their figures.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from common import RESULTS, machine, median_interval, table, write
from isograd.workbench import models, train

WORDS = 5_000


class Case(NamedTuple):
    """A network of a family, the shape of one example, and the rows of a batch."""

    inputs: tuple[int, ...]
    options: Mapping[str, object] = MappingProxyType({})
    size: int = 64
    known: models.Known = models.Known()


CATEGORIES = tuple((feature, 10) for feature in range(8, 14))
TEXT = models.Known(vocabulary=WORDS)
CASES: dict[str, Case] = {
    "linear": Case((784,), size=256),
    "mlp": Case((784,), {"depth": 3, "width": 512}, 128),
    "tabular": Case((14,), {}, 256, models.Known(numbers=tuple(range(8)), categories=CATEGORIES)),
    "cnn": Case((1, 28, 28), {"channels": [16, 32]}, 32),
    "resnet": Case((3, 32, 32), {"channels": [16, 32, 64]}, 32),
    "mobilenet": Case((3, 32, 32), {"channels": [16, 32, 64]}, 32),
    "crnn": Case((1, 64, 64), {"channels": [16, 32]}, 32),
    "rnn": Case((50, 8), {}, 64),
    "gru": Case((50, 8), {}, 64),
    "lstm": Case((50, 8), {}, 64),
    "tcn": Case((50, 8), {}, 64),
    "bag": Case((30,), {}, 64, TEXT),
    "text-cnn": Case((60,), {}, 32, TEXT),
    "transformer": Case((64,), {}, 32, TEXT),
}
Batch = tuple[torch.Tensor, torch.Tensor]


def by_hand(model: nn.Module, recipe: train.Recipe, batches: list[Batch], steps: int) -> float:
    """What anybody would write: the running loss, a validation, a file at the end; gives the mean loss."""
    torch.manual_seed(0)
    optimizer = train.make_optimizer(model.parameters(), recipe)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    total, seen = 0.0, 0
    model.train()
    for step in range(steps):
        inputs, targets = batches[step % len(batches)]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += loss.item() * len(inputs)
        seen += len(inputs)
    value = validate(model, batches[0])
    with tempfile.TemporaryDirectory() as folder:
        saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loss": total / seen, "log_loss": value}
        torch.save(saved, Path(folder) / "checkpoint.pt")
    return total / seen


def validate(model: nn.Module, batch: Batch) -> float:
    """The loss on one batch."""
    with torch.no_grad():
        return F.cross_entropy(model(batch[0]), batch[1]).item()


def by_isograd(model: nn.Module, recipe: train.Recipe, batches: list[Batch], steps: int) -> None:
    """The same through ``fit``, as a project runs it, with a listener."""

    def given(epoch: int, start: int) -> Iterator[Batch]:
        for step in range(start, steps):
            yield batches[step % len(batches)]

    with tempfile.TemporaryDirectory() as folder:
        train.fit(
            model,
            recipe=recipe,
            batches=given,
            batches_per_epoch=steps,
            loss=F.cross_entropy,
            validate=lambda model: (("log_loss", validate(model, batches[0])),),
            monitor=("log_loss", "min"),
            folder=Path(folder),
            identity="throughput",
            on_progress=lambda progress: None,
        )


def measured(run: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this process, and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def batches_of(case: Case) -> list[Batch]:
    """Twenty batches of noise; categories and tokens are whole numbers from 1 on."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(20):
        if case.known.vocabulary:
            inputs = torch.randint(1, case.known.vocabulary, (case.size, *case.inputs), generator=generator)
        else:
            inputs = torch.randn(case.size, *case.inputs, generator=generator)
            for feature, values in case.known.categories:
                inputs[:, feature] = torch.randint(1, values, (case.size,), generator=generator).float()
        found.append((inputs, torch.randint(0, 10, (case.size,), generator=generator)))
    return found


def ratios(kind: str, rounds: int, seconds: float, threads: int) -> dict[str, Any]:
    """The ratios of one family: CPU and wall, watching off and on."""
    case, batches = CASES[kind], batches_of(CASES[kind])
    plain = train.Recipe(epochs=1, batch_size=case.size, warmup=0.0, device="cpu", threads=threads, watch=False)
    watched = replace(plain, watch=True)
    loops: dict[str, Callable[[nn.Module, int], object]] = {
        "by hand": lambda model, steps: by_hand(model, plain, batches, steps),
        "watch off": lambda model, steps: by_isograd(model, plain, batches, steps),
        "watch on": lambda model, steps: by_isograd(model, watched, batches, steps),
    }

    def took(loop: str, steps: int) -> tuple[float, float]:
        model = models.build(
            kind, inputs=case.inputs, outputs=10, options=case.options, seed=0, known=replace(case.known, rows=batches[0][0])
        )
        return measured(lambda: loops[loop](model, steps))

    for loop in loops:
        took(loop, 20)  # what only the first steps of a process cost
    steps = max(50, round(seconds / (took("by hand", 60)[0] / 60)))
    times: dict[str, list[tuple[float, float]]] = {loop: [] for loop in loops}
    chance = random.Random(0)
    for _ in range(rounds):
        for loop in chance.sample(sorted(loops), len(loops)):
            times[loop].append(took(loop, steps))
    here = machine()
    result: dict[str, Any] = {"date": here["date"], "load": here["load"], "steps": steps, "rounds": rounds}
    result["step_ms"] = round(1000 * median_interval([cpu for cpu, _ in times["by hand"]])[0] / steps, 3)
    for loop in ("watch off", "watch on"):
        for clock, label in ((0, "cpu"), (1, "wall")):
            # The speed of isograd over that of the hand-written loop: 1 is as fast, 0.98 is 2 % slower.
            found = [hand[clock] / ours[clock] for hand, ours in zip(times["by hand"], times[loop], strict=True)]
            result[f"{loop}, {label}"] = [round(value, 4) for value in median_interval(found)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    place = RESULTS / "train_throughput.json"
    results: dict[str, Any] = json.loads(place.read_text("utf-8"))["result"] if place.exists() else {}
    for kind in chosen.only:
        results[kind] = ratios(kind, chosen.rounds, chosen.seconds, chosen.threads)
        write("train_throughput", {kind: results[kind] for kind in CASES if kind in results})
    rows = [
        (kind, result["load"], result["step_ms"], loop, *result[f"{loop}, cpu"], result[f"{loop}, wall"][0])
        for kind, result in results.items()
        if kind in CASES
        for loop in ("watch off", "watch on")
    ]
    print(table(rows, ("speed of isograd / by hand", "load", "ms a step", "", "cpu", "low", "high", "wall")))


if __name__ == "__main__":
    main()
