"""What watching costs: CPU time of blocks of training steps with ``isograd.watch`` at its defaults over the same without.

    python benchmarks/watch_overhead.py --nets mlp cnn --pairs 20 --steps 500

Blocks are interleaved (without, with, with, without ...) and each watched block starts a watch anew, so that it pays for the
two steps that are always looked at. The results of a net replace those of an earlier run in the JSON file; the others stay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import isograd
from common import RESULTS, machine, median_interval, table, write


class Recurrent(nn.Module):
    """Two LSTM layers and a head on the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(32, 128, num_layers=2, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, time, 32) to (N, 10)."""
        logits: Tensor = self.head(self.rnn(x)[0][:, -1])
        return logits


class Transformer(nn.Module):
    """Four encoder layers of width 128 over 64 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, time) of tokens to (N, 10)."""
        logits: Tensor = self.head(self.body(self.embed(tokens)).mean(1))
        return logits


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def _cnn() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), nn.Flatten(), nn.Linear(32 * 49, 10))


@dataclass(frozen=True)
class Net:
    """A network and a batch for it."""

    build: Callable[[], nn.Module]
    inputs: Callable[[], Tensor]


NETS = {
    "mlp": Net(_mlp, lambda: torch.randn(128, 784)),
    "cnn": Net(_cnn, lambda: torch.randn(32, 1, 28, 28)),
    "lstm": Net(Recurrent, lambda: torch.randn(32, 50, 32)),
    "transformer": Net(Transformer, lambda: torch.randint(0, 100, (16, 64))),
}


@dataclass(frozen=True)
class Block:
    """Seconds of one block of steps, and what the recorder says of itself."""

    cpu: float
    wall: float
    own_share: float = 0.0
    sampled: int = 0
    normed: int = 0


class Trainee:
    """One network in training, block after block."""

    def __init__(self, net: Net) -> None:
        torch.manual_seed(0)
        self.model = net.build()
        self.x = net.inputs()
        self.y = torch.randint(0, 10, (len(self.x),))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)

    def block(self, steps: int, budget: float | None, watched: bool) -> Block:
        """Train for some steps; a watched block includes making, entering and leaving the watch."""
        cpu, wall = time.process_time(), time.perf_counter()
        watch: Any = isograd.watch(self.model, self.optimizer, budget=budget) if watched else contextlib.nullcontext()
        with watch:
            for _ in range(steps):
                self.optimizer.zero_grad()
                loss: Any = F.cross_entropy(self.model(self.x), self.y)
                loss.backward()
                self.optimizer.step()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if not watched:
            return Block(cpu, wall)
        meter = watch.meter
        return Block(cpu, wall, meter.share, meter.sampled, meter.normed)


def compared(trainee: Trainee, pairs: int, steps: int, budget: float | None) -> dict[str, Any]:
    """Ratios of watched over plain blocks, in interleaved pairs of alternating order."""
    blocks: list[tuple[Block, Block]] = []
    for pair in range(pairs):
        order = (False, True) if pair % 2 == 0 else (True, False)
        done = {watched: trainee.block(steps, budget, watched) for watched in order}
        blocks.append((done[False], done[True]))
    cpu = median_interval([watched.cpu / plain.cpu for plain, watched in blocks])
    wall = median_interval([watched.wall / plain.wall for plain, watched in blocks])
    own = median_interval([watched.own_share for _, watched in blocks])
    return {
        "steps": steps,
        "pairs": pairs,
        "plain_ms": median_interval([1000 * plain.cpu / steps for plain, _ in blocks])[0],
        "cpu_ratio": cpu,
        "wall_ratio": wall,
        "own_share": own,
        "sampled": median_interval([watched.sampled for _, watched in blocks])[0],
        "normed": median_interval([watched.normed for _, watched in blocks])[0],
        "blocks": [{"plain": asdict(plain), "watched": asdict(watched)} for plain, watched in blocks],
    }


def debt_paid(trainee: Trainee, limit: int) -> int | None:
    """The step at which the third full look comes: by then the debt of the first two is paid. None: not within ``limit``."""
    with isograd.watch(trainee.model, trainee.optimizer) as watch:
        for step in range(1, limit + 1):
            trainee.optimizer.zero_grad()
            loss: Any = F.cross_entropy(trainee.model(trainee.x), trainee.y)
            loss.backward()
            trainee.optimizer.step()
            if step % 5 == 0 and watch.meter.sampled > 2:
                return next(seen.index for seen in watch.trace.steps if seen.sampled and seen.index > 2)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--full-steps", type=int, default=30, help="steps of a block in which every step is measured")
    parser.add_argument("--full-pairs", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "watch_overhead.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    for name in options.nets:
        trainee = Trainee(NETS[name])
        trainee.block(20, None, watched=True)  # the first steps load what is loaded once
        found = compared(trainee, options.pairs, options.steps, 0.03)
        full = compared(trainee, options.full_pairs, options.full_steps, None)
        results[name] = {"default": found, "every_step": full, "debt_paid": debt_paid(trainee, 1000), "machine": machine()}
        write("watch_overhead", results)
        print(f"{name}: {found['cpu_ratio'][0]:.4f}", flush=True)
    rows = [_row(name, results[name]) for name in NETS if name in results]
    headers = ("net", "ms/step", "CPU", "95 % interval", "wall", "own clock", "sampled", "normed", "debt paid at", "every step")
    print(table(rows, headers))


def _row(name: str, found: dict[str, Any]) -> tuple[object, ...]:
    default, full = found["default"], found["every_step"]
    ratio, low, high = default["cpu_ratio"]
    return (
        name,
        f"{default['plain_ms']:.1f}",
        f"{ratio:.4f}",
        f"{low:.4f} to {high:.4f}",
        f"{default['wall_ratio'][0]:.4f}",
        f"{default['own_share'][0]:.4f}",
        f"{default['sampled']:.0f}/{default['steps']}",
        f"{default['normed']:.0f}/{default['steps']}",
        found["debt_paid"] or "not yet",
        f"{full['cpu_ratio'][0]:.2f}",
    )


if __name__ == "__main__":
    main()
