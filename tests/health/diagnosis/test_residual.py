"""Residual branches that dominate or vanish, by the sizes at each joint."""

import pytest
from runs import FLAT, LEARNING

from isograd.health.case import case_of
from isograd.health.diagnosis import residual
from isograd.records.anatomy import Anatomy, Node
from isograd.records.batch import LossSample
from isograd.records.moments import Moments
from isograd.records.trace import LayerSample, Meter, Step, Trace


def joined(branches, losses=FLAT, dropout=False):
    """Blocks x + f(x) whose branches have the given sizes, the skip path always 1."""
    nodes = [Node("stem", "linear", "Linear")]
    sizes = {"stem": 1.0}
    for block, size in enumerate(branches):
        skip = len(nodes) - 1
        nodes.append(Node(f"f{block}", "linear", "Linear", (skip,)))
        if dropout:
            nodes.append(Node(f"d{block}", "dropout", "Dropout", (len(nodes) - 1,)))
        nodes.append(Node(f"add{block}", "add", "", (skip, len(nodes) - 1)))
        sizes |= {f"f{block}": size, f"add{block}": 1.0}
    layers = tuple(LayerSample(path, 0, 8, Moments.of([size, -size])) for path, size in sizes.items())
    steps = tuple(
        Step(
            i,
            loss,
            layers=layers if i % 10 == 0 else (),
            losses=(LossSample("custom", value=loss, floor=2.3, target_shape=(32, 2)),),
        )
        for i, loss in enumerate(losses, 1)
    )
    return case_of(Trace(Anatomy("torch", tuple(nodes), ()), (), steps, len(losses), Meter(steps=len(losses)), ended=True))


@pytest.mark.parametrize("dropout", [False, True])
def test_branches_a_hundred_times_their_skip_dominate(dropout):
    (finding,) = residual.diagnose(joined([100.0] * 4, dropout=dropout))
    assert finding.severity == "warning" and "more than 10 times" in finding.summary and len(finding.layers) == 4


def test_branches_of_nothing_do_nothing():
    (finding,) = residual.diagnose(joined([1e-5] * 4))
    assert finding.alarm and "do nothing" in finding.summary


def test_where_it_learns_it_is_a_remark():
    (finding,) = residual.diagnose(joined([1e-5] * 4, LEARNING))
    assert finding.severity == "note"


@pytest.mark.parametrize("branches", [[1.0] * 6, [0.1] * 12, [100.0, 1.0, 1.0, 1.0], [100.0, 100.0], [1e-5, 1.0, 1.0]])
def test_silent_on(branches):
    assert list(residual.diagnose(joined(branches))) == []


def test_a_real_residual_network_is_left_alone(train):
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
            self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU()) for _ in range(4))

        def forward(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    report, accuracy = train(Residual, lambda p: torch.optim.Adam(p, lr=2e-3), 60)
    assert accuracy > 0.7 and not [f for f in report.findings if f.disease == "residual"]
