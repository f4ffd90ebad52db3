"""Adversarial networks: points on a line with two hills, and points on a ring."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, parts, skill
from faults.settings import Settings, Watch, program

ADVERSARIAL = "width activation rival_rate rival_steps own_rate"


def _line(n: int, g: torch.Generator) -> Tensor:
    """(N, 1): two hills of unequal height."""
    side = (torch.rand(n, 1, generator=g) < 0.35).float()
    return 3.0 * side - 1.0 + 0.4 * torch.randn(n, 1, generator=g)


def _ring(n: int, g: torch.Generator) -> Tensor:
    """(N, 2): a ring around (1, -1), thicker on one side."""
    angle = 2 * math.pi * torch.rand(n, generator=g)
    radius = 1.2 + 0.1 * torch.randn(n, generator=g) * (1.5 + angle.cos())
    return torch.stack([1.0 + radius * angle.cos(), radius * angle.sin() - 1.0], 1)


@program(
    "first",
    Settings(steps=400, batch=64, rate=2e-3, betas=(0.5, 0.999), width=32),
    "gan floats",
    f"{ADVERSARIAL} input_scale input_shift last",
)
def line_gan(s: Settings, seed: int, watch: Watch) -> float:
    """Two hills on a line: generator and discriminator as Sequential, F.binary_cross_entropy_with_logits, two Adams."""
    order = parts.seeded(seed)
    real, test = parts.inputs(s, _line(1500, order), _line(500, order))
    generator = nn.Sequential(
        nn.Linear(4, s.width), curves.module(s.activation, nn.ReLU), nn.Linear(s.width, 1), *curves.last_modules(s.last)
    )
    rival = nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    parts.initialise(s, generator)
    optimizer = parts.optimizer(s, parts.given(s, generator), s.own_rate)
    rival_optimizer = parts.optimizer(s, rival.parameters(), s.rival_rate)
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, generator)
    parts.training(s, generator)
    ones, zeros = torch.ones(s.batch, 1), torch.zeros(s.batch, 1)
    with watch((generator, rival), (optimizer, rival_optimizer), steps=s.steps):
        for step, index in enumerate(parts.batches(s, real, order)):
            parts.rebirth(s, generator, step)
            ones, zeros = torch.ones(len(index), 1), torch.zeros(len(index), 1)
            for _ in range(s.rival_steps):
                rival_optimizer.zero_grad()
                made = generator(torch.randn(len(index), 4)).detach()
                rival_loss = F.binary_cross_entropy_with_logits(rival(real[index]), ones)
                rival_loss = rival_loss + F.binary_cross_entropy_with_logits(rival(made), zeros)
                rival_loss.backward()
                rival_optimizer.step()
            if parts.clears(s, step):
                optimizer.zero_grad()
            made = generator(torch.randn(len(index), 4))
            if s.loss == "detached":
                made = made.detach()
            loss = F.binary_cross_entropy_with_logits(rival(made), zeros if s.loss == "negated" else ones)
            if s.penalty:
                loss = loss + parts.l2(s, generator)
            if s.raises == "in-place":
                rival_optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if s.clear == "between":
                optimizer.zero_grad()
            if s.clip:
                nn.utils.clip_grad_norm_(generator.parameters(), s.clip)
            optimizer.step()
            if scheduler:
                scheduler.step()
    parts.evaluating(s, generator)
    with torch.no_grad():
        return skill.of_samples(generator(torch.randn(500, 4)), test)


class Generator(nn.Module):
    """Noise to points, with functions between the layers."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, s.width), nn.Linear(s.width, s.width), nn.Linear(s.width, 2)
        self.curve = curves.function(s.activation, F.relu)

    def forward(self, noise: Tensor) -> Tensor:
        """(N, 4) to (N, 2)."""
        points: Tensor = self.fc3(self.curve(self.fc2(self.curve(self.fc1(noise)))))
        return points


class Discriminator(nn.Module):
    """Points to the probability that they are real."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2))
        self.real = nn.Linear(48, 1)

    def forward(self, points: Tensor) -> Tensor:
        """(N, 2) to (N,)."""
        return torch.sigmoid(self.real(self.body(points))).squeeze(1)


@program(
    "second",
    Settings(steps=500, batch=64, rate=2e-3, betas=(0.5, 0.999), width=32),
    "gan floats relu",
    f"{ADVERSARIAL} input_scale input_shift",
)
def ring_gan(s: Settings, seed: int, watch: Watch) -> float:
    """A ring: subclasses, probabilities and nn.BCELoss, the discriminator's turn second, two Adams."""
    order = parts.seeded(seed)
    real, test = parts.inputs(s, _ring(1500, order), _ring(500, order))
    generator, rival = Generator(s), Discriminator()
    parts.initialise(s, generator)
    criterion = nn.BCELoss()
    optimizer = parts.optimizer(s, parts.given(s, generator), s.own_rate)
    rival_optimizer = parts.optimizer(s, rival.parameters(), s.rival_rate)
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, generator)
    parts.training(s, generator)
    with watch([generator, rival], [optimizer, rival_optimizer], steps=s.steps):
        for step, index in enumerate(parts.batches(s, real, order)):
            parts.rebirth(s, generator, step)
            ones, zeros = torch.ones(len(index)), torch.zeros(len(index))
            if parts.clears(s, step):
                optimizer.zero_grad()
            made = generator(torch.randn(len(index), 4))
            if s.loss == "detached":
                made = made.detach()
            loss = criterion(rival(made), zeros if s.loss == "negated" else ones)
            if s.penalty:
                loss = loss + parts.l2(s, generator)
            if s.raises == "in-place":
                optimizer.step()
            loss.backward()
            if s.raises == "twice":
                loss.backward()
            if s.clear == "between":
                optimizer.zero_grad()
            if s.clip:
                nn.utils.clip_grad_norm_(generator.parameters(), s.clip)
            optimizer.step()
            if scheduler:
                scheduler.step()
            for _ in range(s.rival_steps):
                rival_optimizer.zero_grad()
                made = generator(torch.randn(len(index), 4)).detach()
                (criterion(rival(real[index]), ones) + criterion(rival(made), zeros)).backward()
                rival_optimizer.step()
    parts.evaluating(s, generator)
    with torch.no_grad():
        return skill.of_samples(generator(torch.randn(500, 4)), test)
