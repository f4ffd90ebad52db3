"""Networks that share batches: each learns from its own rows as it would alone, and all answer with their mean."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isograd.workbench.models import Bagging, build, least_rows


def members(count: int) -> list[nn.Module]:
    return [build("linear", inputs=(4,), outputs=3, seed=seed) for seed in range(count)]


def test_each_network_gets_the_gradient_that_it_would_get_alone_on_its_own_rows() -> None:
    draw = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(12, 4, generator=draw), torch.randint(3, (12,), generator=draw)
    together = Bagging(members(3)).train()
    outputs = together(rows)
    F.cross_entropy(outputs, labels).backward()  # type: ignore[no-untyped-call]
    for number, alone in enumerate(members(3)):
        own = slice(number, None, 3)
        assert torch.equal(outputs[own], alone(rows[own]))
        F.cross_entropy(alone(rows[own]), labels[own]).backward()  # type: ignore[no-untyped-call]
        for mine, theirs in zip(together.members[number].parameters(), alone.parameters(), strict=True):
            assert mine.grad is not None and theirs.grad is not None
            assert torch.allclose(mine.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_asked_together_they_say_the_mean_of_their_probabilities() -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    together = Bagging(members(4)).eval()
    mean = torch.stack([F.softmax(member(rows), dim=1) for member in members(4)]).mean(dim=0)
    assert torch.allclose(F.softmax(together(rows), dim=1), mean, atol=1e-6)
    assert torch.equal(together(rows[2:3]), together(rows)[2:3]) or torch.allclose(together(rows[2:3]), together(rows)[2:3])


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_batch_of_fewer_rows_than_networks_is_answered_row_by_row(rows: int) -> None:
    some = torch.ones(rows, 4)
    assert torch.equal(Bagging(members(4)).train()(some)[0], members(4)[0](some)[0])


def test_batch_normalisation_needs_two_rows_of_each_bag() -> None:
    made = [build("mlp", inputs=(4,), outputs=2, options={"norm": "batch"}, seed=seed) for seed in range(3)]
    assert least_rows(Bagging(made)) == 6 and least_rows(Bagging(members(3))) == 3
