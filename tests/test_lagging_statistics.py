"""Batch norms whose running statistics follow slowly, in real trainings that are evaluated now and then."""

import pytest
import torch
from torch import nn

import isograd

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
