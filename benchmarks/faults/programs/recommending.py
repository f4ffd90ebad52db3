"""Recommenders: ratings by factors of users and items, and clicks by two towers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program


class Factors(nn.Module):
    """The product of a user's and an item's vector, and a level for each."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(60, s.width), nn.Embedding(50, s.width)
        self.user_level, self.item_level = nn.Embedding(60, 1), nn.Embedding(50, 1)
        for table in (self.user, self.item, self.user_level, self.item_level):
            nn.init.normal_(table.weight, 0.0, 0.1)
        self.last, self.cut = s.last, s.cut

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(N,) and (N,) to (N,)."""
        with parts.gradients(self.cut):
            user, item = self.user(users), self.item(items)
        user = parts.passed_on(self.cut, user)
        item = parts.passed_on(self.cut, item)
        rating: Tensor = (user * item).sum(1) + self.user_level(users)[:, 0] + self.item_level(items)[:, 0]
        return curves.last(self.last, rating)


@program(
    "first",
    Settings(steps=300, batch=64, rate=2e-2, weight_decay=1e-5, width=4),
    "numbers pairs",
    "labels label_noise target_scale target_shift last width",
)
def rating_factors(s: Settings, seed: int, watch: Watch) -> float:
    """Ratings: factors of users and items, F.mse_loss on (N,), Adam; two inputs."""
    x, y, x_test, y_test = data.ratings()
    order = parts.seeded(seed)
    y, y_test = parts.targets(s, y, y_test, order=order)
    model = Factors(s)
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
            outputs = model(x[index, 0], x[index, 1])
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
        return skill.of_numbers(model(x_test[:, 0], x_test[:, 1]), y_test)


class Towers(nn.Module):
    """A tower of layers for the user, one for the item, and a product."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.user = nn.Sequential(
            nn.Embedding(50, 16), nn.Linear(16, s.width), curves.module(s.activation, nn.ReLU), nn.Linear(s.width, 8)
        )
        self.item = nn.Sequential(
            nn.Embedding(60, 16), nn.Linear(16, s.width), curves.module(s.activation, nn.ReLU), nn.Linear(s.width, 8)
        )
        self.answer = nn.Linear(8, 1)
        self.last, self.cut = s.last, s.cut

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """{"user": (N,), "item": (N,)} to (N,) logits."""
        with parts.gradients(self.cut):
            product = self.user(batch["user"]) * self.item(batch["item"])
        product = parts.passed_on(self.cut, product)
        logits: Tensor = self.answer(product)
        return curves.last(self.last, logits).squeeze(1)


@program(
    "second",
    Settings(steps=400, batch=64, rate=5e-3, width=24),
    "binary pairs relu dict",
    "labels label_noise last width activation cut",
    cut_at="user",
)
def click_towers(s: Settings, seed: int, watch: Watch) -> float:
    """Clicks: two towers, dicts for batches, nn.BCEWithLogitsLoss, Adam; skill is 2 AUC - 1."""
    x, y, x_test, y_test = data.clicks()
    order = parts.seeded(seed)
    y = parts.labels(s, y, order)
    model = Towers(s)
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
            batch = {"user": x[index, 0], "item": x[index, 1], "clicked": y[index].float()}
            logits = model(batch)
            if s.loss == "right":
                loss = criterion(logits, batch["clicked"])
            else:
                loss = losses.of_binary(s.loss, logits, batch["clicked"])
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
        return skill.of_ranking(model({"user": x_test[:, 0], "item": x_test[:, 1]}), y_test)
