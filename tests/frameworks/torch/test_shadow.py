"""A compiled model is looked into by running it again beside the program, which notices nothing."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from torch_loops import fingerprint

from isograd.frameworks.torch.recorder import TorchRecorder


class Net(nn.Module):
    """Dropout, buffers, an in-place function after the first layer, and an attribute that counts the calls."""

    def __init__(self, dropout=0.3):
        super().__init__()
        self.a, self.norm, self.b, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3), nn.Dropout(dropout)

    def forward(self, x):
        return self.b(self.drop(self.norm(torch.relu_(self.a(x)))))


@pytest.fixture(autouse=True)
def graphs():
    torch._dynamo.reset()
    found = []
    yield found
    torch._dynamo.reset()


def backend(found):
    def compiled(graph, inputs):
        found.append(graph)
        return graph.forward

    return compiled


def run(found, watch, *, place="wrapper", dropout=0.3, steps=3, prepare=None, autocast=False, models=None):
    torch.manual_seed(0)
    net, x, y = Net(dropout), torch.randn(16, 6), torch.randint(0, 3, (16,))
    if prepare is not None:
        prepare(net)
    fast = net
    if place == "in place":
        net.compile(backend=backend(found))
    elif place != "eager":
        fast = torch.compile(net, backend=backend(found))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    recorder = TorchRecorder([net if place == "beside" else fast], [optimizer], budget=None)
    if watch:
        recorder.attach()
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(fast(x), y)
        loss.backward()
        optimizer.step()
    if watch:
        recorder.detach()
        assert recorder.stopped_by is None
    return fingerprint(net, [optimizer]), recorder.trace() if watch else None


def same(one, other):
    return all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("place", ["wrapper", "in place", "beside"])
@pytest.mark.parametrize("autocast", [False, True])
def test_the_layers_are_seen_the_bits_are_the_same_and_nothing_is_compiled_again(graphs, place, autocast):
    plain, _ = run(graphs, False, place=place, autocast=autocast)
    alone = len(graphs)
    torch._dynamo.reset()
    seen, trace = run(graphs, True, place=place, autocast=autocast)
    assert same(plain, seen) and len(graphs) == 2 * alone > 0
    for step in trace.steps:
        layers = {layer.where: layer for layer in step.layers}
        assert {"a", "relu", "norm", "b"} <= set(layers)
        assert all(layers[where].gradient.norm > 0.0 for where in ("a", "norm", "b"))
    assert [node.path for node in trace.anatomy.nodes][:2] == ["input", "a"]


def test_without_dropout_it_shows_what_the_eager_program_shows(graphs):
    _, eager = run(graphs, True, place="eager", dropout=0.0)
    _, shadow = run(graphs, True, dropout=0.0)
    for ours, theirs in zip(shadow.steps, eager.steps, strict=True):
        for mine, wanted in zip(ours.layers, theirs.layers, strict=True):
            assert mine.where == wanted.where
            assert mine.activation.rms == pytest.approx(wanted.activation.rms, rel=1e-5)
            assert mine.gradient.rms == pytest.approx(wanted.gradient.rms, rel=1e-4)


def test_everything_is_as_it_was_when_the_watches_have_left_in_any_order(graphs):
    kind = torch._dynamo.eval_frame.OptimizedModule
    before = vars(kind).get("__call__")
    net = Net()
    net.compile(backend=backend(graphs))
    inside, x = vars(net)["_compiled_call_impl"], torch.randn(8, 6)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    first, second = (TorchRecorder([net], [optimizer], budget=None) for _ in range(2))
    first.attach()
    second.attach()
    assert vars(kind)["__call__"] is not before
    net(x).sum().backward()
    optimizer.step()
    first.detach()
    net(x).sum().backward()
    optimizer.step()
    second.detach()
    assert vars(kind).get("__call__") is before and vars(net)["_compiled_call_impl"] is inside
    assert first.trace().steps[0].layers and len(second.trace().steps) == 2 and second.trace().steps[1].layers


def test_a_model_with_hooks_of_its_own_is_not_called_a_second_time(graphs):
    calls = []

    def prepare(net):
        net.a.register_forward_hook(lambda *_: calls.append(1))

    _, trace = run(graphs, True, prepare=prepare, steps=1)
    assert not trace.steps[0].layers and len(calls) == 1
    assert any("could not be run again" in str(fact.get("reason", "")) for fact in trace.steps[0].facts)


def test_an_input_that_changed_since_is_not_run_again(graphs):
    net, x = Net(), torch.randn(8, 6)
    fast = torch.compile(net, backend=backend(graphs))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    loss = fast(x).sum()
    loss.backward()
    x.zero_()
    optimizer.step()
    recorder.detach()
    assert recorder.stopped_by is None and not recorder.trace().steps[0].layers
    assert recorder._shadow._calls == []


def test_layers_that_are_run_again_have_the_line_at_which_the_program_called_the_model(graphs):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))  # torch's own forward: no frame of the program's inside
    fast, optimizer = torch.compile(net, backend=backend(graphs)), torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(fast(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()
    recorder.detach()
    sources = {node.source for node in recorder.trace().anatomy.nodes if node.operation == "linear"}
    (source,) = sources
    text = Path(__file__).read_text().splitlines()[int(source.rpartition(":")[2]) - 1]
    assert "fast(" in text
