"""isograd's training loop against a loop written by hand: the same model, data, optimizer and settings; watching off and on.

Blocks of many steps alternate between the loops in random order, each from the same initial weights; CPU time of the process
and wall time of each block, as a ratio to the hand-written block of the same round. Both end with one validation on one batch
and save model and optimizer once, by hand with torch.save.
`python benchmarks/train_throughput.py [--rounds 21] [--steps 500]`; writes benchmarks/results/train_throughput.json.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from common import median_interval, table, write
from isograd.workbench import models, train

CASES: dict[str, tuple[str, tuple[int, ...], dict[str, object], int]] = {
    "mlp 3x512, batch 128": ("mlp", (784,), {"depth": 3, "width": 512}, 128),
    "cnn, batch 32": ("cnn", (1, 28, 28), {"channels": [16, 32]}, 32),
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


def case(name: str, rounds: int, steps: int, threads: int) -> dict[str, object]:
    """The ratios of one model: CPU and wall, watching off and on."""
    kind, inputs, options, size = CASES[name]
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(size, *inputs, generator=generator), torch.randint(0, 10, (size,), generator=generator)) for _ in range(20)
    ]
    plain = train.Recipe(epochs=1, batch_size=size, warmup=0.0, device="cpu", threads=threads, watch=False)
    watched = train.Recipe(epochs=1, batch_size=size, warmup=0.0, device="cpu", threads=threads, watch=True)
    loops: dict[str, Callable[[nn.Module], object]] = {
        "by hand": lambda model: by_hand(model, plain, batches, steps),
        "watch off": lambda model: by_isograd(model, plain, batches, steps),
        "watch on": lambda model: by_isograd(model, watched, batches, steps),
    }
    times: dict[str, list[tuple[float, float]]] = {loop: [] for loop in loops}
    chance = random.Random(0)
    for turn in range(rounds + 1):
        for loop in chance.sample(sorted(loops), len(loops)):
            model = models.build(kind, inputs=inputs, outputs=10, options=options, seed=0)
            seconds = measured(lambda loop=loop, model=model: loops[loop](model))  # type: ignore[misc]
            if turn:  # the first round warms up
                times[loop].append(seconds)
    result: dict[str, object] = {"steps": steps, "rounds": rounds}
    result["step_ms"] = round(1000 * median_interval([cpu for cpu, _ in times["by hand"]])[0] / steps, 3)
    for loop in ("watch off", "watch on"):
        for clock, label in ((0, "cpu"), (1, "wall")):
            # The speed of isograd over that of the hand-written loop: 1 is as fast, 0.98 is 2 % slower.
            ratios = [hand[clock] / ours[clock] for hand, ours in zip(times["by hand"], times[loop], strict=True)]
            result[f"{loop}, {label}"] = [round(value, 4) for value in median_interval(ratios)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    results = {name: case(name, chosen.rounds, chosen.steps, chosen.threads) for name in CASES}
    rows = [
        (name, loop, *result[f"{loop}, cpu"], result[f"{loop}, wall"][0])  # type: ignore[misc, index]
        for name, result in results.items()
        for loop in ("watch off", "watch on")
    ]
    print(table(rows, ("speed of isograd / by hand", "", "cpu", "low", "high", "wall")))
    write("train_throughput", results)


if __name__ == "__main__":
    main()
