"""What the line's training found, beside what can be known by hand: least squares, the noise, and the gradient.

    python examples/line/by_hand.py [FOLDER OF THE PROJECT]

Prints one JSON object. The gradient is that at the first weights on the whole training part, once by the backward pass that is
written out in ``isograd.frameworks.reference`` and once by autograd.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from isograd.frameworks.reference.network import Linear, Network
from isograd.project import reading, river
from isograd.project.making import network
from isograd.project.runs import named
from isograd.workbench.data import Rows


def line_of(job: river.Job) -> tuple[float, float]:
    """Slope and intercept in the units of the table; the network itself sees both columns scaled."""
    column, encoding = job.prepared.encoding.columns[0], job.prepared.encoding
    weight, bias = (parameter.item() for parameter in job.model.parameters())
    slope = encoding.target_std * weight / column.std
    return slope, encoding.target_mean + encoding.target_std * bias - slope * column.mean


def unscaled(job: river.Job, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The columns x and y of a part as they stand in the table."""
    column, encoding = job.prepared.encoding.columns[0], job.prepared.encoding
    x, y = rows.inputs[:, 0].double().numpy(), rows.targets[:, 0].double().numpy()
    return x * column.std + column.mean, y * encoding.target_std + encoding.target_mean


def gradient_gap(job: river.Job) -> float:
    """The largest difference between autograd's gradient and the hand-written one, over the largest gradient."""
    torch_model = network(job.project, job.prepared, seed=0).double()
    inputs, targets = job.prepared.train.inputs.double(), job.prepared.train.targets.double()
    job.loss(torch_model(inputs), targets).backward()
    weight, bias = torch_model.parameters()
    by_hand = Network((Linear("line", weight.detach().numpy(), bias.detach().numpy()),))
    found = by_hand.passed(inputs.numpy(), targets.numpy(), "squared_error").parameters
    gaps = [abs(found["line.weight"] - weight.grad.numpy()).max(), abs(found["line.bias"] - bias.grad.numpy()).max()]
    return float(max(gaps) / max(abs(weight.grad).max().item(), abs(bias.grad).max().item()))


def main(folder: Path) -> dict[str, float]:
    job, _ = river.of_run(named(folder, None), folder)
    slope, intercept = line_of(job)
    x, y = unscaled(job, job.prepared.train)
    least_squares = np.polyfit(x, y, 1)
    x, y = unscaled(job, job.prepared.test)
    return {
        "slope": slope,
        "intercept": intercept,
        "slope by least squares": float(least_squares[0]),
        "intercept by least squares": float(least_squares[1]),
        "mean squared error on the test part": float(np.mean((slope * x + intercept - y) ** 2)),
        "of least squares": float(np.mean((np.polyval(least_squares, x) - y) ** 2)),
        "noise": 1 / 12,
        "gradient, by hand against autograd": gradient_gap(job),
    }


if __name__ == "__main__":
    project = reading.load(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    print(json.dumps(main(project.folder), indent=1))
