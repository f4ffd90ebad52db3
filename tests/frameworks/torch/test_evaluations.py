"""Evaluations between two steps are heard as what the program itself found, and nothing of them is changed."""

import copy
import itertools
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parent))
from recording import Watch

import isograd
from isograd.frameworks.torch import signs
from isograd.frameworks.torch.budget import NORM, Budget
from isograd.frameworks.torch.history import EVALUATED, History
from isograd.records import codec
from isograd.records.batch import Evaluation
from isograd.records.trace import Step, Trace


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Thread time that passes by 0.02 ms whenever it is asked for: what is heard costs the same on every machine."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: 2e-5 * next(ticks))


def net(out=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, out))


def data(count=96):
    torch.manual_seed(1)
    x = torch.randn(count, 6)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def trained(evaluate, steps=8, model=None, target=None, loss=F.cross_entropy, budget=None):
    """The trace of a loop that evaluates after each step, and what ``evaluate`` found."""
    model = model or net()
    x, y = data()
    y = y if target is None else target
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    with Watch(budget)(model, optimizer) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model(x[:64]), y[:64]).backward()
            optimizer.step()
            found.append(evaluate(model, x[64:], y[64:]))
    return watch.trace.evaluations, found


def in_batches(model, x, y):
    model.eval()
    total = right = 0.0
    with torch.no_grad():
        for at in range(0, len(x), 12):  # the last one is smaller
            out = model(x[at : at + 12])
            total += F.cross_entropy(out, y[at : at + 12]).item() * len(out)
            right += (out.argmax(1) == y[at : at + 12]).sum().item()
    model.train()
    return total / len(x), right


def test_batches_of_one_evaluation_are_one_record_with_the_mean_that_the_program_found():
    evaluations, found = trained(in_batches)
    _, y = data()
    counts = torch.bincount(y[64:], minlength=3)
    shares = counts / 32.0
    assert [one.after for one in evaluations] == list(range(1, 9))
    for one, (value, right) in zip(evaluations, found, strict=True):
        assert (one.function, one.batches, one.examples, one.answers, one.whole) == ("cross_entropy", 3, 32, 32, True)
        assert one.value == pytest.approx(value, rel=1e-6) and one.hits == right and one.accuracy == right / 32
        assert one.classes == tuple(counts.tolist())
        assert one.floor == pytest.approx(-float((shares * shares.log()).sum()), rel=1e-6)
        assert one.source.startswith(("tests", "test_evaluations.py")) and not one.gradients


def test_at_the_default_budget_evaluations_between_unwatched_steps_are_heard_too():
    evaluations, found = trained(in_batches, steps=200, budget=0.03)
    assert 5 <= len(evaluations) < 200 and evaluations[-1].after > 50
    for one in evaluations:
        assert one.value == pytest.approx(found[one.after - 1][0], rel=1e-6)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_an_evaluation_in_training_mode_is_heard_where_gradients_are_off(guard):
    def evaluate(model, x, y):
        with guard():
            return F.cross_entropy(model(x), y).item()

    for budget in (None, 0.03):
        evaluations, found = trained(evaluate, steps=60, model=nn.Linear(6, 3), budget=budget)
        assert len(evaluations) > (50 if budget is None else 3)
        assert all(one.value == pytest.approx(found[one.after - 1], rel=1e-6) for one in evaluations)


def test_a_loss_with_gradients_that_no_step_is_made_of_is_an_evaluation():
    def evaluate(model, x, y):
        return F.cross_entropy(model(x), y).item()

    evaluations, found = trained(evaluate, model=nn.Linear(6, 3))
    assert [one.after for one in evaluations] == list(range(1, 8))  # the last has no step after it that could tell
    assert all(one.gradients and one.value == pytest.approx(found[one.after - 1], rel=1e-6) for one in evaluations)


def test_an_evaluation_mode_that_trains_is_no_evaluation():
    model = net().eval()
    evaluations, _ = trained(lambda *_: model.eval() and None, model=model, steps=60, budget=0.03)
    assert evaluations == ()


def test_a_loader_that_never_trains_gives_evaluations_though_modes_and_gradients_were_forgotten():
    x, y = data(480)
    fit = DataLoader(TensorDataset(x[:64], y[:64]), batch_size=8, shuffle=True)
    test = DataLoader(TensorDataset(x[64:], y[64:]), batch_size=64)
    model, criterion, found = nn.Linear(6, 3), nn.CrossEntropyLoss(), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch(0.03)(model, optimizer) as watch:
        for epoch in range(1, 21):
            for inputs, labels in fit:
                optimizer.zero_grad()
                criterion(model(inputs), labels).backward()
                optimizer.step()
            losses = [criterion(model(inputs), labels).item() * len(labels) for inputs, labels in test]
            found[epoch * 8] = sum(losses) / 416
    evaluations = watch.trace.evaluations
    assert len(evaluations) >= 3 and all(one.loader == 1 and one.gradients for one in evaluations)
    for one in evaluations:
        assert one.batches == 7 and one.value == pytest.approx(found[one.after], rel=1e-5)


def test_answers_that_are_compared_without_a_loss_count_as_hits():
    def evaluate(model, x, y):
        model.eval()
        with torch.no_grad():
            _, said = torch.max(model(x), 1)
            right = (said == y).sum().item()
        model.train()
        return right

    evaluations, found = trained(evaluate)
    assert [(one.function, one.hits, one.answers) for one in evaluations] == [("", right, 32) for right in found]
    counts = tuple(torch.bincount(data()[1][64:]).tolist())
    assert all(one.classes == counts for one in evaluations)
    assert all(one.value is None and one.floor is None for one in evaluations)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (F.mse_loss, torch.linspace(-1, 1, 288).reshape(96, 3)),
        (F.binary_cross_entropy_with_logits, (torch.arange(288).reshape(96, 3) % 5 == 0).float()),
        (F.l1_loss, torch.linspace(-1, 1, 288).reshape(96, 3)),
    ],
)
def test_the_best_constant_answer_is_that_of_all_batches_together(loss, target):
    def evaluate(model, x, y):
        with torch.no_grad():
            for at in range(0, 32, 16):
                loss(model(x[at : at + 16]), y[at : at + 16], reduction="sum")
            model.eval()
            value = loss(model(x), y).item()
            model.train()
        return value

    evaluations, found = trained(evaluate, target=target, loss=loss)
    whole = target[64:]
    if loss is F.mse_loss:
        best = float(whole.var(0, correction=0).mean())
    elif loss is F.l1_loss:
        best = sum(float((part - part.median(0).values).abs().mean()) for part in (whole[:16], whole[16:])) / 2
    else:
        share = whole.mean(0)
        best = float(F.binary_cross_entropy(share.expand(32, 3), whole))
    assert all(one.floor == pytest.approx(best, rel=1e-5) for one in evaluations if one.batches == 2)
    means = [one.value for one in evaluations if one.batches == 1]
    assert means == pytest.approx(found, rel=1e-6)  # the same place in another


def test_two_losses_of_one_evaluation_are_told_apart_by_who_asks():
    def evaluate(model, x, y):
        return (in_batches(model, x, y), in_batches(model, x[:8], y[:8]))

    evaluations, _ = trained(evaluate, steps=3)
    assert [(one.after, one.examples) for one in evaluations] == [(1, 32), (1, 8), (2, 32), (2, 8), (3, 32), (3, 8)]


def test_a_moving_average_of_the_weights_and_a_teacher_are_not_taken_for_the_model():
    twin = copy.deepcopy(net()).eval()

    def evaluate(model, x, y):
        with torch.no_grad():
            model(x)
            F.cross_entropy(twin(x), y)

    evaluations, _ = trained(evaluate)
    assert evaluations == ()


def test_an_accuracy_on_each_training_batch_is_soon_ignored(monkeypatch):
    asked = []
    original = signs.Signs._hear
    monkeypatch.setattr(signs.Signs, "_hear", lambda self, module=None: (original(self, module), asked.append(self._site))[0])

    def evaluate(model, x, y):
        with torch.no_grad():
            return float(sum(p.norm() for p in model.parameters()))

    trained(evaluate, steps=100, budget=0.03)
    assert sum(site is not None for site in asked) <= signs.PATIENCE


def test_an_evaluation_after_the_last_step_belongs_to_it():
    model, (x, y) = net(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for budget in (None, 0.03):
        with isograd.watch(model, optimizer, budget=budget, steps=20) as watch:
            for _ in range(20):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            value, _ = in_batches(model, x, y)
        (one,) = watch.trace.evaluations
        assert one.after == watch.trace.steps[-1].index == 20 and one.value == pytest.approx(value, rel=1e-6)
        assert codec.loads(Trace, codec.dumps(watch.trace)) == watch.trace


def test_nothing_is_left_wrapped():
    before = nn.Module.train, torch.no_grad.__enter__, torch.inference_mode.__enter__, DataLoader.__iter__
    trained(in_batches, steps=2)
    assert before == (nn.Module.train, torch.no_grad.__enter__, torch.inference_mode.__enter__, DataLoader.__iter__)


def test_a_transformer_keeps_its_fast_path_in_evaluations():
    model = nn.TransformerEncoderLayer(6, 2, 16, batch_first=True)
    x = torch.randn(8, 5, 6)

    def found(watched):
        twin = copy.deepcopy(model)
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.01)
        outs = []
        torch.manual_seed(0)
        with Watch(0.03)(twin, optimizer) if watched else torch.enable_grad():
            for _ in range(20):
                optimizer.zero_grad()
                F.mse_loss(twin(x), x).backward()
                optimizer.step()
                twin.eval()
                with torch.inference_mode():
                    outs += [twin(x), F.mse_loss(twin(x), x)]
                twin.train()
        return outs

    assert all(torch.equal(a, b) for a, b in zip(found(False), found(True), strict=True))


def test_of_very_many_evaluations_the_best_and_the_newest_stay():
    history = History()
    for index in range(1, 4 * EVALUATED):
        history.add(Step(index, evaluations=(Evaluation(index - 1, "mse_loss", value=abs(index - 50) + 1.0),)))
    kept = [one.after for step in history.steps for one in step.evaluations]
    assert len(kept) <= EVALUATED + 1 and {0, 49, 4 * EVALUATED - 2} <= set(kept)


def test_a_step_of_which_only_the_gradient_norms_are_taken_lets_its_evaluation_be_heard(monkeypatch):
    monkeypatch.setattr(Budget, "next", lambda self, index: NORM)
    monkeypatch.setattr(Budget, "for_evaluation", lambda self, index: 1.0)
    evaluations, found = trained(in_batches, steps=5, budget=0.03)
    assert [one.value for one in evaluations] == pytest.approx([value for value, _ in found], rel=1e-6)
