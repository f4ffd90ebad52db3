"""The loss of every step is heard, whatever the loop does, and torch is afterwards as it was."""

import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import torch_loops as loops
from recording import Watch

from isograd.frameworks.torch.backward import BACKWARD, SCALE, UPDATE
from isograd.frameworks.torch.recorder import TorchRecorder

ORIGINAL = torch.autograd.backward


def trained(budget=1e-9, steps=20, *, models=None, each=lambda step, loss: loss.backward(), during=None):
    """Train a small network under a watch that can afford nothing; gives the recorder and the losses."""
    torch.manual_seed(0)
    net, (x, y) = loops.mlp(), loops.table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    recorder, losses = TorchRecorder([net], [optimizer], budget=budget), []
    recorder.attach()
    try:
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            losses.append(float(loss.detach()))
            each(step, loss)
            optimizer.step()
    finally:
        recorder.detach()
    assert recorder.stopped_by is None
    return recorder.trace(), losses


@pytest.fixture(autouse=True)
def _torch_is_as_it_was():
    yield
    assert torch.autograd.backward is ORIGINAL
    assert not hasattr(torch.amp.GradScaler.scale, "__wrapped__") and not hasattr(torch.amp.GradScaler.update, "__wrapped__")
    assert not BACKWARD._listeners and not SCALE._listeners and not UPDATE._listeners


@pytest.mark.parametrize("budget", [None, 0.03, 1e-9])
def test_every_step_has_its_loss_and_its_rate_whether_it_was_looked_at_or_not(budget):
    trace, losses = trained(budget)
    assert [step.index for step in trace.steps] == list(range(1, 21))
    assert [step.loss for step in trace.steps] == pytest.approx(losses, rel=1e-6)
    assert all(step.learning_rate == 0.05 for step in trace.steps)


@pytest.mark.parametrize(
    "call",
    [
        lambda loss: torch.autograd.backward(loss),
        lambda loss: torch.autograd.backward(tensors=[loss]),
        lambda loss: loss.backward(gradient=torch.tensor(1.0), retain_graph=True),
        lambda loss: [loss.mul(0.25).backward(retain_graph=True), loss.mul(0.75).backward()],
    ],
)
@pytest.mark.parametrize("budget", [None, 1e-9])
def test_a_loss_is_heard_once_however_backward_is_called(call, budget):
    trace, losses = trained(budget, 5, each=lambda step, loss: call(loss))
    assert [step.loss for step in trace.steps] == pytest.approx(losses, rel=1e-6)


def test_a_vector_has_no_single_loss():
    trace, _ = trained(None, 3, each=lambda step, loss: torch.stack([loss, loss]).backward(torch.ones(2)))
    assert [step.loss for step in trace.steps] == [None] * 3


def test_under_modes_of_the_person_nothing_is_heard_twice_and_they_see_nothing_of_ours():
    from torch.overrides import TorchFunctionMode

    class Noting(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen.append(getattr(func, "__name__", "?"))
            return func(*args, **(kwargs or {}))

    def seen(budget):
        mode = Noting()

        def each(step, loss):
            with mode:
                loss.backward()

        if budget == "plain":
            net, (x, y) = loops.mlp(), loops.table()
            each(1, F.cross_entropy(net(x), y))
            return mode.seen
        trace, losses = trained(budget, 1, each=each)
        assert trace.steps[0].loss == pytest.approx(losses[0])
        return mode.seen

    assert seen("plain") == seen(1e-9) == seen(None)


def test_somebody_else_s_wrapper_around_ours_stays_and_still_works():
    called = []

    def theirs_around(inner):
        def theirs(*args, **kwargs):
            called.append(1)
            return inner(*args, **kwargs)

        return theirs

    try:

        def each(step, loss):
            if step == 2:
                torch.autograd.backward = theirs_around(torch.autograd.backward)
            loss.backward()

        trained(steps=4, each=each)
        assert len(called) == 3 and torch.autograd.backward is not ORIGINAL
        trace, losses = trained(steps=4)  # a new watch hears through their wrapper
        assert len(called) == 7
        assert [step.loss for step in trace.steps] == pytest.approx(losses)
    finally:
        BACKWARD._wrapper = BACKWARD._original = None
        torch.autograd.backward = ORIGINAL


def test_a_closure_s_first_evaluation_is_the_loss_of_the_step():
    watch = Watch(1e-9)
    loops.LOOPS["LBFGS"](watch)
    losses = [step.loss for step in watch.trace.steps]
    assert losses[0] == pytest.approx(math.log(3), abs=0.3) and losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("budget", [None, 1e-9])
def test_a_scaled_loss_is_unscaled_and_a_skipped_step_is_a_step_with_its_fact(fused, budget):
    torch.manual_seed(0)
    net, (x, y) = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), loops.table()
    optimizer = torch.optim.AdamW(net.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    recorder = TorchRecorder([net], [optimizer], budget=budget)
    recorder.attach()
    losses = []
    for step in range(1, 9):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        losses.append(float(loss.detach()))
        scaler.scale(loss).backward()
        if step in (2, 5):
            net[0].weight.grad[0, 0] = math.inf
        scaler.step(optimizer)
        scaler.update()
    recorder.detach()
    trace = recorder.trace()
    assert recorder.stopped_by is None and trace.meter.steps == 8
    assert [step.loss for step in trace.steps] == pytest.approx(losses, rel=1e-6)
    skips = [
        (step.index, fact.get("scale", 0.0)) for step in trace.steps for fact in step.facts if fact.kind == "scale_skipped"
    ]
    assert skips == [(2, 1024.0), (5, 512.0)]


def test_two_losses_scaled_before_the_first_backward_pass_are_both_unscaled():
    def each(step, loss):
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        first, second = scaler.scale(loss * 0.5), scaler.scale(loss * 0.5)
        first.backward(retain_graph=True)
        second.backward()

    trace, losses = trained(steps=2, each=each)
    assert trace.steps[0].loss == pytest.approx(losses[0])


def test_a_scaler_that_is_switched_off_is_passed_over():
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def each(step, loss):
        scaler.scale(loss).backward()
        scaler.update()

    trace, losses = trained(steps=3, each=each)
    assert [step.loss for step in trace.steps] == pytest.approx(losses)
    assert not any(fact.kind == "scale_skipped" for step in trace.steps for fact in step.facts)


def test_backward_inside_a_compiled_program_compiles_no_more_than_without_us():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def loop(watched):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        torch.manual_seed(0)
        graphs.clear()
        net, (x, y) = loops.mlp(), loops.table()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        @torch.compile(backend=backend)
        def one():
            loss = F.cross_entropy(net(x), y)
            loss.backward()

        recorder = TorchRecorder([net], [optimizer])
        if watched:
            recorder.attach()
        for _ in range(4):
            optimizer.zero_grad()
            one()
            optimizer.step()
        recorder.detach()
        frames = dict(torch._dynamo.utils.counters["frames"])
        return (len(graphs), frames), loops.fingerprint(net, [optimizer]), recorder.trace().steps

    try:
        plain, watched = loop(False), loop(True)
        assert plain[0] == watched[0] and plain[0][0] > 0
        assert all(torch.equal(a, b) for a, b in zip(plain[1], watched[1], strict=True) if torch.is_tensor(a))
        assert all(step.loss is not None for step in watched[2][:4])
    finally:
        torch._dynamo.reset()
