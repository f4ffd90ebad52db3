"""Autoencoders: one of digits through a narrow middle, and a variational one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import curves, data, losses, parts, skill
from faults.settings import Settings, Watch, program


class Autoencoder(nn.Module):
    """Down to a narrow middle and up again."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), curves.module(s.activation, nn.ReLU), nn.Linear(32, s.width))
        self.decoder = nn.Sequential(nn.Linear(s.width, 32), curves.module(s.activation, nn.ReLU), nn.Linear(32, 64))
        self.last, self.cut = s.last, s.cut

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64) to the same."""
        with parts.gradients(self.cut):
            code = self.encoder(x)
        code = parts.passed_on(self.cut, code)
        copy: Tensor = self.decoder(code)
        return curves.last(self.last, copy)


@program(
    "first",
    Settings(steps=400, batch=32, rate=5e-3, width=12),
    "numbers floats relu unsupervised",
    "input_scale input_shift columns activation last width cut",
    cut_at="encoder",
)
def digit_autoencoder(s: Settings, seed: int, watch: Watch) -> float:
    """Digits through 12 numbers and back: nn.MSELoss, Adam; skill is R2 of the copy."""
    x, _, x_test, _ = data.digits()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y, y_test = x, x_test
    model = Autoencoder(s)
    parts.initialise(s, model)
    criterion = nn.MSELoss()
    optimizer = parts.optimizer(s, parts.given(s, model))
    scheduler = parts.schedule(s, optimizer)
    parts.replace_layers(s, model)
    parts.training(s, model)
    with watch(model, optimizer, steps=s.steps):
        for step, index in enumerate(parts.batches(s, y, order)):
            parts.rebirth(s, model, step)
            if parts.clears(s, step):
                optimizer.zero_grad()
            copy = model(x[index])
            loss = criterion(copy, x[index]) if s.loss == "right" else losses.of_numbers(s.loss, copy, x[index])
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
        return skill.of_numbers(model(x_test), y_test)


class Variational(nn.Module):
    """An encoder to mean and log-variance, a draw, and a decoder."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.body = nn.Linear(24, 32)
        self.mean = nn.Linear(32, s.width)
        self.log_variance = nn.Linear(32, s.width)
        self.decoder = nn.Sequential(nn.Linear(s.width, 32), curves.module(s.activation, nn.Tanh), nn.Linear(32, 24))
        self.curve = curves.function(s.activation, torch.tanh)
        self.last, self.cut = s.last, s.cut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 24) to its copy, and mean and log-variance of the code."""
        with parts.gradients(self.cut):
            h = self.curve(self.body(x))
            mean, log_variance = self.mean(h), self.log_variance(h)
        mean = parts.passed_on(self.cut, mean)
        noise = torch.randn_like(mean) * torch.exp(0.5 * log_variance) if self.training else 0.0
        return curves.last(self.last, self.decoder(mean + noise)), mean, log_variance


@program(
    "second",
    Settings(steps=400, batch=32, rate=5e-3, width=6),
    "numbers floats tanh unsupervised",
    "input_scale input_shift columns activation last width cut",
    cut_at="body",
)
def factor_vae(s: Settings, seed: int, watch: Watch) -> float:
    """A table of 24 columns made by 4 hidden numbers: a variational autoencoder; skill is R2 of the copy."""
    x, _, x_test, _ = data.factors()
    order = parts.seeded(seed)
    x, x_test = parts.inputs(s, x, x_test)
    y, y_test = x, x_test
    model = Variational(s)
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
            copy, mean, log_variance = model(x[index])
            if s.loss == "right":
                misfit = F.mse_loss(copy, x[index], reduction="sum") / len(index)
            else:
                misfit = losses.of_numbers(s.loss, copy, x[index])
            divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
            loss = misfit + 0.1 * divergence
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
        return skill.of_numbers(model(x_test)[0], y_test)
