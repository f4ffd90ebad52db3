"""Programs of which a decay, a bound, a forgotten memory or fewer layers are the smallest cure, found by the search itself."""

import copy
import statistics

import pytest
import torch
from torch import nn

import isograd


def draw(seed):
    return torch.Generator().manual_seed(seed)


def parted(x, y, count, size=32):
    """Batches to train on, and the rest to judge by."""
    return [(x[i : i + size], y[i : i + size]) for i in range(0, count, size)], [(x[count:], y[count:])]


def wide():
    """400 features, two of which say something, and 160 rows."""
    g = draw(3)
    x = torch.randn(560, 400, generator=g)
    y = (x[:, 0] - x[:, 1] + 0.3 * torch.randn(560, generator=g) > 0).long()
    return lambda: nn.Linear(400, 2), *parted(x, y, 160), nn.functional.cross_entropy, adam(3e-3), 300


def mislabelled():
    """A quarter of 400 labels is wrong, and the network is large enough to learn them all."""
    g = draw(4)
    x = torch.randn(800, 20, generator=g)
    y = (1.5 * x[:, 0] + x[:, 1] - x[:, 2] > 0).long()
    wrong = (torch.rand(800, generator=g) < 0.25) & (torch.arange(800) < 400)

    def build():
        return nn.Sequential(nn.Linear(20, 192), nn.ReLU(), nn.Linear(192, 192), nn.ReLU(), nn.Linear(192, 2))

    return build, *parted(x, torch.where(wrong, 1 - y, y), 400, 50), nn.functional.cross_entropy, adam(3e-3), 300


def slips():
    """One target in fifty is off by hundreds: whole steps burst."""
    g = draw(6)
    x = torch.randn(1200, 10, generator=g)
    y = x[:, 0] - x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
    wild = (torch.rand(1200, generator=g) < 0.02) & (torch.arange(1200) < 800)
    y = torch.where(wild, y + 200.0 * torch.randn(1200, generator=g), y)
    return tower(10), *parted(x, y[:, None], 800), nn.functional.mse_loss, sgd(0.05), 300


class Amounts(nn.Module):
    """Takes the logarithms of two amounts back."""

    def forward(self, x):
        return torch.cat([x[:, :-2], x[:, -2:].expm1()], 1)


def rare_amounts():
    """Two columns are nearly always zero and now and then some hundreds: entries of the gradient burst."""
    g = draw(5)
    x = torch.randn(1200, 20, generator=g)
    rare = torch.rand(1200, 2, generator=g) < 0.02
    x[:, -2:] = torch.where(rare, 300.0 * torch.rand(1200, 2, generator=g), torch.zeros(1200, 2)).log1p()
    y = (x[:, 0] - x[:, 1] * x[:, 2] + 0.5 * x[:, 3])[:, None]
    return lambda: nn.Sequential(Amounts(), *tower(20)()), *parted(x, y, 800), nn.functional.mse_loss, sgd(0.01), 400


def resumed():
    """A checkpoint whose moments are of a loss ten thousand times as large."""
    g = draw(11)
    x = torch.randn(1600, 10, generator=g)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
    made = torch.optim.Adam(start.parameters(), lr=1e-3)
    for place in range(0, 5000, 100):
        rows = slice(place % 1000, place % 1000 + 100)
        made.zero_grad()
        (1e4 * nn.functional.cross_entropy(start(x[rows]), y[rows])).backward()
        made.step()
    state = made.state_dict()

    def optimizer(parameters):
        again = torch.optim.Adam(parameters, lr=1e-2)
        again.load_state_dict(copy.deepcopy(state))
        again.param_groups[0]["lr"] = 1e-2
        return again

    return lambda: copy.deepcopy(start), *parted(x, y, 1000), nn.functional.cross_entropy, optimizer, 200


def tower(inputs):
    return lambda: nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )  # fmt: skip


def adam(rate):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (wide, "decay_l1"),
        pytest.param(mislabelled, "decay_decoupled", marks=pytest.mark.proof),
        (slips, "clip_unit"),
        pytest.param(rare_amounts, "clip_value", marks=pytest.mark.proof),
        (resumed, "reset_state"),
    ],
)
def test_the_smallest_cure_is_found_and_proven(program, kind):
    build, batches, held, loss, optimizer, steps = program()
    proof = isograd.cure(build, batches, loss, optimizer, budget="32 runs", validation=held, steps=steps)
    assert proof.verdict == "proven" and [edit.kind for edit in proof.edits] == [kind] and proof.record.kind == "repair"
    assert statistics.fmean(trial.difference for trial in proof.record.trials) > 0.15


def test_a_memory_that_fits_is_kept_and_costs_no_trial():
    build, batches, held, loss, _, steps = resumed()
    tried = isograd.cure(build, batches, loss, adam(1e-2), budget="32 runs", validation=held, steps=steps).record.candidates
    assert all(edit.kind != "reset_state" for one in tried for edit in one.edits)
