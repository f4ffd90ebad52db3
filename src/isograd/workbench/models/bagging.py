"""Several networks that learn from a bag of rows each, and answer together with the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class Bagging(nn.Module):
    r"""Networks that take turns over the rows of a training batch, and all see every row when they are asked.

    Training: row i goes to network i mod K, and to no other, so that a batch holds a part of each bag; the gradient of a mean
    over all rows is K times as large as it is, which is the mean over the rows of its own bag for each network: every one
    learns as it would alone (but for a bound on the norm of the gradient, which holds for all together).

    Else: the logarithm of the mean of their probabilities, which is what a softmax takes for scores.

    .. math:: z = \log \tfrac1K \sum_k \operatorname{softmax}(f_k(x))

    Shapes: (rows, ...) to (rows, classes). Source: Breiman 1996, Machine Learning 24, 123-140.

    >>> together = Bagging([nn.Linear(3, 2), nn.Linear(3, 2)]).eval()
    >>> torch.allclose(together(torch.ones(1, 3)).exp().sum(), torch.tensor(1.0))
    True
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of each class."""
        count = len(self.members)
        if not self.training:
            each = torch.stack([torch.log_softmax(member(rows), dim=1) for member in self.members])
            return torch.logsumexp(each, dim=0) - math.log(count)
        turns = [torch.arange(first, len(rows), count, device=rows.device) for first in range(min(count, len(rows)))]
        found = torch.cat([member(rows[turn]) for member, turn in zip(self.members, turns, strict=False)])
        found = found[torch.cat(turns).argsort()]
        return found + (count - 1) * (found - found.detach())
