"""What the programs share, as people share a utils file: batches, optimizers, schedules, initialisation, spoiled data."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LRScheduler, OneCycleLR

from faults.settings import Settings


def seeded(seed: int) -> torch.Generator:
    """Seed torch for the weights, and give a generator of its own for the order of the examples."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed + 1000)


def batches(s: Settings, labels: Tensor, order: torch.Generator) -> Iterator[Tensor]:
    """Indices of the examples of each batch, ``steps * accumulate`` of them; ``labels`` (N,) are what "sorted" sorts by."""
    n = len(labels)
    kept = torch.arange(n)
    if s.sampling == "sorted":
        kept = labels.reshape(n, -1)[:, 0].argsort(stable=True)
    elif s.sampling == "same":
        kept = torch.randperm(n, generator=order)[: s.batch]
    elif s.sampling.startswith("few"):
        kept = torch.randperm(n, generator=order)[: int(s.sampling.split()[1])]
    elif s.sampling == "one kind":
        flat = labels.reshape(n, -1)[:, 0]
        kept = (flat <= flat.double().quantile(0.1)).nonzero()[:, 0]
    size, wanted = min(s.batch, len(kept)), s.steps * s.accumulate
    while wanted > 0:
        chosen = kept if s.sampling in ("sorted", "same") else kept[torch.randperm(len(kept), generator=order)]
        for start in range(0, len(chosen) - size + 1, size):
            yield chosen[start : start + size]
            wanted -= 1
            if not wanted:
                return


def inputs(s: Settings, *sets: Tensor) -> tuple[Tensor, ...]:
    """Features as the preparation leaves them: rows first, columns last where one column is spoiled."""
    spoiled = tuple((x * s.input_scale + s.input_shift).clone() for x in sets)
    if s.columns == "right":
        return spoiled
    for x in spoiled:
        table = x.reshape(len(x), -1)
        if s.columns == "one huge":
            table[:, 0] = table[:, 0] * 1e4 + 1e4
        elif s.columns == "many huge":
            table[:, ::8] = table[:, ::8] * 1e3 + 1e3
        elif s.columns == "constant":
            table[:] = table[:1]
        elif s.columns == "nan":
            table[::10, 0] = math.nan
        elif s.columns == "no deviation":
            table[:, 0] = (table[:, 0] - table[:, 0]) / 0.0
        x.copy_(table.reshape(x.shape))
    return spoiled


def labels(s: Settings, classes: Tensor, order: torch.Generator) -> Tensor:
    """Class indices of the training examples as the preparation leaves them."""
    count = int(classes.max()) + 1
    if s.labels == "shuffled":
        return classes[torch.randperm(len(classes), generator=order)]
    if s.labels == "shifted":
        return classes + 1
    if s.labels == "one class":
        return torch.zeros_like(classes)
    if s.label_noise:
        wrong = torch.rand(classes.shape, generator=order) < s.label_noise
        return torch.where(wrong, torch.randint(0, count, classes.shape, generator=order).to(classes.dtype), classes)
    return classes


def targets(s: Settings, *sets: Tensor, order: torch.Generator) -> tuple[Tensor, ...]:
    """Numbers to foretell as the preparation leaves them; the first set is the training set."""
    first, *rest = (y * s.target_scale + s.target_shift for y in sets)
    if s.labels == "shuffled":
        first = first[torch.randperm(len(first), generator=order)]
    elif s.labels == "one class":
        first = first[:1].expand_as(first).clone()
    if s.label_noise:
        wrong = torch.rand(len(first), generator=order) < s.label_noise
        first[wrong] = first[torch.randperm(len(first), generator=order)][wrong]
    return first, *rest


def class_weights(s: Settings, classes: Tensor) -> Tensor | None:
    """Weights of the classes in the loss: none, or by mistake what counts the wrong ones."""
    if s.class_weights == "right":
        return None
    counts = classes.bincount().double()
    if s.class_weights == "inverted":
        weights = (counts / counts.mean()) ** 4
    elif s.class_weights == "graded":
        weights = 0.1 ** torch.arange(len(counts), dtype=torch.float64)
    else:  # one class alone counts
        weights = torch.full_like(counts, 1e-3)
        weights[0] = 1.0
    return weights.float()


def optimizer(s: Settings, parameters: Iterable[nn.Parameter], scale: float = 1.0) -> torch.optim.Optimizer:
    """The optimizer that the settings name; ``scale`` multiplies its learning rate."""
    rate = s.rate * scale
    if s.optimizer == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=s.momentum, weight_decay=s.weight_decay)
    if s.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, eps=s.eps, weight_decay=s.weight_decay)
    kind = torch.optim.Adam if s.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, rate, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay)


def schedule(s: Settings, optimizer: torch.optim.Optimizer) -> LRScheduler | None:
    """The schedule that the settings name, stepped after every step of the optimizer."""
    if s.schedule == "cosine":
        return CosineAnnealingLR(optimizer, s.steps)
    if s.schedule == "one cycle":
        return OneCycleLR(optimizer, s.rate, total_steps=s.steps + 1, cycle_momentum=False)
    if s.schedule == "warm-up":
        rise = max(1, s.steps // 10)
        return LambdaLR(optimizer, lambda step: min((step + 1) / rise, max(0.0, (s.steps - step) / (s.steps - rise))))
    return ExponentialLR(optimizer, float(s.schedule[1:])) if s.schedule.startswith("x") else None


def given(s: Settings, model: nn.Module) -> list[nn.Parameter]:
    """The parameters that the optimizer is given; some are made to ask for no gradient before."""
    every = list(model.parameters())
    if s.frozen != "none":
        cold = {"body": every[:-2], "head": every[-2:], "all": every}[s.frozen]
        for parameter in cold:
            parameter.requires_grad_(False)
    if s.held == "biases":
        return [parameter for parameter in every if parameter.dim() == 1]
    return {"all": every, "last": every[-2:], "first": every[:2]}[s.held]


def replace_layers(s: Settings, model: nn.Module) -> None:
    """Make layers anew after the optimizer was made, as a person does who adapts a model too late."""
    if s.replaced == "none":
        return
    found = [(path, module) for path, module in model.named_modules() if hasattr(module, "reset_parameters")]
    for path, module in found[-1:] if s.replaced == "last" else found:
        fresh = _copy(module)
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, fresh)


def _copy(module: nn.Module) -> nn.Module:
    fresh = copy.deepcopy(module)
    _reset(fresh)
    return fresh


def _reset(module: nn.Module) -> None:
    reset: Any = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


def rebirth(s: Settings, model: nn.Module, step: int) -> None:
    """Draw all weights again every ``s.reborn`` steps, as where the model is set up inside the loop over epochs."""
    if s.reborn and step and step % s.reborn == 0:
        for module in model.modules():
            _reset(module)


def initialise(s: Settings, model: nn.Module) -> None:
    """Set the weights by hand where the settings say so; vectors (norms) keep what they have but with zeros and constants."""
    if s.init == "right":
        return
    kind, _, number = s.init.partition(" ")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2 and ("bias" not in name or kind == "normal"):
                continue
            if kind == "normal":
                parameter.normal_(0.0, float(number))
            elif kind == "times":
                parameter.mul_(float(number))
            elif kind == "negative" and parameter.dim() == 1:
                parameter.fill_(-float(number))
            elif kind in ("zeros", "constant"):
                parameter.fill_(float(number or 0.0) if parameter.dim() > 1 else 0.0)


def clears(s: Settings, step: int) -> bool:
    """Whether the gradients are cleared before the forward pass of this step."""
    return s.clear == "before" or (s.clear == "rarely" and step % 50 == 0)


def detached(memory: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """A recurrent layer's last state without its history."""
    return memory.detach() if isinstance(memory, Tensor) else tuple(part.detach() for part in memory)


def l2(s: Settings, model: nn.Module) -> Tensor:
    """A penalty on the size of the weights, written by hand."""
    return s.penalty * torch.stack([parameter.square().sum() for parameter in model.parameters()]).sum()


def training(s: Settings, model: nn.Module) -> None:
    """The mode in which the model trains."""
    model.train(s.mode == "right")


def evaluating(s: Settings, model: nn.Module) -> None:
    """The mode in which the model is judged."""
    model.train(s.mode == "swapped")


def gradients(cut: str) -> AbstractContextManager[object]:
    """The context in which the first half of a network runs."""
    return torch.no_grad() if cut == "no_grad" else nullcontext()


def passed_on(cut: str, values: Tensor) -> Tensor:
    """What the first half of a network hands to the second."""
    if cut == "detach":
        return values.detach()
    return torch.from_numpy(values.detach().numpy().copy()) if cut == "numpy" else values
