"""Deep plain networks from bad initial weights: how many train as well as a healthy one, before and after cure.

    python benchmarks/deep_plain.py [--limit 40] [--skip 0] [--families mlp,cnn,rnn]

Perceptrons of 10 to 200 layers, convolutional networks of 10 to 100 and simple recurrent networks over 20 to 500 steps, without
normalisation or residual paths, with each bad initialisation and each activation. Each is cured with a budget of BUDGET runs of
STEPS steps; then the untouched program, the cured one and a healthy one of the same task (a shallow network with the weights
that its activation asks for; a GRU) run on FRESH seeds. Parity is at least ENOUGH of what the healthy one reaches. "In place"
says that the proven edits keep the weights. Cases are taken evenly from the grid, appended to .benchmarks/deep_plain.jsonl as
they end, and not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from common import machine, table, write
from isograd.curing import cured
from isograd.errors import IsogradError
from isograd.frameworks.torch.births import TorchBirths
from isograd.records.edit import Edit
from isograd.spending import Budget

BUDGET, STEPS, WIDTH, CHANNELS = 24.0, 120, 24, 6
FRESH, FIRST_FRESH, ENOUGH = 3, 9_000, 0.95
LOG = Path(__file__).resolve().parents[1] / ".benchmarks" / "deep_plain.jsonl"
DEPTHS = {"mlp": (10, 20, 50, 100, 200), "cnn": (10, 30, 100), "rnn": (20, 50, 100, 500)}
CURVES = {
    "mlp": ("sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu"),
    "cnn": ("sigmoid", "tanh", "relu", "selu"),
    "rnn": ("tanh", "relu"),
}
STARTS = ("zeros", "one number", "far too small", "far too large", "as torch draws", "biases far below zero")
MODULES: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
}


class Case(NamedTuple):
    """One program of the grid."""

    family: str
    depth: int
    curve: str
    start: str

    @property
    def key(self) -> str:
        """What it is called."""
        return f"{self.family}:{self.depth}:{self.curve}:{self.start}"


GRID = [
    Case(family, depth, curve, start)
    for family in DEPTHS
    for depth, curve, start in product(DEPTHS[family], CURVES[family], STARTS)
]


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last state."""

    def __init__(self, layer: nn.RNNBase, classes: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(examples, steps, 2) -> (examples, classes)."""
        out: Tensor = self.head(self.layer(x)[0][:, -1])
        return out


def network(case: Case) -> nn.Module:
    """The plain network, with weights as torch draws them."""
    if case.family == "rnn":
        return Recurrent(nn.RNN(2, WIDTH, nonlinearity=case.curve, batch_first=True), 2)
    curve = MODULES[case.curve]
    if case.family == "mlp":
        hidden = [part for _ in range(case.depth - 2) for part in (nn.Linear(WIDTH, WIDTH), curve())]
        return nn.Sequential(nn.Linear(8, WIDTH), curve(), *hidden, nn.Linear(WIDTH, 3))
    inner = [part for _ in range(case.depth - 2) for part in (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), curve())]
    return nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3, padding=1), curve(), *inner, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * CHANNELS, 3)
    )


def spoiled(net: nn.Module, start: str) -> nn.Module:
    """The network with bad initial weights."""
    with torch.no_grad():
        for parameter in net.parameters():
            if start == "zeros":
                parameter.zero_()
            elif start == "one number":
                parameter.fill_(0.05)
            elif start == "far too small":
                parameter.mul_(0.05)
            elif start == "far too large":
                parameter.mul_(6.0)
            elif start == "biases far below zero" and parameter.ndim == 1:
                parameter.fill_(-3.0)
    return net


def healthy(case: Case) -> nn.Module:
    """A network of which it is known that it learns the task."""
    if case.family == "rnn":
        gated = Recurrent(nn.GRU(2, WIDTH, batch_first=True), 2)
        with torch.no_grad():  # an update gate that keeps, from the start, for as long as the sequence is
            for name in ("bias_ih_l0", "bias_hh_l0"):
                getattr(gated.layer, name)[WIDTH : 2 * WIDTH].fill_(0.5 * math.log(case.depth))
        return gated
    net = network(case._replace(depth=3, curve="relu"))
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def data(case: Case) -> tuple[list[Any], list[Any], list[Any]]:
    """Batches to train on, to validate by and that nobody sees; the same for all cases of a family and length.

    mlp: three classes of eight numbers; cnn: bars in one of three directions under noise; rnn: the sign that the first tenth of
    the steps had on average, under noise.
    """
    stream = torch.Generator().manual_seed(0)
    count = 1_600
    if case.family == "mlp":
        x = torch.randn(count, 8, generator=stream)
        y = (x @ torch.randn(8, 3, generator=stream)).argmax(1)
    elif case.family == "cnn":
        y = torch.randint(3, (count,), generator=stream)
        rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        ways = torch.stack([rows, columns, rows + columns])[y]
        phase = 6.28 * torch.rand(count, 1, 1, generator=stream)
        x = (torch.sin(1.6 * ways + phase) + 0.3 * torch.randn(count, 8, 8, generator=stream))[:, None]
    else:
        y = torch.randint(2, (count,), generator=stream)
        x = 0.3 * torch.randn(count, case.depth, 2, generator=stream)
        first = max(1, case.depth // 10)
        x[:, :first, 0] += (2.0 * y - 1.0)[:, None]
        x[:, :first, 1] += 1.0
    parts = [(x[at : at + 32], y[at : at + 32]) for at in range(0, count, 32)]
    return parts[:30], parts[30:38], parts[38:]


def births(case: Case, build: Callable[[], nn.Module]) -> TorchBirths:
    """The program around a network."""
    return TorchBirths(build, nn.functional.cross_entropy, lambda parameters: torch.optim.Adam(parameters, lr=3e-3))


def reached(given: TorchBirths, edits: Sequence[Edit], train: list[Any], unseen: list[Any]) -> list[float]:
    """Skill on fresh seeds."""
    found = []
    for seed in range(FIRST_FRESH, FIRST_FRESH + FRESH):
        patient = given.born(seed, train)
        try:
            for edit in edits:
                patient = patient.apply(edit)
            length = next((int(float(edit.value)) for edit in edits if edit.kind == "steps" and edit.value), STEPS)
            found.append(round(patient.trained(train, length).judge(unseen).value, 4))
        except IsogradError:
            found.append(-0.2)
    return found


def examined(case: Case, references: dict[str, list[float]]) -> dict[str, Any]:
    """One case: what it reaches as it is, cured, and what a healthy one reaches."""
    train, held, unseen = data(case)
    began = time.process_time()
    given = births(case, lambda: spoiled(network(case), case.start))
    name = f"{case.family}:{case.depth if case.family == 'rnn' else 3}"
    if name not in references:
        references[name] = reached(births(case, lambda: healthy(case)), (), train, unseen)
    row: dict[str, Any] = {"key": case.key, **case._asdict(), "healthy": references[name]}
    row["before"] = reached(given, (), train, unseen)
    try:
        proof = cured(given, train, held, budget=Budget(runs=BUDGET), steps=STEPS)
    except IsogradError as error:
        return row | {"verdict": "refused", "why": str(error).splitlines()[0], "after": row["before"], "edits": []}
    edits = proof.edits if proof.verdict == "proven" else ()
    return row | {
        "verdict": proof.verdict if proof.edits else "nothing",
        "why": proof.why,
        "edits": [[edit.kind, edit.value] for edit in proof.edits],
        "in_place": bool(edits) and all(edit.keeps_weights for edit in edits),
        "cost": [proof.cost_search, proof.cost_proof],
        "after": reached(given, edits, train, unseen) if edits else row["before"],
        "seconds": round(time.process_time() - began, 1),
    }


def at_parity(row: dict[str, Any], when: str) -> bool:
    """Whether it reaches ENOUGH of the healthy one."""
    return statistics.fmean(row[when]) >= ENOUGH * statistics.fmean(row["healthy"])


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares at parity by family, depth and start, over the cases whose healthy network learns."""
    able = [row for row in rows if statistics.fmean(row["healthy"]) >= 0.5]
    told: dict[str, Any] = {"cases": len(rows), "healthy_fails": len(rows) - len(able)}
    for by in ("family", "depth", "start", "curve"):
        groups = sorted({str(row[by]) for row in able})
        told[by] = {name: _shares([row for row in able if str(row[by]) == name]) for name in groups}
    told["all"] = _shares(able)
    return told


def _shares(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cases": len(rows),
        "parity_before": sum(at_parity(row, "before") for row in rows),
        "parity_after": sum(at_parity(row, "after") for row in rows),
        "proven": sum(row["verdict"] == "proven" for row in rows),
        "in_place": sum(row.get("in_place", False) for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=40, help="so many cases, taken evenly from the grid")
    parser.add_argument("--skip", type=int, default=0, help="so many places further on, for another sample")
    parser.add_argument("--families", default=",".join(DEPTHS), help="some of them alone")
    parser.add_argument("--deepest", type=int, default=500, help="no deeper ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    LOG.parent.mkdir(exist_ok=True)
    done = {} if not LOG.exists() else {row["key"]: row for row in map(json.loads, LOG.read_text("utf-8").splitlines())}
    grid = [one for one in GRID if one.family in options.families.split(",") and one.depth <= options.deepest]
    chosen = [grid[(place * len(grid) // options.limit + options.skip) % len(grid)] for place in range(options.limit)]
    random.Random(0).shuffle(chosen)  # an interrupted run is a sample too
    references: dict[str, list[float]] = {}
    for count, case in enumerate(dict.fromkeys(chosen), 1):
        if case.key not in done:
            done[case.key] = examined(case, references)
            with LOG.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(done[case.key]) + "\n")
        row = done[case.key]
        means = " ".join(f"{name} {statistics.fmean(row[name]):.2f}" for name in ("before", "after", "healthy"))
        print(
            f"{count}/{len(chosen)} {case.key}: {row['verdict']} {row['edits']} {means} {row.get('seconds')} s", file=sys.stderr
        )
    told = figures(list(done.values()))
    groups = [(name, *told["family"][name].values()) for name in told["family"]]
    print(table([*groups, ("all", *told["all"].values())], ("family", "cases", "before", "after", "proven", "in place")))
    print(json.dumps(told, indent=1), machine())
    print(write("deep_plain", {"figures": told, "found": list(done.values())}), file=sys.stderr)


if __name__ == "__main__":
    main()
