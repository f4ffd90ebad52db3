"""Warm-up: full-sized first steps in a post-norm transformer that learned nothing; silent where it learns, or warms up."""

import pytest
from lessons import final
from runs import FLAT, LEARNING, alarms, run

import isograd
from isograd.health.diagnosis import warm_up
from isograd.records.anatomy import Anatomy, Node, Optimizer, Parameter
from isograd.records.moments import Moments


def block(*, post=True, optimizer="adam"):
    """One transformer block of linear layers around an attention: norm after both sums, or before both branches."""
    after = "e:embedding:0 a:attention:1 s:add:1,2 d:dropout:3 n:norm:4 f:linear:5 t:add:5,6 m:norm:7 h:linear:8"
    before = "e:embedding:0 n:norm:1 a:attention:2 s:add:1,3 m:norm:4 f:linear:5 t:add:4,6 z:norm:7 h:linear:8"
    nodes, parameters = [Node("input", "input", "input")], []
    for path, operation, read in (one.split(":") for one in (after if post else before).split()):
        inputs = tuple(map(int, read.split(",")))
        weight = (f"{path}.weight",) if operation in ("linear", "attention") else ()
        nodes.append(Node(path, operation, operation, inputs, (8,), (("fan_in", 8),), weight, "net.py:3"))
        parameters += [Parameter(name, path, (8, 8), True, True, Moments.of([0.1, -0.1])) for name in weight]
    return Anatomy("torch", tuple(nodes), tuple(parameters), Optimizer(optimizer, (("learning_rate", 1e-2),)))


def turns(step, _layer):
    return 0.05 if step < 20 else 0.01


def found(anatomy=None, **what):
    what = {"losses": FLAT, "turning": turns, "rates": 1e-2, "weight": 0.1} | what
    return list(warm_up.diagnose(run(anatomy or block(), **what)))


@pytest.mark.parametrize(("losses", "severity"), [(FLAT, "warning"), (LEARNING, "note")])
def test_a_rate_that_still_rises_at_the_end_is_a_warm_up_without_end(losses, severity):
    (finding,) = found(block(post=False), losses=losses, rates=lambda step: 1e-5 * step, turning=1e-3)
    assert finding.severity == severity and "never ended" in finding.summary


def test_a_warm_up_that_ends_a_constant_rate_and_one_that_decays_are_sound():
    for rates in (lambda step: 1e-4 * min(step, 20), 1e-2, lambda step: 1e-2 * min(step / 20, 1.0 - step / 400)):
        assert found(block(post=False), rates=rates, turning=1e-3) == []


def test_a_post_norm_transformer_that_starts_at_full_rate_and_learns_nothing_needs_a_warm_up():
    (finding,) = found()
    assert (finding.severity, finding.where, finding.source) == ("warning", "n", "net.py:3")
    assert "5.0%" in finding.summary and "post-norm" in finding.summary


def test_a_loss_that_jumped_up_early_and_hardly_came_down_is_told():
    losses = [2.3] * 3 + [6.0] * 10 + [2.2] * 187
    (finding,) = found(losses=losses)
    assert any("rose from 2.3 to 6" in evidence.text for evidence in finding.evidence)


def test_pre_norm_is_told_apart_and_gets_a_remark_at_most():
    assert warm_up.normed_after(block()).path == "n" and warm_up.normed_after(block(post=False)) is None
    assert [finding.severity for finding in found(block(post=False))] == ["note"]


HEALTHY = {
    "a run that learns": {"losses": [2.3 * 0.97**i for i in range(200)]},
    "a warm-up": {"rates": lambda step: 1e-2 * min(1.0, step / 10)},
    "small first steps": {"turning": 0.01},
    "a rate too high all along, which is another disease": {"turning": 0.2},
    "first steps that no warm-up could lead up to": {"turning": lambda step, _: 25.0 if step < 20 else 0.01},
    "plain gradient descent": {"anatomy": block(optimizer="sgd")},
    "an optimizer that warms up by itself": {"anatomy": block(optimizer="radam")},
    "a run of ten steps": {"losses": FLAT[:10]},
    "half of a run, of which more is to come": {"planned": 2_000, "ended": False},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_silent_on(name):
    assert alarms(found(**HEALTHY[name])) == []


def twelve_real_post_norm_blocks(seed, warm):
    """What was said of a training whose rate rises over the first ``warm`` steps."""
    import torch
    from torch import nn

    import isograd

    torch.manual_seed(seed)
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(4, 16), nn.Parameter(0.1 * torch.randn(6, 16))
            self.blocks, self.head = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(self.blocks(self.words(x) + self.places)[:, -1])

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / warm) if warm else 1.0)
    with isograd.watch(model, optimizer, budget=0.3, steps=80) as watch:
        for _ in range(80):
            x = torch.randint(0, 4, (64, 6))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), x[:, 2]).backward()
            optimizer.step()
            rate.step()
    return {finding.disease for finding in final(watch).findings if finding.alarm}


@pytest.mark.usefixtures("ticking")
def test_real_post_norm_blocks_learn_with_a_warm_up_alone():
    """Whether one run without it fails hangs on the last bit of a sum: of three starts two must."""
    pytest.importorskip("torch")
    said = ["warm_up" in twelve_real_post_norm_blocks(seed, 0) for seed in (2, 3, 4)]
    assert sum(said) >= 2 and not any(twelve_real_post_norm_blocks(seed, 60) for seed in (3, 4))


@pytest.mark.parametrize("every", [1, 40])
def test_a_schedule_of_steps_that_is_stepped_once_an_epoch_in_a_real_training(every):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-4, total_iters=60)
    with isograd.watch(model, optimizer, steps=320) as watch:
        for step in range(1, 321):
            x = torch.randn(32, 8)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()).backward()
            optimizer.step()
            if step % every == 0:
                schedule.step()
    told = [one for one in watch.report().findings if one.disease == "warm_up" and "never ended" in one.summary]
    assert bool(told) is (every > 1)
