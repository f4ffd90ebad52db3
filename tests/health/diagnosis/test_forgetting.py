"""Forgetting: what is lost for good is told; spikes, restarts that come back and changing floors are not."""

import dataclasses
import math
import random

import pytest
from lessons import classes, final, numbers, training

from isograd.health.case import case_of
from isograd.health.diagnosis import forgetting
from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation
from isograd.records.trace import Step, Trace

FLOOR = math.log(4)


def found(case):
    return list(forgetting.diagnose(case))


def knows(step, *, skill, right=None):
    draw = random.Random(step)
    return classes(step, right=skill if right is None else right, value=FLOOR * (1.0 - skill) + draw.gauss(0.0, 0.02))


def lost_at(step, *, last=200):
    """Learns within 60 steps, and knows nothing after step ``last``."""
    return knows(step, skill=0.0 if step >= last else min(0.8, step / 75))


def test_a_network_that_knew_and_no_longer_does_has_forgotten():
    (finding,) = found(training(lost_at))
    assert finding.severity == "warning" and "What was learned is lost" in finding.summary
    assert 180 <= finding.since <= 220 and finding.source == "train.py:9"


def test_a_regression_forgets_as_well():
    (finding,) = found(training(lambda t: numbers(t, explained=0.7) if t < 200 else numbers(t, explained=0.7, slope=0.0)))
    assert finding.severity == "warning"


def test_a_loss_without_a_known_floor_that_is_back_at_its_start_is_a_remark():
    from isograd.records.batch import LossSample

    def value(t):
        return 5.0 if t < 10 or t > 220 else 1.0

    (finding,) = found(training(lambda t: LossSample("", source="train.py:9", value=value(t))))
    assert finding.severity == "note" and "at the start (5)" in finding.summary


def restarts(step):
    """Every 60 steps the rate starts again and the loss jumps to the floor for a while."""
    return knows(step, skill=0.05 if step % 60 < 15 else 0.7)


HEALTHY = {
    "a run that learns": lambda t: knows(t, skill=min(0.8, t / 75)),
    "a run that never learned": lambda t: knows(t, skill=0.0),
    "restarts that come back": restarts,
    "one spike near the end": lambda t: knows(t, skill=-20.0 if t == 290 else min(0.8, t / 75), right=0.8),
    "a jump that was made good": lambda t: knows(t, skill=0.0 if 150 < t < 200 else 0.7),
    "a part that is lost": lambda t: knows(t, skill=0.4 if t > 200 else 0.8),
    "answers that stay right while the loss rises": lambda t: knows(t, skill=0.0 if t > 200 else 0.7, right=0.8),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    assert found(training(HEALTHY[name])) == []


def test_a_curriculum_whose_targets_change_their_scale_has_its_floor_beside_it():
    """Wider targets cost more; the answers explain as much of them as before."""
    assert found(training(lambda t: numbers(t, explained=0.7, scale=1.0 if t < 200 else 3.0))) == []


def test_a_run_of_which_more_is_to_come_may_come_back():
    assert found(training(lost_at, ended=False, planned=600)) == []


def test_data_sorted_by_class_are_another_disease():
    def one_class(t):
        learned = t < 200
        return classes(t, shares=[t % 4 == k for k in range(4)], value=0.1 if learned else 2.0, right=0.9 if learned else 0.0)

    assert found(training(one_class)) == []


@pytest.mark.parametrize("wrecked", [True, False])
def test_a_real_network_whose_weights_are_set_to_zero_on_the_way(digits, mlp, wrecked):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(3, torch.nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    with isograd.watch(model, optimizer, budget=None, steps=200) as watch:
        for step in range(200):
            if wrecked and step == 120:
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.zero_()
            rows = torch.randint(0, 1400, (64,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    said = {finding.disease for finding in final(watch).findings if finding.alarm}
    assert ("forgetting" in said) == wrecked


def tried(right, *, classes=(50, 50), rounds=10, loader=lambda number: 0):
    """200 steps whose loss says nothing, tried ``rounds`` times; ``right`` of the answers are right in each."""
    steps = []
    for index in range(1, 201):
        number, due = divmod(index * rounds, 200)
        one = Evaluation(index, "cross_entropy", "run.py:9", loader(number), examples=100, value=1.0, floor=0.69, answers=100)
        one = dataclasses.replace(one, classes=classes, hits=round(100 * right(number)))
        steps.append(Step(index, 1.0 + 0.01 * (index % 7), evaluations=() if due else (one,)))
    return case_of(Trace(Anatomy("torch", (), ()), (), tuple(steps), ended=True))


def test_evaluations_that_knew_and_no_longer_do_tell_it_although_the_training_goes_well():
    (finding,) = found(tried(lambda number: 0.95 if number < 6 else 0.1))
    assert finding.severity == "warning" and finding.since == 120 and finding.source == "run.py:9"
    assert "95 % right answers" in finding.summary


def test_a_loader_made_anew_in_every_round_is_the_same_evaluation():
    (finding,) = found(tried(lambda number: 0.95 if number < 6 else 0.1, loader=lambda number: number))
    assert finding.since == 120


def test_answers_that_get_worse_and_are_still_better_than_chance_or_come_back_are_not_forgotten():
    assert found(tried(lambda number: 0.95 if number < 6 else 0.75)) == []
    assert found(tried(lambda number: 0.95 if number in (2, 3, 9) else 0.5)) == []
    assert found(tried(lambda number: 0.5)) == []  # never knew


@pytest.mark.parametrize("other", [True, False])
def test_a_real_network_forgets_the_first_task_over_the_second(digits, mlp, other):
    import torch

    import isograd

    x, y = digits
    torch.manual_seed(0)
    model = mlp(2, torch.nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isograd.watch(model, optimizer) as watch:
        for epoch in range(12):
            task = (y + 1) % 10 if other and epoch >= 6 else y
            for rows in torch.randperm(1280).split(64):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), task[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                torch.nn.functional.cross_entropy(model(x[1280:1480]), y[1280:1480])
    said = {finding.disease for finding in final(watch).findings if finding.alarm}
    assert said == ({"forgetting"} if other else set())
