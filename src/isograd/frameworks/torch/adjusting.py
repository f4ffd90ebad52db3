"""What a loop does to gradients and weights between the backward pass and the step: clipping, decay, the loss scale."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.frameworks.torch.copying import members_of
from isograd.records.loop import Loop

LEAST_NORM = 1e-3
"""Norm that a unit's weights count for at least, so that one that begins at zero can move (Brock et al. 2021, section 4.1)."""


def adjust_gradients(models: Sequence[nn.Module], loop: Loop) -> None:
    """Undo the loss scale, clip, and add the decay by sign, in place; gradients that are not there stay away."""
    found = {id(p): p for model in models for p in model.parameters() if p.grad is not None}
    every = list(found.values())
    if loop.loss_scale is not None:
        for parameter in every:
            _gradient(parameter).div_(loop.loss_scale)
    if loop.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(every, loop.clip_norm)
    if loop.clip_value is not None:
        torch.nn.utils.clip_grad_value_(every, loop.clip_value)
    if loop.clip_unit is not None:
        for parameter in every:
            clip_units(parameter, loop.clip_unit)
    if loop.decay_l1:
        for parameter in every:
            _gradient(parameter).add_(parameter.detach().sign(), alpha=loop.decay_l1)


def clip_units(parameter: Tensor, bound: float) -> None:
    r"""Scale the gradient of each unit down to ``bound`` times the norm of the unit's weights, in place.

    .. math:: G_i \leftarrow \lambda \frac{\max(\lVert W_i \rVert, \epsilon)}{\lVert G_i \rVert} G_i
        \quad\text{where}\quad \frac{\lVert G_i \rVert}{\max(\lVert W_i \rVert, \epsilon)} > \lambda

    A unit is a row of a matrix, an output channel of a convolution, and a vector as a whole. Source: Brock et al. 2021,
    arXiv:2102.06171, eq. 3.

    >>> weight = torch.tensor([[3.0, 4.0], [0.6, 0.8]]); weight.grad = torch.tensor([[0.0, 10.0], [0.0, 0.1]])
    >>> clip_units(weight, 0.2); weight.grad.tolist()
    [[0.0, 1.0], [0.0, 0.10000000149011612]]
    """
    gradient = _gradient(parameter)
    if gradient.is_sparse:
        return
    axes = tuple(range(1, parameter.ndim)) if parameter.ndim > 1 else tuple(range(parameter.ndim))
    norm = torch.linalg.vector_norm(gradient, dim=axes, keepdim=True)
    most = bound * torch.linalg.vector_norm(parameter.detach(), dim=axes, keepdim=True).clamp_min(LEAST_NORM)
    gradient.mul_(torch.where(norm > most, most / norm.clamp_min(1e-30), 1.0))


def all_finite(models: Sequence[nn.Module]) -> bool:
    """Whether every gradient is."""
    found = [p.grad for model in models for p in model.parameters() if p.grad is not None]
    return all(bool(torch.isfinite(grad._values() if grad.is_sparse else grad).all()) for grad in found)


def shrink(optimizer: Optimizer, loop: Loop) -> None:
    """Decoupled weight decay: weights that are about to be moved shrink by learning rate times decay (AdamW, eq. 12)."""
    if loop.decay_decoupled:
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None or isinstance(optimizer, torch.optim.LBFGS):  # which has none yet
                        parameter.mul_(1.0 - float(group["lr"]) * loop.decay_decoupled)


@contextlib.contextmanager
def adjusted(models: Sequence[nn.Module], optimizer: Optimizer, loop: Loop, *, gradients: bool) -> Iterator[None]:
    """Within, weights shrink at the beginning of each step of the optimizer, and are seen to be moved by it.

    ``gradients``: they are adjusted then, too, for a step function of the person's own.
    """
    clips = not loop.clip_norm is loop.clip_value is loop.clip_unit is None or bool(loop.decay_l1)
    if not loop.decay_decoupled and not (gradients and clips):
        yield
        return

    def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if gradients:
            adjust_gradients(models, loop)
        shrink(optimizer, loop)

    handles = [one.register_step_pre_hook(before) for one in members_of(optimizer)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
