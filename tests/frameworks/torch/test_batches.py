"""How a model is called with its part of a batch."""

import pytest
import torch
from torch import nn

import isograd
from isograd.errors import ModelError
from isograd.frameworks.torch.batches import call


class Ratings(nn.Module):
    """Takes users and items as one argument."""

    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(20, 4), nn.Embedding(30, 4)

    def forward(self, pair):
        return (self.users(pair[0]) * self.items(pair[1])).sum(1)


class Apart(Ratings):
    """Takes them as two."""

    def forward(self, users, items):
        return super().forward((users, items))


USERS, ITEMS = torch.arange(16) % 20, torch.arange(16) % 30


@pytest.mark.parametrize("kind", [Ratings, Apart])
def test_a_pair_is_two_arguments_or_one_as_the_model_takes_it(kind):
    assert call(kind(), (USERS, ITEMS)).shape == (16,)


def test_a_pair_for_a_model_of_one_argument_is_checked_as_it_is_trained():
    model = Ratings()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    assert isograd.check(model, ((USERS, ITEMS), torch.rand(16)), nn.functional.mse_loss, optimizer).healthy


def test_three_inputs_for_a_model_of_two_are_refused():
    with pytest.raises(ModelError, match="does not take this batch"):
        call(Apart(), (USERS, ITEMS, ITEMS))
