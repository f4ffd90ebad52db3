"""Running statistics of a batch norm that follow slowly: how far the batches are from what an evaluation would divide by.

Or that follow at once, and are those of the last batch alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.losses import is_plain
from isograd.records.anatomy import Settings

SLOW = 0.05
"""Momentum from which the statistics follow within some tens of batches (torch's own is 0.1), so that nothing is measured."""
HASTY = 0.5
"""Momentum from which they are those of the last batch or two: Keras counts the other way round, and says 0.99 for slow."""


def lag_of(module: nn.Module, given: Any) -> Settings | None:
    r"""How a batch norm's running statistics compare with its batch, where they follow slowly or at once; else nothing.

    .. math:: ratio = \operatorname{med}_c \frac{\sigma_c^2}{\hat\sigma_c^2}, \quad
        shift = \operatorname{med}_c \frac{|\mu_c - \hat\mu_c|}{\hat\sigma_c}

    over the channels c of a batch with mean mu and variance sigma^2, against the running ones with a hat. Where they follow at
    once instead, how many rows they rest on: those of a batch times (2 - momentum) / momentum, for an average whose weights
    fall by 1 - momentum from batch to batch has the noise of so many.

    >>> norm = nn.BatchNorm1d(2, momentum=0.001)
    >>> {name: round(value, 1) for name, value in lag_of(norm, torch.tensor([[7.0, 7.0], [13.0, 13.0]]))}
    {'momentum': 0.0, 'ratio': 18.0, 'shift': 10.0}
    """
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or not module.training or not module.track_running_stats:
        return None
    mean, variance, momentum = module.running_mean, module.running_var, module.momentum
    if momentum is None or SLOW <= momentum < HASTY or mean is None or variance is None:
        return None
    if not isinstance(given, Tensor) or given.ndim < 2 or not is_plain(given) or given.numel() // given.shape[1] < 2:
        return None
    if momentum >= HASTY:
        rows = given.numel() / given.shape[1] * (2.0 - momentum) / momentum
        return (("momentum", float(momentum)), ("rows", rows))
    here, middle = torch.var_mean(given.detach().float(), [axis for axis in range(given.ndim) if axis != 1])
    ratio = ((here + module.eps) / (variance + module.eps)).median()
    shift = ((middle - mean).abs() / (variance + module.eps).sqrt()).median()
    found = float(ratio), float(shift)
    return (("momentum", float(momentum)), ("ratio", found[0]), ("shift", found[1])) if all(map(math.isfinite, found)) else None
