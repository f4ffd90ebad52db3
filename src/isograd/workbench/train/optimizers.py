"""From a recipe to a torch optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from isograd.errors import ModelError
from isograd.workbench.train.recipe import Recipe


def make_optimizer(parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the trainable ``parameters``; weight decay acts on those with two axes or more.

    The fused kernels are taken where torch has them for all devices concerned. Raises ``ModelError`` where nothing is
    trainable.

    >>> make_optimizer(nn.Linear(2, 1).parameters(), Recipe(optimizer="sgd")).param_groups[1]["weight_decay"]
    0.0
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ModelError("the model has no parameter that can be trained", where="model")
    groups: list[dict[str, Any]] = [{"params": trainable, "weight_decay": recipe.weight_decay}]
    if recipe.weight_decay:
        matrices = [parameter for parameter in trainable if parameter.ndim > 1]
        others = [parameter for parameter in trainable if parameter.ndim <= 1]
        groups = [
            {"params": chosen, "weight_decay": decay}
            for chosen, decay in ((matrices, recipe.weight_decay), (others, 0.0))
            if chosen
        ]
    rate = recipe.learning_rate
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trainable)
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=fused)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, momentum=recipe.momentum)
        case _:
            return torch.optim.Adagrad(groups, lr=rate)
