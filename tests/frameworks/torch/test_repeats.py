"""Loops that take their batches by hand: passes are told from the table and from examples that come again."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd
from isograd.frameworks.torch.repeats import MATCHES, Repeats, marks

EPOCHS = 16


def train(x, y, *, draw="shuffled", size=32, lr=3e-3):
    """A loop by hand over a table of its own."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Linear(256, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(EPOCHS):
            order = torch.randint(0, len(x), (len(x),)) if draw == "at random" else torch.randperm(len(x))
            for rows in order[: len(x) // size * size if draw == "whole batches" else None].split(size):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    facts = [fact for step in watch.trace.steps for fact in step.facts if fact.kind == "repeats"]
    return watch.report(), facts


def task(rows=1024, width=10):
    """Inputs, classes that follow from them, and the same classes in another order."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(rows, width, generator=draw)
    y = (x @ torch.randn(width, 3, generator=draw)).argmax(1)
    return x, y, y[torch.randperm(rows, generator=draw)]


def test_labels_that_were_shuffled_apart_are_told_although_the_network_learns_them_by_heart():
    x, _, apart = task()
    report, facts = train(x, apart)
    assert facts[-1].settings == (("dataset", 1024), ("rows", 32), ("steps", 32), ("or", 32), ("order", "random"))
    assert [finding.disease for finding in report.findings if finding.alarm] == ["labels"]


@pytest.mark.parametrize(("draw", "steps"), [("whole batches", 31), ("shuffled", 32)])
def test_a_pass_that_drops_its_last_batch_or_ends_in_a_small_one_is_a_pass_too(draw, steps):
    x, _, apart = task(rows=1010)
    report, facts = train(x, apart, draw=draw)
    assert steps in (facts[-1].get("steps", 0), facts[-1].get("or", 0))
    assert [finding.disease for finding in report.findings if finding.alarm] == ["labels"]


def test_labels_that_follow_from_the_inputs_are_learned_within_passes_too():
    x, y, _ = task()
    report, facts = train(x, y)
    assert facts and report.healthy


def test_examples_drawn_with_putting_back_make_no_passes():
    x, y, _ = task(rows=512)
    assert train(x, y, draw="at random", size=64)[1] == []


@pytest.mark.parametrize("rows", ["equal", "apart"])
def test_examples_that_cannot_be_told_apart_say_nothing(rows):
    table = torch.zeros(256, 4) if rows == "equal" else torch.randn(256, 4)
    told = Repeats()
    for step in range(1, 33):
        told.begin(step)
        told.look(table[(step - 1) % 8 * 32 :][:32])
    assert bool(list(told.facts(1))) == (rows == "apart") and MATCHES < 32
    assert list(told.facts(2)) == []  # several batches make a step


def test_pictures_with_an_empty_rim_are_told_apart():
    pictures = torch.zeros(256, 1, 12, 12)
    pictures[:, :, 5:8, 5:8] = torch.randint(0, 3, (256, 1, 3, 3), generator=torch.Generator().manual_seed(3))
    assert len(set(marks(pictures.flatten(1)))) == len({tuple(one.flatten().tolist()) for one in pictures})


@pytest.mark.parametrize(("given", "length"), [(8, 8.0), (7, 7.0)])
def test_the_last_smaller_batch_of_a_pass_may_be_given_or_left_out(given, length):
    table = torch.randn(250, 4)
    told = Repeats(table=250, size=32)
    for step in range(1, 33):
        first = (step - 1) % given * 32
        told.begin(step)
        told.look(table[first : first + 32])
    assert [fact.get("steps", 0.0) for fact in told.facts(1)] == [length]
