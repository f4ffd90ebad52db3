"""Learning without labels: views of one row come together, others stay apart, and the head is left as it was born."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from isograd.errors import ModelError
from isograd.workbench.train import Recipe, contrast
from isograd.workbench.train.contrasting import apart
from isograd.workbench.train.weights import copy_of


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body(x))
        return found


ROWS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
HERE = Recipe(epochs=20, batch_size=16, learning_rate=1e-2, device="cpu", threads=1)


def views(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(epoch)
    for rows in ROWS.split(16):
        yield rows + 0.1 * torch.randn(rows.shape, generator=draw), rows + 0.1 * torch.randn(rows.shape, generator=draw)


def test_views_that_are_told_apart_have_no_loss_and_those_that_are_all_alike_that_of_guessing() -> None:
    each = 10 * torch.eye(6)
    assert apart(torch.cat([each, each])).item() < 0.1
    assert apart(torch.ones(12, 4)).item() == pytest.approx(math.log(11))
    assert apart(torch.cat([each, each.roll(1, dims=0)])).item() > 2


def test_the_body_learns_and_the_head_stays_and_the_same_seed_gives_the_same_weights() -> None:
    model, twin, start = Net(), Net(), copy_of(Net())
    first = contrast(
        Net(), recipe=Recipe(epochs=1, learning_rate=1e-9, device="cpu", threads=1), views=views, views_per_epoch=2
    )
    last = contrast(model, recipe=HERE, views=views, views_per_epoch=2)
    torch.manual_seed(99)
    contrast(twin, recipe=HERE, views=views, views_per_epoch=2)
    assert last < first - 0.5
    assert torch.equal(model.head.weight, start["head.weight"]) and torch.equal(model.head.bias, start["head.bias"])
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True))
    assert not model.head._forward_pre_hooks


def test_a_network_without_a_head_is_told() -> None:
    with pytest.raises(ModelError, match=r"no linear layer \.head"):
        contrast(nn.Sequential(nn.Linear(8, 3)), recipe=HERE, views=views, views_per_epoch=2)
