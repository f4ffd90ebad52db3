"""Batch norms whose running statistics follow slowly, in real trainings that are evaluated now and then."""

import pytest
import torch
from torch import nn

import isograd
from isograd.health.case import Case
from isograd.health.diagnosis import wrong_mode
from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation, LossSample
from isograd.records.fact import Fact
from isograd.records.trace import Step

F = nn.functional


def alarms(momentum, middle=0.0, steps=120):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, steps=steps) as watch:
        for step in range(1, steps + 1):
            x = torch.randn(64, 8)
            optimizer.zero_grad()
            F.cross_entropy(model(x + middle), (x[:, 0] > 0).long()).backward()
            optimizer.step()
            if step % 40 == 0:
                model.eval()
                with torch.no_grad():
                    x = torch.randn(300, 8)
                    F.cross_entropy(model(x + middle), (x[:, 0] > 0).long())
                model.train()
    return [finding.disease for finding in watch.report().findings if finding.alarm]


def test_statistics_that_never_leave_zero_and_one_are_told_where_evaluations_suffer():
    assert "wrong_mode" in alarms(1e-4, middle=5.0)


@pytest.mark.parametrize(("momentum", "middle"), [(0.1, 5.0), (1e-4, 0.0)], ids=["torch's own", "batches like that"])
def test_statistics_that_follow_or_need_not_are_left_alone(momentum, middle):
    assert "wrong_mode" not in alarms(momentum, middle)


@pytest.mark.parametrize(("rows", "accuracy", "severity"), [(4.1, 0.6, "warning"), (4.1, 0.88, "note"), (400.0, 0.6, None)])
def test_statistics_of_the_last_small_batch_alone_are_told_and_alarm_where_the_evaluation_is_worse(rows, accuracy, severity):
    fact = Fact("statistics_lag", "1", settings=(("momentum", 0.99), ("rows", rows)))
    loss = LossSample("cross_entropy", value=0.3, floor=0.69, classes=(50, 50), answers=(50, 50), hits=90)
    tried = Evaluation(200, "", classes=(500, 500), answers=1000, hits=int(1000 * accuracy))
    steps = tuple(Step(i, losses=(loss,), facts=(fact,)) for i in range(20, 200, 20))
    case = Case(
        Anatomy("torch", (), ()), steps=(*steps, Step(200, losses=(loss,), evaluations=(tried,))), taken=200, ended=True
    )
    found = list(wrong_mode.diagnose(case))
    assert [one.severity for one in found] == [severity] * (severity is not None)
    assert all("Keras" in one.remedy for one in found)


@pytest.mark.parametrize(("momentum", "told"), [(0.99, True), (0.1, False)])
def test_a_real_batch_norm_with_a_momentum_out_of_keras_is_told(momentum, told):
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8, momentum=momentum)
    model = nn.Sequential(nn.Linear(6, 8), norm, nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(60):
            x = torch.randn(4, 6)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
    assert [one.where for one in watch.report().findings if one.disease == "wrong_mode"] == ["1"] * told
