"""A residual network for tables: quantities in pieces at their quantiles, categories as embeddings, and blocks with a skip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class Pieces(nn.Module):
    """Each quantity as how far it has gone through each of its pieces, and these as an embedding: ReLU(pieces @ weight + bias).

    A piece is 0 before it, 1 behind it, and linear within; ``edges`` (F, P + 1) are quantiles of training rows.
    Legend: B rows, F quantities, P pieces, E numbers an embedding.
    Source: Gorishniy et al. 2022, arXiv:2203.05556, eq. 1 and section 3.2.
    """

    start: torch.Tensor
    slope: torch.Tensor

    def __init__(self, edges: torch.Tensor, embedding: int) -> None:
        super().__init__()
        F, P = edges.shape[0], edges.shape[1] - 1
        widths = edges[:, 1:] - edges[:, :-1]
        self.register_buffer("start", edges[:, :-1].clone())
        # A piece without width (many rows share one value) is passed at once.
        self.register_buffer("slope", torch.where(widths > 1e-6, 1.0 / widths.clamp(min=1e-6), 1e6))
        self.weight = nn.Parameter(torch.empty(F, P, embedding))
        self.bias = nn.Parameter(torch.zeros(F, embedding))
        # Half of the pieces are passed on average, so that their mean square is about 1/2; ReLU keeps half of what comes.
        nn.init.normal_(self.weight, std=math.sqrt(4.0 / P))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F) -> (B, F * E)."""
        passed = ((x[:, :, None] - self.start) * self.slope).clamp(0.0, 1.0)
        return torch.relu(torch.einsum("bfp,fpe->bfe", passed, self.weight) + self.bias).flatten(1)


class Block(nn.Module):
    """x + contract(dropout(relu(expand(norm(x))))); one of ``blocks``, which share the variance of one branch."""

    def __init__(self, width: int, dropout: float, blocks: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand, self.activation, self.contract = nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.expand.weight, std=math.sqrt(2.0 / width))
        nn.init.normal_(self.contract.weight, std=math.sqrt(1.0 / (2 * width * blocks)))
        nn.init.zeros_(self.expand.bias)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width) -> (B, width)."""
        joined: torch.Tensor = x + self.contract(self.dropout(self.activation(self.expand(self.norm(x)))))
        return joined


class Tabular(nn.Module):
    """Quantities through ``Pieces``, categories through embeddings, the rest as it is; then ``blocks`` residual blocks.

    Input (B, ``inputs``): of the features, ``numbers`` are quantities, ``categories`` (feature, values) are places among so
    many values, 0 for one never seen; what is neither (indicators, words of a text) goes in as it is. Output (B, ``outputs``).
    The last matrix of each block is drawn with variance 1 / (fan_in ``blocks``), so that depth does not raise the signal.
    Source: Gorishniy et al. 2021, arXiv:2106.11959 (residual blocks); 2022, arXiv:2203.05556 (quantities).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        numbers: Sequence[int] = (),
        categories: Sequence[tuple[int, int]] = (),
        rows: torch.Tensor | None = None,
        width: int = 128,
        blocks: int = 2,
        bins: int = 64,
        embedding: int = 16,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        named = {feature for feature, _ in categories}
        self.numbers, self.named = tuple(numbers), tuple(feature for feature, _ in categories)
        self.plain = tuple(feature for feature in range(inputs) if feature not in named.union(numbers))
        self.pieces = Pieces(_edges(rows, self.numbers, bins), embedding) if numbers else None
        sizes = [min(32, math.ceil(1.6 * values**0.56)) for _, values in categories]
        self.embeddings = nn.ModuleList(nn.Embedding(c[1], size) for c, size in zip(categories, sizes, strict=True))
        features = len(self.numbers) * embedding + sum(sizes) + len(self.plain)
        self.stem = nn.Linear(features, width)
        self.blocks = nn.Sequential(*(Block(width, dropout, blocks) for _ in range(blocks)))
        self.norm, self.activation = nn.LayerNorm(width), nn.ReLU()
        self.head = nn.Linear(width, outputs)
        for layer in (self.stem, self.head):
            nn.init.normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs) -> (B, outputs)."""
        found = [table(x[:, feature].long()) for feature, table in zip(self.named, self.embeddings, strict=True)]
        if self.pieces is not None:
            found.append(self.pieces(x[:, self.numbers]))
        if self.plain:
            found.append(x[:, self.plain])
        logits: torch.Tensor = self.head(self.activation(self.norm(self.blocks(self.stem(torch.cat(found, dim=1))))))
        return logits


def _edges(rows: torch.Tensor | None, numbers: Sequence[int], bins: int) -> torch.Tensor:
    """Where the pieces end (numbers, bins + 1), from training rows; equal steps from -3 to 3 where there are none to look at.

    One half are quantiles of the rows, the other quantiles of the different values, so that a quantity that is mostly zero is
    cut finely where it is not.
    """
    if rows is None or not len(rows):
        return torch.linspace(-3.0, 3.0, bins + 1).expand(len(numbers), -1)
    by_row, by_value = torch.linspace(0.0, 1.0, bins // 2 + 1), torch.linspace(0.0, 1.0, bins - bins // 2 + 2)[1:-1]
    some = rows[:100_000, list(numbers)].float().T
    edges = [torch.cat([torch.quantile(x, by_row), torch.quantile(x.unique(), by_value)]).sort().values for x in some]
    return torch.stack(edges)[:, : bins + 1]
