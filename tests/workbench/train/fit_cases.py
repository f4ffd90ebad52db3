"""A small training with everything in it that can be lost, and ways for it to die."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from isograd.records import codec
from isograd.records.run import Epoch
from isograd.workbench.train import Fitted, Recipe, fit

ROWS, BATCH, PER_EPOCH = 50, 16, 4
RECIPE = Recipe(epochs=3, batch_size=BATCH, watch=False, threads=1, device="cpu", learning_rate=0.01, checkpoint_seconds=0)


class Killed(BaseException):
    """What a test raises where a machine would die."""


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(ROWS, 6, generator=generator)
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()


def model_with_everything() -> nn.Module:
    """Dropout draws from the generator, batch norm has buffers, one buffer is not persistent, one weight is tied."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 12), nn.Linear(12, 2))
    model.register_buffer("seen", torch.zeros(3), persistent=False)
    model[1].register_module("tied", model[4])
    return model


class Data:
    """Batches by counter; dies just before the batch number ``dies_at`` of the whole run."""

    def __init__(self, dies_at: int | None = None, death: type[BaseException] = Killed) -> None:
        self.dies_at, self.death, self.given = dies_at, death, 0

    def __call__(self, epoch: int, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        inputs, targets = rows()
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))
        for position in range(start, PER_EPOCH):
            if (epoch - 1) * PER_EPOCH + position == self.dies_at:
                raise self.death
            chosen = order[position * BATCH : (position + 1) * BATCH]
            self.given += 1
            yield inputs[chosen], targets[chosen]


def validate(model: nn.Module) -> tuple[tuple[str, float], ...]:
    training = model.training
    model.eval()
    inputs, targets = rows()
    with torch.no_grad():
        loss = F.cross_entropy(model(inputs), targets).item()
    model.train(training)
    return (("log_loss", loss),)


def trained(folder: Path, recipe: Recipe = RECIPE, data: Any = None, model: nn.Module | None = None, **changes: Any) -> Fitted:
    arguments: dict[str, Any] = {
        "recipe": recipe,
        "batches": data or Data(),
        "batches_per_epoch": PER_EPOCH,
        "loss": F.cross_entropy,
        "validate": validate,
        "monitor": ("log_loss", "min"),
        "folder": folder,
        "identity": "project",
    }
    return fit(model if model is not None else model_with_everything(), **{**arguments, **changes})


def without_times(epochs: tuple[Epoch, ...]) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0, rows_per_second=0) for epoch in epochs]


def journal(folder: Path) -> tuple[Epoch, ...]:
    return tuple(codec.loads(Epoch, line) for line in (folder / "metrics.jsonl").read_text().splitlines())
