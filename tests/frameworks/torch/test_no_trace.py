"""A watched loop ends bit for bit where the unwatched one ends, and nothing stays behind."""

import gc
import sys
import warnings
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import torch_loops as loops
from recording import Watch

from isograd.frameworks.torch.recorder import TorchRecorder


@pytest.fixture(autouse=True)
def _clean_stack():
    """A test that fails leaves no mode to the next one."""
    yield
    while torch._C._len_torch_function_stack():
        torch._C._pop_torch_function_stack()


def same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a, b) if torch.is_tensor(a) else a == b


def nothing_is_left():
    register = nn.modules.module
    from torch.optim import optimizer

    assert not register._global_forward_hooks and not register._global_forward_pre_hooks
    assert not optimizer._global_optimizer_pre_hooks and not optimizer._global_optimizer_post_hooks
    assert not register._global_forward_hooks_always_called and not register._global_forward_hooks_with_kwargs
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize("budget", [None, 0.03], ids=["everything", "budget"])
@pytest.mark.parametrize("kind", loops.LOOPS)
def test_same_weights_buffers_optimizer_and_random_stream(kind, budget):
    plain = loops.LOOPS[kind](loops.Plain())
    watch = Watch(budget)
    watched = loops.LOOPS[kind](watch)
    same(plain, watched)
    assert watch.recorder.stopped_by is None
    trace = watch.recorder.trace()
    assert trace.meter.steps == (trace.steps[-1].index if budget is None else trace.meter.steps) >= 4
    assert trace.steps[0].sampled and trace.steps[0].index == 1
    nothing_is_left()


def trained(watch, during=lambda step, loss: None, steps=4):
    torch.manual_seed(5)
    net, (x, y) = loops.mlp(), loops.table()
    optimizer = torch.optim.Adam(net.parameters())
    with watch(net, optimizer):
        for step in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            try:
                during(step, loss)
            except KeyboardInterrupt:
                continue
            loss.backward()
            optimizer.step()
    return loops.fingerprint(net, [optimizer])


def test_an_exception_in_the_middle_of_a_step_goes_through_and_all_hooks_go():
    def bad(step, loss):
        if step == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(Watch(None), bad)
    nothing_is_left()


def test_an_exception_inside_the_model_that_the_loop_catches():
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.inner, self.calls = nn.Linear(6, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), 0

        def forward(self, x):
            self.calls += 1
            x = self.inner(self.a(x[:, :5] if self.calls % 3 == 0 else x))
            return x @ torch.ones(8, 3)

    def loop(watch):
        torch.manual_seed(5)
        net, (x, y) = Fragile(), loops.table()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with watch(net, optimizer):
            for _ in range(8):
                optimizer.zero_grad()
                try:
                    loss = F.cross_entropy(net(x), y)
                except RuntimeError:
                    continue
                loss.backward()
                optimizer.step()
        return loops.fingerprint(net, [optimizer])

    watch = Watch(None)
    same(loop(loops.Plain()), loop(watch))
    assert watch.recorder.stopped_by is None and watch.recorder.trace().meter.steps == 6
    for step in watch.recorder.trace().steps:
        assert {layer.where for layer in step.layers} == {"a", "inner.0", "inner.1", "matmul"}


def test_an_interrupt_in_the_middle_of_a_step_that_the_loop_survives():
    def interrupt(step, loss):
        if step == 1:
            raise KeyboardInterrupt

    same(trained(loops.Plain(), interrupt), trained(Watch(None), interrupt))


def test_two_watches_of_one_loop_see_the_same():
    outer, inner = Watch(None), Watch(None)

    class Both:
        def __call__(self, *what):
            outer(*what)
            inner(*what)
            return self

        def __enter__(self):
            outer.__enter__()
            inner.__enter__()

        def __exit__(self, *_):
            inner.__exit__()
            outer.__exit__()

    same(trained(loops.Plain()), trained(Both()))
    assert outer.recorder.trace().steps == inner.recorder.trace().steps
    nothing_is_left()


def test_our_own_error_is_reported_once_and_the_training_goes_on(monkeypatch):
    from isograd.frameworks.torch import layers

    calls = []

    def broken(tensor):
        calls.append(1)
        raise RuntimeError("planted")

    monkeypatch.setattr(layers, "moments", broken)
    watch = Watch(None)
    with pytest.warns(RuntimeWarning, match="planted") as caught:
        result = trained(watch)
    same(trained(loops.Plain()), result)
    assert len(caught) == 1 and len(calls) == 1 and str(watch.recorder.stopped_by) == "planted"
    nothing_is_left()


@pytest.mark.parametrize("where", ["parameters.moments_of_all", "parameters.norms_of", "opened.norm_of", "passes.of_module"])
def test_our_own_error_anywhere_stays_out_of_a_loop_that_makes_errors_of_warnings(monkeypatch, where):
    import importlib

    module, name = where.split(".")

    def broken(*args, **kwargs):
        raise ValueError("planted")

    monkeypatch.setattr(importlib.import_module(f"isograd.frameworks.torch.{module}"), name, broken)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = trained(Watch(None))
    same(trained(loops.Plain()), result)
    nothing_is_left()


def test_none_of_the_persons_tensors_lives_longer():
    torch.manual_seed(5)
    net, (x, y) = loops.mlp(), loops.table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            batch = x.clone().requires_grad_(True)
            output = net(batch)
            loss = F.cross_entropy(output, y)
            watched = [weakref.ref(tensor) for tensor in (batch, output, loss)]
            optimizer.zero_grad()
            loss.backward()
            watched.append(weakref.ref(batch.grad))
            optimizer.step()
            del batch, output, loss
            assert [reference() for reference in watched] == [None] * 4
    finally:
        gc.enable()
    recorder.detach()
    gone = weakref.ref(net), weakref.ref(optimizer)
    del net, optimizer
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert recorder.trace().meter.steps == 3


@pytest.mark.parametrize("whole", [True, False], ids=["compiled wrapper", "compiled in place"])
def test_a_compiled_model_is_seen_by_its_shadow_and_not_compiled_again(whole):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def loop(watch):
        torch._dynamo.reset()
        torch.manual_seed(3)
        net, (x, y) = loops.Tower(), loops.images()
        model = net
        if whole:
            model = torch.compile(net, backend=backend)
        else:
            net.compile(backend=backend)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with watch(model, optimizer):
            for _ in range(4):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        return loops.fingerprint(net, [optimizer])

    try:
        plain = loop(loops.Plain())
        alone = len(graphs)
        watch = Watch(None)
        same(plain, loop(watch))
        assert len(graphs) == 2 * alone > 0
        last = watch.recorder.trace().steps[-1]
        seen = {layer.where: layer for layer in last.layers}
        assert last.parameters and seen["head"].gradient.norm > 0.0 and seen["features.0"].gradient.norm > 0.0
        assert last.parameters[0].name == "features.0.weight"
    finally:
        torch._dynamo.reset()


def test_a_mode_of_the_person_is_told_of_nothing_that_we_compute():
    from torch.overrides import TorchFunctionMode

    def told(watched):
        seen = []

        class Mode(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                seen.append(getattr(func, "__name__", str(func)))
                return func(*args, **(kwargs or {}))

        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Watch()(model, optimizer) if watched else torch.enable_grad():
            for _ in range(3):
                with Mode():
                    optimizer.zero_grad()
                    model(torch.ones(2, 4)).square().mean().backward()
                    optimizer.step()
        return seen

    plain, watched = told(False), told(True)
    assert watched == plain
