"""First aid in running trainings: runs with injected accidents against the undisturbed run of the same seed, beside its rivals.

    python benchmarks/first_aid.py --seeds 20           # five programs x 20 seeds = 100 runs an arm, with four accidents each
    python benchmarks/first_aid.py --cost               # CPU time of guarded steps over the same steps unguarded

Accidents, four a run, at random steps: the rate a hundredfold for one step, inputs a hundredfold, NaN in the batch, wrong
labels, gradients a thousandfold, a rate thirtyfold for five steps. Arms: nothing; skipping what is not finite (as all the
others do, too); the gradient clipped at norm 1; AutoClip (Seetharaman et al. 2020, arXiv:2007.14469: at the 10th percentile of
all norms so far); ZClip (Kumar et al. 2025, arXiv:2504.02507: norms with z above 2.5 by running mean and deviation, brought
down to z = 2.5^2 / z); isograd.watch(act=True). The skill is accuracy, or 1 - squared error over variance, on held-out data.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import isograd
from common import RESULTS, median_interval, table, write
from first_aid_arms import ARMS, scale

ACCIDENTS = ("rate spike", "batch x100", "NaN batch", "wrong labels", "gradient burst", "rate shock")
PER_RUN = 4
QUIET = 60
"""Steps at the beginning without accident."""


@dataclass(frozen=True)
class Program:
    """A training: how the network, its optimizer and its data are made, and how many steps it takes."""

    build: Callable[[], nn.Module]
    optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    data: Callable[[], tuple[Tensor, Tensor]]
    steps: int = 400
    batch: int = 64
    schedule: bool = False


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    return torch.tensor(found.data, dtype=torch.float32) / 16.0 - 0.3, torch.tensor(found.target)


def _images() -> tuple[Tensor, Tensor]:
    x, y = _digits()
    return x.view(-1, 1, 8, 8), y


def _rows() -> tuple[Tensor, Tensor]:
    x, y = _digits()
    return x.view(-1, 8, 8), y


def _values() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 8, generator=draw)
    y = torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3] + 0.1 * torch.randn(2000, generator=draw)
    return x, (y / y.std())[:, None]


class Sequences(nn.Module):
    """An LSTM over the rows of a digit, or one transformer layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first: nn.Module = nn.LSTM(8, 48, batch_first=True) if kind == "lstm" else nn.Linear(8, 48)
        self.body = nn.Identity() if kind == "lstm" else nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, 8) to (N, 10)."""
        found = self.first(x)
        states = found[0][:, -1] if isinstance(found, tuple) else self.body(found).mean(1)
        logits: Tensor = self.head(states)
        return logits


def _mlp(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, outputs)
    )


def _cnn() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 12), *block(12, 24), nn.Flatten(), nn.Linear(96, 10))


PROGRAMS = {
    "mlp, momentum": Program(lambda: _mlp(64, 10), lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9), _digits, schedule=True),
    "mlp, adam": Program(lambda: _mlp(64, 10), lambda p: torch.optim.Adam(p, lr=1e-3), _digits, schedule=True),
    "cnn, batch norm": Program(_cnn, lambda p: torch.optim.AdamW(p, lr=2e-3), _images, schedule=True),
    "regression": Program(lambda: _mlp(8, 1), lambda p: torch.optim.Adam(p, lr=2e-3), _values, steps=600, schedule=True),
    "lstm": Program(lambda: Sequences("lstm"), lambda p: torch.optim.Adam(p, lr=1e-2), _rows, steps=500, schedule=True),
    "transformer": Program(
        lambda: Sequences("transformer"), lambda p: torch.optim.AdamW(p, lr=3e-3), _rows, steps=600, schedule=True
    ),
}


def accidents(program: Program, seed: int) -> dict[int, str]:
    """What happens at which step of a run: four different accidents, at least 15 steps apart."""
    draw = random.Random(seed)
    while True:
        steps = sorted(draw.sample(range(QUIET, program.steps - 10), PER_RUN))
        if all(later - earlier >= 15 for earlier, later in itertools.pairwise(steps)):
            return dict(zip(steps, draw.sample(ACCIDENTS, PER_RUN), strict=True))


def trained(program: Program, seed: int, arm: str, planned: dict[int, str]) -> tuple[float, int]:
    """The skill on held-out data at the end, and how many steps the arm acted on."""
    torch.manual_seed(seed)
    model, (x, y) = program.build(), program.data()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    test, train = order[: len(x) // 4], order[len(x) // 4 :]
    optimizer = program.optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], program.steps, cycle_momentum=False
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    treat, acted = ARMS[arm](), 0
    watch: Any = contextlib.nullcontext()
    if arm == "isograd":
        watch = isograd.watch(model, optimizer, act=True, keep_start=False)
    parameters = list(model.parameters())
    draw = torch.Generator().manual_seed(seed + 1)
    with watch:
        for step in range(program.steps):
            chosen = train[torch.randint(0, len(train), (program.batch,), generator=draw)]
            wrong = train[torch.randint(0, len(train), (program.batch,), generator=draw)]
            inputs, targets = x[chosen], y[chosen]
            shock = next((at for at, what in planned.items() if what == "rate shock" and at <= step < at + 5), None)
            what = planned.get(step)
            now = [group["lr"] for group in optimizer.param_groups] if program.schedule else rates
            factor = 100.0 if what == "rate spike" else 30.0 if shock is not None else 1.0
            for group, rate in zip(optimizer.param_groups, now, strict=True):
                group["lr"] = rate * factor
            if what == "batch x100":
                inputs = inputs * 100.0
            elif what == "NaN batch":
                inputs = torch.where(torch.rand(inputs.shape, generator=draw) < 0.01, math.nan, inputs)
            elif what == "wrong labels":
                targets = (targets + 1) % 10 if targets.dtype == torch.int64 else 10.0 * y[wrong]
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, targets) if targets.dtype == torch.int64 else F.mse_loss(outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            if what == "gradient burst":
                scale(parameters, 1000.0)
            did, leave = treat(parameters)
            acted += did
            if not leave:
                optimizer.step()
            for group, rate in zip(optimizer.param_groups, now, strict=True):
                group["lr"] = rate
            if program.schedule:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # an arm that leaves the first step out
                    schedule.step()
    if arm == "isograd":
        acted = len(watch.actions)
    model.eval()
    with torch.no_grad():
        outputs, targets = model(x[test]), y[test]
    if targets.dtype == torch.int64:
        return float((outputs.argmax(1) == targets).float().mean()), acted
    skill = 1.0 - float(F.mse_loss(outputs, targets) / targets.var())
    return (max(skill, -1.0) if math.isfinite(skill) else -1.0), acted


RUNS = RESULTS / "first_aid_runs.jsonl"
"""One line a run and arm, written as soon as it is done: the same command goes on where it was stopped."""


def known() -> dict[tuple[str, int, str], dict[str, Any]]:
    """The runs that are done."""
    lines = RUNS.read_text("utf-8").splitlines() if RUNS.exists() else []
    return {(row["program"], row["seed"], row["arm"]): row for row in map(json.loads, lines)}


def compared(names: list[str], seeds: range, arms: list[str], *, calm: bool) -> None:
    """Every run that is not done yet, with accidents and (``calm``) without."""
    for seed, name in itertools.product(seeds, names):
        program, done = PROGRAMS[name], known()
        missing = [arm for arm in arms if (name, seed, arm) not in done]
        if not missing:
            continue
        planned = accidents(program, seed)
        clean, _ = trained(program, seed, "nothing", {})
        for arm in missing:
            hurt, acts = trained(program, seed, arm, planned)
            row = {
                "program": name,
                "seed": seed,
                "arm": arm,
                "steps": program.steps,
                "accidents": planned,
                "undisturbed": clean,
            }
            row |= {"disturbed": hurt, "actions": acts, "calm": None, "calm_actions": None}
            if arm in ("nothing", "skip"):
                row |= {"calm": clean, "calm_actions": 0}
            elif calm:
                row["calm"], row["calm_actions"] = trained(program, seed, arm, {})
            with RUNS.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            print(name, seed, arm, f"{hurt - clean:+.3f}", flush=True)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        if not mine:
            continue
        loss = [row["disturbed"] - row["undisturbed"] for row in mine]
        calm = [row for row in mine if row["calm"] is not None]
        harm = [row["calm"] - row["undisturbed"] for row in calm]
        found.append(
            {
                "arm": arm,
                "runs": len(mine),
                "within_.01": sum(value >= -0.01 for value in loss) / len(mine),
                "mean": statistics.fmean(loss),
                "worst": min(loss),
                "calm_runs": len(calm),
                "calm_mean": statistics.fmean(harm) if calm else None,
                "calm_worst": min(harm, default=None),
                "calm_actions_per_1000": 1000 * sum(row["calm_actions"] for row in calm) / sum(row["steps"] for row in calm)
                if calm
                else None,
            }
        )
    return found


@dataclass(frozen=True)
class Cost:
    """CPU seconds of blocks of steps with ``act`` over those without, and over those without a watch."""

    net: str
    optimizer: str
    over_watched: tuple[float, float, float]
    over_plain: tuple[float, float, float]
    memory_mb: float


def cost(net: str, name: str, pairs: int, steps: int) -> Cost:
    from watch_overhead import NETS

    torch.manual_seed(0)
    model = NETS[net].build()
    x = NETS[net].inputs()
    y = torch.randint(0, 10, (len(x),))
    make = {"momentum": lambda: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)}
    make["adam"] = lambda: torch.optim.Adam(model.parameters(), lr=1e-5)  # type: ignore[assignment,return-value]
    optimizer: torch.optim.Optimizer = make[name]()

    def block(act: bool | None, watched: bool) -> float:
        watch: Any = isograd.watch(model, optimizer, act=act, keep_start=False) if watched else contextlib.nullcontext()
        began = time.process_time()
        with watch:
            for _ in range(steps):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return time.process_time() - began

    block(True, True)
    watched, plain = [], []
    for _ in range(pairs):
        bare, without, guarded = block(None, False), block(None, True), block(True, True)
        watched.append(guarded / without)
        plain.append(guarded / bare)
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    kept = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
    return Cost(net, name, median_interval(watched), median_interval(plain), kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=17, help="seeds of each program")
    parser.add_argument("--first", type=int, default=1000, help="the first of them")
    parser.add_argument("--cost", action="store_true", help="measure the cost of guarding instead")
    parser.add_argument("--nets", nargs="+", default=["mlp", "cnn", "lstm", "transformer", "deep", "resnet20"])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rough", action="store_true", help="only with accidents, not without")
    options = parser.parse_args()
    logging.getLogger("isograd").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    old = RESULTS / "first_aid.json"
    result: dict[str, Any] = json.loads(old.read_text("utf-8"))["result"] if old.exists() else {}
    if options.cost:
        found = [cost(net, name, options.pairs, options.steps) for net in options.nets for name in ("momentum", "adam")]
        lines = [(one.net, one.optimizer, one.over_watched[0], one.over_plain[0], one.memory_mb) for one in found]
        print(table(lines, ("net", "optimizer", "over watched", "over plain", "MB kept")))
        result["cost"] = [asdict(one) for one in found]
    else:
        RESULTS.mkdir(exist_ok=True)
        compared(options.programs, range(options.first, options.first + options.seeds), options.arms, calm=not options.rough)
        result["summary"] = summary(list(known().values()))
        print(table([tuple(one.values()) for one in result["summary"]], list(result["summary"][0])))
    write("first_aid", result)


if __name__ == "__main__":
    main()
