"""A program's loss that was written down gives, on a copy, what the program itself computed."""

import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cause_expected import FAMILIES, NO_REPLAY, right_kinds
from cause_tape import batches_and_loss, written
from faults.grounds import OPERATORS
from isograd.records.edit import EDITS


def recorded(loss, steps=3):
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    x, y, weight = torch.randn(40, 4), torch.randint(0, 3, (40,)), torch.tensor([1.0, 2.0, 3.0])
    values = []
    with written((model,)) as writer:
        for _ in range(steps):
            index = torch.randint(0, 40, (8,))
            value = loss(model, model(x[index]), y[index], weight)
            value.backward()
            values.append(float(value.detach()))
    for handle in writer.handles:
        handle.remove()
    return model, values, *batches_and_loss(writer)


@pytest.mark.parametrize(
    "loss",
    [
        lambda model, out, y, weight: F.cross_entropy(out, y, weight=weight) / 2,
        lambda model, out, y, weight: -F.nll_loss(torch.softmax(out, 1), y),
        lambda model, out, y, weight: (out - F.one_hot(y, 3).float()).abs().mean(),
        lambda model, out, y, weight: F.cross_entropy(out, y) + 0.1 * model.weight.square().sum(),
    ],
)
def test_a_loss_written_down_is_the_loss(loss):
    model, values, batches, tape = recorded(loss)
    again = [float(tape(model(inputs), targets).detach()) for inputs, targets in batches]
    assert again == pytest.approx(values)


def test_what_changes_with_the_batch_is_the_targets_and_a_copy_has_parameters_of_its_own():
    model, _, batches, tape = recorded(lambda model, out, y, weight: F.cross_entropy(out, y) + model.weight.square().sum())
    assert all(targets.shape == (8,) and not targets.is_floating_point() for _, targets in batches)
    memo = {}
    twin, own = copy.deepcopy(model, memo), copy.deepcopy(tape, memo)
    own(twin(batches[0][0]), batches[0][1]).backward()
    assert twin.weight.grad is not None and model.weight.grad is not twin.weight.grad


def test_every_fault_that_can_be_replayed_has_an_edit_that_is_one():
    for one in OPERATORS.values():
        assert right_kinds(one.name, one.family) <= {*EDITS, "no_signal"}
        assert one.family in FAMILIES or one.family in NO_REPLAY, one.name
