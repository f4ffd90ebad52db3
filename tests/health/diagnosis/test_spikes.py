"""Spikes of the gradient: survived, or the end of what was learned."""

import random

import pytest
from bodies import body
from runs import LEARNING, run

from isograd.health.diagnosis import spikes
from isograd.health.signals.balance import tail_index


def found(**what):
    return list(spikes.diagnose(run(body(3), **what)))


def spiked(*steps):
    return lambda step: 100.0 if step in steps else 1.0 + 0.1 * (step % 7)


def test_a_loss_that_broke_at_a_spike_and_stayed_broken():
    losses = [2.3 * 0.97**i for i in range(100)] + [2.3] * 100
    (finding,) = found(losses=losses, norm=spiked(100))
    assert finding.severity == "warning" and finding.since == 100 and "step 100" in finding.summary


def test_spikes_that_the_training_survives_are_a_remark():
    (finding,) = found(losses=LEARNING, norm=spiked(60, 120))
    assert finding.severity == "note" and "2 times" in finding.summary


def test_the_tail_of_a_power_law_has_its_exponent():
    draw = random.Random(0)
    assert tail_index([draw.random() ** (-1 / 1.5) for _ in range(20_000)]) == pytest.approx(1.5, rel=0.2)
    assert tail_index([abs(draw.gauss(0, 1)) for _ in range(20_000)]) > 4


@pytest.mark.parametrize("seed", range(5))
def test_silent_on_norms_that_vary_by_a_factor_of_two(seed):
    draw = random.Random(seed)
    norms = [draw.lognormvariate(0.0, 0.5) for _ in range(201)]
    assert found(norm=lambda step: norms[step]) == []


def test_silent_on_a_large_first_gradient():
    assert found(norm=lambda step: 1000.0 if step < 3 else 1.0 + 0.1 * (step % 7)) == []


def test_a_real_training_is_left_alone(train, mlp):
    import torch

    report, _ = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=0.2), 80)
    assert not [f for f in report.findings if f.disease == "spikes" and f.alarm]
