"""Targets out of reach: said where the run is spent on getting to their size."""

import math
from dataclasses import replace

import pytest
from lessons import classes, final, numbers, training

from isograd.health import curve as curves
from isograd.health.diagnosis import targets
from isograd.records.batch import InputSample
from isograd.records.moments import Moments


def found(case):
    return list(targets.diagnose(case))


def climbing(t):
    """Outputs that rise from 0 by a tenth a step towards targets around 200."""
    return numbers(t, mean=200.0, scale=30.0, outputs=0.1 * t)


def test_targets_a_hundred_times_the_outputs_that_are_not_reached_are_a_warning():
    (finding,) = found(training(climbing))
    assert finding.severity == "warning" and finding.where == "data" and "mean 2" in finding.summary


def test_large_targets_that_were_reached_are_a_remark():
    def reached(t):
        return climbing(t) if t < 20 else numbers(t, mean=200.0, scale=30.0, explained=0.8)

    (finding,) = found(training(reached))
    assert finding.severity == "note"


def test_large_targets_of_a_loss_that_broke_are_a_warning_and_not_where_the_batch_itself_holds_what_is_not_finite():
    def broke(t):
        return replace(climbing(t), value=math.nan if t > 7 else 4e4 * 3.0**t)

    (finding,) = found(training(broke))
    assert finding.severity == "warning" and "the loss broke" in finding.summary
    spoilt = InputSample("", 0, (64, 3), "float32", Moments.of([1.0, math.nan]), -1.0, 1.0)
    (finding,) = found(training(broke, inputs=(spoilt,)))
    assert finding.severity == "note"


def test_a_loss_that_had_come_down_to_large_targets_and_broke_then_broke_by_something_else():
    def reached_and_broke(t):
        if t < 20:
            return replace(climbing(t), value=4e4)
        return replace(numbers(t, mean=200.0, scale=30.0, explained=0.8), value=math.nan if t > 290 else 180.0)

    (finding,) = found(training(reached_and_broke))
    assert finding.severity == "note" and "broke" not in finding.summary


@pytest.mark.parametrize(("share", "severity"), [(0.01, "warning"), (0.9, "note")])
def test_targets_that_drift_and_are_never_reached_are_a_warning_too(share, severity):
    """As prices in their order: each batch lies elsewhere, so that no constant answer to all of them is known."""

    def drifting(t):
        mean = 3000.0 + 600.0 * math.sin(t / 9.0)
        return numbers(t, mean=mean, scale=60.0, outputs=share * mean if t > 20 else 0.5)

    run = training(drifting)
    assert curves.main(run).moved
    (finding,) = found(run)
    assert finding.severity == severity


@pytest.mark.parametrize(("mean", "alarm"), [(1e5, True), (200.0, False)])
def test_before_training_targets_of_a_thousand_times_the_outputs_are_a_warning(mean, alarm):
    first = training(lambda t: numbers(t, mean=mean, scale=30.0, outputs=0.5))
    (finding,) = found(replace(first, steps=first.steps[:2], taken=2))
    assert finding.alarm == alarm and "begin at a size of 0.5" in finding.summary


@pytest.mark.parametrize("sample", [lambda t: numbers(t, explained=0.1), classes])
def test_targets_of_unit_size_and_classes_are_none_of_its_business(sample):
    assert found(training(sample)) == []


@pytest.mark.parametrize("scale", [1.0, 150.0])
def test_real_regression_on_unscaled_targets(mlp, digits, scale):
    import torch

    import isograd

    x, _ = digits
    wanted = scale * (x[:, 20:28].sum(1, keepdim=True) / 4 + 1.0)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None, steps=150) as watch:
        for step in range(150):
            rows = torch.arange(64) + 9 * step
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x[rows]), wanted[rows]).backward()
            optimizer.step()
    said = {finding.disease for finding in final(watch).findings if finding.alarm}
    assert ("targets" in said) == (scale > 1.0)
