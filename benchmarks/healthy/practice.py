"""The way people train: loaders, epochs, a validation after each, schedules, checkpoints, early stopping, averaged weights."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from healthy.draws import OPTIMIZERS, Draw
from looking import Watching

Loss = Callable[[Any, Tensor], Tensor]
Data = tuple[Tensor, ...]
Loader = DataLoader[tuple[Tensor, ...]]

HABITS = ("plain", "plain", "early stopping", "best checkpoint", "resumed", "averaged", "accumulating", "autocast")
PER_EPOCH = ("step", "cosine", "plateau", "restarts")
PER_BATCH = ("one cycle", "warm-up", "warm-up, then cosine")


def scheduler_of(draw: Draw, optimizer: Optimizer, epochs: int, steps: int) -> tuple[str, Any]:
    """A schedule as drawn, and its name."""
    kind = draw.pick("schedule", ["constant"] * 4 + [*PER_EPOCH, *PER_BATCH])
    rates = [group["lr"] for group in optimizer.param_groups]
    made: dict[str, Callable[[], Any]] = {
        "constant": lambda: None,
        "step": lambda: lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 2), gamma=0.2),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        "plateau": lambda: lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2),
        "restarts": lambda: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=max(1, epochs // 2)),
        "one cycle": lambda: lr_scheduler.OneCycleLR(optimizer, max_lr=[1.5 * rate for rate in rates], total_steps=steps + 1),
        "warm-up": lambda: lr_scheduler.LinearLR(optimizer, 0.01, 1.0, total_iters=max(1, steps // 10)),
        "warm-up, then cosine": lambda: lr_scheduler.LambdaLR(
            optimizer, lambda k: min(1.0, (k + 1) / max(1, steps // 10)) * 0.5 * (1 + math.cos(math.pi * min(1.0, k / steps)))
        ),
    }
    if kind == "one cycle" and not any(name in group for group in optimizer.param_groups for name in ("momentum", "betas")):
        made[kind] = lambda: lr_scheduler.OneCycleLR(
            optimizer, max_lr=[1.5 * rate for rate in rates], total_steps=steps + 1, cycle_momentum=False
        )
    return kind, made[kind]()


@torch.no_grad()
def validated(model: nn.Module, loss_of: Loss, loader: Loader) -> float:
    """Mean loss in evaluation mode."""
    model.eval()
    losses = [loss_of(model(*x), y).item() for *x, y in loader]
    return sum(losses) / len(losses)


def saved(model: nn.Module, optimizer: Optimizer) -> io.BytesIO:
    """A checkpoint."""
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    return file


def practised(
    draw: Draw,
    watch: Watching,
    model: nn.Module,
    loss_of: Loss,
    train: Data,
    validation: Data,
    *,
    epochs: int = 10,
    batches: Sequence[int] = (16, 32, 64),
    gentle: float = 1.0,
    optimizers: Iterable[str] | None = None,
    optimizer: Optimizer | None = None,
    habits: Sequence[str] = HABITS,
    changed: Callable[[Tensor], Tensor] | None = None,
) -> nn.Module:
    """Train with the habits that were drawn, and give the model that a person would keep; ``changed`` augments the inputs."""
    batch, habit = draw.pick("batch", batches), draw.pick("habit", habits)
    if optimizer is None:
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = draw.optimizer(learning, gentle=gentle, kinds=optimizers or OPTIMIZERS)
    loader: Loader = DataLoader(TensorDataset(*train), batch_size=batch, shuffle=True, drop_last=True)
    val_loader: Loader = DataLoader(TensorDataset(*validation), batch_size=256)
    parts = 2 if habit == "accumulating" else 1
    steps = epochs * (len(loader) // parts)
    kind, scheduler = scheduler_of(draw, optimizer, epochs, steps)
    clip = draw.clip()
    average = torch.optim.swa_utils.AveragedModel(model, use_buffers=True) if habit == "averaged" else None
    best, best_state, waited = math.inf, copy.deepcopy(model.state_dict()), 0
    with watch(model, optimizer, steps=steps):
        for epoch in range(epochs):
            model.train()
            for count, (*x, y) in enumerate(loader):
                rows = [changed(x[0]), *x[1:]] if changed is not None else x
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=habit == "autocast"):
                    output = model(*rows)
                loss = loss_of(output.float() if habit == "autocast" else output, y)
                (loss / parts).backward()
                if (count + 1) % parts:
                    continue
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
                if kind in PER_BATCH and scheduler.last_epoch < steps:
                    scheduler.step()
            optimizer.zero_grad()
            value = validated(model, loss_of, val_loader)
            if kind in PER_EPOCH:
                scheduler.step(*([value] if kind == "plateau" else []))
            if average is not None and epoch >= epochs // 2:
                average.update_parameters(model)
            if habit == "resumed" and epoch == epochs // 2:
                state = torch.load(saved(model, optimizer), weights_only=True)
                model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
            if value < best:
                best, best_state, waited = value, copy.deepcopy(model.state_dict()), 0
            else:
                waited += 1
                if habit == "early stopping" and waited > max(3, epochs // 3):
                    break
    if average is not None:
        torch.optim.swa_utils.update_bn(loader, average)
        return average.module
    if habit in ("early stopping", "best checkpoint"):
        model.load_state_dict(best_state)
    return model


def split(x: Data, train: int, validation: int) -> tuple[Data, Data, Data]:
    """The first rows to train on, the next for validation, the others for the test."""
    end = train + validation
    return tuple(t[:train] for t in x), tuple(t[train:end] for t in x), tuple(t[end:] for t in x)
