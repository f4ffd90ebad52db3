"""A convolutional network for texts: filters over some words at a time, and of each filter its strongest answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn


class TextCNN(nn.Module):
    """Embeddings, for each size of ``kernels`` a convolution over so many words, the maximum over places, a linear head.

    A text shorter than a kernel is seen whole, with zeros around it; places after the end of a text do not count.
    Convolutions are drawn with He's variance for ``gain``, biases are zero.

    Input (B, T) token numbers, int64, 0 after the end of a text; output (B, ``outputs``), logits.
    Source: Kim 2014, arXiv:1408.5882.
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        width: int = 64,
        kernels: Sequence[int] = (3, 4, 5),
        channels: int = 100,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gain: float = math.sqrt(2.0),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)  # large ones stay the noise that they were drawn as, and are overfitted
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
        self.kernels = tuple(kernels)
        self.convolutions = nn.ModuleList()
        for size in kernels:
            convolution = nn.Conv1d(width, channels, size, padding=size - 1)
            nn.init.normal_(convolution.weight, std=gain / math.sqrt(width * size))
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            self.convolutions.append(convolution)
        self.activation = activation()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * len(kernels), outputs)
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(self.head.in_features))
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, outputs)."""
        words = self.embedding(ids).transpose(1, 2)
        lengths = (ids != 0).sum(dim=1).clamp(min=1)[:, None, None]
        found = []
        for convolution, size in zip(self.convolutions, self.kernels, strict=True):
            answers = convolution(words)
            places = torch.arange(answers.shape[2], device=ids.device)
            beyond = places >= lengths + size - 1  # no word of the text is in such a window
            found.append(answers.masked_fill(beyond, -math.inf).amax(dim=2))
        # The activation grows with its input, so that it may follow the maximum.
        logits: torch.Tensor = self.head(self.dropout(self.activation(torch.cat(found, dim=1))))
        return logits
