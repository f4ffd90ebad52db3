"""Vanishing gradients: found where layers starve, foretold, explained, and never cried."""

from dataclasses import replace

import pytest
from bodies import ADAM, WIDTH, body, case, geometric, recording
from runs import FLAT, LEARNING, run

from isograd.health import theory
from isograd.health.case import table
from isograd.health.diagnosis import diagnose, vanishing
from isograd.records.anatomy import Optimizer
from isograd.records.reading import Reading, Readings


def found(anatomy, readings, expectations=None):
    return list(vanishing.diagnose(case(readings, anatomy, expectations, ended=True)))


def alarms(anatomy, readings, expectations=None):
    return [finding for finding in found(anatomy, readings, expectations) if finding.alarm]


def test_a_gradient_that_falls_tenfold_a_layer_starves_the_first_layers_under_sgd():
    anatomy = body(20, function="sigmoid")
    rate = geometric(20, 0.1)
    (finding,) = found(anatomy, recording(anatomy, rate, [0.01 * g for g in rate]))
    assert finding.severity == "critical" and finding.where == "l0" and finding.source == "net.py:7"
    assert finding.since == 1
    assert "1e-19 of the one at the last layer: 19.0 orders of magnitude" in finding.summary
    assert finding.layers[0] == "l0" and len(finding.layers) == 15 and "15 of 20 layers" in finding.summary
    assert "ReLU" in finding.remedy


def test_the_evidence_names_its_bound_and_what_theory_foretold():
    anatomy = body(12, function="sigmoid")
    expected = theory.foretell(anatomy)
    rate = geometric(12, 0.1)
    (finding,) = found(anatomy, recording(anatomy, rate, [0.01 * g for g in rate]), expected)
    share, moved, slope = finding.evidence
    assert share.signal == "gradient_rms" and share.value == pytest.approx(1e-11) and share.bound == vanishing.APART
    assert share.foretold is not None and "theory" in share.text
    assert moved.value == pytest.approx(1e-13) and moved.foretold is not None and "rounding loses" in moved.text
    assert slope.value == pytest.approx(2.303, abs=1e-3) and slope.foretold == expected.slope
    assert "sigmoid" in finding.cause


def test_theory_alone_foretells_it_before_any_batch():
    anatomy = body(30, function="sigmoid")
    (finding,) = found(anatomy, Readings(), theory.foretell(anatomy))
    assert finding.severity == "critical" and "will reach" in finding.summary and "will not learn" in finding.summary
    assert finding.since is None


def test_theory_alone_is_silent_on_he_initialised_relu():
    anatomy = body(30, mean_square=2 / WIDTH)
    assert found(anatomy, Readings(), theory.foretell(anatomy)) == []


def test_without_an_optimizer_theory_still_speaks():
    anatomy = body(30, optimizer=None, function="sigmoid")
    (finding,) = found(anatomy, Readings(), theory.foretell(anatomy))
    assert finding.alarm
    assert found(body(6, optimizer=None), Readings(), theory.foretell(body(6, optimizer=None))) == []


def test_adam_hides_a_vanishing_gradient_from_the_weights_and_the_finding_says_so():
    anatomy = body(9, optimizer=ADAM)
    (finding,) = found(anatomy, recording(anatomy, geometric(9, 0.1), [0.01] * 9))
    assert finding.severity == "note" and not finding.alarm
    assert "Adam undoes it" in finding.summary


def test_adam_cannot_undo_a_gradient_far_below_its_eps():
    anatomy = body(30, optimizer=ADAM, function="sigmoid")
    (finding,) = found(anatomy, Readings(), theory.foretell(anatomy))
    assert finding.severity == "critical"


def test_adam_undoes_what_is_above_its_eps_so_theory_alone_is_silent():
    anatomy = body(6, optimizer=ADAM, function="sigmoid")
    assert found(anatomy, Readings(), theory.foretell(anatomy)) == []


def test_weight_decay_does_not_hide_a_starved_layer():
    # with coupled decay an adaptive optimizer makes the decay as large as a gradient
    optimizer = Optimizer("adam", (("learning_rate", 1e-3), ("eps", 1e-8), ("weight_decay", 1e-2)))
    anatomy = body(20, optimizer=optimizer, function="sigmoid")
    (finding,) = alarms(anatomy, recording(anatomy, geometric(20, 0.1), [0.01] * 20))
    assert finding.where == "l0"


def test_a_gradient_that_underflows_to_zero_is_vanishing():
    anatomy = body(20, function="sigmoid")
    gradients = [0.0] * 5 + geometric(15, 1e-3)
    (finding,) = found(anatomy, recording(anatomy, gradients, [0.01 * g for g in gradients]))
    assert finding.severity == "critical" and "exactly 0" in finding.summary


def test_more_planned_steps_let_a_slow_layer_arrive():
    anatomy = body(8)
    rate = geometric(8, 0.2)
    movements = [0.05 * g for g in rate]
    assert alarms(anatomy, recording(anatomy, rate, movements, planned=100))
    assert not alarms(anatomy, recording(anatomy, rate, movements, planned=1_000_000))


def test_a_finding_is_about_now_not_about_the_first_step():
    anatomy = body(12)
    sick, well = (recording(anatomy, g, m) for g, m in ((geometric(12, 0.1), geometric(12, 0.1)), ([1.0] * 12, [0.01] * 12)))
    later = tuple(Reading(r.signal, r.where, r.step + 2, r.value) for r in well.values if r.step)
    both = Readings(sick.values + later, sick.order, (1, 2, 3, 4))
    assert found(anatomy, both) == []


HEALTHY = {
    "a converged network: all gradients small, slope flat": ([1e-9] * 10, [1e-11] * 10),
    "warm-up from zero: no layer moves yet": ([1.0] * 10, [0.0] * 10),
    "warm-up from zero with a gradient that is uneven": (geometric(10, 0.1), [0.0] * 10),
    "a zero last layer: nothing comes through yet": ([0.0] * 9 + [1.0], [0.0] * 9 + [0.01]),
    "a small last layer: all below it is small alike": ([1e-5] * 9 + [1.0], [1e-8] * 9 + [0.01]),
    "a rare first layer whose gradient is large": ([1.0] * 10, [1e-9] + [0.01] * 9),
    "a gentle slope": (geometric(10, 0.6), geometric(10, 0.6, 0.01)),
    "zero-initialised residual branches behind a stem that learns": (
        [1.0] + [0.0, 1.0] * 4 + [1.0],
        [0.01] + [0.0, 0.01] * 4 + [0.01],
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    anatomy = body(10)
    assert alarms(anatomy, recording(anatomy, *HEALTHY[name])) == []


def test_frozen_layers_and_layers_outside_the_optimizer_are_not_starved():
    for anatomy in (body(10, frozen=range(5)), body(10, outside=range(5))):
        gradients = [1e-12] * 5 + [1.0] * 5
        assert found(anatomy, recording(anatomy, gradients, [0.0] * 5 + [0.01] * 5)) == []


def test_two_layers_are_no_depth():
    anatomy = body(2)
    assert found(anatomy, recording(anatomy, [1e-12, 1.0], [1e-14, 0.01])) == []


def test_nothing_known_nothing_said():
    assert diagnose(case(Readings(), body(30))) == ()


def test_a_real_deep_sigmoid_network_is_found_and_does_not_train(train, mlp):
    import torch

    report, accuracy = train(lambda: mlp(20, torch.nn.Sigmoid), lambda p: torch.optim.SGD(p, lr=0.1), steps=60)
    assert accuracy < 0.3
    assert "vanishing" in {f.disease for f in report.findings if f.alarm}
    assert report.findings[0].where == "0"


@pytest.mark.parametrize("activation", ["ReLU", "Tanh", "GELU", "LeakyReLU"])
def test_a_real_network_that_trains_is_not_accused(train, mlp, activation):
    import torch

    kind = getattr(torch.nn, activation)
    report, accuracy = train(lambda: mlp(4, kind), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), steps=250)
    assert accuracy > 0.85
    assert report.healthy


def test_hidden_layers_that_stand_still_while_nothing_is_learned_are_told_even_where_no_layer_outruns_the_others():
    shrinking = geometric(5, 0.1)

    def told(losses):
        what = {"losses": losses, "turning": 1e-5}
        anatomy = body(5)
        plain = run(anatomy, **what)
        more = recording(anatomy, shrinking, [1e-5] * 5)
        rows = {**plain.rows, "gradient_rms": table(more)["gradient_rms"]}
        return list(vanishing.diagnose(replace(plain, rows=rows)))

    (finding,) = told(FLAT)
    assert finding.severity == "warning" and finding.where == "l0" and "nothing is learned" in finding.summary
    assert not [finding for finding in told(LEARNING) if finding.alarm]
