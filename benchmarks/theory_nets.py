"""Random architectures, each with a batch and a loss: what theory's forecast is held against."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FAMILIES = ("dense", "conv", "residual", "normalised", "attention", "recurrent", "embedding")
ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU,
    nn.Tanh,
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.SELU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Mish,
    nn.Hardswish,
)


@dataclass(frozen=True)
class Drawn:
    """One architecture at birth, with a batch that it can be measured on."""

    family: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]


def draw(seed: int) -> Drawn:
    """The architecture of a seed; families take turns."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    size = dice.choice((16, 24, 32, 64))
    classes = dice.choice((2, 5, 10, 20))
    model, inputs = _BUILDERS[family](dice, size, classes)
    _initialise(model, dice)
    if dice.random() < 0.75:
        return Drawn(family, model, inputs, torch.randint(0, classes, (size,)), F.cross_entropy)
    return Drawn(family, model, inputs, torch.randn(size, classes), F.mse_loss)


def _initialise(model: nn.Module, dice: random.Random) -> None:
    """The rule that torch follows, or one of four others for all matrices; biases of zero or small."""
    rule = dice.choice(("torch", "torch", "he", "glorot", "orthogonal", "normal"))
    gain, bias = dice.choice((0.7, 1.0, 1.0, 1.5)), dice.choice((0.0, 0.0, 0.1))
    for module in model.modules():
        if rule == "torch" or not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
            continue
        weight = module.weight
        match rule:
            case "he":
                nn.init.kaiming_normal_(weight)
            case "glorot":
                nn.init.xavier_uniform_(weight, gain)
            case "orthogonal":
                nn.init.orthogonal_(weight, gain)
            case "normal":
                nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))
        if module.bias is not None:
            nn.init.normal_(module.bias, 0.0, bias) if bias else nn.init.zeros_(module.bias)


def _table(dice: random.Random, size: int) -> Tensor:
    """Rows of numbers as tables have them: independent, of low rank, or with columns that are not centred."""
    features = dice.choice((8, 20, 64, 200))
    kind = dice.choice(("noise", "rank", "offset"))
    x = torch.randn(size, features)
    if kind == "rank":
        rank = max(2, features // 4)
        x = torch.randn(size, rank) @ torch.randn(rank, features) / math.sqrt(rank) + 0.3 * torch.randn(size, features)
    return x + torch.randn(features) if kind == "offset" else x


def _pictures(dice: random.Random, size: int) -> Tensor:
    """Noise, smooth fields, or strokes on an empty ground, which are nowhere negative."""
    channels, side = dice.choice((1, 3)), dice.choice((8, 12, 16))
    x = torch.randn(size, channels, side, side)
    kind = dice.choice(("noise", "smooth", "strokes"))
    if kind == "noise":
        return x
    x = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="circular"), 5, stride=1)
    x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True) + 0.3 * torch.randn(size, 1, 1, 1)
    return x if kind == "smooth" else (x - 0.5).clamp(0.0, 1.0) * dice.choice((1.0, 2.0))


def _sequences(dice: random.Random, size: int) -> Tensor:
    """Noise, or slow waves with noise on them."""
    steps, features = dice.choice((6, 12, 24, 40)), dice.choice((2, 8, 16))
    x = torch.randn(size, steps, features)
    if dice.random() < 0.5:
        phase = torch.rand(size, 1, features) * 6.3
        x = torch.sin(torch.linspace(0.0, 6.0, steps)[None, :, None] * (0.5 + torch.rand(size, 1, features)) + phase) + 0.2 * x
    return x


def _widths(dice: random.Random, depth: int) -> list[int]:
    width = dice.choice((24, 32, 64, 128))
    return [width if dice.random() < 0.7 else dice.choice((24, 48, 96)) for _ in range(depth)]


def _dense(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    x = _table(dice, size)
    act, layers, before = dice.choice(ACTIVATIONS), [], x.shape[1]
    for width in _widths(dice, dice.randint(2, 12)):
        layers += [nn.Linear(before, width, bias=dice.random() < 0.8), act()]
        layers += [nn.Dropout(dice.choice((0.1, 0.5)))] if dice.random() < 0.15 else []
        before = width
    return nn.Sequential(*layers, nn.Linear(before, classes)), x


def _conv(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    x = _pictures(dice, size)
    act, before, side = dice.choice(ACTIVATIONS), x.shape[1], x.shape[2]
    layers: list[nn.Module] = []
    for i in range(dice.randint(2, 6)):
        width, kernel = dice.choice((16, 24, 32)), dice.choice((1, 3, 3, 5))
        groups = 1 if i == 0 or before % 4 or width % 4 else dice.choice((1, 1, 1, 2, 4))
        stride = dice.choice((1, 1, 2)) if side >= 8 else 1
        dilation = 2 if kernel == 3 and side >= 8 and dice.random() < 0.15 else 1
        padding = dice.choice((0, dilation * (kernel // 2))) if side > 8 else dilation * (kernel // 2)
        if i and dice.random() < 0.15:
            layers.append(nn.Conv2d(before, before, 3, padding=1, groups=before))
        layers += [nn.Conv2d(before, width, kernel, stride, padding, dilation, groups), act()]
        side = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if side >= 6 and dice.random() < 0.3:
            layers += [dice.choice((nn.MaxPool2d, nn.AvgPool2d))(2)]
            side //= 2
        elif side <= 4 and dice.random() < 0.15:
            layers += [nn.ConvTranspose2d(width, width, 2, stride=2), act()]
            side *= 2
        before = width
    if dice.random() < 0.5:
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)), x
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side * side, classes)), x


class Residual(nn.Module):
    """x + scale * inside(norm(x)), or norm(x + ...) behind it."""

    def __init__(self, inside: nn.Module, norm: nn.Module | None, *, post: bool, scale: float) -> None:
        super().__init__()
        self.inside, self.norm, self.post, self.scale = inside, norm, post, scale

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        inner = self.inside(x if self.norm is None or self.post else self.norm(x))
        out = x + (inner if self.scale == 1.0 else inner * self.scale)
        normed: Tensor = self.norm(out) if self.norm is not None and self.post else out
        return normed


def _residual(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    act, depth = dice.choice(ACTIVATIONS), dice.randint(2, 8)
    scale = dice.choice((1.0, 1.0, 0.5, depth**-0.5))
    normed, post = dice.random() < 0.5, dice.random() < 0.4
    if dice.random() < 0.5:
        x, width = _table(dice, size), dice.choice((32, 64, 128))
        norm = dice.choice((nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm))
        blocks = [
            Residual(
                nn.Sequential(nn.Linear(width, width), act(), nn.Linear(width, width)),
                norm(width) if normed else None,
                post=post,
                scale=scale,
            )
            for _ in range(depth)
        ]
        return nn.Sequential(nn.Linear(x.shape[1], width), *blocks, nn.Linear(width, classes)), x
    x, width = _pictures(dice, size), dice.choice((16, 24, 32))
    blocks = [
        Residual(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), act(), nn.Conv2d(width, width, 3, padding=1)),
            dice.choice((nn.BatchNorm2d, lambda w: nn.GroupNorm(4, w)))(width) if normed else None,
            post=post,
            scale=scale,
        )
        for _ in range(min(depth, 5))
    ]
    stem = nn.Conv2d(x.shape[1], width, 3, stride=dice.choice((1, 2)), padding=1)
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)), x


def _normalised(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    act, layers, first = dice.choice(ACTIVATIONS), [], dice.random() < 0.7
    if dice.random() < 0.5:
        x = _table(dice, size)
        before, norm = x.shape[1], dice.choice((nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm))
        for width in _widths(dice, dice.randint(2, 10)):
            layers += [nn.Linear(before, width), *((norm(width), act()) if first else (act(), norm(width)))]
            before = width
        return nn.Sequential(*layers, nn.Linear(before, classes)), x
    x = _pictures(dice, size)
    before = x.shape[1]
    norms: tuple[Callable[[int], nn.Module], ...] = (nn.BatchNorm2d, lambda w: nn.GroupNorm(4, w), nn.InstanceNorm2d)
    maker = dice.choice(norms)
    for i in range(dice.randint(2, 6)):
        width = dice.choice((16, 24, 32))
        layers += [nn.Conv2d(before, width, 3, stride=2 if i == 2 else 1, padding=1)]
        layers += [maker(width), act()] if first else [act(), maker(width)]
        before = width
    if maker is nn.InstanceNorm2d:  # the mean over what it normalised would be zero
        layers += [nn.Conv2d(before, before, 1), act()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)), x


class Pooled(nn.Module):
    """The mean over positions, the first or the last of them, in front of a linear layer."""

    def __init__(self, width: int, classes: int, how: str) -> None:
        super().__init__()
        self.head, self.how = nn.Linear(width, classes), how

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of (example, position, unit)."""
        picked = x.mean(1) if self.how == "mean" else x[:, 0] if self.how == "first" else x[:, -1]
        outputs: Tensor = self.head(picked)
        return outputs


class SelfAttention(nn.Module):
    """x + attention(norm(x)) written out, by the fused function or by hand."""

    def __init__(self, width: int, heads: int, *, fused: bool, causal: bool) -> None:
        super().__init__()
        self.norm, self.heads, self.fused, self.causal = nn.LayerNorm(width), heads, fused, causal
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        b, t, w = x.shape
        y = self.norm(x)
        q, k, v = (part(y).view(b, t, self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value))
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(w // self.heads), dim=-1)
            mixed = weights @ v
        out: Tensor = x + self.out(mixed.transpose(1, 2).reshape(b, t, w))
        return out


class Encoder(nn.Module):
    """Tokens or steps with positions, some blocks of attention, a head."""

    def __init__(self, first: nn.Module, width: int, steps: int, blocks: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.first, self.blocks, self.head = first, nn.ModuleList(blocks), head
        self.place = nn.Parameter(torch.randn(1, steps, width) * 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of (example, position) tokens or (example, position, feature) steps."""
        x = self.first(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x)  # type: ignore[no-any-return]


def _attention(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    width, heads, depth = dice.choice((32, 64)), dice.choice((2, 4)), dice.randint(1, 4)
    how, kind = dice.choice(("mean", "first", "last")), dice.choice(("module", "fused", "hand"))
    if dice.random() < 0.5:
        x: Tensor = _sequences(dice, size)
        first: nn.Module = nn.Linear(x.shape[2], width)
    else:
        x = torch.randint(0, 50, (size, dice.choice((6, 12, 24))))
        first = nn.Embedding(50, width)
    blocks: list[nn.Module] = []
    pre, causal = dice.random() < 0.6, dice.random() < 0.3
    for _ in range(depth):
        if kind == "module":
            wide = dice.choice((width, 2 * width))
            act = dice.choice(("relu", "gelu"))
            blocks.append(nn.TransformerEncoderLayer(width, heads, wide, 0.0, act, batch_first=True, norm_first=pre))
        else:
            blocks.append(SelfAttention(width, heads, fused=kind == "fused", causal=causal and kind == "fused"))
            inside = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            blocks.append(Residual(inside, nn.LayerNorm(width), post=False, scale=1.0))
    return Encoder(first, width, x.shape[1], blocks, Pooled(width, classes, how)), x


class Recurrent(nn.Module):
    """A recurrent layer and a head on the mean, the last step or the final state."""

    def __init__(self, layer: nn.Module, width: int, classes: int, how: str, first: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.layer, self.head = first or nn.Identity(), layer, Pooled(width, classes, how)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of (example, step, feature)."""
        return self.head(self.layer(self.first(x))[0])  # type: ignore[no-any-return]


def _recurrent(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    x, width = _sequences(dice, size), dice.choice((24, 32, 64))
    facts: dict[str, Any] = {"batch_first": True, "num_layers": dice.choice((1, 1, 2)), "bidirectional": dice.random() < 0.2}
    kind = dice.choice((nn.RNN, nn.LSTM, nn.GRU))
    if kind is nn.RNN:
        facts["nonlinearity"] = dice.choice(("tanh", "tanh", "relu"))
    wide = dice.choice((16, 32))
    layer = kind(wide, width, **facts)
    if kind is nn.LSTM and dice.random() < 0.4:
        for name, bias in layer.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(bias.detach()[width : 2 * width])
    how = dice.choice(("mean", "last", "last"))
    first = nn.Sequential(nn.Linear(x.shape[2], wide), nn.Tanh())
    return Recurrent(layer, width * (1 + facts["bidirectional"]), classes, how, first), x


def _embedding(dice: random.Random, size: int, classes: int) -> tuple[nn.Module, Tensor]:
    words, width, steps = dice.choice((20, 100, 1000)), dice.choice((16, 32, 64)), dice.choice((5, 12, 24))
    x = torch.randint(0, words, (size, steps))
    act, inside = dice.choice(ACTIVATIONS), []
    for _ in range(dice.randint(1, 4)):
        inside += [nn.Linear(width, width), act()]
        inside += [nn.LayerNorm(width)] if dice.random() < 0.3 else []
    head = Pooled(width, classes, dice.choice(("mean", "last")))
    if dice.random() < 0.3:
        flat = nn.Sequential(nn.Embedding(words, width), nn.Flatten(), nn.Linear(steps * width, width), act())
        return nn.Sequential(*flat, nn.Linear(width, classes)), x
    return nn.Sequential(nn.Embedding(words, width), *inside, head), x


_BUILDERS: dict[str, Callable[[random.Random, int, int], tuple[nn.Module, Tensor]]] = {
    "dense": _dense,
    "conv": _conv,
    "residual": _residual,
    "normalised": _normalised,
    "attention": _attention,
    "recurrent": _recurrent,
    "embedding": _embedding,
}
