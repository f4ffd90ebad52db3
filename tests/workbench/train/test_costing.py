"""What a step costs, foretold on a copy: bytes that grow with the rows as thought says, and nothing of the model is touched."""

from __future__ import annotations

import torch
from torch import nn

from isograd.workbench.train import Recipe, memory_here, memory_of, step_seconds
from isograd.workbench.train.weights import weights_hash

HERE = Recipe(device="cpu", threads=1)


def test_a_linear_layer_keeps_its_inputs_and_a_relu_its_output() -> None:
    model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    found = memory_of(model, torch.randn(8, 100), HERE)
    assert found.row == 4 * (100 + 50)  # what the first layer read, and what the second did, which is the ReLU's output
    parameters = 4 * (100 * 50 + 50 + 50 * 10 + 10)
    assert found.fixed == parameters * (2 + 3)  # weights and the best of them; gradients and two moments
    assert found.of(64) == found.fixed + 64 * 600


def test_plain_descent_has_one_moment_an_average_one_more_copy_and_what_is_frozen_no_gradient() -> None:
    model = nn.Linear(10, 10, bias=False)
    rows = torch.randn(4, 10)
    assert memory_of(model, rows, Recipe(optimizer="sgd", device="cpu", threads=1)).fixed == 400 * 4
    assert memory_of(model, rows, Recipe(ema=0.9, device="cpu", threads=1)).fixed == 400 * 6
    deeper = nn.Sequential(model, nn.Linear(10, 10, bias=False))
    deeper[0].weight.requires_grad_(False)
    assert memory_of(deeper, rows, HERE).fixed == 800 * 2 + 400 * 3


def test_looking_leaves_weights_statistics_generators_and_modes_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    before, state = weights_hash(model), torch.get_rng_state()
    memory_of(model, torch.randn(1, 4), HERE)
    state = torch.get_rng_state()
    batches = [(torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64))] * 3
    assert step_seconds(model, HERE, batches, nn.functional.cross_entropy) > 0
    assert weights_hash(model) == before and torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())


def test_weights_that_are_too_much_alone_are_not_tried() -> None:
    class Huge(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            raise AssertionError("nobody must run it")

    assert memory_of(Huge(10, 10, bias=False), torch.zeros(4, 10), HERE, have=100).of(1000) == 400 * 5


def test_this_machine_has_memory_but_not_without_bound() -> None:
    have = memory_here("cpu")
    assert have is None or 2**24 < have < 2**50
