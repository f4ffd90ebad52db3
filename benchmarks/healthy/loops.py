"""The usual training loops, each written out as people write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset

from healthy.draws import OPTIMIZERS, Draw
from looking import Watching

Loss = Callable[[Any, Tensor], Tensor]
Data = tuple[Tensor, ...]


def plain(
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    clip: float | None,
    batch: int,
    steps: int,
    watch: Watching,
) -> None:
    """Clear, forward, backward, step."""
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            *x, y = _drawn(data, batch)
            optimizer.zero_grad()
            loss = loss_of(model(*x), y)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()


def cleared_last(
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    clip: float | None,
    batch: int,
    steps: int,
    watch: Watching,
) -> None:
    """Forward, backward, step, clear; the loss is averaged for a log."""
    running = 0.0
    with watch(model, optimizer, steps=steps):
        for step in range(steps):
            *x, y = _drawn(data, batch)
            loss = loss_of(model(*x), y)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_value_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=step % 2 == 0)
            if scheduler is not None:
                scheduler.step()
            running = 0.9 * running + 0.1 * loss.item()


def epochs(
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    clip: float | None,
    batch: int,
    steps: int,
    watch: Watching,
) -> None:
    """A loader, epochs, and a look at held-out rows after each."""
    held = max(2, len(data[0]) // 8)
    loader = DataLoader(TensorDataset(*(t[held:] for t in data)), batch_size=batch, shuffle=True, drop_last=True)
    rounds, step = -(-steps // len(loader)), 0
    with watch(model, optimizer, steps=steps):
        for _ in range(rounds):
            model.train()
            for *x, y in loader:
                if step == steps:
                    break
                optimizer.zero_grad()
                loss = loss_of(model(*x), y)
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
                step += 1
            model.eval()
            with torch.no_grad():
                *x, y = (t[:held] for t in data)
                loss_of(model(*x), y).item()
            model.train()


def accumulating(
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    clip: float | None,
    batch: int,
    steps: int,
    watch: Watching,
) -> None:
    """Four small batches a step."""
    parts = 4
    with watch(model, optimizer, steps=steps):
        for count in range(parts * steps):
            *x, y = _drawn(data, max(4, batch // parts))
            (loss_of(model(*x), y) / parts).backward()
            if (count + 1) % parts == 0:
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
                if scheduler is not None:
                    scheduler.step()


def autocast(
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    clip: float | None,
    batch: int,
    steps: int,
    watch: Watching,
) -> None:
    """Forward in bfloat16, weights in float32."""
    with watch(model, optimizer, steps=steps):
        for _ in range(steps):
            *x, y = _drawn(data, batch)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = model(*x)
            loss_of(output.float(), y).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()


def double(
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    clip: float | None,
    batch: int,
    steps: int,
    watch: Watching,
) -> None:
    """Everything in float64."""
    precise = tuple(t.double() if t.is_floating_point() else t for t in data)
    plain(model.double(), loss_of, precise, optimizer, scheduler, clip, batch, steps, watch)


LOOPS = {loop.__name__: loop for loop in (plain, cleared_last, epochs, accumulating, autocast, double)}


def fit(
    draw: Draw,
    watch: Watching,
    model: nn.Module,
    loss_of: Loss,
    data: Data,
    *,
    steps: int = 300,
    batches: Sequence[int] = (16, 32, 64),
    loops: Iterable[str] = tuple(LOOPS),
    gentle: float = 1.0,
    optimizers: Iterable[str] | None = None,
    optimizer: Optimizer | None = None,
) -> None:
    """Train a model on rows of ``data`` (inputs..., target) in a loop, with an optimizer, schedule and clipping as drawn."""
    batch, loop = draw.pick("batch", batches), draw.pick("loop", loops)
    if optimizer is None:
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = draw.optimizer(learning, gentle=gentle, kinds=optimizers or OPTIMIZERS)
    LOOPS[loop](model, loss_of, data, optimizer, draw.schedule(optimizer, steps), draw.clip(), batch, steps, watch)


def _drawn(data: Data, batch: int) -> Data:
    rows = torch.randint(0, len(data[0]), (batch,))
    return tuple(t[rows] for t in data)
