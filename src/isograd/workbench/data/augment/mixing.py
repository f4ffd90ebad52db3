"""Mix each training row with the one after it in the order of the epoch: whole (mixup), or a patch of it (cutmix)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv

from isograd.workbench.data.augment.images import box
from isograd.workbench.data.augment.plan import Settled
from isograd.workbench.data.order import uniforms

Floats = NDArray[np.float64]
_MIX, _PATCH = 11, 12


def shares_of(alpha: float, u: Floats) -> Floats:
    """Beta(alpha, alpha) by its inverse distribution, so that one even number makes one share.

    >>> shares_of(1.0, np.array([0.25, 0.5])).tolist()
    [0.25, 0.5]
    """
    drawn: Floats = betaincinv(alpha, alpha, u)
    return drawn


def mixed(
    inputs: torch.Tensor, targets: torch.Tensor, plan: Settled, seed: int, epoch: int, keys: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""The first N of N + 1 rows, each mixed with the next one, and their targets mixed alike.

    .. math:: \tilde x_i = \lambda_i x_i + (1 - \lambda_i) x_{i+1}, \quad \tilde y_i = \lambda_i y_i + (1 - \lambda_i) y_{i+1}

    ``targets`` are shares of classes (N + 1, classes) or values (N + 1, 1). cutmix takes a rectangle with the share
    1 - lambda of the picture from the next row, and lambda is then the share that was really kept. Where both are asked for,
    each row gets one of them, by even odds. Source: Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899.
    """
    one, other = inputs[:-1], inputs[1:]
    u = uniforms(seed, epoch, keys, _MIX, 2)
    cuts = (u[:, 1] < 0.5) if plan.mixup and plan.cutmix else np.full(len(keys), bool(plan.cutmix))
    kept = np.where(cuts, 1.0, shares_of(plan.mixup, u[:, 0]) if plan.mixup else 1.0)
    found = inputs.new_tensor(kept.astype(np.float32)).reshape(-1, *[1] * (inputs.ndim - 1))
    made = found * one + (1 - found) * other if plan.mixup else one
    if plan.cutmix:
        patch, left = _patches(plan, seed, epoch, keys, cuts, u[:, 0], inputs)
        made = torch.where(patch, other, made)
        kept = np.where(cuts, left, kept)
    share = targets.new_tensor(kept.astype(np.float32))[:, None]
    return made, share * targets[:-1] + (1 - share) * targets[1:]


def _patches(
    plan: Settled, seed: int, epoch: int, keys: NDArray[np.int64], cuts: NDArray[np.bool_], u: Floats, inputs: torch.Tensor
) -> tuple[torch.Tensor, Floats]:
    """Where each row takes the next one's pixels, and the share of its own that is left."""
    height, width = inputs.shape[2:]
    side = np.sqrt(1 - shares_of(plan.cutmix, u))
    middle = uniforms(seed, epoch, keys, _PATCH, 2)
    tall, wide = np.rint(height * side), np.rint(width * side)
    top = np.clip(np.floor(middle[:, 0] * height - tall / 2), 0, height)
    left = np.clip(np.floor(middle[:, 1] * width - wide / 2), 0, width)
    tall, wide = np.minimum(tall, height - top), np.minimum(wide, width - left)
    tall = np.where(cuts, tall, 0)
    return box(top, left, tall, wide, inputs), 1 - tall * wide / (height * width)
