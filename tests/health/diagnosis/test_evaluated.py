"""Evaluations judge a training whose own loss says nothing."""

import dataclasses
import random

from isograd.health.case import case_of
from isograd.health.diagnosis import plateau
from isograd.health.evaluated import ignorant
from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation, LossSample
from isograd.records.moments import Moments
from isograd.records.trace import Step, Trace


def run(right, *, classes=(50, 50, 50, 50), looks=4, function="", value=lambda t: 3.0 - 0.005 * t):
    """300 steps of a loss written by hand, evaluated ``looks`` times; ``right`` of the answers are right."""
    draw, total, steps = random.Random(0), sum(classes), []
    for index in range(1, 301):
        due = index % (300 // looks) == 0
        one = Evaluation(index, function, "run.py:9", batches=2, examples=total, classes=classes, answers=total)
        tried = (dataclasses.replace(one, hits=round(right * total)),) if due else ()
        steps.append(Step(index, value(index) + draw.gauss(0.0, 0.05), evaluations=tried))
    return case_of(Trace(Anatomy("torch", (), ()), (), tuple(steps), ended=True))


def alarms(case):
    return [finding for finding in plateau.diagnose(case) if finding.alarm]


def test_a_loss_that_falls_while_no_answer_gets_better_than_chance_is_a_plateau():
    (finding,) = alarms(run(0.25))
    assert finding.severity == "critical" and finding.source == "run.py:9" and "25.0 %" in finding.summary


def test_answers_that_are_better_than_chance_beyond_noise_are_none():
    assert alarms(run(0.25 + 0.08)) == []
    assert alarms(run(0.25 + 0.05)), "within two standard errors"


def test_one_evaluation_few_answers_and_a_class_that_is_nearly_all_say_nothing():
    for case in (run(0.25, looks=1), run(0.25, classes=(10, 10, 10, 10)), run(0.7, classes=(150, 25, 25))):
        assert ignorant(case) == () and alarms(case) == []


def test_a_run_that_goes_on_may_yet_learn():
    assert alarms(dataclasses.replace(run(0.25), ended=False, planned=10_000)) == []


def measured(share, function="mse_loss", floor=4.0):
    """300 steps of a loss written by hand, and four evaluations that pay ``share`` of what the best constant number pays."""
    steps = []
    for index in range(1, 301):
        one = Evaluation(index, function, "run.py:9", batches=2, examples=200, value=share * floor, floor=floor)
        steps.append(Step(index, 3.0 - 0.005 * index, evaluations=(one,) if index % 75 == 0 else ()))
    return case_of(Trace(Anatomy("torch", (), ()), (), tuple(steps), ended=True))


def test_numbers_that_are_no_nearer_than_the_best_constant_one_are_a_plateau():
    (finding,) = alarms(measured(0.99))
    assert "the mse_loss of an evaluation is 3.96; the best constant answer gets 4" in finding.summary
    assert alarms(measured(1.4))


def test_numbers_that_are_nearer_and_losses_without_a_constant_answer_are_none():
    for case in (measured(0.9), measured(1.0, function=""), measured(1.0, function="kl_div"), measured(0.0, floor=0.0)):
        assert alarms(case) == []


def noisy(share, *, tried=True, value=4.3):
    """A squared error of small batches that cannot be told from that of a constant answer, and evaluations."""
    draw, steps = random.Random(0), []
    for index in range(1, 61):
        paid = max(0.1, value + draw.gauss(0.0, 2.0))
        target = Moments.of([draw.gauss(0.0, 2.0) for _ in range(16)])
        sample = LossSample("mse_loss", value=paid, floor=4.0, target=target, target_shape=(16, 4))
        one = Evaluation(index, "mse_loss", "run.py:9", batches=2, examples=200, value=share * 4.0, floor=4.0)
        steps.append(Step(index, paid, losses=(sample,), evaluations=(one,) if tried and index % 15 == 0 else ()))
    return case_of(Trace(Anatomy("torch", (), ()), (), tuple(steps), ended=True))


def test_evaluations_decide_where_a_known_loss_is_too_noisy_to_be_sure_of():
    assert alarms(noisy(1.0, tried=False)) == [] and alarms(noisy(0.9)) == [] and alarms(noisy(1.0, value=2.0)) == []
    (finding,) = alarms(noisy(1.02))
    assert "of an evaluation" in finding.summary
