"""First aid on real loops: what it takes back is gone to the bit, and it goes on exactly from a checkpoint."""

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import torch_loops as loops
from test_no_trace import nothing_is_left, same

import isograd
from isograd.errors import DamagedError, RequestError


class Aided:
    """A watch with first aid, called as the loops of these tests call it."""

    def __call__(self, models, *optimizers):
        self.watch = isograd.watch(models, list(optimizers) or None, act=True, keep_start=False)
        return self.watch


def watched(net, optimizer, **settings):
    return isograd.watch(net, optimizer, **({"act": True, "keep_start": False} | settings))


@pytest.mark.parametrize("kind", loops.LOOPS)
def test_a_loop_that_needs_no_aid_ends_with_the_same_bits(kind):
    aided = Aided()
    same(loops.LOOPS[kind](loops.Plain()), loops.LOOPS[kind](aided))
    assert aided.watch.actions == () and not aided.watch._aid._guard._over
    nothing_is_left()


def network():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


OPTIMIZERS = {
    "plain": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "capturable": lambda p: torch.optim.Adam(p, amsgrad=True, foreach=False),
    "fused": lambda p: torch.optim.AdamW(p, fused=True),
    "rate in a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-3), foreach=False),
    "nadam": lambda p: torch.optim.NAdam(p),
    "adagrad": lambda p: torch.optim.Adagrad(p),
    "rprop": lambda p: torch.optim.Rprop(p),
    "groups": lambda p: torch.optim.RMSprop([{"params": [one], "lr": 0.01 / (i + 1)} for i, one in enumerate(p)]),
}


def state_of(net, optimizer):
    values = [tensor.clone() for tensor in net.state_dict().values()]
    return [*values, *copy.deepcopy(list(optimizer.state_dict()["state"].values()))]


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bad", [0, 4])
def test_a_poisoned_batch_leaves_weights_buffers_and_optimizer_as_they_were(name, bad):
    net = network()
    optimizer = OPTIMIZERS[name](net.parameters())
    x, y = loops.table()
    with watched(net, optimizer) as watch:
        for step in range(8):
            before = state_of(net, optimizer)
            optimizer.zero_grad()
            F.cross_entropy(net(x * float("nan") if step == bad else x), y).backward()
            optimizer.step()
            after = state_of(net, optimizer)
            unmoved = len(before) == len(after) and all(map(equal, before, after))
            assert unmoved == (step == bad)
    assert [action.kind for action in watch.actions] == ["rejected"] and watch.actions[0].step == bad + 1
    assert all(p.isfinite().all() for p in net.parameters())


def long_run(watch_of, disturb=lambda step, x, y, groups: (x, y), steps=60, make=None, after=None):
    torch.manual_seed(7)
    net = network()
    optimizer = (make or OPTIMIZERS["adam"])(net.parameters())
    draw = torch.Generator().manual_seed(1)
    data = [(x, x[:, :3].argmax(1)) for x in torch.randn(steps, 16, 6, generator=draw)]
    rate = optimizer.param_groups[0]["lr"]
    with watch_of(net, optimizer) as watch:
        for step, (x, y) in enumerate(data):
            optimizer.param_groups[0]["lr"] = rate
            x, y = disturb(step, x, y, optimizer.param_groups)
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            if after is not None:
                after(step, net, optimizer, watch)
    return net, optimizer, watch


def spike(step, x, y, groups):
    if step == 40:
        groups[0]["lr"] *= 1000.0
    return x, y


def burst(step, x, y, groups):
    return (x * 1000.0, y) if step == 40 else (x, y)


@pytest.mark.parametrize(("fault", "reason"), [(spike, "update"), (burst, "statistics")])
def test_a_spike_is_taken_back_and_the_run_is_that_without_its_batch(fault, reason):
    _, _, watch = long_run(watched, fault)
    assert [(action.step, action.reason) for action in watch.actions] == [(41, reason)]
    finding = next(finding for finding in watch.report().findings if finding.disease == "first_aid")
    assert finding.severity == "note" and finding.since == 41
    assert all(step.loss is None and not step.parameters for step in watch.trace.steps if step.index == 41)


def test_what_was_taken_back_is_no_alarm():
    _, _, watch = long_run(watched, lambda step, x, y, groups: (x * float("nan") if step == 40 else x, y))
    assert watch.report().healthy, str(watch.report())
    assert "taken back" in str(watch.report())


def test_random_numbers_are_those_of_the_run_without_first_aid():
    torch.manual_seed(5)
    streams = []
    for act in (None, True):
        long_run(lambda net, optimizer, act=act: watched(net, optimizer, act=act), spike)
        streams.append(torch.get_rng_state())
    assert torch.equal(*streams)


def test_a_rate_that_stays_too_high_is_given_in_to_after_eight_steps():
    def high(step, x, y, groups):
        if step >= 40:
            groups[0]["lr"] *= 30.0
        return x, y

    _, _, watch = long_run(watched, high)
    assert [action.kind for action in watch.actions[:9]] == ["rejected"] * 8 + ["accepted"]


def test_the_limit_ends_it_and_the_loop_goes_on_alone():
    _, _, watch = long_run(
        lambda net, optimizer: watched(net, optimizer, act=2),
        lambda step, x, y, groups: (x * float("nan") if step in (20, 30) else x, y),
    )
    assert [action.kind for action in watch.actions] == ["rejected", "rejected", "ended"]
    assert watch.meter.steps == 60
    nothing_is_left()


def scheduled(act, kind):
    torch.manual_seed(7)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    make = {
        "restarts": lambda: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 20, eta_min=1e-6),
        "warm-up": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 1e-6, total_iters=15),
        "steps": lambda: torch.optim.lr_scheduler.MultiStepLR(optimizer, [15, 30], 10.0),
        "sequence": lambda: torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.ConstantLR(optimizer, 1e-3, 20),
                torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99),
            ],
            [20],
        ),
    }[kind]
    draw = torch.Generator().manual_seed(1)
    with watched(net, optimizer, act=act) as watch:
        scheduler = make()
        for _ in range(50):
            optimizer.zero_grad()
            F.cross_entropy(net(torch.randn(64, 6, generator=draw)), torch.randint(0, 3, (64,), generator=draw)).backward()
            optimizer.step()
            scheduler.step()
    return watch


@pytest.mark.parametrize("kind", ["restarts", "warm-up", "steps", "sequence"])
def test_planned_changes_of_the_rate_are_no_reason(kind):
    assert scheduled(True, kind).actions == ()
    assert "heard" not in repr(torch.optim.lr_scheduler.LRScheduler.step)


def test_both_optimizers_of_one_backward_pass_take_a_bad_batch_back():
    torch.manual_seed(3)
    net = nn.Sequential(nn.EmbeddingBag(30, 6, sparse=True), nn.Linear(6, 3))
    first, second = torch.optim.SparseAdam(net[0].parameters()), torch.optim.Adam(net[1].parameters())
    x, y = torch.randint(0, 30, (5, 4)), torch.arange(5) % 3
    with watched(net, [first, second]) as watch:
        for step in range(20):
            before = [tensor.clone() for tensor in net.state_dict().values()]
            first.zero_grad()
            second.zero_grad()
            (F.cross_entropy(net(x), y) * (100.0 if step == 15 else 1.0)).backward()
            first.step()
            second.step()
            unmoved = all(map(torch.equal, before, net.state_dict().values()))
            assert unmoved == (step == 15)
    assert [(action.optimizer, action.reason) for action in watch.actions] == [(0, "loss"), (1, "loss")]


def test_a_loss_that_the_loop_itself_skips_is_not_held_against_the_next_step():
    torch.manual_seed(3)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    x, y = loops.table()
    with watched(net, optimizer) as watch:
        for step in range(30):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y) * (float("nan") if step == 20 else 1.0)
            loss.backward()
            if loss.isfinite():
                optimizer.step()
    assert watch.actions == ()


@pytest.mark.parametrize("stop", [1, 7, 25, 41, 42, 44, 59])
def test_it_goes_on_exactly_from_any_step(stop):
    def faults(step, x, y, groups):
        if step in (30, 41, 42, 43):
            groups[0]["lr"] *= 300.0
        return (x, (y + 1) % 3) if step == 35 else (x, y)

    saved = {}

    def keep(step, net, optimizer, watch):
        if step + 1 == stop:
            state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "aid": watch.state_dict()}
            saved.update(copy.deepcopy(state))

    whole, optimizer, watch = long_run(watched, faults, after=keep)
    assert json.dumps(saved["aid"]) and {action.step for action in watch.actions} >= {31, 42, 43, 44}

    torch.manual_seed(7)
    net = network()
    other = OPTIMIZERS["adam"](net.parameters())
    draw = torch.Generator().manual_seed(1)
    data = [(x, x[:, :3].argmax(1)) for x in torch.randn(60, 16, 6, generator=draw)]
    net.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    with watched(net, other) as again:
        again.load_state_dict(saved["aid"])
        for step in range(stop, 60):
            x, y = data[step]
            other.param_groups[0]["lr"] = 0.01
            x, y = faults(step, x, y, other.param_groups)
            other.zero_grad()
            F.cross_entropy(net(x), y).backward()
            other.step()
    assert all(map(equal, state_of(whole, optimizer), state_of(net, other)))
    assert again.actions == watch.actions and again.state_dict() == watch.state_dict()


def test_half_an_accumulation_is_part_of_the_state():
    def loop(stop=None):
        torch.manual_seed(7)
        net = network()
        optimizer = torch.optim.Adam(net.parameters())
        x, y = loops.table()
        watch = watched(net, optimizer)
        with watch:
            for step in range(30):
                (F.cross_entropy(net(x), y) / 3).backward()
                if step == 10 and stop:
                    given = json.loads(json.dumps(watch.state_dict()))
                    watch.load_state_dict(given)
                if step % 3 == 2:
                    optimizer.step()
                    optimizer.zero_grad()
        return watch.state_dict()

    assert loop() == loop(stop=True)


def test_bad_input_gets_one_clear_message():
    net = network()
    for act in (0, -1, 1.5, "yes"):
        with pytest.raises(RequestError, match="act is True, or a number of actions"):
            isograd.watch(net, act=act)
    watch = watched(net, None)
    with pytest.raises(DamagedError):
        watch.load_state_dict({"state": 3})
    with pytest.raises(DamagedError):
        watch.load_state_dict({"state": "{}"})
    off = isograd.watch(net)
    off.load_state_dict(watch.state_dict())
    assert off.actions == () and off.state_dict() == {}


def test_our_own_error_ends_first_aid_alone(monkeypatch):
    from isograd.frameworks.torch import saving

    def broken(now, before):
        raise RuntimeError("planted")

    monkeypatch.setattr(saving, "_squares", broken)
    with pytest.warns(RuntimeWarning, match="gives no first aid.*planted") as caught:
        _, _, watch = long_run(watched)
    assert len(caught) == 1 and watch.meter.steps == 60 and watch.actions == ()
    nothing_is_left()
