"""Several inputs: two halves of a picture by two branches, and a table with numbers and categories as a dict."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program


class Branches(nn.Module):
    """A branch for each input, joined by a head."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.upper = nn.Sequential(nn.Linear(32, s.width), curves.module(s.activation, nn.ReLU))
        self.lower = nn.Sequential(nn.Linear(32, s.width), curves.module(s.activation, nn.ReLU))
        self.joint = nn.Sequential(
            nn.Linear(2 * s.width, 32), curves.module(s.activation, nn.ReLU), nn.Dropout(s.dropout), nn.Linear(32, 10)
        )
        self.last, self.cut = s.last, s.cut

    def forward(self, upper: Tensor, lower: Tensor) -> Tensor:
        """(N, 32) and (N, 32) to (N, 10)."""
        with parts.gradients(self.cut):
            both = torch.cat([self.upper(upper), self.lower(lower)], 1)
        both = parts.passed_on(self.cut, both)
        logits: Tensor = self.joint(both)
        return curves.last(self.last, logits)


@program(
    "first",
    Settings(steps=250, batch=32, optimizer="adamw", rate=3e-3, schedule="cosine", width=24, dropout=0.1),
    "classes floats relu dropout",
    "input_scale input_shift columns labels label_noise class_weights activation last width dropout cut",
    cut_at="upper",
)
def two_halves(s: Settings, seed: int, watch: Watch) -> float:
    """Digits cut in halves: a branch for each, nn.CrossEntropyLoss, AdamW and a cosine schedule."""
    x, y, x_test, y_test = data.digits()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y = parts.labels(s, y, order)
    model = Branches(s)
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
            logits = model(x[index, :32], x[index, 32:])
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
        return skill.of_classes(model(x_test[:, :32], x_test[:, 32:]), y_test)


class Mixed(nn.Module):
    """Numbers and an embedded category side by side, hidden layers with LayerNorm, and a head."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.district = nn.Embedding(8, 4)
        self.entry = nn.Linear(10, s.width)
        blocks: list[nn.Module] = [
            nn.Sequential(nn.LayerNorm(s.width), curves.module(s.activation, nn.ReLU), nn.Linear(s.width, s.width))
            for _ in range(s.depth)
        ]
        self.blocks = blocks if s.hidden else nn.ModuleList(blocks)
        self.head = nn.Linear(s.width, 1)
        self.last, self.cut = s.last, s.cut

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """{"numbers": (N, 6), "district": (N,)} to (N, 1)."""
        with parts.gradients(self.cut):
            x = self.entry(torch.cat([batch["numbers"], self.district(batch["district"])], 1))
            for block in self.blocks:
                x = x + block(x)
        x = parts.passed_on(self.cut, x)
        price: Tensor = self.head(x)
        return curves.last(self.last, price)


@program(
    "second",
    Settings(steps=300, batch=32, optimizer="sgd", rate=0.03, momentum=0.9, clip=5.0, width=32, depth=2),
    "numbers floats relu dict sgd",
    "input_scale input_shift columns labels label_noise target_scale target_shift activation last width depth cut hidden",
    cut_at="entry",
)
def flat_prices(s: Settings, seed: int, watch: Watch) -> float:
    """Prices from six numbers and a district: a dict, residual blocks with LayerNorm, F.mse_loss, SGD, clipping."""
    x, y, x_test, y_test = data.flats()
    order = parts.seeded(seed)
    numbers, test_numbers = parts.inputs(s, x[:, 1:], x_test[:, 1:])
    district, test_district = x[:, 0].long(), x_test[:, 0].long()
    y, y_test = parts.targets(s, y, y_test, order=order)
    model = Mixed(s)
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
            batch = {"numbers": numbers[index], "district": district[index], "price": y[index][:, None]}
            price = model(batch)
            loss = F.mse_loss(price, batch["price"]) if s.loss == "right" else losses.of_numbers(s.loss, price, batch["price"])
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
        return skill.of_numbers(model({"numbers": test_numbers, "district": test_district}), y_test)
