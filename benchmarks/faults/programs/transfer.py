"""Transfer learning: a trunk learns one task, is frozen on purpose, and a new head learns another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program

SECOND = "input_scale input_shift columns labels label_noise last activation class_weights"


def _pretrain(trunk: nn.Module, head: nn.Module, x: Tensor, y: Tensor, order: torch.Generator, steps: int) -> None:
    """Teach the trunk its first task; always done well, for this is where the person downloads it."""
    optimizer = torch.optim.Adam([*trunk.parameters(), *head.parameters()], lr=5e-3)
    for index in parts.batches(Settings(steps=steps), y, order):
        optimizer.zero_grad()
        F.cross_entropy(head(trunk(x[index])), y[index]).backward()
        optimizer.step()


@program(
    "first",
    Settings(steps=300, batch=32, rate=5e-3, width=48),
    "classes floats relu transfer",
    SECOND,
)
def new_head(s: Settings, seed: int, watch: Watch) -> float:
    """A trunk that knows the digits 0 to 4 is frozen; a new head of two layers learns 5 to 9, Adam on the head alone."""
    x, y, x_test, y_test = data.digits()
    order = parts.seeded(seed)
    trunk = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
    _pretrain(trunk, nn.Linear(64, 5), x[y < 5], y[y < 5], order, 100)
    x, y, x_test, y_test = x[y >= 5], y[y >= 5] - 5, x_test[y_test >= 5], y_test[y_test >= 5] - 5
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    for parameter in trunk.parameters():
        parameter.requires_grad_(False)
    head = nn.Sequential(nn.Linear(64, s.width), curves.module(s.activation, nn.ReLU), nn.Linear(s.width, 5))
    parts.initialise(s, head)
    model = nn.Sequential(trunk, head, *curves.last_modules(s.last))
    criterion = nn.CrossEntropyLoss(weight=parts.class_weights(s, y))
    optimizer = parts.optimizer(s, parts.given(s, head))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, head)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, head, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            logits = model(x[index])
            loss = criterion(logits, y[index]) if s.loss == "right" else losses.of_classes(s.loss, logits, y[index])
            if s.penalty:
                loss = loss + parts.l2(s, head)
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


class Pretrained(nn.Module):
    """A convolutional trunk and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten()
        )
        self.head: nn.Module = nn.Linear(256, 5)
        self.last = "right"

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, classes)."""
        logits: Tensor = self.head(self.trunk(x))
        return curves.last(self.last, logits)


@program(
    "second",
    Settings(steps=200, batch=32, optimizer="adamw", rate=3e-3, schedule="cosine", width=32),
    "classes floats relu transfer pictures",
    SECOND,
)
def frozen_trunk(s: Settings, seed: int, watch: Watch) -> float:
    """A convolutional trunk that knows the digits 5 to 9 is frozen, its head replaced; it learns 0 to 4, AdamW, cosine."""
    x, y, x_test, y_test = data.digits()
    x, x_test = x.reshape(-1, 1, 8, 8), x_test.reshape(-1, 1, 8, 8)
    order = parts.seeded(seed)
    model = Pretrained()
    _pretrain(model.trunk, model.head, x[y >= 5], y[y >= 5] - 5, order, 60)
    x, y, x_test, y_test = x[y < 5], y[y < 5], x_test[y_test < 5], y_test[y_test < 5]
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model.trunk.requires_grad_(False)
    head = nn.Sequential(nn.Linear(256, s.width), curves.module(s.activation, nn.ReLU), nn.Linear(s.width, 5))
    parts.initialise(s, head)
    model.head, model.last = head, s.last
    weight = parts.class_weights(s, y)
    optimizer = parts.optimizer(s, parts.given(s, head))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, head)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, head, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            logits = model(x[index])
            if s.loss == "right":
                loss = F.cross_entropy(logits, y[index], weight=weight)
            else:
                loss = losses.of_classes(s.loss, logits, y[index])
            if s.penalty:
                loss = loss + parts.l2(s, head)
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
