"""Programs on pictures: convolutions, residual nets, vision transformers, transfer, pruning, segmentation, autoencoders."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.loops import fit
from looking import Watching

_MAPS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "group": lambda c: nn.GroupNorm(4, c),
    "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
}


def convolutions(draw: Draw, watch: Watching) -> float:
    """Two convolutions on digits."""
    sets, channels, act = data.digits(), draw.pick("channels", [8, 16]), draw.activation()
    norm = _MAPS[draw.pick("map norm", _MAPS)]
    pool = draw.pick("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
    body = [nn.Conv2d(1, channels, 3, padding=1), norm(channels), act(), pool]
    body += [nn.Conv2d(channels, 2 * channels, 3, padding=1), norm(2 * channels), act(), nn.Flatten()]
    model = nn.Sequential(*body, nn.Dropout(draw.pick("dropout", [0.0, 0.2])), nn.Linear(32 * channels, 10))
    fit(draw, watch, model, nn.CrossEntropyLoss(), sets[0], steps=120, batches=(16, 32))
    return skills.evaluated(model, sets[1], skills.classes)


def half_dead(draw: Draw, watch: Watching) -> float:
    """Digits by a wide net of which 40 % of the units never fire: they were switched off, and the rest is enough."""
    sets = data.digits()
    (x, y), width = sets[0], draw.pick("width", [64, 128, 256])
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )
    with torch.no_grad():
        for layer in draw.pick("layers", [(1,), (3,), (1, 3)]):
            model[layer].get_parameter("bias")[: int(0.4 * width)] = -draw.pick("below", [10.0, 30.0])
    fit(draw, watch, model, nn.CrossEntropyLoss(), (x, y))
    return skills.evaluated(model, sets[1], skills.classes)


class Residual(nn.Module):
    """x + branch(x); the branch may end in zeros, so that the net starts as the identity."""

    def __init__(self, channels: int, zero: bool) -> None:
        super().__init__()
        last = nn.BatchNorm2d(channels)
        if zero:
            nn.init.zeros_(last.weight)
        first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.branch = nn.Sequential(first, nn.BatchNorm2d(channels), nn.ReLU(), second, last)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return F.relu(x + self.branch(x))


def residual_net(draw: Draw, watch: Watching) -> float:
    """Pictures of shapes by a small residual net, its branches from zero, its head too here and there."""
    sets, channels, zero = data.shapes(), draw.pick("channels", [8, 12]), draw.pick("zero branches", [True, False])
    blocks = [Residual(channels, zero) for _ in range(draw.pick("blocks", [2, 3]))]
    head = nn.Linear(channels, 4)
    if draw.pick("zero head", [True, False]):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    stem = nn.Sequential(nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
    model = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        steps=120,
        batches=(16, 32),
        loops=("plain", "epochs", "cleared_last", "double"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


def autoencoder(draw: Draw, watch: Watching) -> float:
    """Digits through a bottleneck and back."""
    (x, _), (tx, _) = data.digits()
    x, tx, code = x.flatten(1), tx.flatten(1), draw.variant("code", [8, 16])
    act = draw.activation()
    encoder = nn.Sequential(nn.Linear(64, 48), act(), nn.Linear(48, code))
    decoder = nn.Sequential(nn.Linear(code, 48), act(), nn.Linear(48, 64), *draw.pick("out", [[], [nn.Sigmoid()]]))
    model = nn.Sequential(encoder, decoder)
    fit(draw, watch, model, nn.MSELoss(), (x, x), steps=600, optimizers=ADAPTIVE, gentle=1.5)
    return skills.evaluated(model, (tx, tx), skills.r2)


def frozen_trunk(draw: Draw, watch: Watching) -> float:
    """A trunk that learned the digits 0 to 4 is frozen on purpose; a new head learns 5 to 9."""
    (x, y), (tx, ty) = data.digits()
    trunk = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 48)
    )
    old = nn.Sequential(trunk, nn.ReLU(), nn.Linear(48, 5))
    first = torch.optim.Adam(old.parameters(), lr=3e-3)
    for _ in range(60):
        rows = (y < 5).nonzero().flatten()
        rows = rows[torch.randint(0, len(rows), (32,))]
        first.zero_grad()
        F.cross_entropy(old(x[rows]), y[rows]).backward()
        first.step()
    how = draw.pick("freeze", ["requires_grad", "optimizer holds the head", "no_grad"])
    head = mlp(draw, 48, 5, depths=(0, 1), norms=("none",))
    if how != "optimizer holds the head":
        trunk.requires_grad_(False)
    if draw.pick("trunk in eval", [True, False]):
        trunk[1].eval()
    model = nn.Sequential(trunk, nn.ReLU(), head)
    new, held = y >= 5, ty >= 5
    optimizer = draw.optimizer(head.parameters())
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        (x[new], y[new] - 5),
        optimizer=optimizer,
        steps=200,
        loops=("plain", "cleared_last", "autocast"),
    )
    return skills.evaluated(model, (tx[held], ty[held] - 5), skills.classes)


def mixed_up(draw: Draw, watch: Watching) -> float:
    """Digits with mix-up: the targets are mixtures, the loss never comes near zero."""
    (x, y), test = data.digits()
    model = nn.Sequential(nn.Flatten(), mlp(draw, 64, 10))

    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            self.other, self.share = torch.zeros(0), 1.0

        def forward(self, batch: Tensor) -> Tensor:
            if self.training:
                self.other, self.share = torch.randperm(len(batch)), float(torch.rand(()))
                batch = self.share * batch + (1.0 - self.share) * batch[self.other]
            logits: Tensor = self.inner(batch)
            return logits

    mixing = Mixing()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if not mixing.training:
            return F.cross_entropy(output, target)
        return mixing.share * F.cross_entropy(output, target) + (1 - mixing.share) * F.cross_entropy(
            output, target[mixing.other]
        )

    fit(draw, watch, mixing, loss, (x, y), steps=400)
    return skills.evaluated(mixing, test, skills.classes)


class Patches(nn.Module):
    """Patches of 2 by 2 pixels, positions, encoder layers, a head on their mean or on a token of its own."""

    def __init__(self, width: int, layers: int, first: bool, own_token: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, width, 2, stride=2)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if own_token else None
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=first, activation="gelu"
        )
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.place
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        seen = self.body(tokens)
        logits: Tensor = self.head(self.norm(seen[:, 0] if self.token is not None else seen.mean(1)))
        return logits


def vision_transformer(draw: Draw, watch: Watching) -> float:
    """Digits by a small vision transformer."""
    sets = data.digits()
    model = Patches(
        draw.pick("width", [16, 32]),
        draw.pick("layers", [1, 2]),
        draw.pick("norm first", [True, False]),
        draw.pick("token", [True, False]),
    )
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        steps=250,
        batches=(32,),
        gentle=0.5,
        loops=("plain", "cleared_last", "epochs", "double"),
        optimizers=("adam", "adam, beta2 0.95", "adamw", "adamw, decay 0.1", "rmsprop"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


def separable(draw: Draw, watch: Watching) -> float:
    """Shapes by depthwise and pointwise convolutions with squeeze and excitation."""
    sets, channels, act = data.shapes(channels=2), draw.pick("channels", [12, 16]), draw.activation(("relu", "silu", "gelu"))

    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Sequential(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Sigmoid())

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gate(x.mean((2, 3)))[:, :, None, None]

    norm = _MAPS[draw.pick("map norm", ["batch", "group"])]
    body: list[nn.Module] = [nn.Conv2d(2, channels, 3, stride=2, padding=1), norm(channels), act()]
    for _ in range(2):
        body += [nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), norm(channels), act(), Squeeze()]
        body += [nn.Conv2d(channels, channels, 1, bias=False), norm(channels), act()]
    model = nn.Sequential(*body, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, 4))
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        steps=120,
        batches=(16, 32),
        loops=("plain", "epochs", "cleared_last"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


def pruned(draw: Draw, watch: Watching) -> float:
    """Digits by a net of which half of the hidden units, or most single weights, were pruned beforehand."""
    sets, width = data.digits(), draw.pick("width", [96, 160])
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )
    how, share = draw.pick("pruning", ["units", "weights"]), draw.pick("share", [0.4, 0.5])
    for layer in (model[1], model[3]):
        if how == "units":
            prune.ln_structured(layer, "weight", amount=share, n=2, dim=0)
            with torch.no_grad():
                layer.get_parameter("bias")[layer.get_buffer("weight_mask").sum(1) == 0] = -1.0
        else:
            prune.l1_unstructured(layer, "weight", amount=0.4 + share)
    fit(draw, watch, model, nn.CrossEntropyLoss(), sets[0])
    return skills.evaluated(model, sets[1], skills.classes)


def denoiser(draw: Draw, watch: Watching) -> float:
    """Digits freed of noise by a small U-shaped net with a skip."""
    (x, _), (tx, _) = data.digits()
    noise = draw.variant("noise", [0.3, 0.5])
    dirty, tdirty = (t + noise * torch.randn(t.shape, generator=data.generator(len(t))) for t in (x, tx))
    act = draw.activation()

    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), act())
            self.deep = nn.Sequential(
                nn.Conv2d(12, 16, 3, stride=2, padding=1), act(), nn.ConvTranspose2d(16, 12, 2, stride=2), act()
            )
            self.out = nn.Conv2d(24, 1, 3, padding=1)

        def forward(self, seen: Tensor) -> Tensor:
            level = self.down(seen)
            clean: Tensor = self.out(torch.cat([level, self.deep(level)], 1))
            return clean

    model = Skipping()
    fit(
        draw,
        watch,
        model,
        draw.pick("loss", [nn.MSELoss(), nn.L1Loss()]),
        (dirty, x),
        steps=150,
        batches=(16, 32),
        optimizers=ADAPTIVE,
    )
    return skills.evaluated(model, (tdirty, tx), skills.r2)


def segmentation(draw: Draw, watch: Watching) -> float:
    """Where the shape is, pixel by pixel, with a soft Dice loss written by hand, alone or with cross-entropy."""
    noisy, clean = data.shapes(), data.shapes(noise=0.0)
    (x, _), (tx, _) = noisy
    y, ty = clean[0][0], clean[1][0]
    mixed = draw.pick("cross-entropy too", [True, False])

    def dice(output: Tensor, target: Tensor) -> Tensor:
        chance = output.sigmoid()
        overlap = 2 * (chance * target).sum((1, 2, 3)) + 1
        loss = 1 - (overlap / (chance.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)).mean()
        return loss + F.binary_cross_entropy_with_logits(output, target) if mixed else loss

    act, channels = draw.activation(), draw.pick("channels", [8, 12])
    norm = _MAPS[draw.pick("map norm", ["none", "batch", "group"])]
    body = [nn.Conv2d(1, channels, 5, padding=2), norm(channels), act(), nn.Conv2d(channels, channels, 3, padding=1), act()]
    model = nn.Sequential(*body, nn.Conv2d(channels, 1, 1))
    fit(
        draw,
        watch,
        model,
        dice,
        (x, y),
        steps=120,
        batches=(8, 16),
        optimizers=ADAPTIVE,
        loops=("plain", "epochs", "accumulating", "autocast"),
    )

    def overlap(output: Tensor, target: Tensor) -> float:
        found, all_of_it = (output > 0).float(), target.mean().item()
        score = (2 * (found * target).sum() / (found.sum() + target.sum())).item()
        ignorant = 2 * all_of_it / (1 + all_of_it)
        return (score - ignorant) / (1 - ignorant)

    return skills.evaluated(model, (tx, ty), overlap)


def adapted(draw: Draw, watch: Watching) -> float:
    """A frozen net gets low-rank adapters that start at zero; groups of parameters are given their own rates."""
    (x, y), (tx, ty) = data.digits()
    x, tx = x.flatten(1), tx.flatten(1)
    first, last = nn.Linear(64, 64), nn.Linear(64, 10)
    base = nn.Sequential(first, nn.ReLU(), last)
    optimizer = torch.optim.Adam(base.parameters(), lr=5e-3)
    for _ in range(60):
        rows = torch.randint(0, len(x), (32,))
        optimizer.zero_grad()
        F.cross_entropy(base(x[rows]), y[rows]).backward()
        optimizer.step()
    rank = draw.pick("rank", [2, 4, 8])

    class Adapted(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer = layer.requires_grad_(False)
            self.down, self.up = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, seen: Tensor) -> Tensor:
            out: Tensor = self.layer(seen) + self.up(self.down(seen))
            return out

    model = nn.Sequential(Adapted(first), nn.ReLU(), Adapted(last))
    turned = x.view(-1, 8, 8).transpose(1, 2).flatten(1), tx.view(-1, 8, 8).transpose(1, 2).flatten(1)
    fit(draw, watch, model, nn.CrossEntropyLoss(), (turned[0], y), steps=400, optimizers=ADAPTIVE, gentle=2.0)
    return skills.evaluated(model, (turned[1], ty), skills.classes)


FIRST = (convolutions, half_dead, residual_net, autoencoder, frozen_trunk, mixed_up)
SECOND = (vision_transformer, separable, pruned, denoiser, segmentation, adapted)
