"""Of edits that are called proven: how many do not beat the untouched program on fresh seeds, with a bound.

    python benchmarks/proven.py [--count 150]

Tiny programs (a perceptron of 8-16-16-3, 60 steps) with drawn rates, optimizers, initial scales, decays and noise in their
labels, many of them healthy. EDITS edits of each, drawn at random, are put to proof by the rule of ``isograd.cure`` with its
trials, as a search would do with its choice: after a proof that failed the next edit goes to the next attempt, which asks for
more pairs on seeds of its own. A search asks about better edits, so that the share of those that do nothing, and with it that
of false proofs, is higher here. What is called proven runs on FRESH seeds in pairs, on examples that nobody saw.
Programs are appended to .benchmarks/proven.jsonl as they end; the run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common import machine, table, write
from isograd.errors import IsogradError
from isograd.frameworks.torch.births import TorchBirths
from isograd.frameworks.torch.patient import TorchPatient
from isograd.health.proving import ATTEMPTS, prove
from isograd.health.remedies.luck import drawn
from isograd.health.trials import SEARCH_SEED, WORST, Work
from isograd.records.edit import Edit
from isograd.trying import Attempts, Fits, Program

EDITS, FRESH, FIRST_FRESH, STEPS, BATCH = 4, 20, 9_000, 60, 16
LOG = Path(__file__).resolve().parents[1] / ".benchmarks" / "proven.jsonl"
POOL = (
    Edit("learning_rate", 0.003),
    Edit("learning_rate", 0.01),
    Edit("learning_rate", 0.03),
    Edit("learning_rate", 0.1),
    Edit("optimizer", "adam"),
    Edit("optimizer", "sgd"),
    Edit("activation", "leaky_relu"),
    Edit("activation", "tanh"),
    Edit("initialisation", "he"),
    Edit("initialisation", "orthogonal"),
    Edit("normalisation", "layer"),
    Edit("residual"),
    Edit("clip_norm", 1.0),
    Edit("warm_up", 10.0),
    Edit("weight_decay", 0.0),
    Edit("schedule", "cosine"),
    Edit("shuffle"),
    Edit("input_scale", "standard"),
)


def program(number: int) -> tuple[TorchBirths, list[Any], list[Any], list[Any]]:
    """A program drawn by its number: factories, batches, validation batches, and fresh examples."""
    draw = random.Random(f"proven {number}")
    kind, scale = draw.choice(("adam", "sgd")), 10.0 ** draw.uniform(-1.0, 1.0)
    rate = 10.0 ** draw.uniform(-4.0, 0.5 if kind == "sgd" else -0.5)
    noise, decay = draw.choice((0.0, 0.1, 0.3)), draw.choice((0.0, 0.0, 0.01, 0.3))
    curve = draw.choice((nn.ReLU, nn.Tanh, nn.Sigmoid))

    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(8, 16), curve(), nn.Linear(16, 16), curve(), nn.Linear(16, 3))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(scale)
        return net

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        if kind == "sgd":
            return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=0.9)
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)

    stream = torch.Generator().manual_seed(number)
    x = torch.randn(1_600, 8, generator=stream)
    y = (torch.tanh(x @ torch.randn(8, 8, generator=stream)) @ torch.randn(8, 3, generator=stream)).argmax(1)
    wrong = torch.rand(len(y), generator=stream) < noise
    y[wrong] = torch.randint(3, (int(wrong.sum()),), generator=stream)
    train = [(x[at : at + BATCH], y[at : at + BATCH]) for at in range(0, 640, BATCH)]
    births = TorchBirths(build, nn.functional.cross_entropy, optimizer)
    return births, train, [(x[640:960], y[640:960])], [(x[960:], y[960:])]


def one(number: int) -> list[dict[str, Any]]:
    """Put some edits of one program to proof; where one is proven, the differences on fresh seeds."""
    births, train, held, unseen = program(number)
    started = Program(births, train, held, own_score=False)
    patient, _, _ = started.at(SEARCH_SEED)
    fits, draw, rows = Fits(patient), random.Random(f"asked {number}"), list[dict[str, Any]]()
    able = [edit for edit in POOL if fits((edit,))]
    work = Work(Attempts(started, "", {}, None, STEPS), STEPS, lambda spent: math.inf)  # what is untouched is trained once
    untouched: dict[int, float] = {}
    attempt = 0
    for edit in draw.sample(able, EDITS):
        before = work.spent
        held_up = prove(work, (edit,), drawn(able, edit.size, draw.random, (edit,)), STEPS, attempt)
        row: dict[str, Any] = {"number": number, "edit": [edit.kind, edit.value], "attempt": attempt}
        row["verdict"] = held_up.verdict
        attempt = 0 if held_up.verdict == "proven" else (attempt + 1) % ATTEMPTS
        row["runs"] = (work.spent - before) / STEPS
        if held_up.effect is not None:
            row["effect"] = round(held_up.effect.mean, 4)
        if held_up.verdict == "proven":
            row["fresh"] = [round(value, 4) for value in differences(births, train, unseen, edit, untouched)]
        rows.append(row)
    return rows


def differences(
    births: TorchBirths, train: list[Any], unseen: list[Any], edit: Edit, known: dict[int, float]
) -> Iterator[float]:
    """Skill with the edit less skill without (``known``), on seeds and examples that neither search nor proof has seen."""

    def skill(patient: TorchPatient) -> float:
        try:
            return patient.trained(train, STEPS).judge(unseen).value
        except IsogradError:
            return WORST

    for seed in range(FIRST_FRESH, FIRST_FRESH + FRESH):
        plain = births.born(seed, train)
        known[seed] = known[seed] if seed in known else skill(plain)
        yield skill(plain.apply(edit)) - known[seed]


def bound(failures: int, count: int) -> float:
    """The 95 % upper bound of Clopper and Pearson on a share.

    >>> round(bound(0, 150), 4), bound(3, 3)
    (0.0198, 1.0)
    """
    from scipy.stats import beta

    return 1.0 if failures >= count else float(beta.ppf(0.95, failures + 1, count - failures))


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts, and what became of the proven ones."""
    fresh = {f"{row['number']}: {row['edit']}": statistics.fmean(row["fresh"]) for row in rows if "fresh" in row}
    worse = [name for name, value in fresh.items() if value <= 0.0]
    return {
        "edits": len(rows),
        "verdicts": {name: sum(row["verdict"] == name for row in rows) for name in ("proven", "not proven", "harmful")},
        "proven": len(fresh),
        "proven_by_attempt": [sum("fresh" in row and row.get("attempt", 0) == one for row in rows) for one in range(ATTEMPTS)],
        "not_better_on_fresh_seeds": len(worse),
        "which": worse,
        "bound_95": round(bound(len(worse), len(fresh)), 4),
        "median_effect": round(statistics.median(fresh.values()), 4) if fresh else None,
        "below_0.02": sum(value < 0.02 for value in fresh.values()),
        "runs_a_proof": round(statistics.fmean(row["runs"] for row in rows), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=150, help="so many proven edits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    LOG.parent.mkdir(exist_ok=True)
    rows = [] if not LOG.exists() else [json.loads(line) for line in LOG.read_text("utf-8").splitlines()]
    number = 1 + max((row["number"] for row in rows), default=-1)
    while sum("fresh" in row for row in rows) < options.count:
        made = one(number)
        with LOG.open("a", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in made)
        rows += made
        said = ", ".join(f"{row['edit'][0]} {row['verdict']}" for row in made)
        print(f"{number}: {said} ({sum('fresh' in row for row in rows)} proven)", file=sys.stderr, flush=True)
        number += 1
    told = figures(rows)
    print(table([(key, told[key]) for key in ("edits", "proven", "not_better_on_fresh_seeds", "bound_95")], ("proofs", "")))
    print(json.dumps(told, indent=1), machine())
    print(write("proven", {"figures": told, "found": rows}), file=sys.stderr)


if __name__ == "__main__":
    main()
