"""Losses that ask for second derivatives, of networks that have some and of one that has none."""

import pytest
import torch
from torch import nn

import isograd


def alarms(curve, order=2):
    """A network that is to solve u'' = -u, or u' = -u, from u(0) = 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 24), curve(), nn.Linear(24, 24), curve(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer, steps=80) as watch:
        for _ in range(80):
            x = torch.rand(64, 1, requires_grad=True)
            u = model(x)
            slope = u
            for _ in range(order):
                (slope,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
            loss = (slope + u).square().mean() + (model(torch.zeros(1, 1)) - 1.0).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [finding for finding in watch.report().findings if finding.alarm and finding.disease == "flat_activation"]


def test_a_relu_has_no_second_derivative_to_learn_from():
    (finding,) = alarms(nn.ReLU)
    assert "straight line" in finding.summary and "test_second_derivatives.py" in finding.source


@pytest.mark.parametrize(("curve", "order"), [(nn.Tanh, 2), (nn.ReLU, 1)], ids=["smooth", "first derivatives"])
def test_smooth_activations_and_first_derivatives_are_sound(curve, order):
    assert alarms(curve, order) == []
