"""Collapse: all answers alike, said of networks that found the best constant answer and of classes that never come."""

import pytest
from lessons import classes, numbers, training

from isograd.health.diagnosis import collapse


def found(case):
    return list(collapse.diagnose(case))


def test_one_class_for_all_examples_is_a_collapse_to_that_class():
    (finding,) = found(training(lambda t: classes(t, answer=2)))
    assert finding.severity == "critical" and "class 2, whatever" in finding.summary


def test_one_number_for_all_examples_is_a_collapse_to_it():
    (finding,) = found(training(lambda t: numbers(t, outputs=0.0)))
    assert finding.severity == "critical" and "the same number" in finding.summary


def test_a_class_that_is_nearly_all_of_the_data_may_be_every_answer_and_the_rare_one_is_a_remark():
    (finding,) = found(training(lambda t: classes(t, kinds=2, shares=[0.95, 0.05], answer=0)))
    assert finding.severity == "note" and "pos_weight" in finding.remedy
    assert finding.summary.startswith("Class 1 is never answered")
    assert found(training(lambda t: classes(t, kinds=2, shares=[0.95, 0.05], right=0.9, value=0.1))) == []


def test_outputs_that_spread_less_because_little_is_known_are_no_collapse():
    assert found(training(lambda t: numbers(t, explained=0.1))) == []


def test_nothing_is_said_before_the_end():
    assert found(training(lambda t: classes(t, answer=2), ended=False, planned=300)) == []


def test_a_class_that_is_never_answered_although_the_rest_is_learned_is_a_remark():
    def sample(t, lost=(3,)):
        one = classes(t, right=0.9, value=0.6)
        answers = tuple(0 if k in lost else n for k, n in enumerate(one.answers))
        hits = sum(n for k, n in enumerate(one.classes) if k not in lost) - 3
        return type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"answers": answers, "hits": hits})

    (finding,) = found(training(sample))
    assert finding.severity == "note" and "never answers class 3" in finding.summary
    assert found(training(lambda t: sample(t, lost=()))) == []


@pytest.mark.parametrize("cut", [True, False])
def test_a_real_network_whose_hidden_layer_is_dead_collapses_and_a_live_one_does_not(train, mlp, cut):
    import torch

    def build():
        model = mlp(3, torch.nn.ReLU)
        if cut:
            torch.nn.init.constant_(model[2].bias, -100.0)
        return model

    report, _ = train(build, lambda p: torch.optim.Adam(p, lr=3e-3), steps=200)
    assert ("collapse" in {finding.disease for finding in report.findings if finding.alarm}) == cut


def test_outputs_and_targets_that_become_one_number_together_have_collapsed():
    """Two views of one example, and nothing that keeps examples apart."""
    (finding,) = found(training(lambda t: numbers(t, explained=0.9, scale=max(0.01, 0.97**t))))
    assert finding.severity == "critical" and "together" in finding.summary and "negatives" in finding.remedy


def test_targets_that_keep_their_spread_or_lose_some_of_it_are_data():
    assert found(training(lambda t: numbers(t, explained=0.9))) == []
    assert found(training(lambda t: numbers(t, explained=0.9, scale=max(0.3, 0.97**t)))) == []


@pytest.mark.parametrize("negatives", [False, True])
def test_a_real_network_that_is_only_asked_to_agree_with_itself(digits, negatives):
    import torch
    from torch import nn

    import isograd

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(150):
            x = digits[0][torch.randint(0, 1400, (64,))]
            one, other = (model(x + 0.1 * torch.randn_like(x)) for _ in range(2))
            loss = nn.functional.mse_loss(one, other)
            if negatives:
                loss = nn.functional.cross_entropy(one @ other.T / 4.0, torch.arange(64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    said = {finding.disease for finding in watch.report().findings if finding.alarm}
    assert ("collapse" in said) == (not negatives)
