"""Few examples, shown again and again and learned by heart; and full batches that are sound."""

import dataclasses
import random

import pytest
from lessons import EMPTY, numbers, training

from isograd.health.diagnosis import same_batch
from isograd.records.anatomy import Node, Parameter
from isograd.records.batch import InputSample
from isograd.records.moments import Moments


def batch(rows, columns, seed=0, dtype="float32", shuffled=0):
    draw = random.Random(seed)
    values = [draw.gauss(0.0, 1.0) for _ in range(rows * columns)]
    random.Random(shuffled).shuffle(values)  # the same numbers, summed in another order
    return InputSample("", 0, (rows, columns), dtype, Moments.of(values), min(values), max(values))


def shown(rows, columns, *, explained=0.999, ended=True, other=False, **more):
    case = training(lambda t: numbers(t, explained=explained), inputs=(batch(rows, columns),), ended=ended, **more)
    steps = [
        dataclasses.replace(step, inputs=(batch(rows, columns, seed=i if other else 0, shuffled=i),)) if step.inputs else step
        for i, step in enumerate(case.steps)
    ]
    return list(same_batch.diagnose(dataclasses.replace(case, steps=tuple(steps))))


def test_eight_examples_of_thirty_columns_that_are_learned_by_heart_prove_nothing():
    (finding,) = shown(8, 30)
    assert finding.severity == "warning" and finding.where == "data" and "the same 8 examples" in finding.summary


@pytest.mark.parametrize(
    "healthy",
    [
        {"rows": 4, "columns": 2},  # XOR: more examples than columns and one
        {"rows": 200, "columns": 784},  # a full batch of some size
        {"rows": 1, "columns": 3000},  # one picture that is to be fitted
        {"rows": 8, "columns": 30, "other": True},  # small batches of other examples
        {"rows": 8, "columns": 30, "explained": 0.5},  # not learned by heart
        {"rows": 8, "columns": 30, "ended": False},
    ],
)
def test_full_batches_and_small_ones_of_many_examples_are_healthy(healthy):
    assert shown(**healthy) == []


def test_an_index_counts_as_the_rows_of_its_table():
    table = Node("user", "embedding", "Embedding")
    for rows, told in ((60, True), (5, False)):
        anatomy = dataclasses.replace(
            EMPTY,
            nodes=(table,),
            parameters=(Parameter("user.weight", "user", (rows, 4), True, True, Moments.of([0.1, -0.1])),),
        )
        users = InputSample("", 0, (8,), "int64", Moments.of([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]), 1.0, 4.0)
        case = training(lambda t: numbers(t, explained=0.999), inputs=(users,), anatomy=anatomy)
        assert bool(list(same_batch.diagnose(case))) == told


@pytest.mark.parametrize(("rows", "said"), [(8, True), (256, False)])
def test_a_real_network_that_is_shown_eight_pictures(digits, rows, said):
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x, y = (part[:rows] for part in digits)
    net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with isograd.watch(net, optimizer, budget=None, steps=80) as watch:
        for _ in range(80):
            rows_now = torch.randperm(len(x))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows_now]), y[rows_now]).backward()
            optimizer.step()
    found = [finding for finding in watch.report().findings if finding.disease == "same_batch" and finding.alarm]
    assert bool(found) == said
