"""A normalisation that hides a growing scale."""

from dataclasses import replace

import pytest
from bodies import body
from runs import FLAT, LEARNING, run

from isograd.health.diagnosis import hidden_scale
from isograd.records.anatomy import Node


def normed(*places):
    """A chain in which a normalisation reads each of the given layers."""
    anatomy = body(3)
    at = {node.path: place for place, node in enumerate(anatomy.nodes)}
    more = tuple(Node(f"n{place}", "norm", "LayerNorm", (at[place],)) for place in places)
    return replace(anatomy, nodes=anatomy.nodes + more)


def growing(step, _):
    return 0.1 * (1.0 + step / 10)  # 21-fold in 200 steps


def dying(step, _):
    return 0.4 / (1.0 + step / 10) ** 2 * 1e-2  # rate / |W|^2


def found(anatomy, **what):
    return list(hidden_scale.diagnose(run(anatomy, **what)))


def test_a_scale_that_grows_before_a_norm_kills_the_rate():
    what = {"weight": growing, "turning": lambda step, _: 4e-3 * 0.95**step, "losses": FLAT}
    (finding,) = found(normed("l1"), **what)
    assert finding.severity == "warning" and finding.where == "l1" and "grown" in finding.summary


def test_where_it_learns_it_is_a_remark():
    (finding,) = found(normed("l1"), weight=growing, turning=lambda step, _: 4e-3 * 0.95**step, losses=LEARNING)
    assert finding.severity == "note"


def test_growth_by_itself_costs_something_and_is_told():
    (finding,) = found(normed("l1"), weight=growing, turning=dying, losses=LEARNING)
    assert finding.severity == "note"


HEALTHY = {
    "no norm behind the layer": (normed(), {"weight": growing, "turning": dying}),
    "a scale that stays": (normed("l1"), {"turning": lambda step, _: 1e-2}),
    "a rate that a schedule lowers": (
        normed("l1"),
        {"weight": growing, "turning": lambda step, _: 1e-2 * 0.95**step, "rates": lambda step: 0.1 * 0.95**step},
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    anatomy, what = HEALTHY[name]
    assert found(anatomy, **what) == []


def test_a_real_normalised_network_is_left_alone(train):
    import torch
    from torch import nn

    def build():
        return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))

    report, accuracy = train(build, lambda p: torch.optim.SGD(p, lr=0.1), 60)
    assert accuracy > 0.7 and not [f for f in report.findings if f.disease == "hidden_scale"]


def test_weights_born_a_thousand_times_too_long_before_a_norm_never_turn():
    anatomy = normed("l0", "l1")
    (finding,) = found(anatomy, weight=lambda *_: 500.0, turning=lambda *_: 1e-9, losses=FLAT)
    assert finding.severity == "warning" and finding.layers == ("l0", "l1") and "born" in finding.summary
    (finding,) = found(anatomy, weight=lambda *_: 500.0, turning=lambda *_: 1e-9, losses=LEARNING)
    assert finding.severity == "note"
    assert found(anatomy, weight=lambda *_: 500.0, turning=lambda *_: 1e-3, losses=FLAT) == []  # they do turn
    assert found(anatomy, weight=lambda *_: 0.1, turning=lambda *_: 1e-9, losses=FLAT) == []  # of ordinary length


@pytest.mark.parametrize("factor", [3000.0, 1.0])
def test_a_real_network_whose_normalised_weights_are_born_too_long(digits, factor):
    import torch
    from torch import nn

    import isograd

    torch.manual_seed(0)
    x, y = digits
    norms = [part for width in (64, 64, 64) for part in (nn.Linear(width, 64), nn.BatchNorm1d(64), nn.ReLU())]
    model = nn.Sequential(*norms, nn.Linear(64, 10))
    with torch.no_grad():
        for place in (0, 3, 6):
            model[place].weight *= factor
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for _ in range(60):
            rows = torch.randint(0, 1400, (64,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    said = [finding.disease for finding in watch.report().findings if finding.disease == "hidden_scale"]
    assert said == (["hidden_scale"] if factor > 1.0 else [])
