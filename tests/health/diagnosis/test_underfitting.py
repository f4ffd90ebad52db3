"""Underfitting: what is known and not said, and what a network cannot learn."""

import math
import random

import pytest
from lessons import classes, final, looked_at, numbers, training

from isograd.health.diagnosis import underfitting
from isograd.records.anatomy import Anatomy, Node


def found(case):
    return list(underfitting.diagnose(case))


def chain(*operations):
    """A network of these operations; a number is a linear layer of so many units."""
    nodes = [Node("input", "input", "input")]
    for place, one in enumerate(operations):
        if isinstance(one, int):
            settings = (("fan_in", 8), ("fan_out", one))
            nodes.append(Node(str(place), "linear", "Linear", (place,), (one,), settings, source=f"net.py:{place}"))
        else:
            nodes.append(Node(str(place), one[0], one[0], (place,), (8,), one[1]))
    return Anatomy("torch", tuple(nodes), ())


RELU = ("activation", (("function", "relu"),))


def test_outputs_in_the_right_order_and_far_too_small_are_shy():
    """90 of 100 answers right and a loss that has hardly left log 4."""
    (finding,) = found(training(lambda t: classes(t, right=0.87, value=1.25)))
    assert finding.severity == "warning" and "wrong size" in finding.summary and finding.evidence[0].bound > 0.5


def test_a_regression_that_correlates_and_explains_nothing_is_shy():
    assert found(training(lambda t: numbers(t, explained=0.8, slope=0.05)))
    assert found(training(lambda t: numbers(t, explained=0.8))) == []


def test_confidence_that_fits_the_hits_is_fine():
    a = 0.5
    pays = -a * math.log(a) - (1 - a) * math.log((1 - a) / 3)
    draw = random.Random(0)
    assert found(training(lambda t: classes(t, right=1 / 3, value=pays + draw.gauss(0.0, 0.02)))) == []


@pytest.mark.parametrize(
    ("anatomy", "words"),
    [
        (chain(32, 32, 4), "no activation"),
        (chain(32, RELU, 1, RELU, 4), "1 unit"),
        (chain(32, ("dropout", (("p", 0.9),)), RELU, 4), "drops 90 %"),
    ],
)
def test_a_flat_and_poor_loss_is_blamed_on_what_bars_the_network(anatomy, words):
    draw = random.Random(0)
    case = training(lambda t: classes(t, right=0.25, value=1.15 + draw.gauss(0.0, 0.02)), anatomy=anatomy)
    (finding,) = found(case)
    assert finding.severity == "warning" and words in finding.summary
    good = training(lambda t: classes(t, right=0.95, value=0.2 + draw.gauss(0.0, 0.02)), anatomy=anatomy)
    assert found(good) == []


@pytest.mark.parametrize("anatomy", [chain(32, RELU, 4), chain(4), chain(32, RELU, 1)])
def test_nothing_bars_an_ordinary_network(anatomy):
    assert underfitting.barred(anatomy) is None


def test_a_real_network_of_linear_layers_on_exclusive_or_is_underfitting():
    torch = pytest.importorskip("torch")
    import isograd

    nn = torch.nn

    def said(*between):
        torch.manual_seed(0)
        x = torch.randn(4000, 2)
        y = ((x[:, 0] * x[:, 1] > 0) & (torch.rand(4000) < 0.95)).long()
        model = nn.Sequential(nn.Linear(2, 32), *between, nn.Linear(32, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        with isograd.watch(model, optimizer, budget=None, steps=200) as watch:
            for step in range(200):
                rows = torch.arange(64) + 19 * step
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
        return {finding.disease for finding in final(watch).findings if finding.alarm}

    assert said() & {"underfitting", "plateau", "collapse", "labels"}
    assert not said(nn.ReLU())


@pytest.mark.parametrize(("first", "second", "narrow"), [(3, 3, "a"), (16, 3, ""), (4, 16, "")])
def test_three_units_for_eight_inputs_are_a_bottleneck_and_an_autoencoder_of_three_is_not(first, second, narrow):
    shapes = ((8, first), (first, second), (second, 2))
    nodes = [Node("x", "input", "")]
    for name, (fan_in, fan_out) in zip("abc", shapes, strict=True):
        nodes.append(Node(name, "linear", "Linear", (len(nodes) - 1,), settings=(("fan_in", fan_in), ("fan_out", fan_out))))
        nodes.append(Node(f"act {name}", "activation", "", (len(nodes) - 1,), settings=(("function", "relu"),)))
    found = underfitting.barred(Anatomy("torch", tuple(nodes), ()))
    assert (found[0].path if found else "") == narrow


def test_a_run_that_ends_a_tenth_of_the_way_gets_a_remark_and_one_that_ends_well_or_at_nothing_none():
    draw = random.Random(0)
    (remark,) = found(training(lambda t: classes(t, right=0.08, value=1.25 + draw.gauss(0.0, 0.01))))
    assert remark.severity == "note" and "10 % of the way" in remark.summary
    assert found(training(lambda t: classes(t, right=0.9, value=0.4 + draw.gauss(0.0, 0.01)))) == []
    assert found(training(lambda t: classes(t, right=0.25, value=1.386 + draw.gauss(0.0, 0.01)))) == []  # that is a plateau


def test_wild_examples_between_the_looks_are_no_outputs_of_the_wrong_size():
    looks = {*looked_at(300), *(15 * i for i in range(1, 21))}

    def at(t):
        return numbers(t, explained=0.6, rows=16)

    def paid(t):
        return at(t).value if t in looks else 1.0

    assert [one for one in found(training(at, total=paid)) if one.alarm] == []
