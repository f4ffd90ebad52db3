"""Lasting trouble in real loops: a rate that stays too high is lowered, what does not help is undone, and resuming is exact."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import isograd
from isograd.records import codec
from isograd.records.aid import AidState

STEPS, SHOCK = 800, 200


def loop(trouble, stop=None, given=None, make=None):
    """Train; with ``stop`` give the whole state at that step, with ``given`` go on from it."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = (make or (lambda p: torch.optim.Adam(p, lr=0.01)))(net.parameters())
    rate = optimizer.param_groups[0]["lr"]
    draw = torch.Generator().manual_seed(1)
    data = torch.randn(STEPS, 32, 6, generator=draw)
    labels = torch.randint(0, 3, (STEPS, 32), generator=draw)
    drawn = torch.rand(STEPS, 32, generator=draw)
    first = 0
    if given is not None:
        first = given["step"]
        net.load_state_dict(given["model"])
        optimizer.load_state_dict(given["optimizer"])
    watch = isograd.watch(net, optimizer, act=True, keep_start=False)
    if given is not None:
        watch.load_state_dict(given["aid"])
    with watch:
        for step in range(first, STEPS):
            x = data[step]
            y = x[:, :3].argmax(1)
            optimizer.param_groups[0]["lr"] = rate
            if step >= SHOCK and trouble == "rate":
                optimizer.param_groups[0]["lr"] = 50 * rate
            if step == SHOCK and trouble == "dead":
                with torch.no_grad():
                    net[1].bias.sub_(20.0)  # behind it no unit fires, and no gradient comes back
            if step >= SHOCK and trouble == "labels":
                y = torch.where(drawn[step] < (step - SHOCK) / 100, labels[step], y)  # by and by, so that no step stands out
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            if step >= SHOCK and trouble == "rate":
                assert optimizer.param_groups[0]["lr"] == 50 * rate  # the person's own setting is not touched
            if stop == step + 1:
                whole = {
                    "step": stop,
                    "model": net.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "aid": watch.state_dict(),
                }
                return copy.deepcopy(whole)
    return net, optimizer, watch


def treated(watch):
    return [(action.kind, action.what) for action in watch.actions if action.reason == "lasting"]


@pytest.fixture(scope="module")
def runs():
    return {trouble: loop(trouble) for trouble in ("rate", "labels", "dead")}


def test_a_rate_that_stays_too_high_is_held_down_from_where_the_run_stood_before_it(runs):
    *_, watch = runs["rate"]
    gone = [(action.step, action.kind, action.what) for action in watch.actions if action.kind in ("back", "held")]
    assert [kind for _, kind, _ in gone] == ["back", "held"] and gone[0][2] == str(SHOCK + 8)
    assert not treated(watch)
    losses = watch._aid._state.optimizers[0].losses
    assert sum(losses) / len(losses) < 0.3
    said = [finding.summary for finding in watch.report().findings]
    assert any("went back" in one for one in said) and any("holds it at 0.01" in one for one in said)


def test_where_nothing_helps_all_is_undone_and_a_new_start_is_offered(runs):
    _, optimizer, watch = runs["labels"]
    tried = ("rate", "moments", "clip")  # no unit is dead
    assert treated(watch) == [(kind, what) for what in tried for kind in ("tried", "undone")] + [("restart", "")]
    assert watch._aid._guard.lowered == 0 and watch._aid._guard.clip is None and optimizer.param_groups[0]["lr"] == 0.01
    assert any("only a new start will" in finding.summary for finding in watch.report().findings)


def test_what_forgetting_the_moments_did_is_undone_to_the_bit():
    begun = next(a.step for a in loop("labels")[2].actions if (a.kind, a.what) == ("tried", "moments")) - 1
    before, after = (loop("labels", stop=step) for step in (begun, begun + 100))
    kept = before["aid"]["tensors"]
    assert kept and not after["aid"]["tensors"] and before["optimizer"]["state"] == {}
    for number, tensor in enumerate(before["model"][name] for name in ("0.weight", "0.bias")):
        assert torch.equal(kept[f"weight/{number}/"], tensor)
    assert torch.equal(after["model"]["0.weight"], kept["weight/0/"])
    assert torch.equal(after["optimizer"]["state"][0]["exp_avg"], kept["state/0/exp_avg"])
    assert torch.equal(after["model"]["1.running_mean"], kept["buffer/0/"])


def test_dead_units_are_brought_back_and_what_was_learned_returns(runs):
    net, _, watch = runs["dead"]
    assert treated(watch)[:4] == [("tried", "rate"), ("undone", "rate"), ("tried", "revive"), ("kept", "revive")]
    losses = watch._aid._state.optimizers[0].losses
    assert sum(losses) / len(losses) < 0.3 and float(net[1].bias.detach().min()) > -2.0


def test_clipping_holds_the_gradient_at_its_length_in_good_times(runs):
    begun = next(action.step for action in runs["labels"][2].actions if (action.kind, action.what) == ("tried", "clip"))
    given = loop("labels", stop=begun + 1)
    course = codec.loads(AidState, given["aid"]["state"]).course
    bound = course.clip
    assert bound is not None and bound == course.usual
    heard = []
    hook = register_optimizer_step_post_hook(lambda o, args, kwargs: heard.append(norm(o)))
    try:
        loop("labels", stop=begun + 40, given=given)
    finally:
        hook.remove()
    assert len(heard) == 39 and max(heard) <= bound * 1.0001 and min(heard) < max(heard)


def norm(optimizer):
    return math.hypot(*(float(p.grad.norm()) for group in optimizer.param_groups for p in group["params"]))


LONG = [
    pytest.param(stop, marks=pytest.mark.proof)
    for stop in (202, 210, 300, 301, 349, 350, 399, 401, 449, 450, 451, 500, 599, 600, 648, 700)
]


@pytest.mark.parametrize("stop", [213, 230, 400, 448, *LONG])
@pytest.mark.parametrize("trouble", ["rate", "labels", "dead"])
def test_a_run_with_a_treatment_under_way_goes_on_exactly(runs, trouble, stop):
    net, optimizer, watch = runs[trouble]
    other, again, resumed = loop(trouble, given=loop(trouble, stop=stop))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    for one, two in zip(optimizer.state.values(), again.state.values(), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert resumed.actions == watch.actions and resumed.state_dict()["state"] == watch.state_dict()["state"]
