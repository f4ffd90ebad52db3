"""What the reference door says of the numbers that a loss was given."""

import numpy as np

from isograd.frameworks.reference.losses import loss_sample
from isograd.frameworks.reference.network import Activation, Linear, Network

RELU = Network((Linear.drawn("a", 2, 1, seed=0), Activation("act", "relu")))


def test_targets_that_are_all_alike_have_no_variance_to_miss():
    said = loss_sample(RELU, np.zeros((4, 1)), np.full((4, 1), -1.0), "squared_error", 1.0)
    assert (said.floor, said.beyond, said.shortfall) == (0.0, 0.0, 0.0)


def test_negative_targets_lie_beyond_a_relu():
    said = loss_sample(RELU, np.zeros((4, 1)), np.array([[-1.0], [1.0], [-1.0], [1.0]]), "squared_error", 1.0)
    assert (said.floor, said.beyond, said.shortfall) == (1.0, 0.5, 0.5)
