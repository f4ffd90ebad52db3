"""A network for sounds: convolutions find what sounds at each moment, a GRU in both directions how the moments follow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class CRNN(nn.Module):
    """Blocks of convolution, batch norm, ReLU and 2x2 pooling, one for each of ``channels``; a GRU, the mean over time, a head.

    Convolutions are drawn with He's variance, the GRU's input weights are Glorot's and its recurrent ones orthogonal.
    Input (B, 1, M, T): M bands, T moments, each at least 2 ** len(channels); output (B, ``outputs``), logits.
    Source: Cakir et al. 2017, arXiv:1702.06286.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        outputs: int,
        channels: Sequence[int] = (32, 64),
        units: int = 64,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        width, bands, _ = image
        blocks: list[nn.Module] = []
        for count in channels:
            convolution = nn.Conv2d(width, count, 3, padding=1, bias=False)
            nn.init.normal_(convolution.weight, std=math.sqrt(2.0 / (9 * width)))
            blocks += [convolution, nn.BatchNorm2d(count), nn.ReLU(), nn.MaxPool2d(2)]
            width, bands = count, bands // 2
        self.body = nn.Sequential(*blocks)
        self.gru = nn.GRU(width * bands, units, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * units, outputs)
        for name, parameter in self.gru.named_parameters():
            for gate in torch.split(parameter.data, units):
                if name.startswith("bias"):
                    nn.init.zeros_(gate)
                else:
                    (nn.init.xavier_uniform_ if name.startswith("weight_ih") else nn.init.orthogonal_)(gate)
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(2 * units))
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, M, T) -> (B, outputs)."""
        moments = self.body(x).flatten(1, 2).transpose(1, 2)  # (B, T / 2^k, channels * bands)
        states, _ = self.gru(self.dropout(moments))
        logits: torch.Tensor = self.head(self.dropout(states.mean(dim=1)))
        return logits
