"""A small residual network in the manner of He et al. 2016 for CIFAR; its stem's stride grows with the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is carried: act(shortcut(x) + norm(conv(act(norm(conv(x))))))."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        activation: Callable[[], nn.Module],
        norm: Callable[[int], nn.Module] | None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=norm is None)
        self.norm1 = norm(outputs) if norm is not None else nn.Identity()
        self.act1 = activation()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=norm is None)
        self.norm2 = norm(outputs) if norm is not None else nn.Identity()
        self.act2 = activation()
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=norm is None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        inner = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        joined: torch.Tensor = self.act2(self.shortcut(x) + inner)
        return joined


class ResNet(nn.Module):
    """A stem, ``blocks`` residual blocks for each entry of ``channels`` (each stage but the first halves the image), a head.

    Input (B, C, H, W); output (B, ``outputs``), logits or values. ``stem_stride`` is 1 for images up to 48 pixels, and
    doubles each time they double, so that the first stage never sees more than 48 x 48.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        blocks: int = 1,
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
                stages.append(Block(width, count, 2 if stage and not block else 1, activation, norm))
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
