"""Loops for ``no_trace.py`` beside those of the tests: each builds all from a seed, trains, and leaves models and optimizers.

A loop takes ``watch(models, optimizers)`` and gives (models, optimizers, other tensors that have to be the same).
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

Left = tuple[tuple[nn.Module, ...], tuple[torch.optim.Optimizer, ...], list[Tensor]]
Loop = Callable[[Any], Left]


def rows(count: int = 16, width: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    """A batch of a table: (count, width) and classes."""
    return torch.randn(count, width), torch.randint(0, classes, (count,))


def body(width: int = 6, out: int = 3) -> nn.Sequential:
    """A small net with a batch norm and a dropout."""
    return nn.Sequential(nn.Linear(width, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, out))


def simple(build: Callable[[], nn.Module], batch: Callable[[], tuple[Tensor, Tensor]] = rows, steps: int = 8) -> Loop:
    """The plain loop around a model."""

    def loop(watch: Any) -> Left:
        model, (x, y) = build(), batch()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        with watch(model, optimizer):
            for _ in range(steps):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        return (model,), (optimizer,), []

    return loop


class Varying(nn.Module):
    """One layer called once, twice, three times, by turns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.head, self.calls = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, 6) to (N, 3)."""
        self.calls += 1
        x = self.first(x)
        for _ in range(self.calls % 3 + 1):
            x = torch.tanh(self.again(x))
        return self.head(x)


class Packed(nn.Module):
    """Sequences of unequal length through two layers with dropout between them."""

    def __init__(self, kind: Callable[..., nn.RNNBase], both: bool = False) -> None:
        super().__init__()
        self.rnn = kind(5, 6, num_layers=2, dropout=0.3, batch_first=True, bidirectional=both)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, time, 5) to (N, 3)."""
        lengths = torch.arange(len(x), 0, -1).clamp(max=x.shape[1])
        state = self.rnn(pack_padded_sequence(x, lengths, batch_first=True))[1]
        return self.head((state[0] if isinstance(state, tuple) else state)[-1])


class Attending(nn.Module):
    """Attention twice: the module with dropout, and the function with dropout and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.embed, self.head = nn.Embedding(20, 8, max_norm=1.0), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, time) to (N, 3)."""
        x = self.embed(tokens)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        x = self.layer(x)
        return self.head(
            F.scaled_dot_product_attention(x, x, x, dropout_p=0.1 if self.training else 0.0, is_causal=True).mean(1)
        )


def interrupted(watch: Any) -> Left:
    """Exceptions and an interrupt in the middle of steps, which the loop survives."""
    model, (x, y) = body(), rows()
    optimizer = torch.optim.Adam(model.parameters())
    with watch(model, optimizer):
        for step in range(9):
            optimizer.zero_grad()
            try:
                if step == 2:
                    model(x[:, :4])
                loss = F.cross_entropy(model(x), y)
                if step == 4:
                    raise KeyboardInterrupt
                if step == 6:
                    (loss.detach() * 1.0).backward()
                loss.backward()
            except (RuntimeError, KeyboardInterrupt):
                continue
            optimizer.step()
    return (model,), (optimizer,), []


def workers(watch: Any) -> Left:
    """Two epochs from a loader with two worker processes."""
    model, (x, y) = body(), rows(48)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, num_workers=2)
    with watch(model, optimizer):
        for _ in range(2):
            for inputs, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
    return (model,), (optimizer,), []


def copied(watch: Any) -> Left:
    """Deep copies, pickles and checkpoints of the model under watch, from which it goes on."""
    model, (x, y) = body(), rows()
    optimizer = torch.optim.AdamW(model.parameters())
    kept: list[Tensor] = []
    with watch(model, optimizer):
        for step in range(8):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))  # noqa: S301 - our own, a line ago
            kept.append(twin(x).detach())
            stream = io.BytesIO()
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, stream)
            if step == 4:
                stream.seek(0)
                saved = torch.load(stream)
                model.load_state_dict(saved["model"])
                optimizer.load_state_dict(saved["optimizer"])
    return (model,), (optimizer,), kept


def averaged(watch: Any) -> Left:
    """A moving average of the weights, clipping in every step, one cycle, an evaluation of the average in between."""
    model, (x, y) = body(), rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    mean = torch.optim.swa_utils.AveragedModel(model)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=12)
    seen = []
    with watch(model, optimizer):
        for _ in range(10):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            cycle.step()
            mean.update_parameters(model)
            mean.eval()
            with torch.no_grad():
                seen.append(mean(x).clone())
    return (model, mean), (optimizer,), seen


def twice_backward(watch: Any) -> Left:
    """Two backward passes through one graph, gradients of two losses projected by hand."""
    model, (x, y) = body(), rows()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    with watch(model, optimizer):
        for _ in range(6):
            out = model(x)
            one, two = F.cross_entropy(out, y), out.square().mean()
            optimizer.zero_grad()
            one.backward(retain_graph=True)
            first = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.zero_grad()
            two.backward()
            for parameter, gradient in zip(model.parameters(), first, strict=True):
                assert parameter.grad is not None
                parameter.grad.add_(gradient)
            optimizer.step()
    return (model,), (optimizer,), []


def own_schedule(watch: Any) -> Left:
    """Weights written by hand within no_grad, learning rate set by hand, a layer frozen on the way."""
    model, (x, y) = body(), rows()
    with watch(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(9):
            optimizer.param_groups[0]["lr"] = 0.1 * math.cos(step / 9)
            if step == 5:
                model[0].requires_grad_(False)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.clamp_(-0.5, 0.5)
    return (model,), (optimizer,), []


def anomalies(watch: Any) -> Left:
    """Under anomaly detection and deterministic algorithms."""
    model, (x, y) = body(), rows()
    optimizer = torch.optim.Adam(model.parameters())
    with torch.autograd.set_detect_anomaly(True, check_nan=False), watch(model, optimizer):
        torch.use_deterministic_algorithms(True)
        try:
            for _ in range(5):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        finally:
            torch.use_deterministic_algorithms(False)
    return (model,), (optimizer,), []


def nan_loss(watch: Any) -> Left:
    """A batch with a NaN in it on the way."""
    model, (x, y) = body(), rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer):
        for step in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(x + (float("nan") if step == 3 else 0.0)), y).backward()
            optimizer.step()
    return (model,), (optimizer,), []


class Judged(nn.Module):
    """A transformer that holds its own loss, whose layers have a fast path in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, time, 8) to (N, 3)."""
        return self.head(self.body(x).mean(1))


def evaluated(guard: Callable[[], Any], *, mode: bool, steps: int = 60) -> Loop:
    """A pass over a loader of other examples after every third step, at which losses and right answers are counted."""

    def loop(watch: Any) -> Left:
        model = Judged()
        x, y = torch.randn(40, 5, 8), torch.randint(0, 3, (40,))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        fit = DataLoader(TensorDataset(x[:16], y[:16]), batch_size=8, shuffle=True)
        other = DataLoader(TensorDataset(x[16:], y[16:]), batch_size=8, shuffle=True)
        kept: list[Tensor] = []
        with watch(model, optimizer):
            for step in range(steps):
                for inputs, labels in fit:
                    optimizer.zero_grad()
                    model.criterion(model(inputs), labels).backward()
                    optimizer.step()
                if step % 3:
                    continue
                model.train(not mode)
                with guard():
                    for inputs, labels in other:
                        out = model(inputs)
                        kept += [out.detach().clone(), model.criterion(out, labels).detach().clone()]
                        kept += [F.mse_loss(out.softmax(1), F.one_hot(labels, 3).float()).detach().clone()]
                        kept += [(out.argmax(1) == labels).sum(), torch.max(out, 1)[1].eq(labels).float().mean()]
                model.train()
        return (model,), (optimizer,), kept

    return loop


def spectral() -> nn.Module:
    """A net of spectral norm one: its power iteration is a buffer that each forward pass moves."""
    norm = parametrizations.spectral_norm
    return nn.Sequential(norm(nn.Linear(6, 8)), nn.LeakyReLU(0.1), norm(nn.Linear(8, 3)))


def orthogonal() -> nn.Module:
    """Orthogonal and weight-normed layers."""
    square = parametrizations.orthogonal(nn.Linear(6, 6))
    return nn.Sequential(square, nn.RReLU(), parametrizations.weight_norm(nn.Linear(6, 3)))


def sequences(count: int = 8) -> tuple[Tensor, Tensor]:
    """(count, 7, 5) and classes."""
    return torch.randn(count, 7, 5), torch.randint(0, 3, (count,))


def tokens() -> tuple[Tensor, Tensor]:
    """(8, 9) of twenty symbols and classes."""
    return torch.randint(0, 20, (8, 9)), torch.randint(0, 3, (8,))


LOOPS: dict[str, list[Loop]] = {
    "called a varying number of times": [simple(Varying)],
    "LSTM, GRU, plain RNN": [simple(partial(Packed, kind), sequences) for kind in (nn.LSTM, nn.GRU, nn.RNN)],
    "attention with dropout, embedding with a largest norm": [simple(Attending, tokens)],
    "spectral norm and other parametrisations": [simple(spectral), simple(orthogonal)],
    "exception in the middle of a step": [interrupted],
    "loader with worker processes": [workers],
    "deep copies, pickles, checkpoints while watched": [copied],
    "clipping, one cycle, averaged weights": [averaged],
    "two backward passes a step": [twice_backward],
    "weights and rates set by hand": [own_schedule],
    "anomaly detection, deterministic algorithms": [anomalies],
    "a NaN on the way": [nan_loss],
    "evaluations over a loader": [
        evaluated(torch.no_grad, mode=True),
        evaluated(torch.inference_mode, mode=True),
        evaluated(torch.no_grad, mode=False),
    ],
    "evaluations with gradients on": [
        evaluated(contextlib.nullcontext, mode=True),
        evaluated(contextlib.nullcontext, mode=False),
    ],
}
