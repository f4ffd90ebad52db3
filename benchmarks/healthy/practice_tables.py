"""Programs on tables in the way of notebooks: epochs, validation, weighted classes, weak signals, nets that learn by heart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.practice import practised, split
from looking import Watching


class Embedded(nn.Module):
    """Categories as vectors beside numbers, and a body behind them."""

    def __init__(self, sizes: list[int], dim: int, numbers: int, body: nn.Module) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(size, dim) for size in sizes])
        self.norm = nn.BatchNorm1d(numbers)
        self.body = body

    def forward(self, kinds: Tensor, numbers: Tensor) -> Tensor:
        """(N, K) and (N, F) to what the body gives."""
        found = [table(kinds[:, i]) for i, table in enumerate(self.tables)]
        return self.body(torch.cat([*found, self.norm(numbers)], 1))


def leaving_customers(draw: Draw, watch: Watching) -> float:
    """Who will leave, one in eight: categories and numbers, classes weighted by their frequency."""
    g = data.generator(101)
    kinds = torch.stack([torch.randint(0, n, (4000,), generator=g) for n in (8, 5, 12)], 1)
    numbers = torch.randn(4000, 4, generator=g) * torch.tensor([1.0, 20.0, 300.0, 5.0])
    tastes = [torch.randn(n, generator=g) for n in (8, 5, 12)]
    score = sum(taste[kinds[:, i]] for i, taste in enumerate(tastes)) + numbers[:, 1] / 10 + 0.5 * numbers[:, 0]
    y = (score > score.quantile(0.875)).long()
    dim = draw.pick("dimension", [2, 4, 8])
    model = Embedded([8, 5, 12], dim, 4, mlp(draw, 3 * dim + 4, 2, widths=(16, 32, 64), depths=(1, 2)))
    weight = torch.tensor([1.0, draw.pick("weight", [4.0, 7.0])])
    train, val, test = split((kinds, numbers, y), 1400, 400)
    kept = practised(draw, watch, model, lambda o, t: F.cross_entropy(o, t, weight), train, val, epochs=7, gentle=1.0)
    return skills.evaluated(kept, test, lambda o, t: skills.balanced(o.argmax(1), t))


def faint_returns(draw: Draw, watch: Watching) -> float:
    """Numbers of which a tenth can be foretold at best."""
    g = data.generator(102)
    x = torch.randn(16_000, 5, generator=g)
    y = x @ torch.randn(5, generator=g)
    best = draw.variant("best", [0.12, 0.2])
    y = (best**0.5 * y / y.std() + (1 - best) ** 0.5 * torch.randn(16_000, generator=g))[:, None]
    model = mlp(draw, 5, 1, widths=(8, 16), depths=(0,), dropouts=(0.0,), norms=("none",))
    train, val, test = split((x, y), 7000, 1000)
    kinds = ("adam", "adamw", "nadam")
    habits = ("plain", "early stopping", "best checkpoint", "averaged")
    kept = practised(
        draw, watch, model, nn.MSELoss(), train, val, epochs=4, gentle=1.5, optimizers=kinds, batches=(64, 128), habits=habits
    )
    return skills.evaluated(kept, test, skills.r2)


def faint_classes(draw: Draw, watch: Watching) -> float:
    """Three classes of which the best answer is right in less than half of the rows."""
    g = data.generator(103)
    x = torch.randn(16_000, 6, generator=g)
    clear = (x @ torch.randn(6, 3, generator=g)).argmax(1)
    y = torch.where(torch.rand(16_000, generator=g) < 0.22, clear, torch.randint(0, 3, (16_000,), generator=g))
    model = mlp(draw, 6, 3, widths=(8, 16), depths=(0,), dropouts=(0.0,), norms=("none",))
    train, val, test = split((x, y), 8000, 1000)
    kinds = ("adam", "adamw", "nadam")
    kept = practised(
        draw, watch, model, nn.CrossEntropyLoss(), train, val, epochs=4, gentle=1.5, optimizers=kinds, batches=(64, 128)
    )
    return skills.evaluated(kept, test, skills.classes)


class Focal(nn.Module):
    """Cross-entropy in which what is easy counts little."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean over the rows."""
        each = F.cross_entropy(output, y, reduction="none")
        return ((1 - torch.exp(-each)) ** self.gamma * each).mean()


def focal(draw: Draw, watch: Watching) -> float:
    """Clouds of unequal size with the focal loss."""
    x, y = (torch.cat(t) for t in zip(*data.blobs(5, 9, 0.9), strict=True))
    kept_rows = torch.rand(len(y), generator=data.generator(104)) < torch.tensor([1.0, 0.6, 0.5, 0.4, 0.3])[y]
    x, y = x[kept_rows], y[kept_rows]
    model = mlp(draw, 9, 5)
    train, val, test = split((x, y), 900, 200)
    kept = practised(draw, watch, model, Focal(draw.pick("gamma", [1.0, 2.0])), train, val, epochs=12)
    return skills.evaluated(kept, test, lambda o, t: skills.balanced(o.argmax(1), t))


class ResidualTable(nn.Module):
    """A stem, blocks that add to it, and a head."""

    def __init__(self, width: int, depth: int, dropout: float, norm: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Linear(10, width)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    norm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
                )
                for _ in range(depth)
            ]
        )
        self.head = nn.Sequential(norm(width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 10) to (N, 1)."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def residual_table(draw: Draw, watch: Watching) -> float:
    """Friedman's function with residual blocks, Huber's loss."""
    x, y = (torch.cat(t) for t in zip(*data.friedman(0.3), strict=True))
    norm = draw.pick("norm", [nn.BatchNorm1d, nn.LayerNorm])
    model = ResidualTable(draw.pick("width", [24, 48]), draw.pick("depth", [1, 2, 4]), draw.pick("dropout", [0.0, 0.1]), norm)
    train, val, test = split((x, y), 1200, 300)
    kept = practised(draw, watch, model, nn.HuberLoss(), train, val, epochs=9, optimizers=ADAPTIVE)
    return skills.evaluated(kept, test, skills.r2)


def by_heart(draw: Draw, watch: Watching) -> float:
    """Eighty rows over and over until the loss is next to nothing; what was learned holds for others."""
    x, y = (torch.cat(t) for t in zip(*data.blobs(4, 12, 1.0), strict=True))
    model = mlp(draw, 12, 4, widths=(32, 64, 128), dropouts=(0.0,), norms=("none", "layer"))
    train, val, test = split((x, y), 80, 200)
    kept = practised(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        train,
        val,
        epochs=60,
        batches=(8, 16),
        gentle=0.7,
        habits=("plain", "resumed"),
    )
    return skills.evaluated(kept, test, skills.classes)


def too_many_weights(draw: Draw, watch: Watching) -> float:
    """A hundred weights for every row."""
    x, y = (torch.cat(t) for t in zip(*data.waves(3, 1, 0.05), strict=True))
    model = mlp(
        draw,
        3,
        1,
        widths=(192, 256),
        depths=(2,),
        dropouts=(0.0,),
        norms=("none",),
        activations=("relu", "gelu", "tanh", "silu"),
    )
    train, val, test = split((x, y), 400, 200)
    kept = practised(draw, watch, model, nn.MSELoss(), train, val, epochs=24, gentle=0.5, optimizers=ADAPTIVE, batches=(32,))
    return skills.evaluated(kept, test, skills.r2)


def claims(draw: Draw, watch: Watching) -> float:
    """Amounts above zero whose spread grows with them: a log link and the likelihood of the gamma distribution."""
    g = data.generator(105)
    x = torch.randn(4000, 6, generator=g)
    mean = torch.exp(1.0 + 0.6 * x[:, 0] - 0.4 * x[:, 1] + 0.5 * torch.sin(2 * x[:, 2]))
    y = (mean * 0.25 * torch.empty(4000, 4).exponential_(generator=g).sum(1))[:, None]
    model = mlp(draw, 6, 1, widths=(16, 32, 64), depths=(1, 2), norms=("none", "layer", "batch"))
    train, val, test = split((x, y), 2000, 400)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return (target * torch.exp(-output) + output).mean()

    kept = practised(draw, watch, model, loss, train, val, epochs=7, gentle=0.6)
    return skills.evaluated(kept, test, lambda o, t: skills.r2(o, t.log()))


def holes(draw: Draw, watch: Watching) -> float:
    """A table with missing entries is filled: masked inputs with their mask, the error over what was hidden."""
    g = data.generator(106)
    hidden = torch.randn(2600, 3, generator=g)
    whole = torch.tanh(hidden @ torch.randn(3, 14, generator=g)) + 0.05 * torch.randn(2600, 14, generator=g)
    mask = (torch.rand(2600, 14, generator=g) < 0.75).float()
    model = mlp(draw, 28, 14, widths=(48, 96), depths=(1, 2), dropouts=(0.0,), norms=("none", "layer"))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        values, known = target.chunk(2, 1)
        return ((output - values).square() * (1 - known)).sum() / (1 - known).sum()

    rows = (torch.cat([whole * mask, mask], 1), torch.cat([whole, mask], 1))
    train, val, test = split(rows, 1400, 300)
    kept = practised(draw, watch, model, loss, train, val, epochs=10, optimizers=ADAPTIVE)
    variance = whole.var().item()
    return skills.evaluated(kept, test, lambda o, t: 1.0 - loss(o, t).item() / variance)


THIRD = (leaving_customers, faint_returns, faint_classes, focal, residual_table, by_heart, too_many_weights, claims, holes)
