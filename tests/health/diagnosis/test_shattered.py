"""Shattered gradients: a remark on deep plain networks whose gradients agree with nothing."""

import pytest
from bodies import body
from runs import FLAT, LEARNING, run

from isograd.health.diagnosis import shattered


def found(depth, agreement, losses=FLAT):
    return list(shattered.diagnose(run(body(depth), losses=losses, agreement=agreement)))


def test_thirty_layers_whose_gradients_have_nothing_in_common():
    (finding,) = found(30, 0.0)
    assert finding.severity == "note" and "30 layers" in finding.summary


@pytest.mark.parametrize(("depth", "agreement", "losses"), [(5, 0.0, FLAT), (30, 0.3, FLAT), (30, 0.0, LEARNING)])
def test_silent_where_it_is_shallow_or_agrees_or_learns(depth, agreement, losses):
    assert found(depth, agreement, losses) == []


def test_a_real_shallow_training_is_left_alone(train, mlp):
    import torch

    report, _ = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=0.1), 20)
    assert not [f for f in report.findings if f.disease == "shattered"]
