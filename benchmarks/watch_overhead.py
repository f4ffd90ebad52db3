"""What watching costs: CPU time of blocks of training steps with ``isograd.watch`` at its defaults over the same without.

    python benchmarks/watch_overhead.py --nets mlp cnn --pairs 20 --steps 500
    python benchmarks/watch_overhead.py --arms autocast compiled ranks --nets mlp transformer

Blocks are interleaved (without, with, with, without ...) and each watched block starts a watch anew, so that it pays for the
two steps that are always looked at. The arms are the plain loop, bfloat16 autocast, ``torch.compile`` and two processes that
average their gradients over gloo, whose CPU times are added. The results of a net and an arm replace those of an earlier run in
the JSON file; the others stay.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.distributed
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


class Block20(nn.Module):
    """Two convolutions with batch norm around a skip, halving the picture where the channels double."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = outputs // inputs
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, size, size) to (N, outputs, size / stride, size / stride)."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.skip(x))


def _resnet20() -> nn.Module:
    """He et al. 2016, section 4.2, with n = 3."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Block20(inputs, outputs) for inputs, outputs in pairwise(widths)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _deep() -> nn.Module:
    """200 layers of 64, at the scale that keeps the signal."""
    layers: list[nn.Module] = []
    for _ in range(199):
        layers += [nn.Linear(64, 64), nn.Tanh()]
        nn.init.orthogonal_(layers[-2].get_parameter("weight"), 1.02)
    return nn.Sequential(*layers, nn.Linear(64, 10))


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
    "deep": Net(_deep, lambda: torch.randn(64, 64)),
    "resnet20": Net(_resnet20, lambda: torch.randn(8, 3, 32, 32)),
}
ARMS = ("plain", "autocast", "compiled", "ranks")


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

    def __init__(self, net: Net, arm: str = "plain") -> None:
        torch.manual_seed(0)
        self.model: nn.Module = net.build()
        self.autocast = arm == "autocast"
        if arm == "compiled":
            self.model = torch.compile(self.model)  # type: ignore[assignment]
        if arm == "ranks":
            self.model = nn.parallel.DistributedDataParallel(self.model)
        self.x = net.inputs()
        self.y = torch.randint(0, 10, (len(self.x),))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)

    def train(self, steps: int) -> None:
        """The loop itself."""
        for _ in range(steps):
            self.optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
                loss: Any = F.cross_entropy(self.model(self.x), self.y)
            loss.backward()
            self.optimizer.step()

    def block(self, steps: int, budget: float | None, watched: bool) -> Block:
        """Train for some steps; a watched block includes making, entering and leaving the watch."""
        cpu, wall = time.process_time(), time.perf_counter()
        watch: Any = isograd.watch(self.model, self.optimizer, budget=budget) if watched else contextlib.nullcontext()
        with watch:
            self.train(steps)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if not watched:
            return Block(cpu, wall)
        meter = watch.meter
        return Block(cpu, wall, meter.share, meter.sampled, meter.normed)


Pairs = list[tuple[Block, Block]]


def measured(trainee: Trainee, pairs: int, steps: int, budget: float | None) -> Pairs:
    """Plain and watched blocks, in interleaved pairs of alternating order."""
    blocks: Pairs = []
    for pair in range(pairs):
        order = (False, True) if pair % 2 == 0 else (True, False)
        done = {watched: trainee.block(steps, budget, watched) for watched in order}
        blocks.append((done[False], done[True]))
    return blocks


def compared(blocks: Pairs, steps: int) -> dict[str, Any]:
    """Ratios of watched over plain blocks."""
    cpu = median_interval([watched.cpu / plain.cpu for plain, watched in blocks])
    wall = median_interval([watched.wall / plain.wall for plain, watched in blocks])
    own = median_interval([watched.own_share for _, watched in blocks])
    return {
        "steps": steps,
        "pairs": len(blocks),
        "plain_ms": median_interval([1000 * plain.cpu / steps for plain, _ in blocks])[0],
        "cpu_ratio": cpu,
        "wall_ratio": wall,
        "own_share": own,
        "sampled": median_interval([watched.sampled for _, watched in blocks])[0],
        "normed": median_interval([watched.normed for _, watched in blocks])[0],
        "blocks": [{"plain": asdict(plain), "watched": asdict(watched)} for plain, watched in blocks],
    }


def trained(name: str, arm: str, options: argparse.Namespace) -> dict[str, Any]:
    """The blocks of one net in this process: at the default budget, with every step measured, and when the debt is paid."""
    trainee = Trainee(NETS[name], arm)
    trainee.block(20, None, watched=True)  # the first steps load what is loaded once
    default = measured(trainee, options.pairs, options.steps, 0.03)
    full = measured(trainee, options.full_pairs, options.full_steps, None)
    return {"default": default, "every_step": full, "debt_paid": debt_paid(trainee, 2 * options.steps)}


def ranked(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same in two processes; CPU times are added, shares averaged, the wall is that of the slower."""
    numbers = [f"--{key}={getattr(options, key.replace('-', '_'))}" for key in ("pairs", "steps", "full-pairs", "full-steps")]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--nets", name, *numbers, "--meeting", f"{folder}/meeting", "--rank"]
        started = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in (0, 1)]
        done = [json.loads(process.communicate()[0]) for process in started]
    found: dict[str, Any] = {"debt_paid": done[0]["debt_paid"]}
    for kind in ("default", "every_step"):
        found[kind] = [
            tuple(_both(Block(**one), Block(**other)) for one, other in zip(first, second, strict=True))
            for first, second in zip(done[0][kind], done[1][kind], strict=True)
        ]
    return found


def _both(one: Block, other: Block) -> Block:
    share = (one.own_share * one.cpu + other.own_share * other.cpu) / (one.cpu + other.cpu)
    return Block(one.cpu + other.cpu, max(one.wall, other.wall), share, max(one.sampled, other.sampled), one.normed)


def as_rank(options: argparse.Namespace) -> None:
    """One of the two processes: trains and prints its blocks as JSON."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{options.meeting}", rank=options.rank, world_size=2)
    found = trained(options.nets[0], "ranks", options)
    torch.distributed.destroy_process_group()
    blocks = {kind: [[asdict(block) for block in pair] for pair in found[kind]] for kind in ("default", "every_step")}
    print(json.dumps(blocks | {"debt_paid": found["debt_paid"]}))


def debt_paid(trainee: Trainee, limit: int) -> int | None:
    """The step at which the third full look comes: by then the debt of the first two is paid. None: not within ``limit``."""
    with isograd.watch(trainee.model, trainee.optimizer) as watch:
        for step in range(1, limit + 1):
            trainee.train(1)
            if step % 5 == 0 and everywhere(watch.meter.sampled > 2):
                return next(seen.index for seen in watch.trace.steps if seen.sampled and seen.index > 2)
    return None


def everywhere(here: bool) -> bool:
    """Whether it is so on every rank: ranks that leave a loop one by one leave the others waiting."""
    if not torch.distributed.is_initialized():
        return here
    least = torch.tensor(float(here))
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return bool(least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--full-steps", type=int, default=30, help="steps of a block in which every step is measured")
    parser.add_argument("--full-pairs", type=int, default=6)
    parser.add_argument("--dry", action="store_true", help="print and write no file")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["plain"])
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.rank is not None:
        as_rank(options)
        return
    path = RESULTS / "watch_overhead.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    for name, arm in itertools.product(options.nets, options.arms):
        found = ranked(name, options) if arm == "ranks" else trained(name, arm, options)
        key = name if arm == "plain" else f"{name}, {arm}"
        default = compared(found["default"], options.steps)
        full = compared(found["every_step"], options.full_steps)
        results[key] = {"default": default, "every_step": full, "debt_paid": found["debt_paid"], "machine": machine()}
        if options.dry:
            continue
        write("watch_overhead", results)
        print(f"{key}: {default['cpu_ratio'][0]:.4f}", flush=True)
    keys = [name if arm == "plain" else f"{name}, {arm}" for name in NETS for arm in ARMS]
    rows = [_row(key, results[key]) for key in keys if key in results]
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
