"""Dead units: counted over enough looks, told where they are most of a layer."""

from dataclasses import replace

import pytest
from bodies import body, case, looks

from isograd.health.diagnosis import dead_units
from isograd.records.anatomy import Anatomy, Node


def found(anatomy, readings):
    return list(dead_units.diagnose(case(readings, anatomy)))


def test_a_layer_that_never_fires_is_critical():
    anatomy = body(3)
    (finding,) = found(anatomy, looks(anatomy, "a0", [0] * 10))
    assert finding.severity == "critical" and finding.where == "a0" and "100 %" in finding.summary
    assert "Nothing passes" in finding.summary


def test_four_fifths_of_a_layer_is_a_warning_with_its_bound():
    anatomy = body(3)
    (finding,) = found(anatomy, looks(anatomy, "a1", [0] * 8 + [5] * 2))
    assert finding.severity == "warning" and finding.evidence[0].value == 0.8
    assert finding.evidence[0].bound == dead_units.SHARE


@pytest.mark.parametrize("dead", [0, 1, 5, 7])
def test_a_few_dead_units_of_ten_are_no_disease(dead):
    anatomy = body(3)
    assert found(anatomy, looks(anatomy, "a0", [0] * dead + [1] * (10 - dead))) == []


def test_half_of_the_outputs_zero_is_what_a_relu_is_for():
    anatomy = body(3)
    assert found(anatomy, looks(anatomy, "a0", [512] * 10)) == []


def test_too_few_looks_prove_nothing():
    anatomy = body(3)
    assert found(anatomy, looks(anatomy, "a0", [0] * 9 + [1], seen=dead_units.LOOKS - 1)) == []
    assert found(anatomy, looks(anatomy, "a0", [0] * 10, seen=dead_units.SILENT - 1)) == []


def test_a_whole_layer_that_is_silent_needs_few_looks():
    anatomy = body(3)
    assert found(anatomy, looks(anatomy, "a0", [0] * 10, seen=dead_units.SILENT))


@pytest.mark.parametrize("function", ["leaky_relu", "gelu", "elu", "silu", "tanh", "softplus"])
def test_a_silent_unit_that_still_passes_gradient_is_not_dead(function):
    anatomy = body(3, function=function)
    assert found(anatomy, looks(anatomy, "a0", [0] * 10)) == []


def test_a_sigmoid_pinned_at_every_look_is_stuck():
    anatomy = body(3, function="sigmoid")
    (finding,) = found(anatomy, looks(anatomy, "a0", [1024] * 10, pinned=[1024] * 10))
    assert finding.severity == "critical" and "flat part" in finding.summary
    assert found(anatomy, looks(anatomy, "a0", [1024] * 10, pinned=[1023] * 10)) == []


def test_a_linear_layer_has_no_units_that_die():
    anatomy = body(3)
    assert found(anatomy, looks(anatomy, "l0", [0] * 10)) == []


def test_a_real_layer_with_biases_far_below_zero_is_dead(train, mlp):
    import torch

    def build():
        model = mlp(4, torch.nn.ReLU)
        with torch.no_grad():
            model[2].bias.fill_(-100.0)
        return model

    report, accuracy = train(build, lambda p: torch.optim.SGD(p, lr=0.05), steps=60)
    assert accuracy < 0.3
    finding = report.findings[0]
    assert (finding.disease, finding.severity, finding.where) == ("dead_units", "critical", "3")


def test_a_silent_gate_beside_a_path_around_it_may_wake_and_is_told_when_the_run_is_decided():
    nodes = (
        Node("input", "input", "input"),
        Node("gate", "activation", "ReLU", (0,), settings=(("function", "relu"),)),
        Node("scaled", "unknown", "mul", (0, 1)),
    )
    readings = looks(Anatomy("torch", nodes, ()), "gate", [0] * 4)
    early, late = (case(readings, Anatomy("torch", nodes, ()), ended=ended) for ended in (False, True))
    assert [finding.severity for finding in dead_units.diagnose(early)] == ["note"]
    assert [finding.severity for finding in dead_units.diagnose(late)] == ["critical"]


def test_of_a_run_that_has_ended_no_more_looks_will_come():
    anatomy = body(3)
    some = looks(anatomy, "a1", [0] * 8 + [5] * 2, seen=dead_units.SILENT)
    assert list(dead_units.diagnose(replace(case(some, anatomy), ended=True))) == []
    few = looks(anatomy, "a1", [0] * 9 + [5], seen=dead_units.SILENT)
    assert found(anatomy, few) == []
    (finding,) = dead_units.diagnose(replace(case(few, anatomy), ended=True))
    assert finding.severity == "warning"
