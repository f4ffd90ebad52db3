"""A temporal convolutional network: residual blocks whose convolutions reach twice as far from block to block."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """x + contract(dropout(relu(convolution(norm(x))))): one of ``blocks``, which share the variance of one branch.

    The norm is over the channels of each step, so that no step sees another one through it.
    Legend: B sequences, C channels, T steps.
    """

    def __init__(self, channels: int, kernel: int, reach: int, causal: bool, dropout: float, blocks: int) -> None:
        super().__init__()
        whole = (kernel - 1) * reach
        self.padding = (whole, 0) if causal else (whole // 2, whole // 2)
        self.norm = nn.LayerNorm(channels)
        self.convolution = nn.Conv1d(channels, channels, kernel, dilation=reach)
        self.activation, self.dropout = nn.ReLU(), nn.Dropout(dropout)
        self.contract = nn.Conv1d(channels, channels, 1)
        nn.init.normal_(self.convolution.weight, std=math.sqrt(1.0 / (channels * kernel)))
        nn.init.normal_(self.contract.weight, std=math.sqrt(2.0 / (channels * blocks)))
        for layer in (self.convolution, self.contract):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """(B, C, T) and which steps are there (B, 1, T) -> (B, C, T)."""
        level = self.norm(x.transpose(1, 2)).transpose(1, 2) * there  # what follows the end reaches no step before it
        seen = self.activation(self.convolution(F.pad(level, self.padding)))
        joined: torch.Tensor = x + self.contract(self.dropout(seen))
        return joined


class TCN(nn.Module):
    """A linear stem for each step, residual ``blocks``, a norm, the steps pooled ("max", "mean", or the "last" one), a head.

    The convolution of block i sees ``kernel`` steps that are 2^i apart, so that a step sees 1 + (kernel - 1) (2^blocks - 1) of
    them: all, by default. "forward" is causal: a step sees the past only. Convolutions have variance 1 / fan_in behind the
    norm, the last of a branch 2 / (fan_in ``blocks``), so that the sum of all branches is as large as one at any depth.

    Input (B, T, ``features``) quantities, where those that are ``ragged`` have 1 for a step and 0 after the end in the last.
    Output (B, ``outputs``), or (B, T, ``outputs``) where ``each`` step has an answer.
    Source: Bai et al. 2018, arXiv:1803.01271; van den Oord et al. 2016, arXiv:1609.03499 (dilations); norm before the
    convolution: He et al. 2016, arXiv:1603.05027.
    """

    def __init__(
        self,
        length: int,
        features: int,
        outputs: int,
        channels: int = 64,
        blocks: int | None = None,
        kernel: int = 5,
        directions: Literal["both", "forward"] = "both",
        pool: Literal["max", "mean", "last"] = "max",
        dropout: float = 0.1,
        ragged: bool = False,
        each: bool = False,
    ) -> None:
        super().__init__()
        self.ragged, self.each, self.pool = ragged, each, pool
        causal = directions == "forward"
        count = blocks or blocks_for(length, kernel)
        self.stem = nn.Linear(features - ragged, channels)
        self.blocks = nn.ModuleList(Block(channels, kernel, 2**i, causal, dropout, count) for i in range(count))
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, outputs)
        for layer in (self.stem, self.head):
            nn.init.normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, features) -> (B, outputs), or (B, T, outputs)."""
        there = (x[:, :, -1:] > 0.5).float() if self.ragged else torch.ones_like(x[:, :, :1])
        states = self.stem(x[:, :, :-1] if self.ragged else x).transpose(1, 2)
        for block in self.blocks:
            states = block(states, there.transpose(1, 2))
        states = self.norm(states.transpose(1, 2))
        if not self.each:
            states = self._pooled(states, there)
        answers: torch.Tensor = self.head(self.dropout(states))
        return answers

    def _pooled(self, states: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """(B, T, C) and which steps are there (B, T, 1) -> (B, C)."""
        if self.pool == "max":
            return states.masked_fill(there < 0.5, -math.inf).amax(dim=1)
        if self.pool == "mean":
            return (states * there).sum(dim=1) / there.sum(dim=1)
        last = there.sum(dim=1, keepdim=True).long() - 1
        return states.gather(1, last.expand(-1, -1, states.shape[2]))[:, 0]


def blocks_for(length: int, kernel: int) -> int:
    """The fewest blocks through which the middle step (or, where it sees the past only, the last) sees all ``length`` steps.

    >>> blocks_for(200, 5), blocks_for(61, 5), blocks_for(62, 5), blocks_for(1, 5)
    (6, 4, 5, 1)
    """
    return max(1, math.ceil(math.log2((length - 1) / (kernel - 1) + 1)))
