"""A Transformer encoder for texts, normalised before each part (pre-norm), which needs no warm-up to be stable."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


class Layer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)); one of ``layers``, which share the variance of one branch.

    Legend: B texts, T words, W width, H heads, D = W / H.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.expand, self.activation, self.contract = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.query_key_value, self.project, self.expand, self.contract):
            branches = 2 * layers if linear in (self.project, self.contract) else 1
            nn.init.normal_(linear.weight, std=1.0 / math.sqrt(branches * linear.in_features))
            nn.init.zeros_(linear.bias)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """(B, T, W) and which words are there (B, 1, 1, T) -> (B, T, W)."""
        B, T, W = x.shape
        q, k, v = self.query_key_value(self.norm1(x)).reshape(B, T, 3, self.heads, W // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(B, T, W)
        x = x + self.dropout(self.project(mixed))
        joined: torch.Tensor = x + self.dropout(self.contract(self.activation(self.expand(self.norm2(x)))))
        return joined


class Transformer(nn.Module):
    """Embeddings of words and places, ``layers`` of attention, the mean over the words of a text, a linear head.

    Padding is never attended to. Weights have variance 1 / fan_in; the two that write into the residual stream have it divided
    by 2 ``layers``, so that the sum of all branches is as large as one at any depth. Embeddings are drawn with deviation
    1 / sqrt(width) and multiplied by sqrt(width) where they are read: a step of Adam, which is as long for every weight, then
    moves what a word means sqrt(width) times as far, and rare words are not left as the noise that they were drawn as.

    Input (B, T) token numbers, int64, 0 after the end of a text, T at most ``length``; output (B, ``outputs``), logits.
    Source: Vaswani et al. 2017, arXiv:1706.03762 (section 3.4: the factor); Xiong et al. 2020, arXiv:2002.04745 (pre-norm);
    Radford et al. 2019 (residual branches scaled by depth).
    """

    places: torch.Tensor

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        length: int,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.register_buffer("places", _waves(length, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, heads, 4 * width, dropout, layers) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.embedding.weight, std=1.0 / math.sqrt(width))
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(width))
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, outputs)."""
        there = ids != 0
        first = torch.arange(ids.shape[1], device=ids.device) == 0
        seen = (there | first)[:, None, None, :]  # a text without words attends to its first place
        scale = math.sqrt(self.embedding.embedding_dim)
        x = self.dropout(scale * self.embedding(ids) + self.places[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x, seen)
        words = there.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (self.norm(x) * there[:, :, None]).sum(dim=1) / words
        logits: torch.Tensor = self.head(mean)
        return logits


def _waves(length: int, width: int) -> torch.Tensor:
    """Sines and cosines of each place (length, width), with wave lengths from 2 pi to 10,000 * 2 pi."""
    place = torch.arange(length)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    waves = torch.zeros(length, width)
    waves[:, 0::2], waves[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate[: width // 2])
    return waves
