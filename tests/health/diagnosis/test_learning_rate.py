"""Learning rate: zero, decayed, too low, too high; and the look-alikes that train well."""

import dataclasses

import pytest
from bodies import ADAM, body
from runs import FLAT, LEARNING, alarms, run

from isograd.health.diagnosis import learning_rate
from isograd.health.outcome import outcome

NET = body(4)


def found(**what):
    return list(learning_rate.diagnose(run(NET, **what)))


def test_a_rate_of_zero_is_certain():
    (finding,) = found(losses=FLAT, rates=0.0, turning=0.0, agreement=1.0)
    assert finding.severity == "critical" and finding.where == "optimizer" and "nothing can be learned" in finding.summary


def test_a_warm_up_that_has_only_begun_is_not_a_rate_of_zero():
    assert found(losses=FLAT[:20], rates=0.0, turning=0.0, planned=1000, ended=False) == []


def test_two_hundred_steps_of_a_ten_thousandth_lead_nowhere():
    (finding,) = found(losses=[2.3 - 1e-4 * i for i in range(200)], turning=1e-4, agreement=0.9)
    assert finding.severity == "critical" and "too low" in finding.summary
    assert finding.evidence[0].value == pytest.approx(0.02)


def test_two_thirds_through_a_low_rate_is_judged_by_where_the_whole_run_would_lead():
    assert alarms(found(losses=FLAT, turning=1e-4, planned=300, ended=False))
    assert not found(losses=FLAT, turning=1e-4, planned=100_000, ended=False)


def test_a_decay_at_the_start_stops_the_run_while_it_learns():
    losses = [2.3 * 0.99**i for i in range(40)] + [1.54] * 160
    (finding,) = found(losses=losses, rates=lambda step: 0.1 * 0.8**step, turning=lambda step, _: 1e-2 * 0.8**step)
    assert "fell below 1/1,000" in finding.summary and 28 <= finding.since <= 36 and finding.alarm


@pytest.mark.parametrize(
    ("beat", "hits", "alarm"),
    [
        ((0.76, 0.01), (0.86, 0.052), True),
        ((0.76, 0.01), (0.95, 0.052), False),
        ((0.89, 0.01), (0.86, 0.052), False),
        ((0.76, 0.01), (0.91, 0.03), False),
        ((0.76, 0.01), None, True),
        ((0.76, 0.01), (0.86, 0.03), True),
    ],
)
def test_where_few_right_answers_were_counted_the_loss_says_whether_a_decay_came_too_soon(monkeypatch, beat, hits, alarm):
    losses = [2.3 * 0.97**i for i in range(40)] + [0.55] * 160
    case = run(NET, losses=losses, rates=lambda step: 0.1 * 0.8**step, turning=lambda step, _: 1e-2 * 0.8**step)
    judged = dataclasses.replace(outcome(case), beat=beat, hits=hits, learning=True)
    monkeypatch.setattr(learning_rate, "outcome", lambda _: judged)
    assert bool(alarms(learning_rate.diagnose(case))) == alarm


def test_steps_that_turn_every_layer_by_a_tenth_keep_nothing():
    (finding,) = found(losses=FLAT, turning=0.1, agreement=0.0)
    assert "too high" in finding.summary and finding.severity == "critical"
    assert finding.evidence[0].value == pytest.approx(0.1, rel=0.01)


def test_one_blow_that_the_training_has_not_recovered_from():
    (finding,) = found(losses=FLAT, turning=lambda step, _: 0.5 if step == 2 else 1e-3, agreement=0.0)
    assert finding.evidence[0].signal == "update_rms" and "not recovered" in finding.summary


HEALTHY = {
    "an ordinary training": {},
    "warm-up from zero": {"rates": lambda step: 0.1 * min(1.0, (step - 1) / 20)},
    "a schedule at its end": {"rates": lambda step: 0.1 * max(0.0, 1.0 - step / 200)},
    "a decay after convergence": {"rates": lambda step: 0.1 if step < 90 else 1e-7, "losses": LEARNING[:90] + [0.15] * 110},
    "fine-tuning with tiny steps": {"turning": 1e-4, "losses": [0.4 - 1e-3 * i for i in range(200)]},
    "large steps that train well": {"turning": 0.1},
    "a hard problem at its best": {"losses": [2.3] + [1.9 + 0.01 * (i % 3) for i in range(199)], "agreement": 0.0},
    "a loss without a floor": {"floor": None, "losses": FLAT, "turning": 1e-4},
    "ten steps": {"losses": FLAT[:9], "turning": 1e-5},
    "layers that get no gradient": {"losses": FLAT, "turning": 0.0, "gradient": 0.0},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    assert found(**HEALTHY[name]) == []


def test_an_epsilon_that_swallows_the_steps_is_not_blamed_on_the_rate():
    case = run(body(4, optimizer=ADAM), losses=FLAT, turning=1e-5, gradient=1e-10)
    assert list(learning_rate.diagnose(case)) == []


@pytest.mark.parametrize(("rate", "word"), [(1e-5, "too low"), (30.0, "too high")])
def test_real_trainings_at_absurd_rates(rate, word, train, mlp):
    import torch

    report, accuracy = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=rate), 80)
    named = [finding for finding in report.findings if finding.disease == "learning_rate"]
    assert accuracy < 0.4
    assert not named or word in named[0].summary


def test_a_real_training_at_a_sound_rate_is_left_alone(train, mlp):
    import torch

    report, accuracy = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=0.3), 150)
    assert accuracy > 0.85 and not [f for f in report.findings if f.disease == "learning_rate"]


def before_training(**what):
    return found(losses=[2.3, 2.3], agreement=1.0, planned=1000, **what)


def test_before_training_a_path_of_a_thousandth_over_the_whole_run_is_told():
    (finding,) = before_training(turning=1e-6)
    assert finding.alarm and "1,000 steps like the first" in finding.summary
    assert finding.evidence[0].value == pytest.approx(1e-3)


def test_before_training_steps_that_move_no_weight_are_told():
    (finding,) = before_training(turning=0.0)
    assert finding.alarm and "lost in the rounding" in finding.summary


def test_before_training_a_fine_tuning_rate_and_a_warm_up_from_zero_are_let_be():
    assert before_training(turning=1e-4) == []
    assert before_training(turning=0.0, rates=0.0) == []
    assert before_training(turning=1e-6, rates=lambda step: 1e-6 * (step - 1)) == []


HALF = [2.3 * (1.0 - 0.5 * i / 200) for i in range(200)]


def test_a_straight_way_that_has_not_come_to_its_first_bend_is_too_slow():
    (finding,) = found(losses=HALF, turning=2.5e-3, agreement=0.6)
    assert finding.alarm and "too low" in finding.summary and finding.evidence[0].value == pytest.approx(0.5)
    assert found(losses=HALF, turning=2.5e-3, agreement=0.0) == [], "the gradient has turned"
    assert found(losses=HALF, turning=5e-3, agreement=0.6) == [], "it went its own length"


def test_where_nothing_was_learned_a_path_of_a_third_was_none():
    assert alarms(found(losses=FLAT, turning=1.8e-3, agreement=0.0))


def test_before_training_a_run_of_one_step_is_not_blamed_on_its_rate():
    assert found(losses=[2.3, 2.3], agreement=1.0, planned=1, turning=1e-3) == []


def test_a_rate_halved_every_few_steps_is_gone_before_the_loss_can_show_that_it_falls():
    """Down to a tenth within a twentieth of the run, with losses that have hardly moved by then."""
    losses = [2.30 - 0.002 * min(i, 20) for i in range(200)]
    early = {"losses": losses, "turning": lambda step, _: 1e-2 * 0.85**step, "rates": lambda step: 0.1 * 0.85**step}
    (finding,) = found(**early)
    assert "fell below 1/1,000" in finding.summary and finding.alarm
    well = [2.3 * max(0.1, 0.8**i) for i in range(200)]
    assert not alarms(found(**early | {"losses": well}))


@pytest.mark.parametrize("rate", [0.05, 0.0])
def test_a_line_of_one_weight_can_be_learned(rate):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x = torch.linspace(-2, 4, 12).unsqueeze(1)
    y = 1.8 * x + 3.2
    line = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(line.parameters(), lr=rate)
    told = isograd.check(line, (x, y), torch.nn.functional.mse_loss, optimizer).findings
    assert not [one for one in told if one.alarm]
    with isograd.watch(line, optimizer, budget=None) as watch:
        for _ in range(100):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(line(x), y).backward()
            optimizer.step()
    assert any(one.alarm for one in watch.findings) == (rate == 0.0)
