"""Recurrent networks for texts and sequences: plain, GRU or LSTM, one or both directions, each sequence to its own end."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Cell = Literal["rnn", "gru", "lstm"]
_CELL: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """``layers`` recurrent layers, the states of all steps pooled ("max", "mean", or the "last" one), a linear head.

    Backward layers read each sequence from its own end, so that padding never enters a state: the answer is the same alone and
    beside longer ones. Input weights are Glorot's, recurrent ones orthogonal (they keep the length of a state and of its
    gradient) or, for a plain network with ReLU, the ``identity``, with input weights of deviation 0.001 where it reads
    quantities, whose sum it is then. The forget gates of an LSTM start open, with bias 1. Where quantities come in sequences of
    ``length`` steps, gates remember for times drawn evenly from 1 to ``length`` - 1: the forget gate of an LSTM, and the update
    gate of a GRU, have the bias log(time), so that a unit keeps 1 - 1 / (1 + time) of its state from step to step.

    Input (B, T) numbers of ``vocabulary`` tokens, int64, 0 after the end of a text, which are embedded in ``width`` numbers;
    or (B, T, ``features``) quantities, where those that are ``ragged`` have 1 for a step and 0 after the end in the last.
    Output (B, ``outputs``), or (B, T, ``outputs``) where ``each`` step has an answer.
    Source: Hochreiter & Schmidhuber 1997 (LSTM); Cho et al. 2014, arXiv:1406.1078 (GRU); Jozefowicz et al. 2015, ICML (forget
    bias); Saxe et al. 2014, arXiv:1312.6120 (orthogonal); Le et al. 2015, arXiv:1504.00941 (identity); Conneau et al. 2017,
    arXiv:1705.02364 (maximum over time); Tallec & Ollivier 2018, arXiv:1804.11188 (times of gates).
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        cell: Cell = "lstm",
        width: int | None = None,
        units: int = 64,
        layers: int = 1,
        directions: Literal["both", "forward"] = "both",
        pool: Literal["max", "mean", "last"] = "max",
        dropout: float = 0.3,
        identity: bool = False,
        features: int = 0,
        length: int = 0,
        ragged: bool = False,
        each: bool = False,
    ) -> None:
        super().__init__()
        self.ragged, self.each, self.pool = ragged, each, pool
        size = (width or 64) if vocabulary else features - ragged
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=0) if vocabulary else None
        self.dropout = nn.Dropout(dropout)
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        options = {"nonlinearity": "relu"} if identity and cell == "rnn" else {}
        for _ in range(layers):
            self.forwards.append(_CELL[cell](size, units, batch_first=True, **options))
            if directions == "both":
                self.backwards.append(_CELL[cell](size, units, batch_first=True, **options))
            size = units * (2 if directions == "both" else 1)
        self.head = nn.Linear(size, outputs)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.1)  # large ones stay the noise they were drawn as, and are overfitted
            with torch.no_grad():
                self.embedding.weight[0] = 0.0
        for layer in (*self.forwards, *self.backwards):
            _draw(layer, units, identity=bool(options), small=bool(options) and not vocabulary)
            if length > 2 and cell != "rnn":
                _remember(layer, units, length)
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(size))
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T) or (B, T, features) -> (B, outputs), or (B, T, outputs)."""
        places = torch.arange(x.shape[1], device=x.device)
        if self.embedding is not None:
            there, states = x != 0, self.dropout(self.embedding(x))
        elif self.ragged:
            there, states = x[:, :, -1] > 0.5, x[:, :, :-1]
        else:
            there, states = torch.ones_like(x[:, :, 0], dtype=torch.bool), x
        last = there.sum(dim=1, keepdim=True).clamp(min=1) - 1
        turned = torch.where(places <= last, last - places, places)[:, :, None]  # each one from its end; padding stays
        for number, layer in enumerate(self.forwards):
            found = [layer(states)[0]]
            if len(self.backwards):
                back = self.backwards[number](states.gather(1, turned.expand(-1, -1, states.shape[2])))[0]
                found.append(back.gather(1, turned.expand(-1, -1, back.shape[2])))
            states = torch.cat(found, dim=2)
        if not self.each:
            states = self._pooled(states, (places > last)[:, :, None], last[:, :, None])
        answers: torch.Tensor = self.head(self.dropout(states))
        return answers

    def _pooled(self, states: torch.Tensor, ended: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, T, units) -> (B, units); a backward layer's last state is that of the first step."""
        if self.pool == "max":
            return states.masked_fill(ended, -math.inf).amax(dim=1)
        if self.pool == "mean":
            return states.masked_fill(ended, 0.0).sum(dim=1) / (last[:, 0] + 1)
        final = states.gather(1, last.expand(-1, -1, states.shape[2]))[:, 0]
        if not len(self.backwards):
            return final
        half = states.shape[2] // 2
        return torch.cat([final[:, :half], states[:, 0, half:]], dim=1)


def _draw(layer: nn.Module, units: int, *, identity: bool, small: bool) -> None:
    """Glorot's input weights (or ``small`` ones) and orthogonal (or identical) recurrent ones, gate by gate; biases zero but
    the forget gate's.
    """
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_ih"):
            for gate in torch.split(parameter.data, units):
                nn.init.normal_(gate, std=0.001) if small else nn.init.xavier_uniform_(gate)
        elif name.startswith("weight_hh"):
            for gate in torch.split(parameter.data, units):
                nn.init.eye_(gate) if identity else nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                nn.init.ones_(parameter.data[units : 2 * units])  # gates are in the order input, forget, cell, output


def _remember(layer: nn.Module, units: int, length: int) -> None:
    """Biases of gates by which units remember for 1 to ``length`` - 1 steps; the input gate of an LSTM closes as much."""
    for name, parameter in layer.named_parameters():
        if name.startswith("bias_ih"):
            gates = torch.split(parameter.data, units)
            torch.nn.init.uniform_(gates[1], 1.0, length - 1.0).log_()  # forget gate (LSTM), update gate (GRU)
            if isinstance(layer, nn.LSTM):
                gates[0].copy_(-gates[1])
