"""Look at one batch from outside: its loss, right answers, and how what the last layer reads fits the targets."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isograd.errors import ModelError
from isograd.frameworks.torch.alike import UNITS, spread
from isograd.frameworks.torch.batches import inputs_of, outputs_of, targets_of
from isograd.frameworks.torch.fitting import matched
from isograd.frameworks.torch.places import modules_of, tensors_in
from isograd.records.anatomy import WEIGHTED, Anatomy
from isograd.records.moments import Gram
from isograd.records.probe import Glance

MOST = 64
"""Examples whose inner products are taken."""
RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Layers of dropout, which are put to rest."""
RATED = (nn.RNNBase, nn.MultiheadAttention)
"""Layers that hold a rate of dropout of their own."""


def head_of(models: Sequence[nn.Module], anatomy: Anatomy) -> nn.Module | None:
    """The last layer with weights, where it is a module."""
    modules = dict(modules_of(models))
    paths = [node.path for node in anatomy.nodes if node.operation in WEIGHTED and node.path in modules]
    return modules[paths[-1]] if anatomy.traced and paths else None


def glance(models: Sequence[nn.Module], loss: Any, batch: Any, head: nn.Module | None = None) -> Glance:
    """What ``models`` make of ``batch``; ``head`` is the layer whose input is compared with the targets.

    One forward pass without gradients, training mode but for dropout; buffers and random streams are for the caller to keep.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = net.weight.fill_(2.0)
    >>> glance((net,), nn.functional.mse_loss, (torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0], [-2.0]]))).explained
    1.0
    """
    targets = targets_of(batch)
    read: list[Tensor] = []

    def listen(module: nn.Module, args: Any) -> None:
        read[:] = [tensor for tensor in tensors_in(args) if tensor.is_floating_point()][:1]

    handle = head.register_forward_pre_hook(listen) if head is not None else None
    try:
        with torch.no_grad(), _without_dropout(models):
            outputs = outputs_of(models, inputs_of(batch))
            value = _value(loss, outputs, targets)
    finally:
        if handle is not None:
            handle.remove()
    right, common, explained = _judged(outputs, targets)
    wanted = next(tensors_in(targets), None)
    hidden = targeted = None
    if read and wanted is not None and read[0].ndim > 1 and wanted.ndim and len(read[0]) == len(wanted):
        hidden, targeted = _gram(read[0]), _gram(_columns(wanted))
    return Glance(value, right, common, explained, hidden, targeted)


def _value(loss: Any, outputs: Any, targets: Any) -> float | None:
    if loss is None:
        found = outputs["loss"] if isinstance(outputs, dict) and "loss" in outputs else getattr(outputs, "loss", outputs)
    else:
        found = loss(outputs, targets)
    return float(found) if isinstance(found, Tensor) and found.numel() == 1 else None


@contextlib.contextmanager
def _without_dropout(models: Sequence[nn.Module]) -> Iterator[None]:
    modes = [(module, module.training) for model in models for module in model.modules()]
    rates = [(module, module.dropout) for module, _ in modes if isinstance(module, RATED)]
    try:
        for model in models:
            model.train()
        for module, _ in modes:
            if isinstance(module, RANDOM):
                module.training = False
            elif isinstance(module, RATED):
                module.dropout = 0.0
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, rate in rates:
            module.dropout = rate


def _judged(outputs: Any, targets: Any) -> tuple[float | None, float | None, float | None]:
    """Share of right answers, share of the most frequent class, R2; as far as outputs and targets say."""
    try:
        found = matched(outputs, targets)
    except ModelError:
        return None, None, None
    made, wanted = torch.nan_to_num(found.outputs), found.targets
    if not wanted.numel():
        return None, None, None
    if found.task == "numbers":
        made, wanted = made.double(), wanted.double()
        away = float((wanted - wanted.mean(0)).square().sum())
        return None, None, 1.0 - float((made - wanted).square().sum()) / away if away > 0.0 else None
    if found.task == "binary":  # probabilities, or logits where one lies outside of 0 to 1
        logits = bool(((made < 0.0) | (made > 1.0)).any())
        answers, labels = (made > (0.0 if logits else 0.5)).long().reshape(-1), wanted.long().reshape(-1)
    else:
        answers, labels = made.argmax(1), wanted.long() if wanted.ndim == 1 else wanted.argmax(1)
    return float((answers == labels).double().mean()), int(labels.bincount().max()) / len(labels), None


def _columns(wanted: Tensor) -> Tensor:
    if wanted.is_floating_point() or wanted.ndim != 1 or int(wanted.min()) < 0:
        return wanted.double()
    return nn.functional.one_hot(wanted.long()).double()


def _gram(values: Tensor) -> Gram | None:
    """Inner products of at most 64 examples, less the mean example; spread evenly over the batch."""
    chosen = values[spread(len(values), MOST)].flatten(1).double() if values.ndim > 1 else values[:, None].double()
    if len(chosen) < 2:
        return None
    if chosen.shape[1] > UNITS:
        chosen = chosen[:, :: math.ceil(chosen.shape[1] / UNITS) | 1]
    chosen = chosen[:MOST] - chosen[:MOST].mean(0)
    products = (chosen @ chosen.T).flatten().tolist()
    return Gram(len(chosen), tuple(products)) if math.isfinite(sum(products)) else None
