"""Weight decay: overwhelming where it empties the network, sound where the network answers well."""

import pytest
from bodies import body
from runs import FLAT, alarms, run

from isograd.health.diagnosis import weight_decay
from isograd.records.anatomy import Optimizer


def optimizer(kind, decay):
    return Optimizer(kind, (("learning_rate", 0.1), ("weight_decay", decay)))


def found(kind, decay, **what):
    return list(weight_decay.diagnose(run(body(4, optimizer=optimizer(kind, decay)), **what)))


def emptied(step, _):
    return 0.1 * 0.97**step


def test_a_decay_ten_times_the_gradient_empties_the_network():
    (finding,) = found("sgd", 1.0, losses=FLAT, weight=emptied, gradient=lambda step, _: 0.1 * emptied(step, _))
    assert finding.severity == "critical" and finding.evidence[0].value == pytest.approx(10.0) and len(finding.layers) == 4


def test_weights_and_gradients_that_fall_by_orders_of_magnitude_are_held_against_each_other_step_by_step():
    def gone(step, _):
        return 0.1 * 0.7**step

    def let_through(step, layer):
        return 0.03 * gone(step, layer) if step < 60 else 0.0  # emptied weights let no gradient through

    (finding,) = found("adam", 1.0, losses=FLAT, weight=gone, gradient=let_through)
    assert finding.severity == "critical" and finding.evidence[0].value == pytest.approx(33.3, rel=0.01)


def test_a_gradient_that_is_exactly_nothing_all_along_is_not_held_against_the_decay():
    assert found("sgd", 1e-2, losses=FLAT, weight=emptied, gradient=0.0) == []


def test_where_the_gradient_was_lost_before_decay_could_win_it_is_a_remark():
    def faded(step, layer):
        return 0.1 * emptied(step, layer) * (1.0 if layer == 3 else 1e-6)

    (finding,) = found("sgd", 1.0, losses=FLAT, weight=emptied, gradient=faded)
    assert finding.severity == "note" and "hardly reached" in finding.summary
    (uneven,) = found(
        "sgd", 1.0, losses=FLAT, weight=emptied, gradient=lambda step, at: 0.1 * emptied(step, at) * 10.0 ** (at - 3)
    )
    assert uneven.alarm, "layers of a sound network differ too"


def test_a_deep_plain_network_is_told_its_vanishing_gradient_and_not_its_usual_decay(train, mlp):
    import torch

    deep, accuracy = train(
        lambda: mlp(16, torch.nn.Sigmoid), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-3), 60
    )
    told = {finding.disease for finding in deep.findings if finding.alarm}
    assert accuracy < 0.3 and "vanishing" in told and "weight_decay" not in told


def test_decoupled_decay_is_taken_from_the_update():
    # a rate of 0.1 and a decay of 0.3 take 3 % a step; the gradient's part turns the weight by 0.1 %
    (finding,) = found("adamw", 0.3, losses=FLAT, weight=emptied, turning=1e-3, shrinking=0.03)
    assert finding.alarm and finding.evidence[0].value > 3


HEALTHY = {
    "no decay": ("sgd", 0.0, {"losses": FLAT, "weight": emptied}),
    "sound decay": ("sgd", 1e-4, {}),
    "a converged network whose gradient is small": ("sgd", 1e-2, {"gradient": 1e-6, "weight": emptied}),
    "weights that keep their size": ("sgd", 1.0, {"losses": FLAT, "gradient": 0.05}),
    "AdamW with its usual decay": ("adamw", 0.01, {"turning": 1e-2}),
    "a run that has only begun": ("sgd", 1.0, {"losses": FLAT[:20], "weight": emptied, "planned": 1000, "ended": False}),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    kind, decay, what = HEALTHY[name]
    assert found(kind, decay, **what) == []


def test_real_trainings_with_a_crushing_and_with_a_sound_decay(train, mlp):
    import torch

    sound, accuracy = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.AdamW(p, lr=2e-3, weight_decay=0.1), 80)
    assert accuracy > 0.8 and not alarms(sound.findings)
    crushed, accuracy = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=1.0), 80)
    assert accuracy < 0.3
    assert all(finding.alarm for finding in crushed.findings if finding.disease == "weight_decay")


@pytest.mark.parametrize(("factor", "told"), [(3.0, True), (1e-4, False)])
def test_a_penalty_in_the_loss_that_outweighs_the_data_empties_a_real_network(factor, told):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x = torch.randn(64, 8)
    y = (x[:, 0] > 0).long()
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(100):
            optimizer.zero_grad()
            penalty = factor * sum(p.square().sum() for p in model.parameters())
            (torch.nn.functional.cross_entropy(model(x), y) + penalty).backward()
            optimizer.step()
    found = [finding for finding in watch.report().findings if finding.disease == "weight_decay" and finding.alarm]
    assert bool(found) is told
    if told:
        assert "penalty" in found[0].summary and found[0].where == "loss"


def test_before_training_a_decay_that_forgets_within_ten_steps_is_told():
    (finding,) = found("sgd", 1.0, losses=[2.3, 2.3], planned=1000)
    assert finding.alarm and "10 steps" in finding.summary and finding.evidence[0].value == pytest.approx(0.1)
    (finding,) = found("adamw", 2.0, losses=[2.3, 2.3], planned=1000)
    assert finding.evidence[0].value == pytest.approx(0.2)


def test_before_training_usual_decays_and_a_decay_that_adam_scales_with_the_gradient_are_no_alarm():
    assert found("sgd", 1e-3, losses=[2.3, 2.3]) == found("adamw", 0.1, losses=[2.3, 2.3]) == []
    for kind, decay in (("sgd", 0.5), ("adam", 2.0)):
        (finding,) = found(kind, decay, losses=[2.3, 2.3])  # both pull far harder than these gradients
        assert finding.severity == "note" and "times as hard as the first gradients" in finding.summary


def test_constants_that_forget_in_three_steps_are_told_of_a_run_that_learned_nothing():
    adamw = Optimizer("adamw", (("learning_rate", 0.003), ("weight_decay", 100.0)))
    case = run(body(4, optimizer=adamw), losses=FLAT, rates=0.003, weight=emptied, turning=1.0)
    assert weight_decay.stronger(case) is None, "by its late updates alone nothing is seen"
    assert [one.severity for one in weight_decay.diagnose(case)] == ["warning"]
    assert list(weight_decay.diagnose(run(body(4, optimizer=adamw)))) == []  # it learns


def test_real_decoupled_decay_of_a_third_a_step(train, mlp):
    import torch

    crushed, accuracy = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.AdamW(p, lr=3e-3, weight_decay=100.0), 80)
    assert accuracy < 0.3 and any(finding.disease == "weight_decay" and finding.alarm for finding in crushed.findings)
