"""Where the batches of a loop come from is seen without touching loaders, samplers or random streams."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parent))
from recording import Watch


def facts_of(loaders, epochs=3, evaluate=None):
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch()(model, optimizer) as watch:
        for _ in range(epochs):
            for batches in zip(*loaders, strict=False):
                x, y = batches[0]
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                if evaluate is not None:
                    evaluate(model)
    return [(step.index, dict(fact.settings)) for step in watch.trace.steps for fact in step.facts if fact.kind == "loader"]


def loader(count=40, size=8, **kwargs):
    torch.manual_seed(1)
    return DataLoader(TensorDataset(torch.randn(count, 4), torch.randint(0, 2, (count,))), batch_size=size, **kwargs)


def test_a_loader_tells_its_length_its_order_and_how_far_it_is():
    found = facts_of([loader(shuffle=True)])
    assert [index for index, _ in found] == list(range(1, 16))
    assert found[7][1] == {
        "number": 0,
        "batches": 5,
        "batch_size": 8,
        "dataset": 40,
        "order": "random",
        "weights": -1,
        "drop_last": False,
        "epoch": 2,
        "position": 3,
    }
    assert facts_of([loader()])[0][1]["order"] == "sequential"
    assert facts_of([loader(44, drop_last=True)])[0][1]["batches"] == 5


def test_where_two_loaders_take_turns_nothing_is_said_of_the_one():
    assert facts_of([loader(), loader()]) == []


def test_a_loader_of_evaluations_in_the_middle_of_an_epoch_is_not_the_one_that_trains():
    test = loader(16)

    def evaluate(model):
        with torch.no_grad():
            for x, y in test:
                F.cross_entropy(model(x), y)

    found = facts_of([loader(shuffle=True)], evaluate=evaluate)
    assert len(found) >= 13 and {settings["number"] for _, settings in found} == {0}


@pytest.mark.parametrize("workers", [0, 1])
def test_the_random_streams_go_on_as_without_a_watch(workers):
    def drawn(watched):
        torch.manual_seed(0)
        given = loader(shuffle=True, num_workers=workers)
        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Watch()(model, optimizer) if watched else torch.enable_grad():
            return [x for _ in range(2) for x, _ in given], torch.get_rng_state()

    (plain, before), (watched, after) = drawn(False), drawn(True)
    assert torch.equal(before, after) and all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_a_dataset_without_a_length_is_told_as_unknown():
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(torch.randn(4), 1)] * 24)

    found = facts_of([DataLoader(Endless(), batch_size=8)], epochs=1)
    assert found[0][1]["batches"] == found[0][1]["dataset"] == -1
