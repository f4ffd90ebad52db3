"""Pictures: a small convolutional network, one with batch normalisation, and one with residual blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program

PICTURES = "input_scale input_shift columns labels label_noise class_weights activation last"


class Convolutional(nn.Module):
    """Two convolutions with pooling, and a head of two layers."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(64, s.width)
        self.fc2 = nn.Linear(s.width, 10)
        self.curve = curves.function(s.activation, F.relu)
        self.last, self.cut = s.last, s.cut

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        with parts.gradients(self.cut):
            x = F.max_pool2d(self.curve(self.conv1(x)), 2)
            x = F.max_pool2d(self.curve(self.conv2(x)), 2)
        x = parts.passed_on(self.cut, x)
        x = self.curve(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return curves.last(self.last, logits)


@program(
    "first",
    Settings(steps=200, batch=32, rate=3e-3, width=32),
    "classes floats relu pictures",
    f"{PICTURES} width cut",
    cut_at="conv2",
)
def digit_cnn(s: Settings, seed: int, watch: Watch) -> float:
    """Digits as pictures: convolutions, F.cross_entropy, Adam."""
    x, y, x_test, y_test = data.digits()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x.reshape(-1, 1, 8, 8), x_test.reshape(-1, 1, 8, 8))
    y = parts.labels(s, y, order)
    model = Convolutional(s)
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
    Settings(steps=200, batch=32, optimizer="sgd", rate=0.1, momentum=0.9, schedule="one cycle", width=12, dropout=0.1),
    "classes floats relu pictures sgd batchnorm dropout sequential",
    f"{PICTURES} width dropout",
)
def stroke_cnn(s: Settings, seed: int, watch: Watch) -> float:
    """Strokes in noise: a Sequential with batch normalisation and dropout, SGD with momentum, OneCycleLR."""
    x, y, x_test, y_test = data.strokes()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = nn.Sequential(
        nn.Conv2d(1, s.width, 3, padding=1, bias=False),
        nn.BatchNorm2d(s.width),
        curves.module(s.activation, nn.ReLU),
        nn.MaxPool2d(2),
        nn.Conv2d(s.width, 2 * s.width, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * s.width),
        curves.module(s.activation, nn.ReLU),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(s.dropout),
        nn.Linear(8 * s.width, 4),
        *curves.last_modules(s.last),
    )
    parts.initialise(s, model)
    criterion = nn.CrossEntropyLoss(weight=parts.class_weights(s, y))
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


class Residual(nn.Module):
    """A stem, residual blocks with batch normalisation, the mean over the picture, and a head."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, s.width, 3, padding=1)
        blocks: list[nn.Module] = [
            nn.Sequential(
                nn.Conv2d(s.width, s.width, 3, padding=1, bias=False),
                nn.BatchNorm2d(s.width),
                curves.module(s.activation, nn.ReLU),
                nn.Conv2d(s.width, s.width, 3, padding=1, bias=False),
                nn.BatchNorm2d(s.width),
            )
            for _ in range(s.depth)
        ]
        self.blocks = blocks if s.hidden else nn.ModuleList(blocks)
        self.curve = curves.module(s.activation, nn.ReLU)
        self.head = nn.Linear(s.width, 3)
        self.last, self.cut = s.last, s.cut

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 10, 10) to (N, 3)."""
        with parts.gradients(self.cut):
            x = F.max_pool2d(self.curve(self.stem(x)), 2)
            for block in self.blocks:
                x = self.curve(x + block(x))
        x = parts.passed_on(self.cut, x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return curves.last(self.last, logits)


@program(
    "first",
    Settings(steps=120, batch=32, optimizer="sgd", rate=0.05, momentum=0.9, weight_decay=1e-4, width=8, depth=2),
    "classes floats relu pictures batchnorm sgd",
    f"{PICTURES} width cut hidden",
    cut_at="blocks",
)
def grating_resnet(s: Settings, seed: int, watch: Watch) -> float:
    """Gratings in noise: residual blocks, SGD with momentum and weight decay, evaluated every 40 steps."""
    x, y, x_test, y_test = data.gratings()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Residual(s)
    parts.initialise(s, model)
    criterion = nn.CrossEntropyLoss(weight=parts.class_weights(s, y))
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
            if step % 40 == 39:
                parts.evaluating(s, model)
                with torch.no_grad():
                    (model(x_test).argmax(1) == y_test).float().mean().item()
                parts.training(s, model)
    parts.evaluating(s, model)
    with torch.no_grad():
        return skill.of_classes(model(x_test), y_test)
