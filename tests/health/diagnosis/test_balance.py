"""Balance: a layer in the middle that stands still among moving ones."""

import pytest
from bodies import body
from runs import FLAT, LEARNING, run

from isograd.health.diagnosis import balance


def found(turning, **what):
    return list(balance.diagnose(run(body(5), turning=turning, gradient=1e-3, **what)))


def middle_still(step, layer):
    return 1e-6 if layer == 2 else 1e-2


def test_a_middle_layer_that_stands_still_is_named():
    (finding,) = found(middle_still, losses=FLAT)
    assert finding.severity == "warning" and finding.where == "l2" and finding.layers == ("l2",)


def test_where_the_training_goes_well_it_is_a_remark():
    (finding,) = found(middle_still, losses=LEARNING)
    assert finding.severity == "note"


HEALTHY = {
    "layers that move alike": lambda step, layer: 1e-2,
    "a hundredfold between the fastest and the slowest": lambda step, layer: 1e-4 if layer == 2 else 1e-2,
    "a last layer that rests": lambda step, layer: 1e-7 if layer == 4 else 1e-2,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    assert found(HEALTHY[name], losses=FLAT) == []


def test_layers_outside_the_optimizer_are_left_out():
    case = run(body(5, outside=(2,)), losses=FLAT, turning=middle_still)
    assert list(balance.diagnose(case)) == []


def test_a_real_training_is_left_alone(train, mlp):
    import torch

    report, accuracy = train(lambda: mlp(4, torch.nn.Tanh), lambda p: torch.optim.Adam(p, lr=2e-3), 60)
    assert accuracy > 0.7 and not [f for f in report.findings if f.disease == "balance"]
