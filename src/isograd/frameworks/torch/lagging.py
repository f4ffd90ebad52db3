"""Running statistics of a batch norm that follow slowly: how far the batches are from what an evaluation would divide by."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.losses import is_plain
from isograd.records.anatomy import Settings

SLOW = 0.05
"""Momentum from which the statistics follow within some tens of batches (torch's own is 0.1), so that nothing is measured."""


def lag_of(module: nn.Module, given: Any) -> Settings | None:
    r"""How a batch norm's running statistics compare with its batch, where they follow slowly; nothing elsewhere.

    .. math:: ratio = \operatorname{med}_c \frac{\sigma_c^2}{\hat\sigma_c^2}, \quad
        shift = \operatorname{med}_c \frac{|\mu_c - \hat\mu_c|}{\hat\sigma_c}

    over the channels c of a batch with mean mu and variance sigma^2, against the running ones with a hat.

    >>> norm = nn.BatchNorm1d(2, momentum=0.001)
    >>> {name: round(value, 1) for name, value in lag_of(norm, torch.tensor([[7.0, 7.0], [13.0, 13.0]]))}
    {'momentum': 0.0, 'ratio': 18.0, 'shift': 10.0}
    """
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or not module.training or not module.track_running_stats:
        return None
    mean, variance, momentum = module.running_mean, module.running_var, module.momentum
    if momentum is None or momentum >= SLOW or mean is None or variance is None:
        return None
    if not isinstance(given, Tensor) or given.ndim < 2 or not is_plain(given) or given.numel() // given.shape[1] < 2:
        return None
    here, middle = torch.var_mean(given.detach().float(), [axis for axis in range(given.ndim) if axis != 1])
    ratio = ((here + module.eps) / (variance + module.eps)).median()
    shift = ((middle - mean).abs() / (variance + module.eps).sqrt()).median()
    found = float(ratio), float(shift)
    return (("momentum", float(momentum)), ("ratio", found[0]), ("shift", found[1])) if all(map(math.isfinite, found)) else None
