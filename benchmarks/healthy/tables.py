"""Programs on tables: classes, numbers, counts, ranks; rare, noisy, constant and unscaled columns among them."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.loops import fit
from looking import Watching


def blobs(draw: Draw, watch: Watching) -> float:
    """Clouds told apart by an MLP, with label smoothing here and there."""
    classes, inputs = draw.variant("classes", [3, 8]), draw.variant("inputs", [6, 20])
    sets = data.blobs(classes, inputs, 0.8)
    model = mlp(draw, inputs, classes)
    loss = nn.CrossEntropyLoss(label_smoothing=draw.pick("smoothing", [0.0, 0.0, 0.1]))
    fit(draw, watch, model, loss, sets[0])
    return skills.evaluated(model, sets[1], skills.classes)


def small_table(draw: Draw, watch: Watching) -> float:
    """A table of a hundred rows, many times over: it ends with tiny gradients."""
    sets = data.table(draw.variant("table", ["wine", "iris"]), train=100)
    model = mlp(draw, sets[0][0].shape[1], 3)
    fit(draw, watch, model, nn.CrossEntropyLoss(), sets[0], batches=(10, 20, 50), steps=400)
    return skills.evaluated(model, sets[1], skills.classes)


def regression(draw: Draw, watch: Watching) -> float:
    """Friedman's function with squared, absolute or Huber's error."""
    sets = data.friedman(draw.variant("noise", [0.1, 0.5]))
    model = mlp(draw, 10, 1, depths=(1, 2, 4), dropouts=(0.0,))
    fit(
        draw,
        watch,
        model,
        draw.pick("loss", [nn.MSELoss(), nn.SmoothL1Loss(), nn.HuberLoss(), nn.L1Loss()]),
        sets[0],
        steps=400,
    )
    return skills.evaluated(model, sets[1], skills.r2)


def rare_class(draw: Draw, watch: Watching) -> float:
    """One class in twelve, weighted up in the cross-entropy."""
    (x, y), (tx, ty) = data.blobs(12, 8, 0.9, rows=8000, train=4000)
    model = mlp(draw, 8, 2)
    weight = torch.tensor([1.0, draw.pick("weight", [6.0, 11.0])])
    fit(draw, watch, model, lambda o, t: F.cross_entropy(o, t, weight.to(o.dtype)), (x, (y == 0).long()), gentle=0.5)
    return skills.evaluated(model, (tx, (ty == 0).long()), lambda o, t: skills.balanced(o.argmax(1), t))


def hard_labels(draw: Draw, watch: Watching) -> float:
    """Labels so noisy that the best possible skill is 0.15 to 0.3."""
    sets = data.weak(8, draw.variant("best", [0.15, 0.3]))
    model = mlp(draw, 8, 2, widths=(8, 16), depths=(0, 1), dropouts=(0.0,))
    fit(
        draw, watch, model, nn.CrossEntropyLoss(), sets[0], gentle=0.6, steps=500, batches=(128, 256), loops=("plain", "epochs")
    )
    return skills.evaluated(model, sets[1], skills.classes)


def idle_columns(draw: Draw, watch: Watching) -> float:
    """A useful table with constant and empty columns and columns of noise beside it."""
    sets = data.blobs(4, 8, 1.0)
    constant, noise = draw.pick("constant columns", [5, 20]), draw.pick("noise columns", [0, 20])

    def widened(x: Tensor) -> Tensor:
        noisy = torch.randn(len(x), noise, generator=data.generator(len(x)))
        return torch.cat([x, torch.full((len(x), constant), draw.made["constant"]), noisy], 1)

    draw.pick("constant", [0.0, 1.0])
    (x, y), (tx, ty) = sets
    model = mlp(draw, 8 + constant + noise, 4)
    fit(draw, watch, model, nn.CrossEntropyLoss(), (widened(x), y))
    return skills.evaluated(model, (widened(tx), ty), skills.classes)


def decayed_model(draw: Draw, watch: Watching) -> float:
    """Fifty rows of thirty columns: a large weight decay is right."""
    (x, y), test = data.weak(30, 0.9, rows=2080, train=80)
    model = mlp(draw, 30, 2, widths=(64,), depths=(1,), norms=("none",))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=draw.log("learning rate", 0.03, 0.1), weight_decay=draw.log("decay", 0.02, 0.1)
    )
    fit(draw, watch, model, nn.CrossEntropyLoss(), (x, y), optimizer=optimizer, batches=(16, 40), steps=400)
    return skills.evaluated(model, test, skills.classes)


def rings(draw: Draw, watch: Watching) -> float:
    """Rings in the plane: two inputs, a deep enough net."""
    classes = draw.variant("classes", [2, 3])
    sets = data.rings(classes, 0.06)
    model = mlp(draw, 2, classes, widths=(32, 64), depths=(2, 3, 4), dropouts=(0.0,))
    fit(draw, watch, model, draw.pick("loss", [nn.CrossEntropyLoss(), nn.MultiMarginLoss()]), sets[0], steps=500)
    return skills.evaluated(model, sets[1], skills.classes)


class LogProbabilities(nn.Module):
    """A body and log-softmax, for the negative log-likelihood."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) to (N, C) of log-probabilities."""
        return F.log_softmax(self.body(x), dim=1)


def unscaled_table(draw: Draw, watch: Watching) -> float:
    """Columns in their own units, made harmless by a normalisation at the entrance."""
    sets = data.table(draw.variant("table", ["wine", "breast_cancer"]), train=130, scaled=False)
    width, classes = sets[0][0].shape[1], int(sets[0][1].max()) + 1
    body = mlp(draw, width, classes, norms=("batch", "layer"))
    model = LogProbabilities(nn.Sequential(nn.BatchNorm1d(width), body))
    fit(draw, watch, model, nn.NLLLoss(), sets[0], loops=("plain", "epochs", "cleared_last"), batches=(32, 64))
    return skills.evaluated(model, sets[1], skills.classes)


def one_logit(draw: Draw, watch: Watching) -> float:
    """Breast cancer with one logit, a weight on the positives, here and there probabilities and BCE."""
    (x, y), (tx, ty) = data.table("breast_cancer", train=300)
    body = mlp(draw, 30, 1)
    logits = draw.pick("logits", [True, False])
    model = body if logits else nn.Sequential(body, nn.Sigmoid())
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([draw.pick("weight", [0.6, 1.5])])) if logits else nn.BCELoss()
    loops = ("plain", "epochs", "cleared_last", "accumulating", "autocast")
    fit(draw, watch, model, loss, (x, y.float()[:, None]), loops=loops)
    threshold = 0.0 if logits else 0.5
    return skills.evaluated(model, (tx, ty[:, None]), lambda o, t: skills.signs(o - threshold, t))


def noisy_numbers(draw: Draw, watch: Watching) -> float:
    """A regression whose best possible R2 is 0.1 to 0.2."""
    g = data.generator(3)
    x = torch.randn(24_000, 6, generator=g)
    y = x @ torch.randn(6, generator=g)
    best = draw.variant("best", [0.1, 0.2])
    y = best**0.5 * y / y.std() + (1 - best) ** 0.5 * torch.randn(24_000, generator=g)
    model = mlp(draw, 6, 1, widths=(8, 16), depths=(0, 1), dropouts=(0.0,))
    kinds = ("sgd", "adam", "adamw", "rmsprop", "radam")
    fit(
        draw,
        watch,
        model,
        nn.MSELoss(),
        (x[:8000], y[:8000, None]),
        gentle=0.5,
        steps=500,
        batches=(128, 256),
        optimizers=kinds,
    )
    return skills.evaluated(model, (x[8000:], y[8000:, None]), skills.r2)


def ordinal(draw: Draw, watch: Watching) -> float:
    """Five ordered grades as four cumulative logits."""
    (x, y), (tx, ty) = data.friedman(0.2)
    cuts = torch.tensor([-1.0, -0.3, 0.3, 1.0])
    model = mlp(draw, 10, 4)
    fit(
        draw,
        watch,
        model,
        lambda o, t: F.binary_cross_entropy_with_logits(o, t.to(o.dtype)),
        (x, (y > cuts).float()),
        steps=400,
    )
    return skills.evaluated(model, (tx, (ty > cuts).sum(1)), lambda o, t: skills.accuracy((o > 0).sum(1), t))


def many_labels(draw: Draw, watch: Watching) -> float:
    """Twelve labels at once, most of them absent."""
    g = data.generator(7)
    x = torch.randn(3000, 10, generator=g)
    y = (x @ torch.randn(10, 12, generator=g) / 10**0.5 > 0.8).float()
    model = mlp(draw, 10, 12)
    fit(draw, watch, model, nn.BCEWithLogitsLoss(), (x[:1000], y[:1000]), steps=400)

    def skill(output: Tensor, target: Tensor) -> float:
        return skills.accuracy((output > 0).long().flatten(), target.long().flatten())

    return skills.evaluated(model, (x[1000:], y[1000:]), skill)


def quantiles(draw: Draw, watch: Watching) -> float:
    """The 0.1, 0.5 and 0.9 quantiles of a sine in noise that grows, by the pinball loss written by hand."""
    g = data.generator(8)
    x = 4 * torch.rand(4000, 1, generator=g) - 2
    y = (2 * x).sin() + (0.1 + 0.2 * x.abs()) * torch.randn(4000, 1, generator=g)
    at = torch.tensor([0.1, 0.5, 0.9])

    def pinball(output: Tensor, target: Tensor) -> Tensor:
        error = target - output
        return torch.maximum(at.to(error) * error, (at.to(error) - 1) * error).mean()

    model = mlp(draw, 1, 3, widths=(32, 64), depths=(2, 3), dropouts=(0.0,), norms=("none", "layer"))
    fit(draw, watch, model, pinball, (x[:2000], y[:2000]), steps=400, optimizers=ADAPTIVE)
    constant = pinball(y[:2000].flatten().quantile(at)[None], y[2000:]).item()
    return skills.evaluated(model, (x[2000:], y[2000:]), lambda o, t: skills.explained(pinball(o, t).item(), constant))


def counts(draw: Draw, watch: Watching) -> float:
    """Counts with a Poisson likelihood, which may be negative."""
    g = data.generator(9)
    x = torch.randn(6000, 5, generator=g)
    rate = (0.7 * x[:, :1] + 0.5 * x[:, 1:2] * x[:, 2:3].sign()).clamp(-3, 2.5).exp() * draw.variant("mean", [2.0, 6.0])
    y = torch.poisson(rate, generator=g)
    model = mlp(draw, 5, 1, dropouts=(0.0,))
    loss = nn.PoissonNLLLoss(log_input=True)
    fit(draw, watch, model, loss, (x[:2000], y[:2000]), steps=400, optimizers=ADAPTIVE, batches=(32, 64))
    ignorant, perfect = (loss(r.log().expand(4000, 1), y[2000:]).item() for r in (y[:2000].mean(), rate[2000:]))
    measure = functools.partial(skills.explained, ignorant=ignorant, perfect=perfect)
    return skills.evaluated(model, (x[2000:], y[2000:]), lambda o, t: measure(loss(o, t).item()))


FIRST = (blobs, small_table, regression, rare_class, hard_labels, idle_columns, decayed_model)
SECOND = (rings, unscaled_table, one_logit, noisy_numbers, ordinal, many_labels, quantiles, counts)
