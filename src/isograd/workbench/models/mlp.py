"""A multi-layer perceptron: linear, norm, activation, dropout, as often as there are hidden layers, and a linear head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class MLP(nn.Module):
    """Fully connected layers of ``hidden`` units each; inputs of any shape are flattened.

    Input (B, ...) with ``inputs`` numbers an example; output (B, ``outputs``), logits or values.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (256, 128),
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: Callable[[int], nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        width = inputs
        for units in hidden:
            layers.append(nn.Linear(width, units))
            if norm is not None:
                layers.append(norm(units))
            layers.append(activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = units
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> (B, outputs)."""
        logits: torch.Tensor = self.head(self.body(x))
        return logits
