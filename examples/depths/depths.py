"""Eight activations by depth 2 to 50, and seven optimizers: accuracy after 400 steps beside the gradient slope foretold.

    python examples/depths/depths.py [FOLDER OF THE PROJECT]

Writes depths.json and depths.svg into the folder; a cell that is there already is not trained again. Every cell takes the best
of three learning rates, by the validation part; accuracy is on the test part, which nothing was chosen by. Initialisation is
the default: He, Glorot or LeCun by the activation; no normalisation, no residual paths.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

from isograd import api
from isograd.files import write_text
from isograd.project import reading, river
from isograd.workbench import train

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu")
DEPTHS = (2, 5, 10, 20, 50)
STEPS = 400
OPTIMIZERS = {
    "SGD": ('optimizer = "sgd"\nmomentum = 0.0', (0.3, 0.1, 0.03)),
    "momentum": ('optimizer = "sgd"', (0.1, 0.02, 0.004)),
    "Nesterov": ('optimizer = "sgd"\nnesterov = true', (0.1, 0.02, 0.004)),
    "Adagrad": ('optimizer = "adagrad"', (0.1, 0.03, 0.01)),
    "RMSprop": ('optimizer = "rmsprop"\nmomentum = 0.0', (1e-2, 3e-3, 1e-3)),
    "Adam": ('optimizer = "adam"\nweight_decay = 0.0', (1e-2, 3e-3, 1e-3)),
    "AdamW": ('optimizer = "adamw"', (1e-2, 3e-3, 1e-3)),
}


def project(folder: Path, activation: str, depth: int, optimizer: str, rate: float) -> reading.Project:
    """The project's file with another network and another optimizer."""
    text = (folder / "isograd.toml").read_text("utf-8").split("[model]")[0]
    text += f'[model]\nkind = "mlp"\nwidth = 64\ndepth = {depth}\nactivation = "{activation}"\n'
    return reading.parse(f"{text}\n[train]\n{OPTIMIZERS[optimizer][0]}\nlearning_rate = {rate}\n", folder / "isograd.toml")


def trained(job: river.Job, steps: int) -> tuple[float, float]:
    """Accuracy on validation and test part after some steps, the rate falling as a cosine."""
    optimizer = train.make_optimizer(job.model.parameters(), job.recipe)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches: Iterator[Any] = (batch for epoch in range(1, steps + 1) for batch in job.batches(epoch, 0))
    for _ in range(steps):
        inputs, targets = next(batches)
        optimizer.zero_grad()
        loss = job.loss(job.model(inputs), targets)
        loss.backward()
        optimizer.step()
        falling.step()
    test = job.prepared.test
    right = job.outputs(test.inputs).argmax(axis=1) == test.targets.numpy()
    validation = dict(job.metrics(job.model))["accuracy"]
    return (validation, float(right.mean())) if validation == validation else (0.0, 0.0)  # not finite any more


def cell(folder: Path, activation: str, depth: int, optimizer: str, steps: int) -> dict[str, float | None]:
    """One network: what is foretold of it before the first step, and what it comes to."""
    jobs = [river.begin(project(folder, activation, depth, optimizer, rate)) for rate in OPTIMIZERS[optimizer][1]]
    foretold = api.check(jobs[0].model, next(iter(jobs[0].batches(0, 0))), jobs[0].loss).record.expectations
    validation, accuracy, rate = max((*trained(job, steps), job.recipe.learning_rate) for job in jobs)
    return {"slope": foretold.slope, "validation": validation, "accuracy": accuracy, "rate": rate}


def picture(cells: dict[str, Any], place: Path) -> None:
    """Accuracy over the foretold fall of the gradient from the last layer to the first, a point a network."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"], rcParams["svg.fonttype"] = "depths", "none"  # the same file each time, text as text
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for activation, mark in zip(ACTIVATIONS, "osv^D*Px", strict=False):
        found = [(depth, cells[f"{activation} {depth}"]) for depth in DEPTHS if f"{activation} {depth}" in cells]
        lost = [depth * one["slope"] / 2.302585 for depth, one in found]
        axes.plot(lost, [one["accuracy"] for _, one in found], mark, label=activation, alpha=0.8)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_title("Where the gradient is foretold to vanish or to explode, nothing is learned", loc="left")
    axes.set_xlabel("foretold before training: orders of magnitude that the gradient loses on its way back to the first layer")
    axes.set_ylabel("accuracy on the test part")
    axes.legend(fontsize="small")
    figure.savefig(place, metadata={"Date": None})


def main(folder: Path, steps: int = STEPS, depths: tuple[int, ...] = DEPTHS) -> dict[str, Any]:
    torch.set_num_threads(1)
    place = folder / "depths.json"
    cells: dict[str, Any] = json.loads(place.read_text("utf-8")) if place.exists() else {}
    asked = {f"{activation} {depth}": (activation, depth, "momentum") for depth, activation in product(depths, ACTIVATIONS)}
    asked |= {f"relu 5, {name}": ("relu", 5, name) for name in OPTIMIZERS}
    for name, (activation, depth, optimizer) in asked.items():
        if name not in cells:
            cells[name] = cell(folder, activation, depth, optimizer, steps)
            write_text(place, json.dumps(cells, indent=1) + "\n")
            print(name, cells[name], file=sys.stderr)
    picture(cells, folder / "depths.svg")
    return cells


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
