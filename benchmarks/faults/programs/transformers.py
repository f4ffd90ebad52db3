"""Transformer encoders: torch's own layer for a class a text, and attention written by hand for a tag a word."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program


class Encoder(nn.Module):
    """Embedding, places, torch's encoder layers, the mean over words, and a head."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, s.width)
        self.places = nn.Parameter(0.02 * torch.randn(10, s.width))
        heads = 2 if s.width % 2 == 0 else 1
        layer = nn.TransformerEncoderLayer(s.width, heads, 2 * s.width, dropout=s.dropout, batch_first=s.axes == "right")
        self.body = nn.TransformerEncoder(layer, s.depth, enable_nested_tensor=False)
        self.head = nn.Linear(s.width, 4)
        self.last, self.cut = s.last, s.cut

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, 10) word numbers to (N, 4)."""
        with parts.gradients(self.cut):
            x = self.body(self.embed(tokens) + self.places)
        x = parts.passed_on(self.cut, x)
        logits: Tensor = self.head(x.mean(1))
        return curves.last(self.last, logits)


@program(
    "first",
    Settings(steps=200, batch=32, optimizer="adamw", rate=5e-3, weight_decay=1e-2, schedule="warm-up", width=16, depth=1),
    "classes tokens attention",
    "labels label_noise class_weights last width dropout cut axes",
    cut_at="body",
)
def pair_encoder(s: Settings, seed: int, watch: Watch) -> float:
    """Which of four words comes most often: nn.TransformerEncoder, AdamW, a warm-up and a linear fall."""
    x, y, x_test, y_test = data.pairs()
    order = parts.seeded(seed)
    y = parts.labels(s, y, order)
    model = Encoder(s)
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


class Block(nn.Module):
    """Attention with one head and a feed-forward part, each behind a LayerNorm and beside a skip."""

    def __init__(self, width: int, curve: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), curve, nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, time, width) to the same."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v))
        mixed: Tensor = x + self.feed(self.norm2(x))
        return mixed


class Tagger(nn.Module):
    """Words and places, blocks, and a tag for every word."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.words = nn.Embedding(20, s.width)
        self.places = nn.Embedding(12, s.width)
        blocks: list[nn.Module] = [Block(s.width, curves.module(s.activation, nn.GELU)) for _ in range(s.depth)]
        self.blocks = blocks if s.hidden else nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(s.width)
        self.tag = nn.Linear(s.width, 4)
        self.last, self.cut = s.last, s.cut

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, time) word numbers to (N, time, 4)."""
        with parts.gradients(self.cut):
            x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
            for block in self.blocks:
                x = block(x)
        x = parts.passed_on(self.cut, x)
        logits: Tensor = self.tag(self.norm(x))
        return curves.last(self.last, logits)


@program(
    "second",
    Settings(steps=300, batch=24, rate=1e-2, schedule="warm-up", clip=1.0, width=24, depth=1),
    "classes tokens attention gelu",
    "labels label_noise last width activation cut hidden",
    cut_at="blocks",
)
def tag_encoder(s: Settings, seed: int, watch: Watch) -> float:
    """A tag a word that depends on the word before: attention by hand, warm-up, clipping, Adam."""
    x, y, x_test, y_test = data.tags()
    order = parts.seeded(seed)
    y = parts.labels(s, y, order)
    model = Tagger(s)
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
            logits, wanted = model(x[index]).flatten(0, 1), y[index].flatten()
            loss = F.cross_entropy(logits, wanted) if s.loss == "right" else losses.of_classes(s.loss, logits, wanted)
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
        return skill.of_classes(model(x_test).flatten(0, 1), y_test)
