"""Momentum, betas and eps that make no sense, and those that only look it."""

import pytest
from bodies import body
from runs import FLAT, run

from isograd.health.diagnosis import momentum
from isograd.records.anatomy import Optimizer


def found(optimizer, **what):
    return list(momentum.diagnose(run(body(4, optimizer=optimizer), **what)))


def sgd(value):
    return Optimizer("sgd", (("learning_rate", 0.1), ("momentum", value)))


def adam(**constants):
    return Optimizer("adam", tuple({"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, **constants}.items()))


def test_a_velocity_that_never_forgets():
    (finding,) = found(sgd(1.0), losses=FLAT)
    assert finding.alarm and "never forgets" in finding.summary


def test_a_memory_of_ten_thousand_steps_in_a_run_of_two_hundred():
    (finding,) = found(sgd(0.9999), losses=FLAT)
    assert finding.severity == "critical" and "10,000 steps" in finding.summary
    (finding,) = found(sgd(0.9999))
    assert finding.severity == "note", "harmless where it learns"


def test_an_epsilon_above_every_gradient_turns_adam_into_tiny_steps():
    (finding,) = found(adam(eps=1.0), losses=FLAT, turning=1e-4, gradient=1e-3)
    assert finding.severity == "critical" and finding.evidence[0].value == pytest.approx(1000.0)


def test_a_size_that_forgets_faster_than_the_gradient():
    (finding,) = found(adam(beta1=0.99, beta2=0.9), losses=FLAT)
    assert finding.alarm and "forgets faster" in finding.summary


def test_an_epsilon_of_zero_is_a_remark():
    (finding,) = found(adam(eps=0.0))
    assert finding.severity == "note"


HEALTHY = [
    sgd(0.0),
    sgd(0.9),
    sgd(0.97),
    adam(),
    adam(beta2=0.95),
    adam(beta1=0.5),
    adam(eps=1e-3),
    Optimizer("rmsprop", (("alpha", 0.99), ("eps", 1e-8))),
]


@pytest.mark.parametrize("optimizer", HEALTHY)
@pytest.mark.parametrize("losses", [FLAT, None])
def test_silent_on(optimizer, losses):
    assert found(optimizer, **({"losses": losses} if losses else {})) == []


def test_a_real_training_with_the_usual_constants_and_one_with_eps_one(train, mlp):
    import torch

    report, _ = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.Adam(p, lr=1e-3), 60)
    assert not [f for f in report.findings if f.disease == "momentum"]
    report, _ = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.Adam(p, lr=1e-3, eps=10.0), 60)
    assert [f for f in report.findings if f.disease == "momentum"]


def test_before_training_an_epsilon_that_lets_no_layer_move_is_told():
    (finding,) = found(adam(eps=1e3), losses=[2.3, 2.3], turning=1e-7, gradient=1e-3, planned=1000)
    assert finding.alarm and "eps of 1000" in finding.summary
    assert found(adam(eps=0.1), losses=[2.3, 2.3], turning=1e-3, gradient=1e-3, planned=1000) == [], "layers will move"


def test_a_memory_of_more_than_the_run_is_excused_by_good_answers_only():
    slow = [2.3 * (0.2 + 0.8 * 0.98**i) for i in range(200)]
    assert found(sgd(0.998), losses=slow)[0].alarm, "500 steps are remembered in 200"
    assert not found(sgd(0.993), losses=slow)[0].alarm, "143 steps, and the answers are fair"


def test_swapped_betas_are_an_alarm_where_the_outcome_cannot_be_known():
    assert any(one.alarm for one in found(adam(beta1=0.999, beta2=0.1), floor=None))
    assert not any(one.alarm for one in found(adam(beta1=0.95, beta2=0.9), floor=None))


def test_a_size_that_forgets_too_fast_is_told_where_the_loss_ran_away_although_some_answers_are_right():
    (finding,) = found(adam(beta1=0.95, beta2=0.1), losses=[2.3 * 1.2**i for i in range(200)])
    assert finding.alarm and "forgets faster" in finding.summary
