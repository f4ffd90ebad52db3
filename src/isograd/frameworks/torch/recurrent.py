"""Gradients at every time step of a fused recurrent layer: a few of its sequences are run again, unrolled.

A fused kernel gives no gradient inside the sequence. So its input, initial state and output are kept for a few sequences
(sequences do not touch one another), with the gradients that arrive at its outputs; when the optimizer is about to step, the
layer is unrolled on detached weights and one ``autograd.grad`` gives dL/dh_t for all t. The unrolled output must be the
captured one, which proves weights, dropout masks and order; otherwise nothing is reported.

Legend of shapes: t time, n chosen sequence, i input, h hidden (output of the layer), c cell, d direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from isograd.frameworks.torch.alike import spread
from isograd.frameworks.torch.sums import moments, values_of
from isograd.records.moments import Moments

SEQUENCES = 4
"""Sequences that are run again."""
LONGEST = 1_024
"""Longer ones are not: an unrolled step costs about 50 us."""
_AGREE = {torch.float64: 1e-9, torch.float32: 1e-3}
_ROUGH = 5e-2
"""Of half precision. Relative to the largest output; a wrong mask or weight is off by about 1."""


class Layout:
    """Where the chosen sequences lie in the tensors of one call: padded in either order, a single sequence, or packed."""

    def __init__(self, module: nn.RNNBase, given: Any) -> None:
        self.packed = isinstance(given, PackedSequence)
        data = given.data if self.packed else given
        self.single, self._first = not self.packed and data.ndim == 2, module.batch_first
        if self.packed:
            sizes = given.batch_sizes.tolist()
            chosen = spread(sizes[0], SEQUENCES)
            starts = [sum(sizes[:t]) for t in range(len(sizes))]
            rows = [[start + n if n < size else -1 for n in chosen] for start, size in zip(starts, sizes, strict=True)]
            self._rows = torch.tensor(rows, device=data.device)
            self.present = self._rows >= 0
            original = given.sorted_indices
            self.chosen = chosen if original is None else original[chosen].tolist()
            return
        steps, count = (len(data), 1) if self.single else data.shape[:2] if not self._first else (data.shape[1], data.shape[0])
        self.chosen = spread(count, SEQUENCES)
        self.present = torch.ones(steps, len(self.chosen), dtype=torch.bool, device=data.device)

    @property
    def steps(self) -> int:
        """How many time steps the longest chosen sequence has."""
        return len(self.present)

    def sequences(self, tensor: Tensor, *, by_time: bool = False) -> Tensor:
        """A copy of the chosen sequences of an input or output (``by_time``: time is its first axis in any case), as tnh."""
        tensor = tensor.detach()
        if self.packed:
            return tensor[self._rows.clamp(min=0)] * self.present.unsqueeze(2)
        if self.single:
            return tensor.unsqueeze(1).clone()
        return (tensor.transpose(0, 1) if self._first and not by_time else tensor)[:, self.chosen]

    def states(self, tensor: Tensor) -> Tensor:
        """A copy of the chosen sequences of an initial or final state (layers * directions, sequences, h)."""
        tensor = tensor.detach()
        return tensor.unsqueeze(1).clone() if self.single else tensor[:, self.chosen]


@dataclass
class Replay:
    """One call of a recurrent layer, ready to be run again once its gradients have arrived."""

    module: nn.RNNBase
    layout: Layout
    inputs: Tensor
    states: list[Tensor]
    weights: list[list[Tensor]]
    output: Tensor
    masks: list[Tensor]
    tolerance: float
    arrived: dict[str, Tensor] = field(default_factory=dict)

    def hear(self, name: str, gradient: Tensor, scale: float) -> None:
        """Take the gradient of one of the call's outputs ("output", "h" or "c") by a loss that is ``scale`` times too large."""
        pick = self.layout.sequences if name == "output" else self.layout.states
        found = pick(gradient).to(self.inputs.dtype) / scale
        known = self.arrived.get(name)
        self.arrived[name] = found if known is None else known + found

    def run(self) -> tuple[Moments, ...]:
        """The gradient of the loss at the first layer's hidden state, step by step; empty where it cannot be known."""
        if not self.arrived:
            return ()
        with torch.enable_grad(), torch.autocast(self.inputs.device.type, enabled=False):
            states = [state.detach().requires_grad_() for state in self.states]  # so that all that follows has a graph
            output, finals, hidden = self._unrolled(states)
            limit = self.tolerance * max(float(self.output.abs().max()), 1e-30)
            if not float((output.detach() - self.output).abs().max()) <= limit:
                return ()
            ends = {"output": output, **dict(zip(("h", "c"), finals, strict=False))}
            last = [ends[name] for name in self.arrived]
            found = torch.autograd.grad(last, hidden, list(self.arrived.values()), allow_unused=True)
        return tuple(self._at(step, found) for step in range(self.layout.steps))

    def _at(self, step: int, found: tuple[Tensor | None, ...]) -> Moments:
        """Over the chosen sequences that have this step; both directions count at the position that they read."""
        total, present = Moments(), self.layout.present[step]
        for gradient in found[step :: self.layout.steps]:
            if gradient is None:
                count = int(present.sum()) * self.output.shape[2]
                total += Moments(count, zeros=count)
            else:
                total += moments(gradient[present]) or Moments()
        return total

    def _unrolled(self, states: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Output, final states, and the hidden states of the first layer: all steps of one direction, then of the other."""
        module, steps, present = self.module, range(self.layout.steps), self.layout.present.unsqueeze(2)
        layer, hidden, ends = self.inputs, list[Tensor](), list[list[Tensor]]()
        for depth in range(module.num_layers):
            sides = []
            for direction in range(_directions(module)):
                place = depth * _directions(module) + direction
                state, rows = [one[place] for one in states], [layer] * len(steps)
                for t in steps if direction == 0 else reversed(steps):
                    new = _cell(module, layer[t], state, self.weights[place])
                    # a packed sequence that has ended, or in the other direction has not begun, stays as it is
                    state = (
                        [torch.where(present[t], a, b) for a, b in zip(new, state, strict=True)] if self.layout.packed else new
                    )
                    rows[t] = new[0]
                hidden += rows if depth == 0 else []
                ends.append(state)
                sides.append(torch.stack(rows) * present if self.layout.packed else torch.stack(rows))
            layer = torch.cat(sides, 2)
            if depth < len(self.masks):
                layer = layer * self.masks[depth]
        return layer, [torch.stack([end[k] for end in ends]) for k in range(len(states))], hidden


def stream_of(module: nn.Module) -> Tensor | None:
    """The random stream before a call that draws dropout masks; nothing where none are drawn."""
    drawing = isinstance(module, nn.RNNBase) and module.training and module.dropout > 0.0 and module.num_layers > 1
    return torch.get_rng_state() if drawing else None


def replay_of(module: nn.RNNBase, given: Any, initial: Any, output: Any, stream: Tensor | None) -> Replay | str:
    """What is needed to run a few sequences of this call again, or the reason why that cannot be done."""
    packed = isinstance(given, PackedSequence)
    data, result = (given.data, output[0].data) if packed else (given, output[0])
    if not isinstance(data, Tensor) or values_of(data) is None or values_of(result) is None or not data.numel():
        return "its input holds no plain numbers"
    weights = _weights(module)
    if weights is None:
        return "its weights are parametrised or distributed"
    if stream is not None and data.device.type != "cpu":
        return "its dropout masks are drawn on a device"
    layout = Layout(module, given)
    if layout.steps > LONGEST:
        return f"its sequences are longer than {LONGEST:,} steps"
    kind = torch.float64 if data.dtype == torch.float64 else torch.float32
    states = [layout.states(state).to(kind) for state in _initial(module, initial)] or _zeros(module, layout, data, kind)
    return Replay(
        module,
        layout,
        layout.sequences(data).to(kind),
        states,
        [[weight.detach().to(kind) for weight in group] for group in weights],
        layout.sequences(result).to(kind),
        [layout.sequences(mask, by_time=True).to(kind) for mask in _masks(module, result, layout, stream)],
        max(_AGREE.get(result.dtype, _ROUGH), _AGREE.get(data.dtype, _ROUGH)),
    )


def _directions(module: nn.RNNBase) -> int:
    return 2 if module.bidirectional else 1


def _weights(module: nn.RNNBase) -> list[list[Tensor]] | None:
    """The weights of every layer and direction, where they are plain tensors that can be read without a side effect."""
    if parametrize.is_parametrized(module):
        return None
    groups = [[getattr(module, name) for name in names] for names in module._all_weights]
    plain = all(type(weight) in (Tensor, nn.Parameter) for group in groups for weight in group)
    return groups if plain else None


def _initial(module: nn.RNNBase, initial: Any) -> list[Tensor]:
    return [] if initial is None else list(initial) if module.mode == "LSTM" else [initial]


def _zeros(module: nn.RNNBase, layout: Layout, data: Tensor, kind: torch.dtype) -> list[Tensor]:
    places, count = module.num_layers * _directions(module), len(layout.chosen)
    widths = [module.proj_size or module.hidden_size, module.hidden_size][: 2 if module.mode == "LSTM" else 1]
    return [torch.zeros(places, count, width, dtype=kind, device=data.device) for width in widths]


def _masks(module: nn.RNNBase, result: Tensor, layout: Layout, stream: Tensor | None) -> list[Tensor]:
    """The dropout masks between the layers, drawn again from the stream as it was then; the stream of now is put back."""
    if stream is None:
        return []
    shape = result.shape
    if not layout.packed and not layout.single and module.batch_first:
        shape = torch.Size((shape[1], shape[0], shape[2]))
    now = torch.get_rng_state()
    try:
        torch.set_rng_state(stream)
        ones = torch.ones(shape, dtype=result.dtype)
        return [nn.functional.dropout(ones, module.dropout) for _ in range(module.num_layers - 1)]
    finally:
        torch.set_rng_state(now)


def _cell(module: nn.RNNBase, x: Tensor, state: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    """One step of one layer, by the equations in the documentation of ``torch.nn.RNN``, ``LSTM`` and ``GRU``."""
    w_ih, w_hh, *rest = weights
    b_ih, b_hh = rest[:2] if module.bias else (None, None)
    if module.mode == "LSTM" and module.proj_size:
        gates = nn.functional.linear(x, w_ih, b_ih) + nn.functional.linear(state[0], w_hh, b_hh)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return [(torch.sigmoid(o) * torch.tanh(c)) @ rest[-1].T, c]
    if module.mode == "LSTM":
        return list(torch.lstm_cell(x, state, w_ih, w_hh, b_ih, b_hh))
    if module.mode == "GRU":
        return [torch.gru_cell(x, state[0], w_ih, w_hh, b_ih, b_hh)]
    step = torch.rnn_relu_cell if module.mode == "RNN_RELU" else torch.rnn_tanh_cell
    return [step(x, state[0], w_ih, w_hh, b_ih, b_hh)]
