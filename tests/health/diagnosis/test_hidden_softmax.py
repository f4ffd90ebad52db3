"""A softmax in the place of an activation, and the softmaxes that belong where they are."""

import random
from dataclasses import replace

import pytest
from lessons import classes, final, training

from isograd.health.diagnosis import hidden_softmax
from isograd.records.anatomy import Anatomy, Node


def network(*rows):
    """Nodes from (operation, positions it reads)."""
    return Anatomy("torch", tuple(Node(f"n{at}", kind, kind, reads, (32,)) for at, (kind, reads) in enumerate(rows)), ())


IN = ("input", ())
PLAIN = network(IN, ("linear", (0,)), ("softmax", (1,)), ("linear", (2,)))
PASSED = network(IN, ("conv", (0,)), ("norm", (1,)), ("softmax", (2,)), ("pool", (3,)), ("dropout", (4,)), ("linear", (5,)))
HEAD = network(IN, ("linear", (0,)), ("activation", (1,)), ("linear", (2,)), ("softmax", (3,)))
ATTENTION = network(IN, ("linear", (0,)), ("unknown", (1,)), ("softmax", (2,)), ("unknown", (3, 1)), ("linear", (4,)))
GATE = network(IN, ("linear", (0,)), ("softmax", (1,)), ("linear", (0,)), ("unknown", (2, 3)), ("linear", (4,)))
DRAWN = network(IN, ("linear", (0,)), ("unknown", (1,)), ("softmax", (2,)), ("linear", (3,)))


def found(anatomy, *, value=1.2, **more):
    draw = random.Random(0)

    def lesson(t):
        return classes(t, right=0.1, value=value + draw.gauss(0.0, 0.01))

    return list(hidden_softmax.diagnose(training(lesson, anatomy=anatomy, **more)))


def graph(label):
    """A product of two tensors between a layer and the softmax, as in a graph network."""
    rows = network(IN, ("linear", (0,)), ("unknown", (0, 1)), ("softmax", (2,)), ("dropout", (3,)), ("linear", (4,))).nodes
    return Anatomy("torch", tuple(replace(node, label=label) if node.operation == "unknown" else node for node in rows), ())


@pytest.mark.parametrize(("anatomy", "where"), [(PLAIN, "n2"), (PASSED, "n3"), (graph("matmul"), "n3")])
def test_a_softmax_between_two_layers_is_a_warning_where_little_came_of_it(anatomy, where):
    (finding,) = found(anatomy)
    assert finding.severity == "warning" and finding.where == where and "32 units" in finding.summary


def test_a_log_softmax_there_is_no_activation():
    nodes = tuple(replace(node, settings=(("log", True),)) if node.operation == "softmax" else node for node in PLAIN.nodes)
    (finding,) = found(replace(PLAIN, nodes=nodes))
    assert finding.severity == "warning" and "no activation" in finding.summary


def test_it_is_a_remark_where_the_network_does_well_and_while_it_learns():
    assert [finding.severity for finding in found(PLAIN, value=0.05)] == ["note"]
    assert [finding.severity for finding in found(PLAIN, ended=False)] == ["note"]


@pytest.mark.parametrize("anatomy", [HEAD, ATTENTION, GATE, DRAWN, graph("add")])
def test_softmaxes_of_heads_attention_gates_and_draws_belong_there(anatomy):
    assert found(anatomy) == []


@pytest.mark.parametrize("hidden", [True, False])
def test_a_real_network_on_digits(digits, hidden):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    curve = torch.nn.Softmax(1) if hidden else torch.nn.ReLU()
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), curve, torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer, budget=None, steps=120) as watch:
        for _ in range(120):
            rows = torch.randint(0, len(y), (32,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    named = [finding for finding in final(watch).findings if finding.disease == "hidden_softmax"]
    assert [finding.alarm for finding in named] == ([True] if hidden else [])
