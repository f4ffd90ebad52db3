"""A loss that is not finite is traced at once: to the batch by the name of its variable, to the weights, or to the pass."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd
from isograd.frameworks.torch.breaking import broken, stained
from isograd.records.batch import InputSample
from isograd.records.moments import Moments
from isograd.records.trace import Step

NAN, INF = float("nan"), float("inf")


def look(size):
    """A step that was given so many examples."""
    return Step(1, inputs=(InputSample("", 0, (size, 3), "float32", Moments.of([1.0]), 0.0, 1.0),))


def test_a_whole_table_beside_the_batch_is_not_taken_for_it():
    table, batch = torch.full((100, 3), NAN), torch.ones(8, 3)
    assert stained([{"table": table, "batch": batch}], 8) == {}
    batch[2, 1] = INF
    assert stained([{"table": table, "batch": batch}], 8) == {"name": "batch", "count": 1, "rows": 1, "column": 1}


def test_masks_weights_and_what_has_a_graph_are_no_batch():
    weight = nn.Parameter(torch.full((4,), NAN))
    assert stained([{"mask": torch.full((4, 4), -INF), "weight": weight, "out": weight * 2, "labels": torch.arange(4)}]) == {}


def test_a_batch_in_a_dictionary_of_lists_is_found():
    assert stained([{"batch": {"images": [torch.ones(4, 2), torch.full((4, 2, 2), NAN)]}}])["count"] == 16


def test_weights_that_are_ruined_already_are_named_and_else_it_is_the_pass():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    batch = torch.ones(2, 3)
    assert broken([model], [look(len(batch))]).get("of", "") == "pass"
    with torch.no_grad():
        model[1].weight[0, 2] = INF
    fact = broken([model], [look(2)])
    assert fact.get("of", "") == "weights" and fact.where == "1" and fact.get("parameter", "") == "1.weight"


def run(spoil, *, at=40, lr=0.05, budget=0.03):
    """Sixty steps; ``spoil`` is given inputs, targets and the model before step ``at``."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x = torch.randn(600, 4)
    y = x[:, :1].clone()
    with isograd.watch(model, optimizer, steps=1000, budget=budget) as watch:
        for step in range(60):
            inputs, targets = x[step * 10 : step * 10 + 10].clone(), y[step * 10 : step * 10 + 10].clone()
            if step == at:
                spoil(inputs, targets, model)
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
    return [finding for finding in watch.report().findings if finding.disease == "nonfinite"]


def spoil_inputs(inputs, targets, model):
    inputs[3, 2] = NAN


def spoil_targets(inputs, targets, model):
    targets[3] = INF


def spoil_weights(inputs, targets, model):
    with torch.no_grad():
        model[2].bias.fill_(NAN)


@pytest.mark.parametrize(
    ("spoil", "where", "words"),
    [(spoil_inputs, "data", "inputs: 1 in 1 rows, all in column 2"), (spoil_targets, "data", "targets: 1 in 1 rows"),
     (spoil_weights, "2", "2.bias was not finite any more")],
)  # fmt: skip
@pytest.mark.parametrize("budget", [pytest.param(1e-6, id="no look falls on it"), pytest.param(None, id="a look falls on it")])
def test_a_real_training_names_the_variable_or_the_weight(spoil, where, words, budget):
    (finding,) = run(spoil, budget=budget)
    assert finding.where == where and finding.since == 41 and words in finding.summary
    assert where != "data" or finding.source.startswith("test_breaking.py") or "test_breaking.py" in finding.source


def test_a_training_that_stays_finite_is_asked_nothing(monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("isograd.frameworks.torch.recorder.broken", never)
    assert run(lambda *_: None) == []


def test_an_error_of_ours_there_stays_out_of_the_loop(monkeypatch, caplog):
    monkeypatch.setattr("isograd.frameworks.torch.recorder.broken", lambda *_: 1 / 0)
    with caplog.at_level(logging.WARNING), pytest.warns(RuntimeWarning):
        run(spoil_inputs)


def test_nan_in_front_of_a_checked_loss_is_named_instead_of_a_wrong_range():
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    inputs, targets = torch.randn(6, 3), torch.ones(6, 1)
    inputs[4, 0] = NAN
    with pytest.raises(RuntimeError) as raised:
        F.binary_cross_entropy(model(inputs), targets)
    (finding,) = isograd.explain(raised.value).findings
    assert finding.cause == "not a number" and finding.where == "data" and "inputs holds 1 such numbers" in finding.summary
    inputs[4, 0] = 0.0
    with pytest.raises(RuntimeError) as raised:
        F.binary_cross_entropy(3.0 + model(inputs), targets)
    (finding,) = isograd.explain(raised.value).findings
    assert finding.cause == "not probabilities"


@pytest.mark.parametrize(
    ("spoilt", "where", "words"), [(True, "data", "x holds numbers that are not"), (False, "loss", "which")]
)
def test_a_batch_that_no_variable_holds_is_not_called_finite_and_the_table_is_asked(spoilt, where, words, monkeypatch):
    monkeypatch.setattr("isograd.frameworks.torch.budget.FLOOR", 0.0)  # the step that breaks is not looked into by chance
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x = torch.randn(600, 4)
    if spoilt:
        x[433, 2] = NAN
    with isograd.watch(model, optimizer, steps=1000, budget=1e-6) as watch:
        for step in range(60):
            rows = torch.arange(10) + 10 * step
            optimizer.zero_grad()
            error = (model(x[rows])[:, 0] - x[rows, 0]).square().mean()
            (error if spoilt or step < 43 else error * (rows[0] / (rows[0] - 430))).backward()
            optimizer.step()
    (finding,) = [finding for finding in watch.report().findings if finding.disease == "nonfinite"]
    assert finding.where == where and finding.since == 44 and words in finding.summary and "batch and" not in finding.summary
