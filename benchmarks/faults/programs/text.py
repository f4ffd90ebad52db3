"""Texts: a bag of words, and the mean of embeddings with a dict for a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program

CLASSES = "labels label_noise class_weights last width"


class Bag(nn.Module):
    """The mean of word vectors, and a linear answer."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(120, s.width, mode="mean")
        self.answer = nn.Linear(s.width, 4)
        self.last, self.cut = s.last, s.cut

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, length) of word numbers to (N, 4)."""
        with parts.gradients(self.cut):
            mean = self.words(tokens)
        mean = parts.passed_on(self.cut, mean)
        logits: Tensor = self.answer(mean)
        return curves.last(self.last, logits)


@program(
    "first",
    Settings(steps=250, batch=32, rate=1e-2, width=16),
    "classes tokens",
    f"{CLASSES} cut",
    cut_at="words",
)
def topic_bag(s: Settings, seed: int, watch: Watch) -> float:
    """The topic of a text: nn.EmbeddingBag and a linear layer, Adam."""
    x, y, x_test, y_test = data.topics()
    order = parts.seeded(seed)
    y = parts.labels(s, y, order)
    model = Bag(s)
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


class Reader(nn.Module):
    """Embeddings, their mean, a hidden layer with dropout; takes a dict."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.embed = nn.Embedding(80, s.width)
        self.dense = nn.Linear(s.width, s.width)
        self.drop = nn.Dropout(s.dropout)
        self.out = nn.Linear(s.width, 2)
        self.curve = curves.function(s.activation, F.relu)
        self.last, self.cut = s.last, s.cut

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """{"tokens": (N, length)} to {"logits": (N, 2)}."""
        with parts.gradients(self.cut):
            mean = self.embed(batch["tokens"]).mean(1)
        mean = parts.passed_on(self.cut, mean)
        hidden = self.drop(self.curve(self.dense(mean)))
        return {"logits": curves.last(self.last, self.out(hidden))}


@program(
    "second",
    Settings(steps=300, batch=32, optimizer="adamw", rate=1e-2, weight_decay=1e-2, clip=1.0, width=16, dropout=0.2),
    "classes tokens relu dropout dict",
    f"{CLASSES} activation dropout cut",
    cut_at="embed",
)
def temper_text(s: Settings, seed: int, watch: Watch) -> float:
    """Friendly or not: mean of embeddings, dicts in and out, AdamW, gradients clipped."""
    x, y, x_test, y_test = data.tempers()
    order = parts.seeded(seed)
    y = parts.labels(s, y, order)
    model = Reader(s)
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
            batch = {"tokens": x[index], "label": y[index]}
            logits = model(batch)["logits"]
            loss = criterion(logits, batch["label"]) if s.loss == "right" else losses.of_classes(s.loss, logits, y[index])
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
        return skill.of_classes(model({"tokens": x_test})["logits"], y_test)
