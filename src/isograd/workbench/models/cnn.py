"""A small convolutional network: blocks of conv, norm, activation and 2x2 max pooling, and a linear head on what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class CNN(nn.Module):
    """One block for each entry of ``channels``, each of which halves height and width.

    Input (B, C, H, W) with H, W at least 2 ** len(channels); output (B, ``outputs``), logits or values.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        outputs: int,
        channels: Sequence[int] = (32, 64, 128),
        convolutions: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
        dropout: float = 0.0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.mirror = mirror
        width, height, length = image
        blocks: list[nn.Module] = []
        for count in channels:
            for _ in range(convolutions):
                blocks.append(nn.Conv2d(width, count, 3, padding=1, bias=norm is None))
                if norm is not None:
                    blocks.append(norm(count))
                blocks.append(activation())
                width = count
            blocks.append(nn.MaxPool2d(2))
            height, length = height // 2, length // 2
        self.body = nn.Sequential(*blocks)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width * height * length, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, outputs)."""
        logits = self._seen(x)
        return logits if self.training or not self.mirror else (logits + self._seen(x.flip(3))) / 2

    def _seen(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.dropout(self.flatten(self.body(x))))
        return logits
