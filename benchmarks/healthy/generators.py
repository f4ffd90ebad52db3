"""Programs that learn a distribution: adversarial pairs, variational and quantised autoencoders, densities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import Optimizer

from healthy import data, skills
from healthy.draws import ADAPTIVE, Draw, mlp
from healthy.loops import fit
from looking import Watching


def _cloud(kind: str, rows: int = 2000, seed: int = 0) -> Tensor:
    """Points in the plane: a ring of eight clouds, an arc, or a slanted cloud; (rows, 2)."""
    g = data.generator(seed)
    noise = torch.randn(rows, 2, generator=g)
    if kind == "eight":
        angle = torch.randint(0, 8, (rows,), generator=g) * (math.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], 1) * 1.5 + 0.1 * noise
    if kind == "arc":
        angle = math.pi * torch.rand(rows, generator=g)
        return torch.stack([2 * angle.cos(), 2 * angle.sin() - 1], 1) + 0.1 * noise
    return noise @ torch.tensor([[1.2, 0.8], [0.0, 0.5]]) + torch.tensor([1.0, -1.0])


def _pair(draw: Draw, width: int, spectral: bool) -> tuple[nn.Module, nn.Module]:
    """A generator of points from four random numbers, and a judge of points."""
    act = draw.activation(("relu", "leaky relu", "elu", "silu"))
    make = nn.Sequential(nn.Linear(4, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 2))
    layers: list[nn.Module] = [nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 1)]
    if spectral:
        layers = [parametrizations.spectral_norm(layer) for layer in layers]
    return make, nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2])


def _adam(draw: Draw, model: nn.Module, name: str, low: float = 1e-3, high: float = 3e-3) -> Optimizer:
    betas = (draw.pick(f"{name} beta1", [0.0, 0.5]), 0.99)
    return torch.optim.Adam(model.parameters(), lr=draw.log(f"{name} learning rate", low, high), betas=betas)


def gan(draw: Draw, watch: Watching) -> float:
    """The usual adversarial game with logits."""
    kind = draw.variant("cloud", ["slanted", "arc"])
    real, width, batch = _cloud(kind), draw.pick("width", [32, 64]), draw.pick("batch", [64, 128])
    make, judge = _pair(draw, width, spectral=False)
    optimizer_g, optimizer_d = _adam(draw, make, "generator"), _adam(draw, judge, "judge")
    steps, fooled = 500, nn.BCEWithLogitsLoss()
    one, zero = torch.ones(batch, 1), torch.zeros(batch, 1)
    with watch((make, judge), (optimizer_g, optimizer_d), steps=steps):
        for _ in range(steps):
            rows = real[torch.randint(0, len(real), (batch,))]
            fake = make(torch.randn(batch, 4))
            optimizer_d.zero_grad()
            loss_d = fooled(judge(rows), one) + fooled(judge(fake.detach()), zero)
            loss_d.backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            loss_g = fooled(judge(fake), one)
            loss_g.backward()
            optimizer_g.step()
    with torch.no_grad():
        return skills.likeness(make(torch.randn(2000, 4)), _cloud(kind, seed=1))


def clipped_critic(draw: Draw, watch: Watching) -> float:
    """A Wasserstein critic whose weights are clipped to a box, three rounds to one of the generator."""
    kind = draw.variant("cloud", ["slanted", "arc"])
    real, batch, bound = _cloud(kind), 64, draw.pick("bound", [0.1, 0.2])
    make, critic = _pair(draw, draw.pick("width", [32, 64]), spectral=False)
    optimizer_g = torch.optim.RMSprop(make.parameters(), lr=draw.log("generator learning rate", 1e-3, 3e-3))
    optimizer_c = torch.optim.RMSprop(critic.parameters(), lr=draw.log("critic learning rate", 1e-3, 3e-3))
    rounds = 250
    with watch((make, critic), (optimizer_g, optimizer_c), steps=rounds):
        for _ in range(rounds):
            for _ in range(3):
                rows = real[torch.randint(0, len(real), (batch,))]
                with torch.no_grad():
                    fake = make(torch.randn(batch, 4))
                optimizer_c.zero_grad()
                (critic(fake).mean() - critic(rows).mean()).backward()
                optimizer_c.step()
                with torch.no_grad():
                    for weight in critic.parameters():
                        weight.clamp_(-bound, bound)
            optimizer_g.zero_grad()
            (-critic(make(torch.randn(batch, 4))).mean()).backward()
            optimizer_g.step()
    with torch.no_grad():
        return skills.likeness(make(torch.randn(2000, 4)), _cloud(kind, seed=1))


class Variational(nn.Module):
    """Mean and log-variance of a code, a sample of it, and back."""

    def __init__(self, inputs: int, code: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, 2 * code))
        self.write = nn.Sequential(nn.Linear(code, 48), nn.ReLU(), nn.Linear(48, inputs))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, F) to reconstruction, mean and log-variance."""
        mean, spread = self.read(x).chunk(2, 1)
        code = mean + (0.5 * spread).exp() * torch.randn_like(mean) if self.training else mean
        return self.write(code), mean, spread


def variational(draw: Draw, watch: Watching) -> float:
    """Digits by a variational autoencoder; skill is the R2 of the reconstruction from the mean code."""
    (x, _), (tx, _) = data.digits()
    x, tx = x.flatten(1), tx.flatten(1)
    beta = draw.variant("weight of the divergence", [0.02, 0.1])
    model = Variational(64, draw.pick("code", [4, 8]))
    optimizer = draw.optimizer(model.parameters(), kinds=ADAPTIVE)
    steps, warm = 500, draw.pick("divergence grows", [True, False])
    schedule = draw.schedule(optimizer, steps)
    with watch(model, optimizer, steps=steps):
        for step in range(steps):
            rows = x[torch.randint(0, len(x), (32,))]
            optimizer.zero_grad()
            out, mean, spread = model(rows)
            divergence = -0.5 * (1 + spread - mean.square() - spread.exp()).sum(1).mean()
            loss = F.mse_loss(out, rows, reduction="sum") / 32 + beta * (min(1.0, step / 200) if warm else 1.0) * divergence
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
    return skills.evaluated(model, (tx, tx), lambda o, t: skills.r2(o[0], t))


class Couplings(nn.Module):
    """Affine couplings of two coordinates by turns; gives the log-density of points."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
            for _ in range(layers)
        )
        for net in self.nets:
            for parameter in list(net.parameters())[-2:]:
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2) to (N,)."""
        volume = x.new_zeros(len(x))
        for layer, net in enumerate(self.nets):
            kept, moved = x[:, layer % 2, None], x[:, 1 - layer % 2, None]
            scale, shift = net(kept).chunk(2, 1)
            scale = 2 * torch.tanh(scale / 2)
            moved = moved * scale.exp() + shift
            x = torch.cat([kept, moved] if layer % 2 == 0 else [moved, kept], 1)
            volume = volume + scale[:, 0]
        density: Tensor = volume - 0.5 * x.square().sum(1) - math.log(2 * math.pi)
        return density


def flow(draw: Draw, watch: Watching) -> float:
    """The density of an arc by affine couplings that start as the identity; skill against one Gaussian."""
    x, tx = _cloud("arc"), _cloud("arc", seed=1)
    model = Couplings(draw.variant("layers", [4, 6]), draw.pick("width", [16, 32]))
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T)).log_prob(tx).mean().item()
    fit(
        draw,
        watch,
        model,
        lambda density, _: -density.mean(),
        (x, x),
        steps=200,
        optimizers=ADAPTIVE,
        gentle=1.5,
        loops=("plain", "cleared_last", "epochs"),
    )
    return skills.evaluated(model, (tx, tx), lambda o, _: o.mean().item() - gaussian) / 1.6


def mixture(draw: Draw, watch: Watching) -> float:
    """Two answers to one question: a mixture density, whose loss goes below zero."""
    g = data.generator(4)
    x = 4 * torch.rand(4000, 1, generator=g) - 2
    y = torch.where(torch.rand(4000, 1, generator=g) < 0.5, 1.0, -1.0) * (1 + x.abs()) / 3 + 0.05 * torch.randn(
        4000, 1, generator=g
    )
    model = mlp(draw, 1, 9, widths=(32, 64), depths=(2,), dropouts=(0.0,), norms=("none", "layer"))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        weight, mean, spread = output.chunk(3, 1)
        each = torch.distributions.Normal(mean, F.softplus(spread) + 1e-2).log_prob(target)
        return -torch.logsumexp(each + F.log_softmax(weight, 1), 1).mean()

    constant = torch.distributions.Normal(y.mean(), y.std()).log_prob(y).mean().neg().item()
    perfect = math.log(0.05) + 0.5 * math.log(2 * math.pi * math.e) + math.log(2)
    fit(
        draw,
        watch,
        model,
        loss,
        (x[:2000], y[:2000]),
        steps=400,
        optimizers=ADAPTIVE,
        gentle=1.5,
        loops=("plain", "cleared_last", "epochs", "accumulating"),
    )
    return skills.evaluated(model, (x[2000:], y[2000:]), lambda o, t: skills.explained(loss(o, t).item(), constant, perfect))


def spectral_gan(draw: Draw, watch: Watching) -> float:
    """Eight clouds or an arc with the hinge loss, a judge of spectral norm one and a mean of the generator's weights."""
    kind = draw.variant("cloud", ["arc", "eight"])
    real, batch = _cloud(kind), 64
    make, judge = _pair(draw, draw.pick("width", [32, 64]), spectral=True)
    mean = torch.optim.swa_utils.AveragedModel(make, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    optimizer_g, optimizer_d = _adam(draw, make, "generator"), _adam(draw, judge, "judge", 2e-3, 5e-3)
    steps = 400
    with watch((make, judge), (optimizer_g, optimizer_d), steps=steps):
        for _ in range(steps):
            rows = real[torch.randint(0, len(real), (batch,))]
            optimizer_d.zero_grad()
            fake = make(torch.randn(batch, 4)).detach()
            (F.relu(1 - judge(rows)).mean() + F.relu(1 + judge(fake)).mean()).backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            (-judge(make(torch.randn(batch, 4))).mean()).backward()
            optimizer_g.step()
            mean.update_parameters(make)
    with torch.no_grad():
        return skills.likeness(mean(torch.randn(2000, 4)), _cloud(kind, seed=1))


def penalised_critic(draw: Draw, watch: Watching) -> float:
    """A Wasserstein critic held at slope one by a penalty on its gradient."""
    kind = draw.variant("cloud", ["arc", "eight"])
    real, batch = _cloud(kind), 64
    make, critic = _pair(draw, draw.pick("width", [32, 64]), spectral=False)
    optimizer_g, optimizer_c = _adam(draw, make, "generator"), _adam(draw, critic, "critic", 2e-3, 5e-3)
    rounds = 150
    with watch((make, critic), (optimizer_g, optimizer_c), steps=rounds):
        for _ in range(rounds):
            for _ in range(2):
                rows = real[torch.randint(0, len(real), (batch,))]
                fake = make(torch.randn(batch, 4)).detach()
                between = torch.lerp(rows, fake, torch.rand(batch, 1)).requires_grad_(True)
                (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
                loss = critic(fake).mean() - critic(rows).mean() + 1.0 * (slope.norm(dim=1) - 1).square().mean()
                optimizer_c.zero_grad()
                loss.backward()
                optimizer_c.step()
            optimizer_g.zero_grad()
            (-critic(make(torch.randn(batch, 4))).mean()).backward()
            optimizer_g.step()
    with torch.no_grad():
        return skills.likeness(make(torch.randn(2000, 4)), _cloud(kind, seed=1))


class Quantised(nn.Module):
    """An autoencoder whose code is the nearest of a few words, the gradient passed straight through."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32))
        self.words = nn.Parameter(torch.randn(words, 8) * 0.5)
        self.write = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 64) to reconstruction and what the words cost."""
        code = self.read(x).view(len(x), 4, 8)
        word = self.words[torch.cdist(code, self.words).argmin(2)]
        cost = F.mse_loss(word, code.detach()) + 0.25 * F.mse_loss(code, word.detach())
        return self.write((code + (word - code).detach()).flatten(1)), cost


def quantised(draw: Draw, watch: Watching) -> float:
    """Digits in four words each."""
    (x, _), (tx, _) = data.digits()
    x, tx = x.flatten(1), tx.flatten(1)
    model = Quantised(draw.variant("words", [16, 32]))
    optimizer, steps = draw.optimizer(model.parameters(), kinds=ADAPTIVE), 400
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            rows = x[torch.randint(0, len(x), (64,))]
            optimizer.zero_grad()
            out, cost = model(rows)
            (F.mse_loss(out, rows) * 10 + cost).backward()
            optimizer.step()
    return skills.evaluated(model, (tx, tx), lambda o, t: skills.r2(o[0], t))


def uncertain(draw: Draw, watch: Watching) -> float:
    """A mean and a spread that depends on the input, by the Gaussian likelihood; the loss goes below zero."""
    g = data.generator(14)
    x = 4 * torch.rand(4000, 1, generator=g) - 2
    spread = 0.02 + 0.1 * x.abs()
    y = (2 * x).sin() + spread * torch.randn(4000, 1, generator=g)
    model = mlp(draw, 1, 2, widths=(32, 64), depths=(2, 3), dropouts=(0.0,), norms=("none", "layer"))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        mean, log_variance = output[:, :1], output[:, 1:].clamp(-9, 3)
        return F.gaussian_nll_loss(mean, target, log_variance.exp())

    constant = 0.5 * y.var().log().item() + 0.5
    perfect = (spread.log().mean() + 0.5).item()
    fit(
        draw,
        watch,
        model,
        loss,
        (x[:2000], y[:2000]),
        steps=500,
        optimizers=ADAPTIVE,
        gentle=1.5,
        loops=("plain", "cleared_last", "epochs", "accumulating"),
    )
    return skills.evaluated(model, (x[2000:], y[2000:]), lambda o, t: skills.explained(loss(o, t).item(), constant, perfect))


FIRST = (gan, clipped_critic, variational, flow, mixture)
SECOND = (spectral_gan, penalised_critic, quantised, uncertain)
