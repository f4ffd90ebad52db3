"""Recurrent networks for texts: plain, GRU or LSTM, in one or both directions, which end where each text ends."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Cell = Literal["rnn", "gru", "lstm"]
_CELL: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """Embeddings, ``layers`` recurrent layers, the states of all words pooled ("max", "mean", or the "last" one), a head.

    Backward layers read each text from its own end, so that padding never enters a state: the answer for a text is the same
    alone and beside longer ones. Input weights are Glorot's, recurrent ones orthogonal (they keep the length of a state and of
    its gradient) or, for a plain network with ReLU, the ``identity``; the forget gates of an LSTM start open, with bias 1.

    Input (B, T) token numbers, int64, 0 after the end of a text; output (B, ``outputs``), logits.
    Source: Hochreiter & Schmidhuber 1997 (LSTM); Cho et al. 2014, arXiv:1406.1078 (GRU); Jozefowicz et al. 2015, ICML (forget
    bias); Saxe et al. 2014, arXiv:1312.6120 (orthogonal); Le et al. 2015, arXiv:1504.00941 (identity); Conneau et al. 2017,
    arXiv:1705.02364 (maximum over time).
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        cell: Cell = "lstm",
        width: int = 64,
        units: int = 64,
        layers: int = 1,
        directions: Literal["both", "forward"] = "both",
        pool: Literal["max", "mean", "last"] = "max",
        dropout: float = 0.3,
        identity: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        options = {"nonlinearity": "relu"} if identity and cell == "rnn" else {}
        for _ in range(layers):
            self.forwards.append(_CELL[cell](width, units, batch_first=True, **options))
            if directions == "both":
                self.backwards.append(_CELL[cell](width, units, batch_first=True, **options))
            width = units * (2 if directions == "both" else 1)
        self.pool = pool
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.embedding.weight, std=0.1)  # large ones stay the noise that they were drawn as, and are overfitted
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
        for layer in (*self.forwards, *self.backwards):
            _draw(layer, units, identity=bool(options))
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(width))
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, outputs)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        last = (ids != 0).sum(dim=1, keepdim=True).clamp(min=1) - 1
        turned = torch.where(places <= last, last - places, places)[:, :, None]  # each text from its end; padding stays
        states = self.dropout(self.embedding(ids))
        for number, layer in enumerate(self.forwards):
            found = [layer(states)[0]]
            if len(self.backwards):
                back = self.backwards[number](states.gather(1, turned.expand(-1, -1, states.shape[2])))[0]
                found.append(back.gather(1, turned.expand(-1, -1, back.shape[2])))
            states = torch.cat(found, dim=2)
        logits: torch.Tensor = self.head(self.dropout(self._pooled(states, (places > last)[:, :, None], last[:, :, None])))
        return logits

    def _pooled(self, states: torch.Tensor, ended: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, T, units) -> (B, units); a backward layer's last state is that of the first word."""
        if self.pool == "max":
            return states.masked_fill(ended, -math.inf).amax(dim=1)
        if self.pool == "mean":
            return states.masked_fill(ended, 0.0).sum(dim=1) / (last[:, 0] + 1)
        final = states.gather(1, last.expand(-1, -1, states.shape[2]))[:, 0]
        if not len(self.backwards):
            return final
        half = states.shape[2] // 2
        return torch.cat([final[:, :half], states[:, 0, half:]], dim=1)


def _draw(layer: nn.Module, units: int, *, identity: bool) -> None:
    """Glorot's input weights and orthogonal (or identical) recurrent ones, gate by gate; biases zero but the forget gate's."""
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_ih"):
            for gate in torch.split(parameter.data, units):
                nn.init.xavier_uniform_(gate)
        elif name.startswith("weight_hh"):
            for gate in torch.split(parameter.data, units):
                nn.init.eye_(gate) if identity else nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                nn.init.ones_(parameter.data[units : 2 * units])  # gates are in the order input, forget, cell, output
