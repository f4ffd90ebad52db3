"""Interrupted: a run that was stopped before its learning curve had bent."""

import math
import random
from dataclasses import replace

import pytest
from lessons import classes, training

from isograd.health.diagnosis import interrupted
from isograd.records.batch import Evaluation
from isograd.records.fact import Fact


def found(case):
    return list(interrupted.diagnose(case))


def falling(curve, right=None, steps=300, **more):
    draw = random.Random(3)
    return training(lambda t: classes(t, value=curve(t) + draw.gauss(0.0, 0.01), right=right), steps, **more)


def test_a_loss_that_falls_in_a_straight_line_was_interrupted():
    (finding,) = found(falling(lambda t: 1.38 - 0.001 * t))
    assert finding.severity == "warning" and finding.where == "loop" and "still falling" in finding.summary


@pytest.mark.parametrize(("batches", "dataset", "said"), [(1, 2400, True), (75, 2400, False), (1, 40, False)])
def test_where_all_examples_are_one_batch_smaller_ones_are_the_way_out(batches, dataset, said):
    case = falling(lambda t: 1.38 - 0.001 * t)
    settings = {"number": 0, "batches": batches, "dataset": dataset}
    steps = [
        replace(
            step,
            facts=(
                Fact(
                    "loader",
                    settings=(*settings.items(), ("epoch", 1 + (i - 1) // batches), ("position", 1 + (i - 1) % batches)),
                ),
            ),
        )
        for step in case.steps
        for i in [step.index]
    ]
    (finding,) = found(replace(case, steps=tuple(steps)))
    assert ("an epoch is one step, and then it is 75" in finding.remedy) == said


@pytest.mark.parametrize(("hits", "doubted"), [(52, True), (90, False)])
def test_where_the_programs_own_evaluations_know_nothing_pairs_are_looked_at_before_training_longer(hits, doubted):
    case = falling(lambda t: 1.38 - 0.001 * t)
    tried = Evaluation(1, source="train.py:9", classes=(100, 100), answers=200, examples=200, hits=2 * hits)
    steps = [replace(step, evaluations=(replace(tried, after=step.index),)) for step in case.steps]
    (finding,) = found(replace(case, steps=tuple(steps)))
    assert ("evaluation (train.py:9) is no better" in finding.summary) == ("ten pairs" in finding.remedy) == doubted


def test_a_loss_that_has_bent_was_not():
    assert found(falling(lambda t: 0.9 + 0.45 * math.exp(-t / 60), right=0.4)) == []


def test_a_late_gain_that_arrives_is_fine():
    assert found(falling(lambda t: 1.38 if t < 200 else max(0.1, 1.38 - 0.02 * (t - 200)), right=0.9)) == []


def test_nothing_is_said_while_the_run_goes_on():
    assert found(falling(lambda t: 1.38 - 0.001 * t, ended=False, planned=1000)) == []


def test_a_handful_of_steps_in_which_nothing_was_learned_is_too_few():
    (finding,) = found(falling(lambda t: 1.4, steps=20))
    assert "before much was learned" in finding.summary
    assert found(falling(lambda t: 1.4, steps=4)) == []


@pytest.mark.parametrize(("rate", "said"), [(1e-4, True), (0.3, False)])
def test_a_real_run_at_a_rate_too_low_to_arrive(train, mlp, rate, said):
    import torch

    report, _ = train(lambda: mlp(2, torch.nn.ReLU), lambda p: torch.optim.SGD(p, lr=rate), steps=150)
    diseases = {finding.disease for finding in report.findings if finding.alarm}
    assert bool({"interrupted", "plateau", "learning_rate", "underfitting"} & diseases) == said


def test_a_few_huge_batches_are_told_where_they_are_all_that_was_announced():
    (finding,) = found(falling(lambda t: 1.4 - 0.02 * t, steps=8, planned=8))
    assert finding.severity == "warning" and "8 steps" in finding.summary
    assert found(falling(lambda t: 1.4, steps=8)) == [] == found(falling(lambda t: 1.4, steps=8, planned=100))
    assert found(falling(lambda t: 0.3 / t, right=0.9, steps=8, planned=8)) == [], "it arrived"


def test_hits_of_old_do_not_condemn_a_loss_that_fell_since():
    def sample(t):
        return classes(t) if t <= 100 else ()

    case = training(sample, total=lambda t: 1.38 if t <= 100 else 1.38 - 0.004 * (t - 100))
    assert [finding.severity for finding in found(case)] in ([], ["note"])


def test_a_loop_that_breaks_off_long_before_its_announced_length_is_told_and_one_that_learned_or_was_announced_so_is_not():
    (finding,) = found(falling(lambda t: 1.386, right=0.0, steps=9, planned=315))
    assert finding.alarm and "after 9 of 315 announced steps" in finding.summary and "break" in finding.remedy
    assert found(falling(lambda t: 0.2, right=0.95, steps=9, planned=315)) == []
    assert found(falling(lambda t: 1.386, right=0.0, steps=9, planned=30)) == []  # a short look, perhaps on purpose
