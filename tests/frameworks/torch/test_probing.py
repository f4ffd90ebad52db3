"""A training is tried on copies: what the first step promises, the thin probe, and what stays as it was."""

import copy
import math
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isograd.frameworks.torch import probing
from isograd.frameworks.torch.glancing import glance
from isograd.frameworks.torch.patient import TorchPatient
from isograd.health.signals import alignment, effective_rank, overshoot


def patient(net, batch, loss, optimizer):
    return TorchPatient.copy_of(net, batch, loss, optimizer)


def parabola(rate, curvature=1.0):
    """One weight w = 1 and the loss curvature * w**2 / 2: the gradient is curvature * w."""
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    loss = lambda outputs, targets: 0.5 * curvature * outputs.square().mean()  # noqa: E731
    return patient(net, (torch.ones(2, 1), torch.zeros(2, 1)), loss, torch.optim.SGD(net.parameters(), lr=rate))


@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0, 3.0])
def test_on_a_parabola_overshoot_is_the_rate_times_the_curvature(rate):
    one = parabola(rate, curvature=2.0)
    promised, met = probing.along(one.observe([one.batch] * 2, 2))
    assert promised == pytest.approx(-rate * 4.0, rel=1e-5)
    assert overshoot(promised, met) == pytest.approx(2.0 * rate, rel=1e-4)


def test_a_single_step_says_nothing_of_curvature():
    one = parabola(0.1)
    assert all(math.isnan(value) for value in probing.along(one.observe([one.batch], 1)))


def test_steps_are_stretched_where_the_loss_is_straight_and_not_where_it_bends():
    assert probing.stretch_of(-1.0, -0.99, 100.0) == probing.STRETCH
    assert probing.stretch_of(-1.0, -0.8, 100.0) == pytest.approx(2.5)
    assert probing.stretch_of(-1.0, 1.0, 100.0) == 1.0
    assert probing.stretch_of(-1.0, -3.0, 100.0) == 1.0  # bends the other way: a quadratic model says nothing here
    assert probing.stretch_of(-1.0, -0.99, 3.0) == 3.0
    assert probing.stretch_of(math.nan, 0.0, 100.0) == probing.stretch_of(1.0, 2.0, 100.0) == 1.0


class Valley(nn.Module):
    """Curvature 1 along the first weight and 50 along the second, which is at rest but for a ten-thousandth."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([1.0, 1e-4]))

    def forward(self, x):
        return x * self.place * torch.tensor([1.0, 50.0]).sqrt()


def test_longer_steps_that_break_are_given_up_and_the_probe_begins_again_with_the_optimizer_s_own():
    loss = lambda outputs, targets: 0.5 * outputs.square().sum(1).mean()  # noqa: E731
    net, batch = Valley(), (torch.ones(8, 2), torch.zeros(8, 2))
    one = patient(net, batch, loss, torch.optim.SGD(net.parameters(), lr=0.03))  # 0.03 * 50 is below 2, 0.3 * 50 is not
    trace = one.observe([batch] * 2, 2)
    assert probing.stretch_of(*probing.along(trace), 100.0) == 10.0
    found = probing.probe(one, trace, 4000, deep=True)
    assert found.stretch == 1.0 and found.thin.loss < found.before.loss and 20 <= len(found.losses) < 40
    gentle = patient(net, batch, loss, torch.optim.SGD(net.parameters(), lr=0.001))
    assert probing.probe(gentle, gentle.observe([batch] * 2, 2), 4000, deep=True).stretch == 10.0


@pytest.mark.parametrize(("count", "planned"), [(16, 400), (32, 400), (64, 400), (64, 4000), (4, 100), (8, 3), (None, 400)])
def test_the_thin_probe_costs_at_most_2_percent_of_the_run(count, planned):
    steps, size = probing.plan(count, planned)
    whole = planned * (count or 1)
    assert steps <= 40 and steps * size <= 0.02 * whole
    assert count is None or size <= count


def classes(count=32):
    torch.manual_seed(0)
    x = torch.randn(count, 6)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def net_of(*extra):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), *extra, nn.Linear(16, 3))


def test_the_probe_leaves_model_optimizer_and_random_streams_as_they_were_to_the_bit():
    net, batch = net_of(nn.Dropout(0.5)), classes()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    F.cross_entropy(net(batch[0]), batch[1]).backward()
    optimizer.step()
    net[0].eval()
    modes = [module.training for module in net.modules()]
    state, memory = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    gradients = [p.grad.clone() for p in net.parameters()]
    streams = torch.get_rng_state(), random.getstate()
    one = patient(net, batch, F.cross_entropy, optimizer)
    weights = copy.deepcopy(one.models[0].state_dict())
    found = probing.probe(one, one.observe([batch] * 2, 2), 1000, deep=True)
    assert found.steps == 40 and len(found.losses) == 40
    for own, before in ((net.state_dict(), state), (one.models[0].state_dict(), weights)):
        assert all(torch.equal(a, b) for a, b in zip(own.values(), before.values(), strict=True))
    assert str(optimizer.state_dict()) == str(memory)
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), streams[0]) and random.getstate() == streams[1]
    assert [module.training for module in net.modules()] == modes


def test_a_network_that_can_learn_answers_better_after_the_thin_probe():
    net, batch = net_of(), classes()
    one = patient(net, batch, F.cross_entropy, torch.optim.Adam(net.parameters(), lr=0.01))
    found = probing.probe(one, one.observe([batch] * 2, 2), 2000, deep=True)
    assert found.thin.right > 0.8 > found.before.right
    assert alignment(found.thin.hidden, found.thin.targets) > alignment(found.before.hidden, found.before.targets)
    assert effective_rank(found.before.hidden) > 1.0
    assert found.share <= 0.02


def test_a_probe_that_breaks_ends_with_a_number_that_is_none():
    net, batch = net_of(), classes()
    one = patient(net, batch, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=1e30))
    found = probing.probe(one, one.observe([batch] * 2, 2), 2000, deep=True)
    assert len(found.losses) < 40 and not math.isfinite(found.losses[-1])


def test_a_glance_knows_classes_numbers_and_yes_or_no():
    same = nn.Identity()
    hot = F.one_hot(torch.tensor([0, 1, 1])).float()
    found = glance((same,), F.cross_entropy, (hot, torch.tensor([0, 1, 0])))
    assert found.right == pytest.approx(2 / 3) and found.common == pytest.approx(2 / 3)
    found = glance((same,), F.mse_loss, (torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [3.0]])))
    assert found.explained == pytest.approx(0.5) and found.right is None
    logits = torch.tensor([[-1.0], [2.0]])
    found = glance((same,), F.binary_cross_entropy_with_logits, (logits, torch.tensor([[0.0], [1.0]])))
    assert found.right == 1.0


def test_a_glance_without_targets_has_the_model_s_own_loss():
    class Own(nn.Module):
        def forward(self, a, b):
            return {"loss": (a - b).square().mean(), "logits": a}

    assert glance((Own(),), None, {"a": torch.ones(2), "b": torch.zeros(2)}).loss == 1.0


def test_a_glance_has_no_dropout_and_leaves_every_mode():
    net = nn.Sequential(nn.Linear(2, 64), nn.Dropout(0.9), nn.Linear(64, 1)).eval()
    batch = (torch.ones(3, 2), torch.zeros(3, 1))
    assert glance((net,), F.mse_loss, batch).loss == glance((net,), F.mse_loss, batch).loss
    assert not any(module.training for module in net.modules()) and net[1].p == 0.9


def test_batches_of_any_form_are_cut_and_what_does_not_fit_comes_whole():
    x, y = torch.arange(12).reshape(6, 2), torch.arange(6)
    named = ({"ids": x, "rate": torch.tensor(0.5), "flag": True}, y)
    assert probing.examples_in((x, y)) == 6 and probing.examples_in((x[:4], y)) is None
    cut = probing.cut(named, slice(0, 2), 6)
    assert cut[0]["ids"].shape == (2, 2) and cut[0]["rate"] == 0.5 and cut[0]["flag"] is True and len(cut[1]) == 2
    assert probing.cut([(x,), y], slice(0, 3), 6)[0][0].shape == (3, 2)


def test_a_program_that_makes_its_own_steps_is_probed_through_them():
    net, batch = net_of(), classes()

    def step(model, optimizer, given):
        optimizer.zero_grad()
        F.cross_entropy(model(given[0]), given[1]).backward()
        optimizer.step()

    import dataclasses

    one = dataclasses.replace(patient(net, batch, None, torch.optim.Adam(net.parameters(), lr=0.01)), step=step)
    found = probing.probe(one, one.observe([batch] * 2, 2), 2000, deep=True)
    assert found.before.right < found.thin.right and found.thin.loss < found.before.loss
