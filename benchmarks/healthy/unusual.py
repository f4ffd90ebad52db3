"""Programs that look odd and are sound: one batch for ever, rows one by one, closures, long after convergence, thawing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from healthy import data, skills
from healthy.draws import Draw, mlp
from healthy.loops import fit
from looking import Watching


def quasi_newton(draw: Draw, watch: Watching) -> float:
    """A regression by LBFGS on the whole batch; the closure runs several passes a step."""
    (x, y), test = data.waves(4, 1, 0.1)
    model = mlp(
        draw,
        4,
        1,
        widths=(16, 24),
        depths=(1, 2),
        activations=("tanh", "softplus", "gelu", "silu"),
        norms=("none",),
        dropouts=(0.0,),
    )
    search = draw.pick("line search", [None, "strong_wolfe"])
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=1.0 if search else 0.5, max_iter=draw.pick("inner steps", [4, 8]), line_search_fn=search
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    steps = 25
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            optimizer.step(closure)
    return skills.evaluated(model, test, skills.r2)


def one_batch(draw: Draw, watch: Watching) -> float:
    """All of a small table in every step, on purpose."""
    (x, y), test = data.table(draw.variant("table", ["iris", "breast_cancer"]), train=110)
    model = mlp(draw, x.shape[1], int(y.max()) + 1, dropouts=(0.0,), norms=("none", "layer"))
    optimizer, steps = draw.optimizer(model.parameters()), draw.pick("steps", [150, 300])
    schedule = draw.schedule(optimizer, steps)
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
    return skills.evaluated(model, test, skills.classes)


def equation(draw: Draw, watch: Watching) -> float:
    """A damped swing from its differential equation: derivatives of the net within the loss."""
    model = mlp(
        draw,
        1,
        1,
        widths=(24, 32),
        depths=(2,),
        activations=("tanh", "silu", "softplus", "gelu"),
        norms=("none",),
        dropouts=(0.0,),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=draw.log("learning rate", 3e-3, 1e-2))
    steps, points = 600, draw.pick("points", [32, 64])
    schedule = draw.schedule(optimizer, steps)
    start = torch.zeros(1, 1, requires_grad=True)
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            time = (3 * torch.rand(points, 1)).requires_grad_(True)
            place = model(time)
            (speed,) = torch.autograd.grad(place.sum(), time, create_graph=True)
            (push,) = torch.autograd.grad(speed.sum(), time, create_graph=True)
            first = model(start)
            (first_speed,) = torch.autograd.grad(first.sum(), start, create_graph=True)
            residual = (push + 0.4 * speed + 4 * place).square().mean()
            optimizer.zero_grad()
            (residual + 20 * (first - 1).square().mean() + 5 * first_speed.square().mean()).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
    time = torch.linspace(0, 3, 200)[:, None]
    omega = math.sqrt(4 - 0.04)
    true = (-0.2 * time).exp() * ((omega * time).cos() + 0.2 / omega * (omega * time).sin())
    return skills.evaluated(model, (time, true), skills.r2)


def long_converged(draw: Draw, watch: Watching) -> float:
    """A pupil with the shape of the teacher and no noise: the loss ends at nearly nothing and so do the gradients."""
    g = data.generator(31)
    x, weights = torch.randn(1500, 5, generator=g), torch.randn(5, draw.variant("outputs", [1, 3]), generator=g)
    y, kind = x @ weights + 0.3, draw.pick("model", ["linear", "deep linear"])
    width = weights.shape[1]
    model = nn.Linear(5, width) if kind == "linear" else nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, width))
    fit(
        draw,
        watch,
        model,
        nn.MSELoss(),
        (x[:500], y[:500]),
        steps=800,
        gentle=1.5,
        batches=(32, 64),
        loops=("plain", "double", "cleared_last"),
    )
    return skills.evaluated(model, (x[500:], y[500:]), skills.r2)


def single_rows(draw: Draw, watch: Watching) -> float:
    """One row or two a step: the loss jumps from step to step."""
    sets = data.blobs(3, 8, 1.2)
    model = mlp(draw, 8, 3, norms=("none", "layer"), depths=(1, 2), widths=(16, 32))
    fit(
        draw,
        watch,
        model,
        nn.CrossEntropyLoss(),
        sets[0],
        batches=(1, 2),
        steps=600,
        gentle=0.3,
        loops=("plain", "cleared_last"),
    )
    return skills.evaluated(model, sets[1], skills.classes)


def quasi_newton_classes(draw: Draw, watch: Watching) -> float:
    """A logistic regression, or a small net, by LBFGS with weight decay written into the closure."""
    (x, y), test = data.table(draw.variant("table", ["wine", "breast_cancer"]), train=120)
    model = mlp(
        draw,
        x.shape[1],
        int(y.max()) + 1,
        widths=(8, 16),
        depths=(0, 1),
        activations=("tanh", "gelu", "elu"),
        norms=("none",),
        dropouts=(0.0,),
    )
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=draw.pick("learning rate", [0.3, 1.0]), max_iter=4, line_search_fn="strong_wolfe"
    )
    decay = draw.log("decay", 1e-3, 1e-2)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + decay * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    steps = 20
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            optimizer.step(closure)
    return skills.evaluated(model, test, skills.classes)


def whole_batch(draw: Draw, watch: Watching) -> float:
    """A picture learned from its coordinates by Fourier features or sines, all pixels in every step."""
    side = torch.linspace(-1, 1, 20)
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), 2).view(-1, 2)
    picture = ((3 * grid[:, :1]).sin() * (4 * grid[:, 1:]).cos() + (grid.norm(dim=1, keepdim=True) < 0.5)).float()
    picture = (picture - picture.mean()) / picture.std()
    features = draw.pick("features", ["fourier", "sines"])

    class Wave(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (3 * x).sin()

    class Fourier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("directions", 2.5 * torch.randn(2, 32))

        def forward(self, x: Tensor) -> Tensor:
            turned = x @ self.get_buffer("directions")
            return torch.cat([turned.sin(), turned.cos()], 1)

    if features == "fourier":
        model: nn.Module = nn.Sequential(Fourier(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 1))
    else:
        model = nn.Sequential(nn.Linear(2, 48), Wave(), nn.Linear(48, 48), Wave(), nn.Linear(48, 1))
    draw.pick("held-out pixels", ["every fourth"])
    held = torch.arange(400) % 4 == 1
    optimizer, steps = (
        torch.optim.Adam(model.parameters(), lr=draw.log("learning rate", 2e-3, 1e-2)),
        draw.pick("steps", [300, 500]),
    )
    schedule = draw.schedule(optimizer, steps)
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.mse_loss(model(grid[~held]), picture[~held])
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
    return skills.evaluated(model, (grid[held], picture[held]), skills.r2)


def far_apart(draw: Draw, watch: Watching) -> float:
    """Classes so far apart that the loss is nearly nothing after a tenth of the steps."""
    sets = data.blobs(3, draw.variant("inputs", [8, 30]), 3.0)
    model = mlp(draw, sets[0][0].shape[1], 3)
    fit(draw, watch, model, nn.CrossEntropyLoss(), sets[0], steps=500, loops=("plain", "double", "epochs", "autocast"))
    return skills.evaluated(model, sets[1], skills.classes)


def tiny_batches(draw: Draw, watch: Watching) -> float:
    """A regression in noise with two or three rows a step."""
    sets = data.friedman(0.5)
    model = mlp(draw, 10, 1, norms=("none", "layer"), depths=(0, 1, 2), widths=(16, 32), dropouts=(0.0,))
    fit(draw, watch, model, nn.MSELoss(), sets[0], batches=(2, 3), steps=900, gentle=0.3, loops=("plain", "cleared_last"))
    return skills.evaluated(model, sets[1], skills.r2)


def thawed(draw: Draw, watch: Watching) -> float:
    """The head first, the trunk later: a group of parameters is added to the optimizer on the way."""
    sets = data.blobs(6, 10, 0.8)
    (x, y), act = sets[0], draw.activation(("relu", "tanh", "gelu", "elu"))
    trunk, head = nn.Sequential(nn.Linear(10, 48), act(), nn.Linear(48, 24), act()), nn.Linear(24, 6)
    model = nn.Sequential(trunk, head)
    trunk.requires_grad_(False)
    optimizer, steps = draw.optimizer(head.parameters()), 300
    thaw = draw.pick("thawed at", [60, 120])
    with watch(model, optimizer, steps=steps):
        for step in range(steps):
            if step == thaw:
                trunk.requires_grad_(True)
                optimizer.add_param_group({"params": list(trunk.parameters()), "lr": 0.5 * optimizer.param_groups[0]["lr"]})
            rows = torch.randint(0, len(x), (32,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
    return skills.evaluated(model, sets[1], skills.classes)


FIRST = (quasi_newton, one_batch, equation, long_converged, single_rows)
SECOND = (quasi_newton_classes, whole_batch, far_apart, tiny_batches, thawed)
