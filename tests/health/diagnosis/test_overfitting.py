"""Overfitting: evaluations that get worse while training goes on; an alarm where the answers do too."""

import dataclasses

import pytest
from lessons import classes, final, numbers, training

from isograd.health.diagnosis import overfitting


def found(case):
    return list(overfitting.diagnose(case))


def evaluated(t, value, right):
    return dataclasses.replace(classes(-t, rows=400, value=value, right=right), training=False, source="test.py:3")


def run(value, right):
    """A training whose loss falls all the way, evaluated in between."""
    return training(lambda t: (classes(t, value=1.4 - 0.004 * t, right=0.8), evaluated(t, value(t), right(t))))


def rising(t):
    return 1.0 + abs(t - 100) / 200


def test_evaluations_that_get_worse_in_loss_and_answers_are_a_warning():
    (finding,) = found(run(rising, lambda t: 0.8 if t < 150 else 0.5))
    assert finding.severity == "warning" and "best at step" in finding.summary and finding.source == "test.py:3"


def test_a_rising_loss_with_steady_answers_is_a_remark():
    (finding,) = found(run(rising, lambda t: 0.8))
    assert finding.severity == "note"


def test_evaluations_that_keep_falling_or_never_came_are_fine():
    assert found(run(lambda t: 1.4 - 0.003 * t, lambda t: 0.8)) == []
    assert found(training(lambda t: classes(t, value=1.4 - 0.004 * t))) == []


def test_a_regression_is_judged_by_what_it_explains():
    def sample(t):
        tried = dataclasses.replace(numbers(-t, explained=0.5, stray=max(0.0, (t - 100) / 150)), training=False)
        return numbers(t, explained=min(0.9, 0.3 + t / 400)), tried

    assert [finding.alarm for finding in found(training(sample))] == [True]


def test_examples_learned_by_heart_show_in_evaluations_that_are_no_better_than_a_constant():
    (finding,) = found(run(lambda t: 1.45, lambda t: 0.02))
    assert finding.severity == "warning" and "by heart" in finding.summary
    assert not any(finding.alarm for finding in found(run(lambda t: 1.45, lambda t: 0.8)))  # only too sure
    assert found(run(lambda t: 1.2, lambda t: 0.02)) == []  # better than a constant


def test_less_of_the_way_is_enough_where_evaluations_are_above_a_constant_from_first_to_last():
    half = lambda value, right: training(  # noqa: E731  the training comes 0.38 of the way
        lambda t: (classes(t, value=1.39 - 0.0018 * t, right=0.5), evaluated(t, value, right))
    )
    (finding,) = found(half(1.8, 0.02))
    assert finding.severity == "warning" and "prepared in another way" in finding.summary
    assert not any(f.alarm for f in found(half(1.42, 0.02))), "within a tenth of a constant answer: not yet"
    assert not any(f.alarm for f in found(half(1.8, 0.8))), "the answers are right"


def counted(right, value):
    """The same where evaluations count right answers and call no loss."""
    case = run(lambda t: 1.0, lambda t: right)
    count = {"function": "", "value": None, "floor": None, "classes": ()}
    steps = tuple(
        dataclasses.replace(
            step,
            losses=tuple(dataclasses.replace(one, value=value * one.value) for one in step.losses),
            loss=value * step.loss,
            evaluations=tuple(dataclasses.replace(one, **count) for one in step.evaluations),
        )
        for step in case.steps
    )
    return dataclasses.replace(case, steps=steps)


def test_right_answers_alone_tell_what_was_learned_by_heart():
    (finding,) = found(counted(0.0, 0.3))
    assert finding.severity == "warning" and "by heart" in finding.summary and finding.source == "test.py:3"
    assert found(counted(0.5, 0.3)) == [], "better than the most frequent class"
    assert found(counted(0.0, 2.0)) == [], "the training has not learned anything either"


@pytest.mark.parametrize(("right", "said"), [(0.05, True), (0.3, False)])
def test_evaluations_that_keep_next_to_nothing_of_what_training_knows_are_as_good_as_ignorant(right, said):
    """Another order of the classes leaves a few right by chance; what is merely hard keeps more."""

    def at(t):
        tried = dataclasses.replace(classes(-t, rows=2000, value=3.0, right=right), training=False, source="test.py:3")
        return classes(t, value=0.2, right=0.95), tried

    assert [finding.alarm for finding in found(training(at))] == [said]


def test_early_evaluations_say_nothing_and_neither_do_those_of_a_training_that_has_not_learned():
    case = training(
        lambda t: (classes(t, value=0.1, right=0.98), evaluated(t, 1.45, 0.0)), steps=60, planned=1_000, ended=False
    )
    assert found(case) == []
    assert found(training(lambda t: (classes(t, value=1.3), evaluated(t, 1.45, 0.0)))) == []


@pytest.mark.parametrize("random", [True, False])
def test_a_real_network_that_learns_labels_without_meaning(digits, mlp, random):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    y = torch.randint(0, 10, (1797,)) if random else y
    model, loss = mlp(2, torch.nn.ReLU), torch.nn.functional.cross_entropy
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with isograd.watch(model, optimizer, budget=None, steps=150) as watch:
        for step in range(150):
            optimizer.zero_grad()
            loss(model(x[:128]), y[:128]).backward()
            optimizer.step()
            if step % 15 == 14:
                with torch.no_grad():
                    loss(model(x[1400:]), y[1400:])
    assert len(watch.trace.evaluations) >= 2
    assert [f.alarm for f in final(watch).findings if f.disease == "overfitting" and f.alarm] == ([True] if random else [])


@pytest.mark.parametrize("few", [True, False])
def test_a_real_network_that_learns_thirty_examples_by_heart(digits, mlp, few):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    wrong = torch.randint(0, 10, (1797,))
    y = torch.where(torch.rand(1797) < (0.3 if few else 0.0), wrong, y)
    model = mlp(3, torch.nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss = torch.nn.functional.cross_entropy
    with isograd.watch(model, optimizer, budget=None, steps=120) as watch:
        for step in range(120):
            rows = torch.arange(64) if few else torch.arange(64) + 10 * step
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
            with torch.no_grad():
                loss(model(x[1400:]), y[1400:])
    said = [finding for finding in final(watch).findings if finding.disease == "overfitting"]
    assert said if few else not any(finding.alarm for finding in said)
