"""A step that first aid gave in to and that ruins the run, in real loops: the state of before comes back to the bit."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import isograd

STEPS, SHOCK = 420, 200


def train(raised=lambda step: 1.0, scaled=lambda step: 1.0, act=True, optimizer=torch.optim.SGD, rate=0.1, schedule=False):
    """The loss at the end on data of its own, the watch, and the weights after each step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
    steps = optimizer(model.parameters(), lr=rate)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(steps, STEPS) if schedule else None
    draw, seen = torch.Generator().manual_seed(1), []
    x = torch.randn(STEPS, 32, 5, generator=draw)
    y = torch.sin(x[..., :1]) + x[..., 1:2]
    with isograd.watch(model, steps, act=act, keep_start=False) as watch:
        for step in range(STEPS):
            own = steps.param_groups[0]["lr"] / raised(step - 1) if plan else rate
            steps.param_groups[0]["lr"] = own * raised(step)
            steps.zero_grad()
            F.mse_loss(model(x[step]), y[step] * scaled(step)).backward()
            steps.step()
            if plan:
                plan.step()
            seen.append(torch.cat([p.detach().flatten() for p in model.parameters()]).clone())
    with torch.no_grad():
        end = F.mse_loss(model(x[:20]), y[:20]).item()
    return end, watch, seen


def kinds(watch):
    return [action.kind for action in watch.actions if action.kind in ("back", "forth", "held", "freed")]


@pytest.mark.parametrize(
    ("optimizer", "rate", "times"),
    [(torch.optim.SGD, 0.1, 30.0), (torch.optim.SGD, 0.1, 300.0), (torch.optim.Adam, 0.003, 300.0)],
)
def test_a_rate_that_stays_far_too_high_no_longer_ruins_the_run(optimizer, rate, times):
    sound = train(optimizer=optimizer, rate=rate)[0]
    end, watch, seen = train(lambda step: times if step >= SHOCK else 1.0, optimizer=optimizer, rate=rate)
    ruined = train(lambda step: times if step >= SHOCK else 1.0, optimizer=optimizer, rate=rate, act=None)[0]
    assert kinds(watch) == ["back", "held"] and end < 2.0 * sound
    assert math.isnan(ruined) or ruined > 20.0 * sound
    alarms = [finding for finding in watch.report().findings if finding.alarm]
    assert str(watch.report()).startswith("This trains by first aid alone.")
    assert [one.disease for one in alarms] == ["first_aid"] and f"holds it at {rate:.2g}" in alarms[0].summary
    gone = next(action for action in watch.actions if action.kind == "back")
    assert torch.equal(seen[gone.step - 1], seen[int(gone.what) - 1]) and torch.equal(seen[gone.step - 1], seen[SHOCK - 1])


def test_a_rate_that_was_held_is_free_when_it_comes_down():
    _, watch, _ = train(lambda step: 50.0 if SHOCK <= step < SHOCK + 60 else 1.0)
    assert kinds(watch) == ["back", "held", "freed"] and watch._aid._state.course.hold is None
    assert not any(finding.alarm for finding in watch.report().findings if finding.disease == "first_aid")


def test_a_schedule_under_a_held_rate_goes_on():
    end, watch, _ = train(lambda step: 100.0 if step >= SHOCK else 1.0, schedule=True)
    sound = train(schedule=True)[0]
    assert kinds(watch) == ["back", "held", "freed"] and end < 2.0 * sound
    assert any("First aid held" in finding.summary for finding in watch.report().findings)


def test_targets_that_grow_a_thousandfold_for_a_while_are_gone_back_from():
    end, watch, _ = train(scaled=lambda step: 1000.0 if SHOCK <= step < SHOCK + 20 else 1.0)
    assert kinds(watch) == ["back"] and end < 2.0 * train()[0]


def test_targets_that_are_others_for_good_are_learned_and_what_was_learned_of_them_comes_back():
    _, watch, seen = train(scaled=lambda step: -9.0 if step >= SHOCK else 1.0)
    assert kinds(watch) in (["back", "forth"], ["back", "forth", "back", "forth"]) and watch._aid._state.course.lowered == 0
    back, forth, *_ = (action for action in watch.actions if action.kind in ("back", "forth"))
    assert forth.step == back.step + 8 and int(forth.what) == back.step
    left, came = seen[back.step - 2], seen[forth.step - 1]  # a step before it was left, and what came back
    assert float((came - left).norm()) < 0.2 * float((came - seen[SHOCK - 1]).norm())
    assert torch.equal(seen[back.step - 1], seen[SHOCK - 1]) and not torch.equal(seen[forth.step - 1], seen[back.step - 1])
    kept = watch._aid._guard._snapshot is not None
    assert kept == (watch._aid._state.course.refuge is not None or watch._aid._state.course.trial in ("revive", "moments"))


def _a_layer_joins(model, steps):
    steps.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})


def _another_comes_first(model, steps):
    steps.param_groups[0]["params"][:0] = [nn.Parameter(torch.zeros(3))]


def _the_head_is_another(model, steps):
    model[4] = nn.Linear(24, 1)
    steps.param_groups[0]["params"][-2:] = list(model[4].parameters())


def _a_checkpoint_is_loaded(model, steps):
    steps.load_state_dict(copy.deepcopy(steps.state_dict()))


def _a_buffer_joins(model, steps):
    model[0].register_buffer("mean", torch.zeros(7))


@pytest.mark.parametrize(
    "change", [_a_layer_joins, _another_comes_first, _the_head_is_another, _a_checkpoint_is_loaded, _a_buffer_joins]
)
def test_a_state_of_other_parameters_is_not_gone_back_to_and_first_aid_goes_on(change, recwarn):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
    steps = torch.optim.Adam(model.parameters(), lr=0.005)
    x = torch.randn(170, 32, 5)
    with isograd.watch(model, steps, act=True, keep_start=False) as watch:
        for step in range(170):
            if step == 72:  # eight steps were taken back, and the next given in to
                assert watch._aid._state.course.refuge is not None
                change(model, steps)
            steps.zero_grad()
            F.mse_loss(model(x[step]), x[step, :, :1] * (1.0 if step < 60 else 30.0)).backward()
            steps.step()
            if step == 72:
                assert watch._aid._state.course.refuge is None and watch._aid._guard.kept() == {}
    assert "back" not in kinds(watch) and not [one for one in recwarn if "no first aid" in str(one.message)]


def test_warm_restarts_by_hand_are_no_ruin_though_the_loss_rises():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    steps, draw = torch.optim.Adam(model.parameters(), lr=0.05), torch.Generator().manual_seed(1)
    x = torch.randn(5, 32, 5, generator=draw)
    y = torch.sin(2 * x[..., :1]) + x[..., 1:2] * x[..., 2:3] + 0.1 * torch.randn(5, 32, 1, generator=draw)
    losses = []
    with isograd.watch(model, steps, act=True, keep_start=False) as watch:
        for step in range(400):
            steps.param_groups[0]["lr"] = 1e-6 + 0.025 * (1.0 + math.cos(math.pi * (step % 150) / 150))
            steps.zero_grad()
            loss = F.mse_loss(model(x[step % 5]), y[step % 5])
            loss.backward()
            steps.step()
            losses.append(loss.item())
    assert max(losses[160:200]) > 3.0 * max(losses[130:150]) and kinds(watch) == []
    assert not [one for one in watch.report().findings if one.alarm]


def resumed(stop):
    """The run whose targets become others, stopped at a step and gone on with from what was saved there."""

    def part(first, last, given=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1))
        steps = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
        watch = isograd.watch(model, steps, act=True, keep_start=False)
        if given is not None:
            model.load_state_dict(given[0])
            steps.load_state_dict(given[1])
            watch.load_state_dict(given[2])
        x = torch.randn(STEPS, 32, 5, generator=torch.Generator().manual_seed(1))
        y = torch.sin(x[..., :1]) + x[..., 1:2]
        with watch:
            for step in range(first, last):
                steps.zero_grad()
                F.mse_loss(model(x[step]), y[step] * (-9.0 if step >= SHOCK else 1.0)).backward()
                steps.step()
        return copy.deepcopy((model.state_dict(), steps.state_dict(), watch.state_dict())), watch.actions

    whole, actions = part(0, STEPS)
    if stop is None:
        return [(action.step, action.kind) for action in actions if action.kind in ("back", "forth")]
    again, others = part(stop, STEPS, part(0, stop)[0])
    assert others == actions and again[2]["state"] == whole[2]["state"]
    assert all(bool(one.isfinite().all()) for one in whole[0].values())
    return all(torch.equal(one, two) for one, two in zip(whole[0].values(), again[0].values(), strict=True))


def test_a_run_that_is_stopped_while_two_states_are_kept_goes_on_exactly():
    (back, _), (forth, kind), *_ = resumed(None)
    assert kind == "forth"
    for stop in (back - 1, back, back + 1, forth - 1, forth):
        assert resumed(stop)
