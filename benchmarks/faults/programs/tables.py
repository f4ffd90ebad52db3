"""Tables: classes, one yes or no, and numbers, as Sequential, subclass and functional networks."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program

TABLE = "input_scale input_shift columns"
CLASSES = "labels label_noise class_weights"
NUMBERS = "labels label_noise target_scale target_shift"


@program(
    "first",
    Settings(steps=240, batch=16, rate=3e-3, accumulate=2),
    "classes floats relu sequential",
    f"{TABLE} {CLASSES} activation last width accumulate dtype",
)
def wine(s: Settings, seed: int, watch: Watch) -> float:
    """A Sequential network and nn.CrossEntropyLoss, with gradients accumulated over two batches."""
    x, y, x_test, y_test = data.bundled("wine")
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = nn.Sequential(
        nn.Linear(13, s.width),
        curves.module(s.activation, nn.ReLU),
        nn.Linear(s.width, s.width),
        curves.module(s.activation, nn.ReLU),
        nn.Linear(s.width, 3),
        *curves.last_modules(s.last),
    )
    kind = torch.float16 if s.dtype == "float16" else torch.float32
    parts.initialise(s, model.to(kind))
    criterion = nn.CrossEntropyLoss(weight=parts.class_weights(s, y))
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step // s.accumulate)
            first, last = step % s.accumulate == 0, step % s.accumulate == s.accumulate - 1
            if parts.clears(s, step // s.accumulate) and first:
                optimizer.zero_grad()
            outputs = model(x[index].to(kind))
            loss = criterion(outputs, y[index]) if s.loss == "right" else losses.of_classes(s.loss, outputs, y[index])
            loss = loss / s.accumulate + (parts.l2(s, model) if s.penalty else 0.0)
            if s.raises == "in-place":
                optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if last:
                if s.clear == "between":
                    optimizer.zero_grad()
                if s.clip:
                    nn.utils.clip_grad_norm_(model.parameters(), s.clip)
                optimizer.step()
                if scheduler:
                    scheduler.step()
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_classes(model(x_test.to(kind)).float(), y_test)


class Tabular(nn.Module):
    """Hidden layers with an activation and dropout between them, and a head."""

    def __init__(self, s: Settings, inputs: int, outputs: int, right: type[nn.Module]) -> None:
        super().__init__()
        widths = [inputs, *[s.width] * s.depth]
        self.first = nn.Linear(inputs, s.width)
        blocks: list[nn.Module] = [
            nn.Sequential(curves.module(s.activation, right), nn.Dropout(s.dropout), nn.Linear(a, b))
            for a, b in itertools.pairwise(widths[1:])
        ]
        self.blocks = blocks if s.hidden else nn.ModuleList(blocks)
        self.activation = curves.module(s.activation, right)
        self.head = nn.Linear(s.width, outputs)
        self.cut, self.last = s.cut, s.last

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        with parts.gradients(self.cut):
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
        x = parts.passed_on(self.cut, x)
        outputs: Tensor = self.head(self.activation(x))
        return curves.last(self.last, outputs)


@program(
    "first",
    Settings(steps=300, batch=32, optimizer="sgd", rate=0.05, momentum=0.9, width=48, depth=2),
    "numbers floats relu sgd",
    f"{TABLE} {NUMBERS} activation last width depth cut hidden dropout",
    cut_at="blocks",
)
def friedman(s: Settings, seed: int, watch: Watch) -> float:
    """A number to foretell: a subclass, F.mse_loss, SGD with momentum."""
    x, y, x_test, y_test = data.friedman()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y, y_test = parts.targets(s, y, y_test, order=order)
    model = Tabular(s, 10, 1, nn.ReLU)
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
            outputs, wanted = model(x[index]), y[index][:, None]
            loss = F.mse_loss(outputs, wanted) if s.loss == "right" else losses.of_numbers(s.loss, outputs, wanted)
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
    "first",
    Settings(steps=300, batch=32, optimizer="rmsprop", rate=3e-3, width=32, depth=2),
    "binary floats tanh",
    f"{TABLE} labels label_noise activation last width depth cut hidden",
    cut_at="blocks",
)
def moons(s: Settings, seed: int, watch: Watch) -> float:
    """Yes or no: tanh layers, a sigmoid at the end and nn.BCELoss, RMSprop."""
    x, y, x_test, y_test = data.moons()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Tabular(s, 2, 1, nn.Tanh)
    parts.initialise(s, model)
    criterion = nn.BCELoss()
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            logits, wanted = model(x[index]).squeeze(1), y[index].float()
            loss = criterion(torch.sigmoid(logits), wanted) if s.loss == "right" else losses.of_binary(s.loss, logits, wanted)
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
        return skill.of_classes(model(x_test).squeeze(1) - (0.5 if s.last in ("sigmoid", "softmax") else 0.0), y_test)


@program(
    "second",
    Settings(steps=240, batch=32, optimizer="adamw", rate=2e-3, weight_decay=1e-2, width=32, depth=2, dropout=0.1),
    "binary floats relu dropout",
    f"{TABLE} labels label_noise activation last width depth cut hidden dropout",
    cut_at="blocks",
)
def cancer(s: Settings, seed: int, watch: Watch) -> float:
    """Yes or no: a subclass with dropout, nn.BCEWithLogitsLoss on (N, 1), AdamW, an evaluation every 60 steps."""
    x, y, x_test, y_test = data.bundled("breast_cancer")
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Tabular(s, 30, 1, nn.ReLU)
    parts.initialise(s, model)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            logits, wanted = model(x[index]), y[index].float().unsqueeze(1)
            loss = criterion(logits, wanted) if s.loss == "right" else losses.of_binary(s.loss, logits, wanted)
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
            if step % 60 == 59:
                parts.evaluating(s, model)
                with torch.no_grad():
                    criterion(model(x_test), y_test.float().unsqueeze(1)).item()
                parts.training(s, model)
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_classes(model(x_test) - (0.5 if s.last in ("sigmoid", "softmax") else 0.0), y_test)


class Functional(nn.Module):
    """Three layers, everything between them written as functions."""

    def __init__(self, s: Settings, inputs: int, outputs: int, right: curves.Curve) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, s.width)
        self.fc2 = nn.Linear(s.width, s.width)
        self.fc3 = nn.Linear(s.width, outputs)
        self.curve = curves.function(s.activation, right)
        self.last, self.cut = s.last, s.cut

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        with parts.gradients(self.cut):
            x = self.curve(self.fc1(x))
        x = parts.passed_on(self.cut, x)
        x = self.curve(self.fc2(x))
        outputs: Tensor = self.fc3(x)
        return curves.last(self.last, outputs)


@program(
    "second",
    Settings(steps=300, batch=32, optimizer="sgd", rate=0.05, momentum=0.9, schedule="cosine", width=64),
    "classes floats relu sgd",
    f"{TABLE} {CLASSES} activation last width cut",
    cut_at="fc1",
)
def digit_table(s: Settings, seed: int, watch: Watch) -> float:
    """Digits as rows of 64 numbers: F.relu, F.log_softmax and F.nll_loss, SGD with momentum and a cosine schedule."""
    x, y, x_test, y_test = data.digits()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Functional(s, 64, 10, F.relu)
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
                loss = F.nll_loss(F.log_softmax(logits, dim=1), y[index], weight=weight)
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
    Settings(steps=300, batch=32, rate=3e-3, width=64),
    "numbers floats tanh",
    f"{TABLE} {NUMBERS} activation last width cut dtype",
    cut_at="fc1",
)
def plant(s: Settings, seed: int, watch: Watch) -> float:
    """Two numbers to foretell: a functional tanh network, a squared error written by hand, Adam."""
    x, y, x_test, y_test = data.plant()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y, y_test = parts.targets(s, y, y_test, order=order)
    model = Functional(s, 8, 2, torch.tanh)
    parts.initialise(s, model)
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    low = torch.autocast("cpu", torch.float16) if s.dtype == "float16" else nullcontext()
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            with low:
                outputs = model(x[index])
            if s.loss == "right":
                loss = ((outputs.float() - y[index]) ** 2).mean()
            else:
                loss = losses.of_numbers(s.loss, outputs, y[index])
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
