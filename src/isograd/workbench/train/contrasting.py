"""Learn from rows without labels: two changed views of one row are to lie close together, and apart from all others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from isograd.errors import ModelError
from isograd.workbench.train.machine import borrowed
from isograd.workbench.train.optimizers import make_optimizer
from isograd.workbench.train.progress import Progress
from isograd.workbench.train.recipe import Recipe
from isograd.workbench.train.schedules import warmup_cosine

Views = Callable[[int], Iterator[tuple[torch.Tensor, torch.Tensor]]]
WIDTH, SEEN = 128, 64
"""Units of the hidden layer and numbers of the output of the part that is thrown away afterwards."""
TEMPERATURE = 0.2
_TOLD = 2.0


def contrast(
    model: nn.Module,
    *,
    recipe: Recipe,
    views: Views,
    views_per_epoch: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> float:
    """Train all of ``model`` but its ``head`` in place, by views of rows without labels; gives the mean loss of the last epoch.

    ``views(epoch)`` gives pairs of batches, row for row two changed views of one row, and must depend on the epoch (from 1)
    alone. What the head reads goes through a small network of its own, which is thrown away. A function of weights, views and
    the seed of the recipe. Raises ``ModelError`` for a model without a linear ``head``.

    Source: Chen et al. 2020, arXiv:2002.05709 (SimCLR).
    """
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear):
        raise ModelError("a network is trained without labels by what its last layer reads", met="it has no linear layer .head")
    steps, mean = recipe.epochs * views_per_epoch, 0.0
    read: list[torch.Tensor] = []
    handle = head.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    model.to(recipe.device).train()
    try:
        with borrowed(recipe):
            over = nn.Sequential(nn.Linear(head.in_features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, SEEN)).to(recipe.device)
            kept = {id(parameter) for parameter in head.parameters()}
            moving = [p for p in model.parameters() if id(p) not in kept]
            optimizer = make_optimizer([*moving, *over.parameters()], recipe)
            step, told, began = 0, time.perf_counter(), time.perf_counter()
            for epoch in range(1, recipe.epochs + 1):
                total = 0.0
                for one, other in views(epoch):
                    for group in optimizer.param_groups:
                        group["lr"] = recipe.learning_rate * warmup_cosine(step, steps, recipe.warmup)
                    optimizer.zero_grad(set_to_none=True)
                    read.clear()
                    model(torch.cat([one, other]).to(recipe.device))
                    loss = apart(over(read[0]))
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    total, step = total + float(loss.detach()), step + 1
                    if on_progress is not None and time.perf_counter() - told > _TOLD:
                        told = time.perf_counter()
                        left = (steps - step) * (told - began) / step
                        on_progress(_said(epoch, recipe, step, steps, total / (step - (epoch - 1) * views_per_epoch), left))
                mean = total / max(1, views_per_epoch)
    finally:
        handle.remove()
    return mean


def _said(epoch: int, recipe: Recipe, step: int, steps: int, loss: float, left: float) -> Progress:
    text = f"without labels: epoch {epoch} of {recipe.epochs}, loss {loss:.3g}, {left:.0f} s left"
    return Progress("remark", epoch, recipe.epochs, step, steps, loss=loss, remark=text)


def apart(seen: torch.Tensor) -> torch.Tensor:
    r"""How badly the two views of a row are told from all others, a mean over the 2 N views ``seen`` (2 N, numbers).

    .. math:: -\log \frac{\exp(\cos(z_i, z_{i'}) / \tau)}{\sum_{k \ne i} \exp(\cos(z_i, z_k) / \tau)}

    Row i and row N + i are views of one row. Unit: nats; log(2 N - 1) where nothing is told apart.
    Source: Chen et al. 2020, eq. 1.

    >>> round(apart(torch.ones(4, 3)).item(), 4)
    1.0986
    """
    rows: Any = len(seen) // 2
    near = F.normalize(seen, dim=1)
    alike = near @ near.T / TEMPERATURE
    alike = alike.masked_fill(torch.eye(len(seen), dtype=torch.bool, device=seen.device), float("-inf"))
    places = torch.arange(rows, device=seen.device)
    return F.cross_entropy(alike, torch.cat([places + rows, places]))
