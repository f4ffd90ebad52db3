"""A model's numbers by name: parameters and all buffers, in the model's order; copied, loaded, hashed, averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import nn

from isograd.errors import ModelError


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and every buffer, the non-persistent ones too; a tensor that is shared appears once."""
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """``tensors_of`` in memory of its own, on the device they are on."""
    return {name: tensor.clone() for name, tensor in tensors_of(model).items()}


def load(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy ``tensors`` into ``model`` in place; raises ``ModelError`` where names, shapes or types are others."""
    own = tensors_of(model)
    odd = [
        name
        for name in [*own, *(name for name in tensors if name not in own)]
        if name not in own
        or name not in tensors
        or own[name].shape != tensors[name].shape
        or own[name].dtype != tensors[name].dtype
    ]
    if odd:
        raise ModelError(
            f"the saved weights are those of another model: {len(odd)} tensors differ, {odd[0]} the first of them",
            where=odd[0],
            remedy="build the model as it was, or begin a new run",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all parameters and buffers, in the model's order.

    >>> weights_hash(nn.Linear(2, 1)) == weights_hash(nn.Linear(2, 1))
    False
    """
    digest = hashlib.sha256()
    for name, tensor in tensors_of(model).items():
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    r"""Move the exponential moving average towards the weights after ``step`` steps.

    .. math:: \bar w \leftarrow d \bar w + (1 - d) w, \quad d = \min(\mathrm{decay}, (1 + t) / (10 + t))

    The smaller decay at the start keeps the initial weights from lingering. Buffers of floating point are averaged, the
    others copied. Source: Polyak & Juditsky 1992; the ramp is the one of TensorFlow's ExponentialMovingAverage.
    """
    share = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    means = [parameter.detach() for parameter in averaged.parameters()]
    torch._foreach_lerp_(means, [parameter.detach() for parameter in model.parameters()], share)
    for mean, value in zip(averaged.buffers(), model.buffers(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, share)
        else:
            mean.copy_(value)
