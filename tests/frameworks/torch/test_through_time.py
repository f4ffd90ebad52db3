"""Gradients at every time step: those of a network unrolled by hand, and nothing of the loop is changed for it."""

import gc
import itertools
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

sys.path.insert(0, str(Path(__file__).parent))

from torch_loops import fingerprint

from isograd.frameworks.torch.recorder import TorchRecorder

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
T, N, WIDE, H = 7, 3, 4, 5


class Net(nn.Module):
    """A recurrent layer, and a loss of its own on outputs and final states."""

    def __init__(self, kind, finals=True, every=True, **settings):
        super().__init__()
        self.rnn = KINDS[kind](WIDE, H, **settings)
        self.finals, self.every = finals, every

    def forward(self, x, state=None):
        out, ends = self.rnn(x, state)
        data = out if torch.is_tensor(out) else out.data
        total = (data * torch.linspace(0.1, 1, data.shape[-1])).pow(2).sum() if self.every else data[-1].pow(2).sum()
        if self.finals:
            for end in ends if isinstance(ends, tuple) else (ends,):
                total = total + weighted(end)
        return total


def watched(net, x, state=None, steps=1, **settings):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None, **settings)
    recorder.attach()
    for _ in range(steps):
        optimizer.zero_grad()
        net(x, state).backward()
        optimizer.step()
    recorder.detach()
    assert recorder.stopped_by is None
    return recorder.trace()


def through_time(trace, step=0):
    return next(s for s in trace.steps[step].layers if s.where == "rnn").through_time


def by_hand(rnn, x, state=None, lengths=None, gradient_of=None):
    """Unrolled with torch's own cells and ``retain_grad``: the gradient at the first layer's states, by position."""
    x = x.transpose(0, 1) if rnn.batch_first else x
    steps, count = x.shape[:2]
    directions = 2 if rnn.bidirectional else 1
    lstm = rnn.mode == "LSTM"
    zeros = torch.zeros(rnn.num_layers * directions, count, H, dtype=x.dtype)
    first = state if state is not None else ((zeros, zeros) if lstm else zeros)
    h0, c0 = first if lstm else (first, zeros)
    h0 = h0.detach().clone().requires_grad_()
    lengths = lengths or [steps] * count
    layer, kept, last_h, last_c = x, {}, [], []
    for depth in range(rnn.num_layers):
        sides = []
        for direction in range(directions):
            place = depth * directions + direction
            names = rnn._all_weights[place]
            cell = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}.get(rnn.mode, nn.RNNCell)
            extra = {"nonlinearity": rnn.nonlinearity} if rnn.mode.startswith("RNN") else {}
            one = cell(layer.shape[2], H, dtype=x.dtype, **extra)
            for mine, name in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), names, strict=True):
                setattr(one, mine, nn.Parameter(getattr(rnn, name).detach().clone()))
            rows = [[None] * count for _ in range(steps)]
            for n in range(count):
                h, c = h0[place, n], c0[place, n]
                for t in range(lengths[n]) if direction == 0 else reversed(range(lengths[n])):
                    got = one(layer[t, n], (h, c) if lstm else h)
                    h, c = got if lstm else (got, c)
                    rows[t][n] = h
                    if depth == 0:
                        h.retain_grad()
                        kept.setdefault(t, []).append(h)
                last_h.append(h), last_c.append(c)
            nothing = torch.zeros(H, dtype=x.dtype)
            sides.append(torch.stack([torch.stack([nothing if v is None else v for v in row]) for row in rows]))
        layer = torch.cat(sides, 2)
    ends = [torch.stack(last).view(-1, count, H) for last in ((last_h, last_c) if lstm else (last_h,))]
    gradient_of(layer, ends).backward()
    return [torch.stack([h.grad if h.grad is not None else torch.zeros_like(h) for h in kept[t]]) for t in sorted(kept)]


def loss_by_hand(out, ends, mask=None):
    out = out if mask is None else out[mask]
    total = (out * torch.linspace(0.1, 1, out.shape[-1])).pow(2).sum()
    return total + sum(weighted(end) for end in ends)


def weighted(end):
    """Every sequence with a weight of its own."""
    count = torch.arange(1.0, 1.0 + end.shape[-2])[:, None] if end.ndim == 3 else 1.0
    return (end * torch.linspace(-1, 1, end.shape[-1]) * count).sum()


def same(found, expected, tolerance=1e-12):
    assert len(found) == len(expected)
    for of, gradient in zip(found, expected, strict=True):
        assert of.count == gradient.numel()
        assert of.norm == pytest.approx(float(gradient.norm()), rel=tolerance)
        assert of.largest == pytest.approx(float(gradient.abs().max()), rel=tolerance)


@pytest.fixture(autouse=True)
def doubles():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("kind", "layers", "bidirectional", "batch_first"),
    list(itertools.product(KINDS, (1, 2), (False, True), (False, True))),
)
def test_every_step_has_the_gradient_of_the_network_unrolled_by_hand(kind, layers, bidirectional, batch_first):
    net = Net(kind, num_layers=layers, bidirectional=bidirectional, batch_first=batch_first)
    x = torch.randn(N, T, WIDE) if batch_first else torch.randn(T, N, WIDE)
    expected = by_hand(net.rnn, x, gradient_of=loss_by_hand)
    same(through_time(watched(net, x)), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("ordered", [True, False], ids=["sorted", "unsorted"])
def test_packed_sequences_are_followed_over_their_own_lengths(kind, bidirectional, ordered):
    net = Net(kind, num_layers=2, bidirectional=bidirectional)
    lengths = [7, 4, 2] if ordered else [2, 7, 4]
    x = torch.randn(T, N, WIDE)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=ordered)
    mask = torch.arange(T)[:, None] < torch.tensor(lengths)
    expected = by_hand(net.rnn, x, lengths=lengths, gradient_of=lambda out, ends: loss_by_hand(out, ends, mask))
    same(through_time(watched(net, packed)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_initial_state_and_a_single_sequence_are_taken(kind):
    net, x = Net(kind), torch.randn(T, 1, WIDE)
    state = torch.randn(1, 1, H)
    state = (state, torch.randn(1, 1, H)) if kind == "lstm" else state
    expected = by_hand(net.rnn, x, state, gradient_of=loss_by_hand)
    same(through_time(watched(net, x, state)), expected)
    alone = tuple(one[:, 0] for one in state) if kind == "lstm" else state[:, 0]
    expected = by_hand(net.rnn, x, state, gradient_of=loss_by_hand)  # the first watch made a step
    same(through_time(watched(net, x[:, 0], alone)), expected)


def test_a_relu_network_is_followed_too():
    net, x = Net("rnn", nonlinearity="relu"), torch.randn(T, N, WIDE)
    expected = by_hand(net.rnn, x, gradient_of=loss_by_hand)
    same(through_time(watched(net, x)), expected)


def test_a_projected_state_is_unrolled_with_its_projection():
    net, x = Net("lstm", proj_size=2), torch.randn(T, N, WIDE)
    rnn, h, c, kept = net.rnn, torch.zeros(N, 2, requires_grad=True), torch.zeros(N, H), []
    for row in x:
        gates = row @ rnn.weight_ih_l0.T + rnn.bias_ih_l0 + h @ rnn.weight_hh_l0.T + rnn.bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = (o.sigmoid() * c.tanh()) @ rnn.weight_hr_l0.T
        h.retain_grad()
        kept.append(h)
    loss_by_hand(torch.stack(kept), [h[None], c[None]]).backward()
    same(through_time(watched(net, x)), [h.grad for h in kept])


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_at_a_step_is_what_a_nudge_of_the_state_there_does(kind):
    net, x = Net(kind), torch.randn(T, N, WIDE)
    cut, nudge = 3, 1e-6
    with torch.no_grad():
        _, state = net.rnn(x[: cut + 1])
        before = net(x[: cut + 1]) - ends_of(state)  # the part of the loss that the outputs up to the cut make
        direct = torch.linspace(0.1, 1, H)
        gradient = torch.zeros(N, H)
        for n, h in itertools.product(range(N), range(H)):
            values = []
            for sign in (1, -1):
                moved = [one.clone() for one in (state if kind == "lstm" else (state,))]
                moved[0][0, n, h] += sign * nudge
                rest = net(x[cut + 1 :], tuple(moved) if kind == "lstm" else moved[0])
                own = (moved[0][0] * direct).pow(2).sum()
                values.append(rest + own)
            gradient[n, h] = (values[0] - values[1]) / (2 * nudge)
    assert before.isfinite()
    found = through_time(watched(net, x))[cut]
    assert found.norm == pytest.approx(float(gradient.norm()), rel=1e-6)


def ends_of(state):
    return sum(weighted(end) for end in (state if isinstance(state, tuple) else (state,)))


def test_of_a_large_batch_four_sequences_speak():
    net = Net("gru", finals=False)
    found = through_time(watched(net, torch.randn(T, 20, WIDE)))
    assert {of.count for of in found} == {4 * H}


def test_two_backward_passes_through_one_graph_add_up():
    net, x = Net("gru"), torch.randn(T, N, WIDE)
    expected = by_hand(net.rnn, x, gradient_of=loss_by_hand)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    loss = net(x)
    loss.backward(retain_graph=True)
    loss.backward()
    optimizer.step()
    recorder.detach()
    same(through_time(recorder.trace()), [2.0 * gradient for gradient in expected])


def test_a_loss_at_the_end_alone_reaches_back_through_all_steps():
    net = Net("rnn", finals=False, every=False)
    found = through_time(watched(net, torch.randn(T, N, WIDE)))
    assert all(of.norm > 0.0 for of in found) and found[0].norm < found[-1].norm


def test_dropout_between_layers_is_drawn_again_and_the_stream_is_left_alone():
    for bidirectional, batch_first in itertools.product((False, True), (False, True)):
        net = Net("lstm", num_layers=3, dropout=0.5, bidirectional=bidirectional, batch_first=batch_first)
        found = through_time(watched(net, torch.randn(T, N, WIDE)))  # the replayed output is the captured one, or this is empty
        assert len(found) == (N if batch_first else T) and found[0].norm > 0.0
    packed = pack_sequence([torch.randn(n, WIDE) for n in (7, 4, 2)])
    assert len(through_time(watched(Net("gru", num_layers=2, dropout=0.5), packed))) == T


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_that_is_called_again_and_again_counts_time_by_its_calls(kind):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[kind](WIDE, H)

        def forward(self, x, state=None):
            self.kept = []
            for row in x:
                state = self.cell(row, state)
                h = state[0] if kind == "lstm" else state
                h.retain_grad()
                self.kept.append(h)
            return h.pow(2).sum()

    net = Own()
    trace = watched(net, torch.randn(T, N, WIDE))
    found = next(s for s in trace.steps[0].layers if s.where == "cell").through_time
    same(found, [h.grad for h in net.kept])


def test_a_layer_whose_weights_changed_since_its_pass_is_not_reported():
    net, x = Net("rnn"), torch.randn(T, N, WIDE)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    net(x).backward()
    with torch.no_grad():
        net.rnn.weight_hh_l0.mul_(2.0)
    optimizer.step()
    recorder.detach()
    assert recorder.stopped_by is None and through_time(recorder.trace()) == ()


def test_what_cannot_be_followed_is_said():
    net = Net("rnn")
    nn.utils.parametrizations.weight_norm(net.rnn, "weight_hh_l0")
    trace = watched(net, torch.randn(T, N, WIDE))
    assert through_time(trace) == () and any("parametrised" in f.get("reason", "") for f in trace.steps[0].facts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_watching_leaves_no_trace_in_weights_and_random_stream(kind, dtype):
    def run(watch):
        torch.manual_seed(5)
        net = Net(kind, num_layers=2, dropout=0.3, bidirectional=True).to(dtype)
        x = torch.randn(T, N, WIDE, dtype=dtype)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        recorder = TorchRecorder([net], [optimizer], budget=None)
        if watch:
            recorder.attach()
        for _ in range(4):
            optimizer.zero_grad()
            net(x).backward()
            optimizer.step()
        if watch:
            recorder.detach()
            assert recorder.stopped_by is None and len(through_time(recorder.trace())) == T
        return fingerprint(net, [optimizer])

    plain, seen = run(False), run(True)
    assert all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in zip(plain, seen, strict=True))


def test_nothing_is_kept_after_the_step():
    net = Net("lstm")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    recorder.attach()
    gc.disable()
    try:
        x = torch.randn(T, N, WIDE)
        loss = net(x)
        loss.backward()
        optimizer.step()
        alive = [weakref.ref(x), weakref.ref(loss)]
        del x, loss
        assert all(one() is None for one in alive)
        assert all(entry.replay is None for entry in recorder._passes.layers.entries.values())
    finally:
        gc.enable()
        recorder.detach()
