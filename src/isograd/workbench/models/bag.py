"""A bag of word n-grams: the sum of an embedding for each n-gram of a text, and a linear head; order beyond n is not seen."""

from __future__ import annotations

import torch
from torch import nn

_PRIME, _MODULUS = 1_000_003, 2**31 - 1


class Bag(nn.Module):
    """Every word, pair of words, ... up to ``ngrams`` words of a text has a row in one table; the rows are summed.

    Pairs and longer n-grams share ``buckets`` rows by hashing, so that none has to be known beforehand. The sum is divided by
    the square root of the number of n-grams: the mean square of a sum of n independent rows is n times that of one, so short
    and long texts are of one size. The table starts small, so that an n-gram that training saw never or once says little.

    Input (B, T) token numbers, int64, 0 after the end of a text; output (B, ``outputs``), logits.
    Source: Wang & Manning 2012, ACL (bigrams); Joulin et al. 2016, arXiv:1607.01759 (hashed n-grams, summed embeddings).
    """

    def __init__(
        self, vocabulary: int, outputs: int, ngrams: int = 2, buckets: int = 2**17, width: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.vocabulary, self.ngrams, self.buckets = vocabulary, ngrams, buckets
        self.embedding = nn.Embedding(vocabulary + (buckets if ngrams > 1 else 0), width, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.normal_(self.head.weight, std=width**-0.5)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.embedding.weight[0] = 0.0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, outputs)."""
        places, key = [ids], ids
        for n in range(1, self.ngrams):
            key = (key[:, :-1] * _PRIME + ids[:, n:]) % _MODULUS
            places.append(torch.where(ids[:, n:] != 0, self.vocabulary + key % self.buckets, 0))
        rows = torch.cat(places, dim=1)
        count = (rows != 0).sum(dim=1, keepdim=True).clamp(min=1)
        summed = self.embedding(rows).sum(dim=1) / count.sqrt()
        logits: torch.Tensor = self.head(self.dropout(summed))
        return logits
