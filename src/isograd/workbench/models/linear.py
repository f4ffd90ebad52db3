"""Linear and logistic regression: one linear layer, the yardstick of every deeper network."""

from __future__ import annotations

import torch
from torch import nn


class Linear(nn.Module):
    """The scores are a linear function of all inputs: linear regression for a value, multinomial logistic for classes.

    All weights start at zero: the problem is convex, so that every start ends at the same answer.
    Input (B, ...) with ``inputs`` numbers an example; output (B, ``outputs``).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.head = nn.Linear(inputs, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> (B, outputs)."""
        scores: torch.Tensor = self.head(self.flatten(x))
        return scores
