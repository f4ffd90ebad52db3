"""The weight of the positives in a binary loss, the right way round and upside down."""

import pytest
import torch
from torch import nn

import isograd

F = nn.functional


def findings(share, weight):
    """A training on yes and no, of which ``share`` is yes and follows from the inputs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    bound = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1.0 - share))
    with isograd.watch(model, optimizer, steps=200) as watch:
        for _ in range(200):
            x = torch.randn(64, 8)
            y = ((x[:, :1] + 0.3 * torch.randn(64, 1)) > bound).float()
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x), y, pos_weight=torch.tensor(weight)).backward()
            optimizer.step()
    return [one for one in watch.report().findings if one.alarm]


def test_a_rare_yes_that_weighs_next_to_nothing_is_never_said_and_told_first():
    first = findings(0.2, 1e-3)[0]
    assert first.disease == "labels" and "wrong way round" in first.summary


@pytest.mark.parametrize(("share", "weight"), [(0.2, 4.0), (0.8, 0.25), (0.2, 1.0)], ids=["lifted", "evened out", "plain"])
def test_weights_that_even_the_answers_out_are_left_alone(share, weight):
    assert findings(share, weight) == []
