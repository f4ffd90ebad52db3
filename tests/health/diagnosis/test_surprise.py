"""A layer that does something else than theory says: by thought, a healthy look-alike, real networks."""

import math
from dataclasses import replace

import pytest

import isograd
from isograd.health.case import Case, table
from isograd.health.diagnosis import surprise
from isograd.health.surprise import surprises
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import LossSample
from isograd.records.expectation import Expectation, Expectations
from isograd.records.reading import Reading, Readings
from isograd.records.trace import LayerSample, Step

NODES = (
    Node("input", "input", "input", shape=(8,)),
    Node("a", "linear", "Linear", (0,), (8,)),
    Node("drop", "dropout", "Dropout", (1,), (8,)),
    Node("b", "linear", "Linear", (2,), (8,)),
)


def case(signal, gradient, step=1):
    told = tuple(Expectation(n.path, 1.0, 0.0, 0.05 * (3 - i), True, 0.05 * i) for i, n in enumerate(NODES))
    rows = [Reading("activation_rms", where, step, value) for where, value in signal.items()]
    rows += [Reading("gradient_rms", where, step, value) for where, value in gradient.items()]
    readings = Readings(tuple(rows))
    steps = (Step(step, layers=(LayerSample("a"),)),)
    return Case(Anatomy("torch", NODES, ()), Expectations(told), readings, table(readings), steps, 1)


def found(*args, **kwargs):
    return [(one.where, one.evidence[0].signal) for one in surprise.diagnose(case(*args, **kwargs))]


def test_the_layer_that_shrinks_the_signal_is_named_and_not_the_one_behind_it():
    assert found({"a": 0.01, "b": 0.01}, {}) == [("a", "activation_rms")]
    assert found({"a": 1.0, "b": 0.01}, {}) == [("b", "activation_rms")]


def test_the_layer_that_takes_the_gradient_is_named():
    assert found({"a": 1.0, "b": 1.0}, {"drop": 1e-3, "a": 1e-3, "b": 1.0}) == [("b", "gradient_rms")]


def test_twice_as_much_as_foretold_surprises_nobody():
    assert found({"a": 2.0, "b": 4.0}, {}) == []


def test_a_signal_that_is_gone_or_beyond_a_float_is_no_division_by_zero():
    assert found({"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 1.0}) == []
    assert found({"a": 1e-300, "drop": 1e-300, "b": 1e300}, {"a": 1e300, "drop": 1e300, "b": 1e-300}) is not None


def test_a_first_look_in_the_middle_of_a_training_tells_nothing():
    assert found({"a": 0.01, "b": 0.01}, {}, step=500) == []


def after(value):
    """The same layer, and a run of 90 steps that ends with this loss where a constant answer gets log 10."""
    first = case({"a": 0.01, "b": 0.01}, {})
    steps = []
    for step in range(2, 91):
        paid = value + 0.01 * (step % 3)
        one = LossSample("cross_entropy", value=paid, floor=math.log(10), classes=(4,) * 10)
        steps.append(Step(step, paid, losses=(one,)))
    return replace(first, steps=(*first.steps, *steps), taken=90, ended=True)


def test_it_is_a_remark_until_a_run_has_ended_with_little():
    assert all(one.severity == "note" for one in surprise.diagnose(case({"a": 0.01, "b": 0.01}, {})))
    assert [one.severity for one in surprise.diagnose(after(0.5))] == ["note"]
    assert [one.severity for one in surprise.diagnose(after(2.1))] == ["warning"]


def told_of(model, x):
    torch = pytest.importorskip("torch")
    report = isograd.check(model, (x, torch.randint(0, 4, (len(x),))), torch.nn.functional.cross_entropy)
    return [one.where for one in report.findings if one.disease == "surprise"]


def network(torch):
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
    )


def test_a_random_network_surprises_nobody():
    torch = pytest.importorskip("torch")
    assert told_of(network(torch), torch.randn(32, 30)) == []


def test_a_layer_whose_weights_are_all_the_same_is_named():
    torch = pytest.importorskip("torch")
    model = network(torch)
    torch.nn.init.constant_(model[2].weight, math.sqrt(2 / 64))
    assert told_of(model, torch.randn(32, 30))[0] == "2"


@pytest.mark.parametrize("masked", [False, True])
def test_a_product_with_a_mask_made_of_the_tokens_is_no_surprise(masked):
    nodes = (
        Node("tokens", "input", "input", shape=(24,)),
        Node("norm", "norm", "LayerNorm", (0,), (48,)),
        Node("mul", "multiply", "mul", (1, 0) if masked else (1,), (48,)),
    )
    told = Expectations(tuple(Expectation(name, 1.0, None, signal_spread=0.0) for name in ("tokens", "norm", "mul")))
    found = surprises(Anatomy("torch", nodes, ()), told, {"tokens": 700.0, "norm": 1.0, "mul": 0.002}, {})
    assert [one.node.path for one in found if one.node.path == "mul"] == ([] if masked else ["mul"])
