"""Sequences: a simple recurrent network, GRU and LSTM; a class, a number, and a number at every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program

RECURRENT = "input_scale input_shift columns labels label_noise last width axes state"


class Recurrent(nn.Module):
    """A recurrent layer, and a head on its last step; ``many`` puts the head on every step."""

    def __init__(self, s: Settings, kind: Callable[..., nn.RNNBase], inputs: int, outputs: int, *, many: bool = False) -> None:
        super().__init__()
        self.rnn = kind(inputs, s.width, batch_first=s.axes == "right")
        self.head = nn.Linear(s.width, outputs)
        self.many, self.state, self.read, self.last, self.cut = many, s.state, s.read, s.last, s.cut
        self.memory: Tensor | tuple[Tensor, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, time, inputs) to (N, outputs), or (N, time, outputs)."""
        with parts.gradients(self.cut):
            if self.state == "fresh" or not self.training:
                states, _ = self.rnn(x)
            else:
                states, memory = self.rnn(x, self.memory)
                self.memory = memory if self.state == "graph" else parts.detached(memory)
        states = parts.passed_on(self.cut, states)
        if not self.many:
            states = states[:, 0] if self.read == "first" else states[:, -1]
        outputs: Tensor = self.head(states)
        return curves.last(self.last, outputs)


@program(
    "first",
    Settings(steps=300, batch=32, rate=1e-2, clip=1.0, width=16),
    "classes floats recurrent",
    f"{RECURRENT} read cut",
    cut_at="rnn",
)
def marked_signs(s: Settings, seed: int, watch: Watch) -> float:
    """The sign of the sum of two marked numbers: a GRU, gradients clipped at norm 1, Adam."""
    x, y, x_test, y_test = data.signs()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Recurrent(s, nn.GRU, 2, 2)
    parts.initialise(s, model)
    criterion = nn.CrossEntropyLoss()
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            logits = model(x[index])
            loss = criterion(logits, y[index]) if s.loss == "right" else losses.of_classes(s.loss, logits, y[index])
            if s.penalty:
                loss = loss + parts.l2(s, model)
            if s.raises == "in-place":
                optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if s.clear == "between":
                optimizer.zero_grad()
            if s.clip:
                nn.utils.clip_grad_norm_(model.parameters(), s.clip)
            optimizer.step()
            if scheduler:
                scheduler.step()
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_classes(model(x_test), y_test)


@program(
    "first",
    Settings(steps=250, batch=32, rate=3e-3, width=24),
    "numbers floats recurrent",
    f"{RECURRENT} target_scale target_shift cut",
    cut_at="rnn",
)
def wave_rnn(s: Settings, seed: int, watch: Watch) -> float:
    """A wave three steps on: nn.RNN with tanh and nn.MSELoss, Adam."""
    x, y, x_test, y_test = data.waves()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y, y_test = parts.targets(s, y, y_test, order=order)
    model = Recurrent(s, nn.RNN, 1, 1)
    parts.initialise(s, model)
    criterion = nn.MSELoss()
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            outputs = model(x[index]).squeeze(1)
            loss = criterion(outputs, y[index]) if s.loss == "right" else losses.of_numbers(s.loss, outputs, y[index])
            if s.penalty:
                loss = loss + parts.l2(s, model)
            if s.raises == "in-place":
                optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if s.clear == "between":
                optimizer.zero_grad()
            if s.clip:
                nn.utils.clip_grad_norm_(model.parameters(), s.clip)
            optimizer.step()
            if scheduler:
                scheduler.step()
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_numbers(model(x_test), y_test)


@program(
    "second",
    Settings(steps=200, batch=32, rate=1e-2, clip=1.0, width=16),
    "classes floats recurrent",
    f"{RECURRENT} read cut class_weights",
    cut_at="rnn",
)
def recall_lstm(s: Settings, seed: int, watch: Watch) -> float:
    """Which signal came earlier: an LSTM, F.cross_entropy, gradients clipped at norm 1, Adam."""
    x, y, x_test, y_test = data.recall()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Recurrent(s, nn.LSTM, 6, 4)
    parts.initialise(s, model)
    weight = parts.class_weights(s, y)
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            logits = model(x[index])
            if s.loss == "right":
                loss = F.cross_entropy(logits, y[index], weight=weight)
            else:
                loss = losses.of_classes(s.loss, logits, y[index])
            if s.penalty:
                loss = loss + parts.l2(s, model)
            if s.raises == "in-place":
                optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if s.clear == "between":
                optimizer.zero_grad()
            if s.clip:
                nn.utils.clip_grad_norm_(model.parameters(), s.clip)
            optimizer.step()
            if scheduler:
                scheduler.step()
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_classes(model(x_test), y_test)


@program(
    "second",
    Settings(steps=250, batch=32, optimizer="rmsprop", rate=3e-3, width=20),
    "numbers floats recurrent",
    f"{RECURRENT} target_scale target_shift cut",
    cut_at="rnn",
)
def echo_gru(s: Settings, seed: int, watch: Watch) -> float:
    """At every step what came two steps before, smoothed: a GRU with a head on every step, RMSprop."""
    x, y, x_test, y_test = data.echoes()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y, y_test = parts.targets(s, y, y_test, order=order)
    model = Recurrent(s, nn.GRU, 1, 1, many=True)
    parts.initialise(s, model)
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            outputs = model(x[index]).squeeze(2)
            loss = F.mse_loss(outputs, y[index]) if s.loss == "right" else losses.of_numbers(s.loss, outputs, y[index])
            if s.penalty:
                loss = loss + parts.l2(s, model)
            if s.raises == "in-place":
                optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if s.clear == "between":
                optimizer.zero_grad()
            if s.clip:
                nn.utils.clip_grad_norm_(model.parameters(), s.clip)
            optimizer.step()
            if scheduler:
                scheduler.step()
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_numbers(model(x_test), y_test)
