"""Structure: what can be read off before a step, always a remark."""

import pytest
from bodies import ADAM, SGD, body
from lessons import final
from runs import run

from isograd.health.case import Case
from isograd.health.diagnosis import structure
from isograd.records.anatomy import Anatomy, Node, Optimizer
from isograd.records.trace import LayerSample, Step


def chain(*operations, optimizer=SGD):
    """A network of these operations, each with its settings, one after the other."""
    nodes = [Node("input", "input", "input")]
    for place, (operation, *settings) in enumerate(operations):
        nodes.append(Node(f"n{place}", operation, operation, (place,), (8,), tuple(settings), source="net.py:3"))
    return Anatomy("torch", tuple(nodes), (), optimizer)


LINEAR, RELU = ("linear", ("fan_out", 8)), ("activation", ("function", "relu"))


def adam(rate):
    return chain(LINEAR, RELU, LINEAR, optimizer=Optimizer("adam", (("learning_rate", rate),)))


def read(anatomy, **more):
    return list(structure.diagnose(Case(anatomy, **more)))


@pytest.mark.parametrize(
    ("anatomy", "words"),
    [
        (chain(LINEAR, ("reshape",), LINEAR), "amount to one linear layer"),
        (chain(LINEAR, RELU, ("dropout", ("p", 0.95)), LINEAR), "drops 95 % of its inputs: its noise is 4.4 times its signal"),
        (adam(1.0), "more than weights are large"),
        (adam(1e-8), "rounding swallows"),
    ],
)
def test_what_nobody_means_is_read_off_without_a_step(anatomy, words):
    (finding,) = read(anatomy)
    assert finding.severity == "note" and words in finding.summary


def test_batch_normalisation_over_one_example_is_a_remark():
    anatomy = chain(("conv",), ("norm", ("kind", "batch")), RELU, LINEAR)

    def looked(examples):
        return read(anatomy, steps=(Step(1, layers=(LayerSample("n1", examples=examples),)),), taken=1)

    assert ["batches of one" in finding.summary for finding in looked(1)] == [True]
    assert looked(2) == []


SIDE = Anatomy("torch", (Node("i", "input", ""), *(Node(p, "linear", "", (0,)) for p in "ab")), (), SGD)
HEALTHY = {
    "an ordinary network": chain(LINEAR, RELU, ("dropout", ("p", 0.5)), LINEAR, optimizer=ADAM),
    "one layer": chain(LINEAR),
    "two heads side by side": SIDE,
    "a large rate of plain gradient descent": chain(LINEAR, optimizer=Optimizer("sgd", (("learning_rate", 2.0),))),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    assert read(HEALTHY[name]) == []


def test_a_warm_up_from_nothing_is_silent_once_the_rate_has_risen():
    assert list(structure.diagnose(run(body(3, optimizer=ADAM), rates=lambda step: 1e-8 * 2 ** min(step, 15)))) == []


def test_a_real_check_tells_it_before_training_and_a_real_training_that_learns_has_no_alarm():
    torch = pytest.importorskip("torch")
    import isograd

    nn = torch.nn
    torch.manual_seed(0)
    x = torch.randn(256, 4)
    y = x.sum(1, keepdim=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    checked = isograd.check(model, (x, y), nn.functional.mse_loss, optimizer)
    assert [finding.disease for finding in checked.findings] == ["structure"] and checked.healthy
    with isograd.watch(model, optimizer, budget=None, steps=100) as watch:
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
    assert not any(finding.alarm for finding in final(watch).findings)


@pytest.mark.parametrize(("hidden", "alarms"), [(16, ["structure"]), (1, [])])
def test_linear_layers_that_end_far_from_perfect_answers_are_an_alarm_unless_they_limit_the_rank(hidden, alarms):
    torch = pytest.importorskip("torch")
    import isograd

    nn = torch.nn
    torch.manual_seed(0)
    x = torch.randn(512, 4)
    y = torch.stack([x.sum(1), x[:, 0].abs() + x[:, 1] ** 2], 1)
    model = nn.Sequential(nn.Linear(4, hidden), nn.Dropout(0.0), nn.Linear(hidden, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with isograd.watch(model, optimizer, budget=None, steps=200) as watch:
        for step in range(200):
            rows = slice(64 * (step % 8), 64 * (step % 8 + 1))
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    assert [finding.disease for finding in final(watch).findings if finding.alarm] == alarms


def test_a_sigmoid_at_the_end_leaves_a_network_as_linear_as_it_was():
    (finding,) = read(chain(LINEAR, LINEAR, ("activation", ("function", "sigmoid"))))
    assert "amount to one linear layer" in finding.summary


NARROW = {
    "a first layer of one unit": (8, (8, 1), (1, 16), (16, 1)),
    "one unit before ten classes": (8, (8, 32), (32, 1), (1, 10)),
}
WIDE = {
    "one number behind a hidden layer, for an amount": (8, (8, 32), (32, 1), (1, 1)),
    "one number comes in": (1, (1, 1), (1, 16), (16, 1)),
    "the last layer": (8, (8, 32), (32, 1)),
}


def sized(width, *layers):
    nodes = [Node("input", "input", "input", shape=(width,))]
    for fan_in, fan_out in layers:
        settings = (("fan_in", fan_in), ("fan_out", fan_out))
        nodes.append(Node(f"l{len(nodes)}", "linear", "Linear", (len(nodes) - 1,), (fan_out,), settings))
        nodes.append(Node(f"a{len(nodes)}", "activation", "ReLU", (len(nodes) - 1,), (fan_out,), (("function", "relu"),)))
    return Anatomy("torch", tuple(nodes[:-1]), (), SGD)


@pytest.mark.parametrize("layers", NARROW.values(), ids=NARROW)
def test_a_single_unit_that_everything_passes_is_a_remark_before_a_step_and_an_alarm_after_a_run_that_ends_low(layers):
    (finding,) = read(sized(*layers))
    assert finding.severity == "note" and "the single unit of" in finding.summary
    low = run(sized(*layers), losses=[2.3 - 1.5 * min(1.0, i / 50) for i in range(100)])
    assert [one.severity for one in structure.diagnose(low)] == ["warning"]


@pytest.mark.parametrize("layers", WIDE.values(), ids=WIDE)
def test_a_single_unit_where_one_number_is_enough_is_not_told(layers):
    assert read(sized(*layers)) == []


def test_scores_of_an_attention_and_a_gate_are_single_units_that_not_everything_passes():
    score = Node("score", "linear", "Linear", (1,), (6, 1), (("fan_in", 8), ("fan_out", 1)))
    nodes = (
        Node("input", "input", "input", shape=(6, 8)),
        Node("first", "linear", "Linear", (0,), (6, 8), (("fan_in", 8), ("fan_out", 8))),
        score,
        Node("times", "multiply", "", (2, 1), (6, 8)),
        Node("head", "linear", "Linear", (3,), (6, 5), (("fan_in", 8), ("fan_out", 5))),
    )
    found = read(Anatomy("torch", nodes, (), SGD))
    assert not any("single unit" in finding.summary for finding in found)
