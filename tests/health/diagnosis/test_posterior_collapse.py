"""Posterior collapse: a sample is drawn, another term is stepped as well, and the reconstruction is worth a constant."""

import pytest

from isograd.health.case import case_of
from isograd.health.diagnosis import posterior_collapse
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import LossSample
from isograd.records.trace import Step, Trace

SAMPLE = (
    Node("mu", "linear", "Linear"),
    Node("lv", "linear", "Linear"),
    Node("exp", "activation", "exp", (1,)),
    Node("mul", "multiply", "mul", (2,)),
    Node("add", "add", "add", (0, 3)),
    Node("out", "linear", "Linear", (4,)),
)


def found(share, *, other=0.5, nodes=SAMPLE, steps=200, ended=True, function="mse_loss"):
    """A reconstruction that pays ``share(step)`` of a constant answer's loss, and ``other`` besides."""
    taken = []
    for index in range(1, steps + 1):
        value = share(index)
        looks = (LossSample(function, value=value, floor=1.0, source="vae.py:30", target_shape=(64, 8)),)
        taken.append(Step(index, value + other / index, losses=looks if index % 10 == 1 else ()))
    trace = Trace(Anatomy("torch", nodes, ()), (), tuple(taken), None if ended else 100 * steps, ended=ended)
    return list(posterior_collapse.diagnose(case_of(trace)))


def test_a_reconstruction_worth_a_constant_beside_another_term_is_a_collapsed_posterior():
    (finding,) = found(lambda step: 0.99)
    assert (finding.severity, finding.where, finding.source) == ("warning", "mu", "vae.py:30")
    assert "answers the mean of the data" in finding.summary


def test_one_that_reconstructs_is_healthy():
    assert found(lambda step: 1.0 / (1.0 + step / 20)) == []


def test_nothing_is_said_without_a_sample_without_another_term_early_or_of_a_classifier():
    assert found(lambda step: 0.99, nodes=SAMPLE[:2]) == []
    assert found(lambda step: 0.99, other=0.0) == []
    assert found(lambda step: 0.99, ended=False) == []
    assert found(lambda step: 0.99, function="cross_entropy") == []


@pytest.mark.parametrize(("weight", "told"), [(30.0, True), (0.01, False)])
def test_a_real_variational_autoencoder_with_too_heavy_a_divergence(digits, weight, told):
    import torch
    from torch import nn

    import isograd

    class Vae(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.mu, self.lv = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 4), nn.Linear(64, 4)
            self.decode = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, x):
            hidden = self.encode(x)
            mu, lv = self.mu(hidden), self.lv(hidden)
            return self.decode(mu + torch.exp(0.5 * lv) * torch.randn_like(mu)), mu, lv

    torch.manual_seed(0)
    x, model = digits[0], Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(120):
            rows = x[torch.randint(0, 1400, (64,))]
            out, mu, lv = model(rows)
            divergence = -0.5 * (1.0 + lv - mu**2 - lv.exp()).sum(1).mean()
            optimizer.zero_grad()
            (nn.functional.mse_loss(out, rows) + weight * divergence).backward()
            optimizer.step()
    said = {finding.disease for finding in watch.report().findings if finding.alarm}
    assert ("posterior_collapse" in said) == told and (told or not said)
