"""A fact of the whole loop stands at the line of the loop that shows it."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd

HERE = Path(__file__)


def train(fault, steps=12):
    """A loop with one fault in it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train(fault != "wrong_mode")
    with isograd.watch(model, optimizer) as watch:
        for _ in range(steps):
            if fault != "gradients_not_cleared":
                optimizer.zero_grad()
            output = model(torch.randn(16, 4))  # call
            loss = F.cross_entropy(output, torch.randint(0, 3, (16,)))
            if fault == "cut_graph":
                loss = torch.tensor(loss.item(), requires_grad=True)
            loss.backward()  # backward
            if fault == "early":
                optimizer.zero_grad()
            if fault != "no step":
                optimizer.step()  # step
    return watch.report().findings


@pytest.mark.parametrize(
    ("fault", "disease", "line"),
    [
        ("gradients_not_cleared", "gradients_not_cleared", "backward"),
        ("wrong_mode", "wrong_mode", "call"),
        ("cut_graph", "cut_graph", "backward"),
        ("early", "gradients_lost", "step"),
        ("no step", "gradients_lost", "backward"),
    ],
)
def test_the_line_of_the_loop_is_told(fault, disease, line):
    (finding,) = [one for one in train(fault) if one.disease == disease]
    text = HERE.read_text().splitlines()[int(finding.source.rpartition(":")[2]) - 1]
    assert HERE.name in finding.source and text.endswith(f"# {line}")


def test_a_loop_without_a_fault_has_none_of_them():
    assert not {one.disease for one in train("")} & {"gradients_not_cleared", "wrong_mode", "cut_graph", "gradients_lost"}


@pytest.mark.parametrize("whole", [True, False])
def test_parameters_that_lbfgs_does_not_hold_are_seen_although_it_steps_by_a_closure(whole):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(32, 4)
    held = model.parameters() if whole else model[0].parameters()
    optimizer = torch.optim.LBFGS(held, lr=0.5, max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), x[:, :1] ** 2)
        loss.backward()
        return loss

    with isograd.watch(model, optimizer) as watch:
        for _ in range(6):
            optimizer.step(closure)
    found = [one.where for one in watch.report().findings if one.disease == "optimizer_misses_parameters"]
    assert found == ([] if whole else ["2"])
