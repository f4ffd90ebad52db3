"""Exploding: found where steps are larger than the layer, foretold where signals grow, and never cried."""

import dataclasses
import random
import statistics
from itertools import pairwise

import pytest
from bodies import ADAM, WIDTH, body, case, geometric, recording
from lessons import classes, numbers, training
from runs import run

from isograd.health import theory
from isograd.health.case import case_of
from isograd.health.diagnosis import exploding
from isograd.health.steepness import steepness
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.batch import LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.reading import Readings
from isograd.records.trace import Meter, Step, Trace


def found(anatomy, readings, expectations=None):
    return list(exploding.diagnose(case(readings, anatomy, expectations)))


def test_a_step_larger_than_the_layer_is_exploding():
    anatomy = body(5)
    # an update of 1 in every weight of a layer with 64 inputs changes its output 8-fold
    (finding,) = found(anatomy, recording(anatomy, [1.0] * 5, [1.0] * 5, update=1.0, losses=[2.3, 2.5]))
    assert finding.disease == "exploding" and finding.severity == "warning"
    assert finding.evidence[0].value == pytest.approx(8.0) and finding.evidence[0].bound == exploding.WHOLE


def test_ten_times_larger_is_critical():
    anatomy = body(5)
    (finding,) = found(anatomy, recording(anatomy, [1.0] * 5, [1.0] * 5, update=2.0, losses=[2.3, 2.5]))
    assert finding.severity == "critical" and len(finding.layers) == 5


def test_a_loss_that_runs_away_is_exploding_whatever_the_updates():
    anatomy = body(3)
    (finding,) = found(anatomy, recording(anatomy, [1.0] * 3, [1e-3] * 3, steps=4, losses=[1.0, 5.0, 30.0, 200.0]))
    assert finding.severity == "critical" and "200-fold" in finding.summary


def test_gradients_that_grow_towards_the_input_are_named_as_evidence():
    anatomy = body(6)
    (finding,) = found(anatomy, recording(anatomy, geometric(6, 3.0), [1.0] * 6, update=1.0, losses=[1.0, 2.0]))
    assert [e.signal for e in finding.evidence] == ["update_rms", "backward_slope"]
    assert "gets 3 times the gradient" in finding.evidence[1].text


def test_weights_four_times_too_large_are_foretold_to_explode():
    anatomy = body(20, mean_square=16 * 2 / WIDTH)
    (finding,) = found(anatomy, Readings(), theory.foretell(anatomy))
    assert finding.severity == "critical" and "outputs will be about" in finding.summary


@pytest.mark.parametrize("depth", [3, 30])
def test_he_initialisation_is_not_foretold_to_explode(depth):
    anatomy = body(depth, mean_square=2 / WIDTH)
    assert found(anatomy, Readings(), theory.foretell(anatomy)) == []


def test_one_wild_step_that_left_the_network_silent_is_still_told():
    anatomy = body(4)
    wild = recording(anatomy, [1.0] * 4, [1.0] * 4, steps=1, update=5.0, losses=[2.3])
    quiet = recording(anatomy, [0.0] * 4, [0.0] * 4, steps=9, losses=[2.3] * 9)
    both = Readings(wild.values + quiet.values, wild.order)
    assert [f.severity for f in found(anatomy, both)] == ["critical"]


HEALTHY = {
    "an ordinary training": {"update": 1e-3, "losses": [2.3, 2.2]},
    "a large first gradient that Adam tames": {"update": 1e-3, "losses": [300.0, 200.0]},
    "a loss that doubles for a moment": {"update": 1e-3, "losses": [1.0, 2.0]},
    "a converged loss of zero": {"update": 0.0, "losses": [0.0, 1e-9]},
    "a loss that was not seen": {"update": 1e-3},
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("gradient", [1.0, 1e4])
def test_silent_on(name, gradient):
    anatomy = body(5, optimizer=ADAM)
    assert found(anatomy, recording(anatomy, [gradient] * 5, [1e-2] * 5, **HEALTHY[name])) == []


def test_a_wild_start_that_learned_is_forgiven():
    anatomy = body(4)
    wild = recording(anatomy, [1.0] * 4, [1.0] * 4, steps=1, update=5.0, losses=[2.3])
    learned = recording(anatomy, [0.1] * 4, [1e-3] * 4, steps=9, update=1e-3, losses=[0.5] * 9)
    assert found(anatomy, Readings(wild.values + learned.values, wild.order)) == []


def test_a_real_training_with_a_rate_a_hundred_times_too_high_is_found(train, mlp):
    import torch

    report, accuracy = train(lambda: mlp(4, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=10.0), steps=40)
    assert accuracy < 0.3
    assert {"exploding", "nonfinite", "learning_rate"} & {f.disease for f in report.findings if f.alarm}


def test_outputs_ten_thousand_times_the_inputs_are_found_where_an_adaptive_step_hides_them(torch_check):
    def loud(model):
        for module in model:
            if hasattr(module, "weight"):
                module.weight.data.normal_()
                module.bias.data.zero_()

    for optimizer in ("Adam", None):
        report = torch_check(8, loud, optimizer)
        assert [(f.disease, f.severity) for f in report.findings if f.alarm] == [("exploding", "critical")]
        assert "times as large as the inputs" in report.findings[0].summary
        assert torch_check(8, lambda model: None, optimizer).healthy


def test_a_network_that_brings_tiny_inputs_to_size_is_not_exploding():
    import torch

    import isograd

    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    x, y = 1e-6 * torch.randn(64, 8), torch.randint(0, 3, (64,))
    assert isograd.check(model, (x, y), torch.nn.functional.cross_entropy).healthy


def test_a_whole_step_of_a_method_that_knows_the_curvature_is_no_explosion():
    anatomy = body(5, optimizer=Optimizer("lbfgs", (("learning_rate", 1.0),)))
    large = {"update": 1.0, "steps": 3}
    assert found(anatomy, recording(anatomy, [1.0] * 5, [1.0] * 5, losses=[2.3, 1.0, 0.1], **large)) == []
    (finding,) = found(anatomy, recording(anatomy, [1.0] * 5, [1.0] * 5, losses=[2.3, 50.0, 500.0], **large))
    assert "the loss grew" in finding.summary.lower()


def sampled(losses, stepped, output, target=1.0, planned=None):
    """A run whose loss was looked at: its value, what was stepped, how large outputs and targets are."""
    steps = tuple(
        Step(
            i,
            stepped(loss),
            losses=(
                LossSample(
                    "mse_loss",
                    value=loss,
                    floor=1.0,
                    output=Moments.of([output, -output]),
                    target=Moments.of([target, -target] * 16),
                    target_shape=(32, 1),
                    source="net.py:9",
                ),
            ),
        )
        for i, loss in enumerate(losses, 1)
    )
    trace = Trace(body(3), (), steps, planned or len(losses), Meter(steps=len(losses)), ended=planned is None)
    return list(exploding.diagnose(case_of(trace)))


def test_a_program_that_climbs_its_loss_is_told_so():
    (finding,) = sampled([1.0 + i for i in range(30)], lambda loss: -loss, 1.0)
    assert finding.severity == "critical" and finding.where == "loss" and "uphill" in finding.summary
    assert finding.source == "net.py:9"


def test_outputs_that_were_far_too_large_from_the_first_step_to_the_last():
    (finding,) = sampled([1000.0 - i for i in range(30)], lambda loss: loss, 30.0)
    assert finding.severity == "critical" and "too large" in finding.summary


def test_large_targets_are_not_blamed_on_the_outputs():
    assert sampled([1000.0 - i for i in range(30)], lambda loss: loss, 1.0, 30.0) == []


@pytest.mark.parametrize("stepped", [lambda loss: loss, lambda loss: loss - 5.0, lambda loss: 0.5 * loss])
def test_a_loss_with_bonus_or_weight_is_not_uphill(stepped):
    assert sampled([1.0 + 0.05 * i for i in range(30)], stepped, 1.0) == []


@pytest.mark.parametrize(("steps", "said"), [(5, False), (200, True)])
def test_first_steps_that_throw_the_loss_up_may_come_back(steps, said):
    """A new head under AdaGrad: the first steps are the largest it will ever make."""
    losses = [1.0] * (steps // 10 + 1) + [15.0] * steps
    assert bool(sampled(losses, lambda loss: loss, 1.0, planned=1000)) == said


def test_single_losses_of_tiny_batches_are_no_growth():
    draw = random.Random(2)
    losses = [draw.gauss(0.0, 1.0) ** 2 for _ in range(13)]
    losses[0], losses[-1] = 0.01, 5.0
    assert not [f for f in exploding.diagnose(run(body(3), losses=losses, planned=900, ended=False)) if f.alarm]


def test_a_network_in_the_chaotic_phase_that_learned_nothing_is_told_so():
    anatomy = body(8)
    grown = recording(anatomy, geometric(8, 2.0), [1e-3] * 8, steps=60, update=1e-3, losses=[2.3] * 60)
    (finding,) = list(exploding.diagnose(stuck(anatomy, grown)))
    assert "as if they had nothing in common" in finding.summary and finding.where == "l0"
    even = recording(anatomy, geometric(8, 1.2), [1e-3] * 8, steps=60, update=1e-3, losses=[2.3] * 60)
    assert list(exploding.diagnose(stuck(anatomy, even))) == []


def stuck(anatomy, readings):
    """A run that has ended at what a constant answer gets."""
    looks = [Step(t, one.value, losses=(one,)) for t in range(1, 61) for one in (classes(t),)]
    return dataclasses.replace(case(readings, anatomy, ended=True), steps=tuple(looks))


@pytest.mark.parametrize("deviation", [1.0, 0.12])
def test_a_real_tanh_network_with_weights_of_deviation_one_is_chaotic(deviation, digits):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x, y = digits
    widths = [64] * 8 + [10]
    layers = [layer for a, b in pairwise(widths) for layer in (torch.nn.Linear(a, b), torch.nn.Tanh())][:-1]
    for layer in layers[::2]:
        torch.nn.init.normal_(layer.weight, std=deviation)
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    with isograd.watch(net, optimizer, budget=None) as watch:
        for step in range(100):
            rows = slice(16 * step, 16 * step + 16)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    said = {finding.disease for finding in watch.findings if finding.alarm}
    assert ("exploding" in said) == (deviation == 1.0) and "labels" not in said


def clipped(norm, size, loss, *, explained):
    """A run whose weights have that size, and whose gradient that norm before it is cut down to 1."""
    entries = WIDTH * WIDTH
    weight = Parameter("w", "layer", (WIDTH, WIDTH), True, True, Moments.of([size / WIDTH] * entries))
    anatomy = Anatomy("torch", (Node("layer", "linear", "Linear", parameters=("w",)),), (weight,), optimizer=ADAM)
    one = training(lambda t: numbers(t, explained=explained, scale=loss**0.5), anatomy=anatomy)
    facts = (Fact("clipped", settings=(("bound", 1.0), ("norm", norm))),)
    return dataclasses.replace(one, steps=tuple(dataclasses.replace(step, facts=facts) for step in one.steps))


def test_the_steepness_is_the_part_of_the_loss_that_the_weights_are_worth():
    for scale in (1.0, 1e6):  # a loss in other units has a gradient in other units
        assert steepness(clipped(3.0 * scale, 20.0, scale, explained=0.0)) == pytest.approx(60.0, rel=0.2)


@pytest.mark.parametrize(("norm", "explained", "said"), [(1e4, 0.2, True), (1e4, 0.95, False), (10.0, 0.2, False)])
def test_a_gradient_that_no_step_can_follow_is_told_behind_a_clip_where_answers_are_poor(norm, explained, said):
    found = list(exploding.diagnose(clipped(norm, 20.0, 1.0, explained=explained)))
    assert [one.where for one in found] == ["layer"] * said
    assert all("cut down to 1" in one.summary for one in found)


@pytest.mark.parametrize(("depth", "said"), [(30, False), (40, True)])
def test_a_loss_may_be_steep_in_weights_before_a_normalisation_as_deep_sound_networks_are(depth, said):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (torch.nn.Linear(32, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU())]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(32, 4))
    batch = torch.randn(8, 32), torch.randint(0, 4, (8,))
    loss = torch.nn.functional.cross_entropy(net(batch[0]), batch[1])
    squares = [gradient.square().sum() for gradient in torch.autograd.grad(loss, list(net.parameters()))]
    sizes = [parameter.detach().square().sum() for parameter in net.parameters()]
    assert float(sum(squares) ** 0.5 * sum(sizes) ** 0.5 / loss.detach()) > exploding.FORETOLD  # told without norms, either
    report = isograd.check(net, batch, torch.nn.CrossEntropyLoss(), torch.optim.AdamW(net.parameters(), lr=1e-3))
    assert any("worth the whole loss" in finding.summary for finding in report.findings) == said


@pytest.mark.parametrize(("times", "said"), [(1, False), (16, True)])
def test_an_lstm_whose_weights_are_far_too_large_explodes_through_time_behind_its_clip(times, said):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    net, head = torch.nn.LSTM(4, 32, batch_first=True), torch.nn.Linear(32, 1)
    with torch.no_grad():
        net.weight_hh_l0.mul_(times)
    model = torch.nn.ModuleDict({"lstm": net, "head": head})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.randn(256, 30, 4)
    y = x[:, :, 0].mean(1, keepdim=True) * 30**0.5
    with isograd.watch(model, optimizer, budget=None, steps=60) as watch:
        for step in range(60):
            rows = slice(64 * (step % 4), 64 * (step % 4) + 64)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(head(net(x[rows])[0][:, -1]), y[rows]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    told = [one.where for one in watch.report().findings if one.disease == "exploding" and one.alarm]
    assert told == ["lstm"] * said


@pytest.mark.parametrize(("times", "said"), [(1, False), (16, True)])
def test_before_training_such_an_lstm_is_a_remark(times, said):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    model, x = torch.nn.LSTM(4, 8, batch_first=True), torch.randn(64, 30, 4)
    with torch.no_grad():
        model.weight_hh_l0.mul_(2 * times)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    report = isograd.check(
        model, (x, x[:, :, 0].mean(1)), lambda out, y: torch.nn.functional.mse_loss(out[0][:, -1, 0], y), optimizer
    )
    told = [(one.severity, one.where) for one in report.findings if one.disease == "exploding"]
    assert [severity for severity, _ in told] == ["note"] * said


@pytest.mark.parametrize(("factor", "said"), [(8.0, False), (1e4, True)])
def test_an_objective_of_either_sign_is_measured_by_its_size_and_not_by_a_median_near_zero(factor, said):
    """A policy's: episodes grow longer, and with them the sum that is stepped."""
    draw = random.Random(6)
    losses = [draw.gauss(0.0, 1.0) for _ in range(250)] + [factor * abs(draw.gauss(1.0, 1.0)) for _ in range(30)]
    assert statistics.median(losses[-28:]) > 100.0 * statistics.median(losses[:28]) > 0.0
    assert bool([f for f in exploding.diagnose(run(body(3), losses=losses, floor=None)) if f.alarm]) == said


@pytest.mark.parametrize(("losses", "said"), [((0.3, 0.1, 73.0), False), ((0.3, 73.0, 90.0, 200.0), True)])
def test_one_loss_that_an_early_step_throws_up_is_no_alarm_while_the_run_goes_on(losses, said):
    steps = tuple(Step(index, loss) for index, loss in enumerate(losses, 1))
    found = list(exploding.diagnose(case_of(Trace(body(3), (), steps, ended=False))))
    assert bool(found) == said
