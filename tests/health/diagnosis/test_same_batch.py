"""Few examples, shown again and again and learned by heart; and full batches that are sound."""

import dataclasses
import random

import pytest
import torch
from lessons import EMPTY, numbers, training
from torch import nn

import isograd
from isograd.health.case import Case, case_of
from isograd.health.diagnosis import same_batch
from isograd.health.habits import loop_of
from isograd.records.anatomy import Node, Parameter
from isograd.records.batch import InputSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import Step


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


def test_eight_examples_of_thirty_columns_that_are_learned_by_heart_prove_nothing_which_is_a_remark():
    (finding,) = shown(8, 30)
    assert finding.severity == "note" and finding.where == "data" and "the same 8 examples" in finding.summary


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
    report = watch.report()
    assert any(finding.disease == "same_batch" for finding in report.findings) == said
    assert not any(finding.alarm for finding in report.findings)


def test_a_sequence_that_comes_time_first_has_as_many_examples_as_targets():
    case = training(lambda t: dataclasses.replace(numbers(t, explained=0.999), target_shape=(30, 1)), inputs=(batch(8, 30),))
    assert list(same_batch.diagnose(case)) == []


def loop_over(loader, again):
    """Sixty steps on what a loader gives first, begun anew each time or gone on with."""
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches = iter(loader)
    with isograd.watch(net, optimizer) as watch:
        for _ in range(60):
            x, y = next(iter(loader)) if again else next(batches)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return [one for one in watch.findings if one.disease == "same_batch" and one.alarm]


@pytest.mark.parametrize(("again", "shuffle", "said"), [(True, False, True), (True, True, False), (False, False, False)])
def test_a_loader_that_is_begun_anew_for_every_step_gives_its_first_batch_alone(digits, again, shuffle, said):
    data = pytest.importorskip("torch.utils.data")
    found = loop_over(data.DataLoader(data.TensorDataset(*digits), batch_size=20, shuffle=shuffle), again)
    assert bool(found) == said
    assert not said or ("first 20 of" in found[0].summary and found[0].where == "data")


def of_a_loader(*, again):
    """A run whose looks at the steps ``again`` met the batch of the look before."""
    fact = Fact("same_batch", settings=(("dataset", 640),))
    steps = (1, 2, 5, 22, 42)
    kept = tuple(Step(i, inputs=(batch(32, 16),), facts=(fact,) if i in again else (Fact("layer"),)) for i in steps)
    return list(same_batch.diagnose(Case(EMPTY, steps=kept, taken=60, ended=True)))


def test_looks_that_happen_to_meet_one_batch_of_a_loader_that_goes_round_are_no_finding():
    assert not of_a_loader(again=(42,)) and not of_a_loader(again=(22, 42)) and not of_a_loader(again=(5, 22, 42))
    (finding,) = of_a_loader(again=(2, 5, 22, 42))
    assert finding.severity == "warning"


@pytest.mark.parametrize("codes", [False, True])
@pytest.mark.parametrize(("batches", "passes", "told"), [(4, 4, "note"), (2, 2, "note"), (8, 4, None), (4, 1, None)])
def test_a_step_that_accumulates_over_a_whole_loader_sees_all_there_is(batches, passes, told, codes):
    torch.manual_seed(0)
    x = torch.randn(32 * batches, 8)
    x = nn.functional.one_hot(x.argmax(1), 8).float() if codes else x  # whose sums are those of any other batch
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2.0 * x[:, :1]), batch_size=32)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(30 * passes // batches):
            for number, (inputs, targets) in enumerate(loader, 1):
                (nn.functional.mse_loss(model(inputs), targets) / passes).backward()
                if number % passes == 0:
                    optimizer.step()
                    optimizer.zero_grad()
    assert [f.severity for f in watch.report().findings if f.disease == "same_batch"] == ([told] if told else [])
    assert not loop_of(case_of(watch.trace)).same_batch


def test_a_batch_that_all_passes_of_a_step_bring_again_is_counted_once():
    torch.manual_seed(0)
    x = torch.randn(128, 8)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2.0 * x[:, :1]), batch_size=32)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    inputs, targets = next(iter(loader))
    with isograd.watch(model, optimizer) as watch:
        for _ in range(30):
            optimizer.zero_grad()
            for _ in range(4):
                (nn.functional.mse_loss(model(inputs), targets) / 4).backward()
            optimizer.step()
    (found,) = [finding for finding in watch.report().findings if finding.disease == "same_batch"]
    assert found.severity == "warning" and "the same 32 of 128 examples" in found.summary


def test_a_loader_of_another_part_with_batches_as_large_does_not_count():
    torch.manual_seed(0)
    x = torch.randn(640, 8)
    training, other = (
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows, 2.0 * rows[:, :1]), batch_size=64)
        for rows in (x[:64], x[64:])
    )
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer) as watch:
        for _ in range(30):
            for inputs, targets in training:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(inputs), targets).backward()
                optimizer.step()
    assert len(other) == 9
    assert [finding.severity for finding in watch.report().findings if finding.disease == "same_batch"] == ["note"]
