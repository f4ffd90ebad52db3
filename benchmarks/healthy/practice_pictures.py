"""Programs on pictures in the way of notebooks: epochs, augmentation, pretext tasks, probes, keypoints, nets with gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw
from healthy.practice import practised, split
from looking import Watching


def _digits() -> tuple[Tensor, Tensor]:
    (x, y), (tx, ty) = data.digits()
    return torch.cat([x, tx]), torch.cat([y, ty])


def _shapes(size: int, noise: float) -> tuple[Tensor, Tensor]:
    (x, y), (tx, ty) = data.shapes(size, noise=noise, rows=1300, train=700)
    return torch.cat([x, tx]), torch.cat([y, ty])


def _conv(draw: Draw, inputs: int, outputs: int, act: nn.Module, normed: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=not normed)]
    return [*layers, *([nn.BatchNorm2d(outputs)] if normed else []), act]


def _classifier(draw: Draw, classes: int, size: int, widths: tuple[int, ...] = (8, 16)) -> nn.Sequential:
    width, normed, act = (
        draw.pick("width", widths),
        draw.pick("normed", [True, False]),
        draw.activation(("relu", "gelu", "elu", "silu")),
    )
    return nn.Sequential(
        *_conv(draw, 1, width, act(), normed),
        nn.MaxPool2d(2),
        *_conv(draw, width, 2 * width, act(), normed),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(draw.pick("dropout", [0.0, 0.0, 0.2])),
        nn.Linear(8 * width, classes),
    )


def smoothed_digits(draw: Draw, watch: Watching) -> float:
    """Digits with smoothed labels."""
    model = _classifier(draw, 10, 8)
    loss = nn.CrossEntropyLoss(label_smoothing=draw.pick("smoothing", [0.05, 0.1, 0.2]))
    train, val, test = split(_digits(), 700, 200)
    kept = practised(draw, watch, model, loss, train, val, epochs=8)
    return skills.evaluated(kept, test, skills.classes)


def cut_out(draw: Draw, watch: Watching) -> float:
    """Shapes of which a piece is cut out and that are moved about while training."""
    x, y = _shapes(12, 0.2)
    size = draw.pick("cut", [2, 4])

    def changed(images: Tensor) -> Tensor:
        row, column = (int(torch.randint(0, 12 - size, ())) for _ in range(2))
        images = images.clone()
        images[:, :, row : row + size, column : column + size] = 0
        return images.roll((int(torch.randint(-1, 2, ())), int(torch.randint(-1, 2, ()))), (2, 3))

    train, val, test = split((x, y), 700, 150)
    kept = practised(
        draw, watch, _classifier(draw, 4, 12), nn.CrossEntropyLoss(), train, val, epochs=10, batches=(16, 32), changed=changed
    )
    return skills.evaluated(kept, test, skills.classes)


def which_way_up(draw: Draw, watch: Watching) -> float:
    """A pretext task: by which of four turns was the digit turned?"""
    x, _ = _digits()
    turn = torch.randint(0, 4, (len(x),), generator=data.generator(111))
    turned = torch.stack([torch.rot90(image, int(k), (1, 2)) for image, k in zip(x, turn, strict=True)])
    train, val, test = split((turned, turn), 900, 200)
    kept = practised(
        draw, watch, _classifier(draw, 4, 8), nn.CrossEntropyLoss(), train, val, epochs=10, optimizers=ADAPTIVE, gentle=1.5
    )
    return skills.evaluated(kept, test, skills.classes)


class Probe(nn.Module):
    """Fixed features of a first layer that never learns, and a linear probe on them."""

    def __init__(self, features: int, normed: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, features, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
        self.trunk.requires_grad_(False)
        self.head = nn.Sequential(*([nn.LayerNorm(16 * features)] if normed else []), nn.Linear(16 * features, 10))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        with torch.no_grad():
            features = self.trunk(x)
        return self.head(features)


def linear_probe(draw: Draw, watch: Watching) -> float:
    """A linear probe on features that are frozen on purpose and computed without a graph."""
    model = Probe(draw.pick("features", [8, 16]), draw.pick("normed", [True, False]))
    train, val, test = split(_digits(), 700, 200)
    kept = practised(draw, watch, model, nn.CrossEntropyLoss(), train, val, epochs=8)
    return skills.evaluated(kept, test, skills.classes)


class Gate(nn.Module):
    """Squeeze and excitation: every channel weighed by what all of them say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, max(2, channels // 4)), nn.Linear(max(2, channels // 4), channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        weight = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * weight[:, :, None, None]


def gated_channels(draw: Draw, watch: Watching) -> float:
    """Shapes by convolutions with squeeze and excitation."""
    width, act = draw.pick("width", [8, 12]), draw.activation(("relu", "silu", "gelu"))
    model = nn.Sequential(
        *_conv(draw, 1, width, act(), True),
        Gate(width),
        nn.MaxPool2d(2),
        *_conv(draw, width, 2 * width, act(), True),
        Gate(2 * width),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 4),
    )
    train, val, test = split(_shapes(12, 0.3), 700, 150)
    kept = practised(draw, watch, model, nn.CrossEntropyLoss(), train, val, epochs=8, batches=(16, 32))
    return skills.evaluated(kept, test, skills.classes)


class Dense(nn.Module):
    """Every layer sees all before it."""

    def __init__(self, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.BatchNorm2d(1 + growth * i), nn.ReLU(), nn.Conv2d(1 + growth * i, growth, 3, padding=1))
                for i in range(layers)
            ]
        )
        self.head = nn.Linear(4 * (1 + growth * layers), 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N, 10)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(F.adaptive_avg_pool2d(F.relu(x), 2).flatten(1))


def densely_connected(draw: Draw, watch: Watching) -> float:
    """Digits by a small DenseNet."""
    model = Dense(draw.pick("growth", [4, 8]), draw.pick("layers", [2, 4]))
    train, val, test = split(_digits(), 480, 150)
    kept = practised(draw, watch, model, nn.CrossEntropyLoss(), train, val, epochs=8, batches=(16, 32))
    return skills.evaluated(kept, test, skills.classes)


class Keypoint(nn.Module):
    """A map of where the point may be, and the mean place under it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 1),
        )
        self.register_buffer("line", torch.linspace(-1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 12, 12) to (N, 2)."""
        weight = self.net(x).flatten(1).softmax(1).view(-1, 12, 12)
        return torch.stack([(weight.sum(2) * self.line).sum(1), (weight.sum(1) * self.line).sum(1)], 1)


def keypoint(draw: Draw, watch: Watching) -> float:
    """Where is the bright spot: a softmax over the map, squared or absolute error."""
    g = data.generator(112)
    place = 1.6 * torch.rand(1100, 2, generator=g) - 0.8
    grid = torch.linspace(-1, 1, 12)
    distance = (grid[None, :, None] - place[:, 0, None, None]) ** 2 + (grid[None, None] - place[:, 1, None, None]) ** 2
    x = (torch.exp(-distance / 0.06) + 0.2 * torch.randn(1100, 12, 12, generator=g))[:, None]
    train, val, test = split((x, place), 600, 150)
    loss = draw.pick("loss", [nn.MSELoss(), nn.SmoothL1Loss(), nn.L1Loss()])
    model = Keypoint(draw.pick("width", [8, 12]))
    kept = practised(draw, watch, model, loss, train, val, epochs=8, batches=(16, 32), optimizers=ADAPTIVE)
    return skills.evaluated(kept, test, skills.r2)


class Sine(nn.Module):
    """A sine layer as in SIREN."""

    def __init__(self, inputs: int, outputs: int, speed: float, first: bool) -> None:
        super().__init__()
        self.linear, self.speed = nn.Linear(inputs, outputs), speed
        bound = 1 / inputs if first else (6 / inputs) ** 0.5 / speed
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(N, I) to (N, O)."""
        return torch.sin(self.speed * self.linear(x))


def picture_as_function(draw: Draw, watch: Watching) -> float:
    """A picture is learned as a function of its coordinates, with sines for activations; judged between the pixels it saw."""
    line = torch.linspace(-1, 1, 48)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    y = (torch.sin(6 * grid[:, 0]) * torch.cos(4 * grid[:, 1]) + (grid.norm(dim=1) < 0.6).float()).unsqueeze(1)
    order = torch.randperm(len(grid), generator=data.generator(113))
    width, speed = draw.pick("width", [32, 64]), draw.pick("speed", [8.0, 12.0])
    model = nn.Sequential(Sine(2, width, speed, True), Sine(width, width, speed, False), nn.Linear(width, 1))
    train, val, test = split((grid[order], y[order]), 1200, 300)
    kept = practised(
        draw, watch, model, nn.MSELoss(), train, val, epochs=8, optimizers=("adam", "adamw", "radam", "amsgrad"), gentle=0.5
    )
    return skills.evaluated(kept, test, skills.r2)


def sharper(draw: Draw, watch: Watching) -> float:
    """Digits of four by four pixels are made eight by eight again: transposed or resized convolutions around a plain resize."""
    x, _ = _digits()
    small = F.avg_pool2d(x, 2)
    width = draw.pick("width", [8, 16])
    up: nn.Module = draw.pick("up", [nn.ConvTranspose2d(width, width, 4, stride=2, padding=1), nn.Upsample(scale_factor=2)])
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        up,
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 1, 3, padding=1),
    )
    train, val, test = split((small, x), 600, 150)
    kept = practised(draw, watch, model, nn.MSELoss(), train, val, epochs=8, batches=(16, 32), optimizers=ADAPTIVE)
    return skills.evaluated(kept, test, lambda o, t: skills.r2(o.flatten(1), t.flatten(1)))


THIRD = (
    smoothed_digits,
    cut_out,
    which_way_up,
    linear_probe,
    gated_channels,
    densely_connected,
    keypoint,
    picture_as_function,
    sharper,
)
