"""A network of depthwise-separable convolutions: each channel filtered by itself, then mixed with the others; few weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class Separable(nn.Module):
    """act(norm(3x3 of each channel)), then act(norm(1x1 of all)); the input is added where the shapes are the same."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        activation: Callable[[], nn.Module],
        norm: Callable[[int], nn.Module] | None,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=norm is None)
        self.norm1 = norm(inputs) if norm is not None else nn.Identity()
        self.act1 = activation()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=norm is None)
        self.norm2 = norm(outputs) if norm is not None else nn.Identity()
        self.act2 = activation()
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        found: torch.Tensor = self.act2(self.norm2(self.pointwise(self.act1(self.norm1(self.depthwise(x))))))
        return x + found if self.same else found


class MobileNet(nn.Module):
    """A full convolution, ``blocks`` separable ones for each of ``channels`` (each but the first halves the image), a head.

    Input (B, C, H, W); output (B, ``outputs``), logits or values. The stem halves larger images as that of the ResNet does,
    until no stage sees more than 48 x 48.
    Source: Howard et al. 2017, arXiv:1704.04861; Sandler et al. 2018, arXiv:1801.04381 (the skip).
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        outputs: int,
        channels: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
        dropout: float = 0.0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.mirror = mirror
        stem_stride = 1
        while min(image[1:]) > 48 * stem_stride:
            stem_stride *= 2
        width = channels[0]
        self.stem = nn.Sequential(
            nn.Conv2d(image[0], width, 3, stem_stride, padding=1, bias=norm is None),
            norm(width) if norm is not None else nn.Identity(),
            activation(),
        )
        stages: list[nn.Module] = []
        for stage, count in enumerate(channels):
            for block in range(blocks):
                stages.append(Separable(width, count, 2 if stage and not block else 1, activation, norm))
                width = count
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, outputs)."""
        logits = self._seen(x)
        return logits if self.training or not self.mirror else (logits + self._seen(x.flip(3))) / 2

    def _seen(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.dropout(self.flatten(self.pool(self.stages(self.stem(x))))))
        return logits
