"""How far back the gradient of the last word reaches, by word: plain recurrent networks beside a GRU and an LSTM.

    ISOGRAD_DATA=/path/to/data python examples/films/reach.py [FOLDER OF THE PROJECT]

Writes reach.json and reach.svg into the folder, `last` beside this file where none is given. Each network reads the last words
of reviews that have them all, its last state alone answers, and its gradient is measured by `isograd.check` before the first
step of a training and after the last one; accuracy is on the validation part.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isograd import api
from isograd.files import write_text
from isograd.project import making, reading, river
from isograd.workbench import train

CELLS = {"rnn": "rnn", "rnn, as torch draws it": "rnn", "gru": "gru", "lstm": "lstm"}
EPOCHS, SEEN = 2, 64


def gradient(job: river.Job) -> dict[str, Any]:
    """The gradient at each step that was measured, how many steps back a thousandth of it is left, and the finding in words."""
    rows = job.prepared.train
    whole = torch.nonzero((rows.inputs != 0).all(dim=1))[:SEEN, 0]
    report = api.check(job.model, (rows.inputs[whole], rows.targets[whole]), job.loss)
    seen = report.record.readings.values
    found = {reading.time_step: reading.value for reading in seen if reading.signal == "time_gradient" and reading.step == 1}
    reach = next(reading.value for reading in seen if reading.signal == "time_reach")
    said = [finding.summary for finding in report.record.findings if finding.disease == "recurrent"]
    return {"steps": list(found), "gradient": list(found.values()), "reach": reach, "said": said}


def trained(job: river.Job, epochs: int) -> None:
    """A training by hand: the project's optimizer, and the gradient's norm clipped."""
    optimizer = train.make_optimizer(job.model.parameters(), job.recipe)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * job.batches_per_epoch)
    for inputs, targets in (batch for epoch in range(1, epochs + 1) for batch in job.batches(epoch, 0)):
        optimizer.zero_grad()
        loss = job.loss(job.model(inputs), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(job.model.parameters(), job.recipe.clip_norm or 1.0)
        optimizer.step()
        falling.step()


def of_cell(first: river.Job, name: str, epochs: int) -> dict[str, Any]:
    """One network, before and after its training."""
    text = first.project.text.replace('kind = "rnn"', f'kind = "{CELLS[name]}"')
    project = reading.parse(text, first.project.path)
    job = replace(first, project=project, model=making.network(project, first.prepared, project.settings.seed))
    if "torch" in name:  # evenly between -1/8 and 1/8 for 64 units: a step back keeps little more than half of a gradient
        torch.manual_seed(project.settings.seed)
        job.model.forwards[0].reset_parameters()
    before = gradient(job)
    trained(job, epochs)
    return {"before": before, "after": gradient(job), "accuracy": dict(job.metrics(job.model))["accuracy"]}


def picture(cells: dict[str, Any], place: Path) -> None:
    """The gradient at the hidden state by word, as a share of the largest."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"], rcParams["svg.fonttype"] = "reach", "none"  # the same file each time, text as text
    figure = Figure(figsize=(8.5, 4.0), layout="constrained")
    for axes, when in zip(figure.subplots(1, 2, sharey=True), ("before", "after"), strict=True):
        for (cell, one), line in zip(cells.items(), ("-", "-.", "--", ":"), strict=True):
            found = one[when]
            most, end = max(found["gradient"]), max(found["steps"])
            share = [max(value / most, 1e-12) for value in found["gradient"]]
            axes.plot([end - step for step in found["steps"]], share, line, label=cell)
        axes.axhline(1e-3, color="grey", linewidth=0.8)
        axes.set_yscale("log")
        axes.invert_xaxis()
        axes.set_title(f"{when} training", loc="left")
        axes.set_xlabel("words before the end of the review")
    figure.axes[0].set_ylabel("gradient, of the largest")
    figure.axes[0].legend()
    figure.savefig(place, metadata={"Date": None})


def main(folder: Path, epochs: int = EPOCHS) -> dict[str, Any]:
    torch.set_num_threads(1)
    first = river.begin(reading.load(folder))
    cells = {}
    for name in CELLS:
        one = cells[name] = of_cell(first, name, epochs)
        reach = f"{one['before']['reach']:.0f} words back before training and {one['after']['reach']:.0f} after it"
        print(f"{name}: a thousandth of the gradient is left {reach}; accuracy {one['accuracy']:.3f}", file=sys.stderr)
    write_text(folder / "reach.json", json.dumps(cells, indent=1) + "\n")
    picture(cells, folder / "reach.svg")
    return cells


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "last")
