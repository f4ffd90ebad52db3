"""Edits of recurrent layers, on a copy: gated cells, forget gates, identity weights, axes, truncated backpropagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.optim import Optimizer

from isograd.errors import ModelError
from isograd.frameworks.torch.exchanging import exchanged
from isograd.frameworks.torch.places import modules_of

if TYPE_CHECKING:
    from isograd.frameworks.torch.patient import TorchPatient

_GATED = (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell)
_PLAIN = (nn.RNN, nn.RNNCell)


def set_forget_bias(models: Sequence[nn.Module], value: float, where: str) -> None:
    """Set the bias of the gates that decide what stays: of an LSTM the forget gate, of a GRU the update gate.

    Both read a bias of the input and one of the state, which add up: the second becomes 0. Raises ``ModelError`` where there is
    no such gate. Source: Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures", section 2.2.
    """
    found = False
    for path, module in modules_of(models):
        if isinstance(module, _GATED) and where in ("", path):
            for name, bias in module.named_parameters(recurse=False):
                if name.startswith("bias"):
                    gate = slice(module.hidden_size, 2 * module.hidden_size)  # the second, in both
                    with torch.no_grad():
                        bias[gate] = value if name.startswith("bias_ih") else 0.0
                    found = True
    if not found:
        raise ModelError("there is no forget gate with a bias: no LSTM or GRU", where=where or "the model")


def set_identity(models: Sequence[nn.Module], where: str) -> None:
    """Recurrent weights become the identity and biases zero; the weights of the input stay. Raises ``ModelError`` without any.

    Source: Le, Jaitly & Hinton 2015, arXiv:1504.00941, section 2 (with ReLU).
    """
    found = False
    for path, module in modules_of(models):
        if isinstance(module, _PLAIN) and where in ("", path):
            found = True
            for name, parameter in module.named_parameters(recurse=False):
                with torch.no_grad():
                    if name.startswith("weight_hh"):
                        parameter.copy_(torch.eye(len(parameter)))
                    elif name.startswith("bias"):
                        parameter.zero_()
    if not found:
        raise ModelError("there is no simple recurrent layer whose weights could be the identity", where=where or "the model")


def take_first(twin: TorchPatient, axis: str, where: str) -> TorchPatient:
    """What reads sequences takes the batch, or time, as the first axis; raises ``ModelError`` where all of it does already."""
    readers = (nn.RNNBase, nn.MultiheadAttention)
    layers = [one for path, one in modules_of(twin.models) if isinstance(one, readers) and where in ("", path)]
    found = [one for one in layers if one.batch_first is (axis != "batch")]
    if not found:
        raise ModelError(
            f"there is no recurrent layer or attention that does not take the {axis} first already", where=where or "the model"
        )
    for layer in found:
        layer.batch_first = axis == "batch"
    return twin


def exchange_cells(
    models: Sequence[nn.Module], optimizer: Optimizer | None, name: str, where: str
) -> tuple[tuple[nn.Module, ...], list[nn.Module]]:
    """An LSTM or a GRU instead of each simple recurrent layer, called as that was and with outputs of the same shapes.

    Weights are drawn from the present random stream. Raises ``ModelError`` for a cell that its caller steps by hand and that
    has no second state to give back.
    """
    kinds: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}
    if name not in kinds:
        raise ModelError(f"no recurrent layer is called {name!r}", remedy=" or ".join(kinds))

    def made(path: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, _PLAIN) or where not in ("", path):
            return None
        if isinstance(module, nn.RNNCell):
            if name == "lstm":
                raise ModelError(
                    "a cell that is stepped by hand gives back one state, and an LSTM has two",
                    where=path,
                    remedy='Edit("cell", "gru")',
                )
            return nn.GRUCell(module.input_size, module.hidden_size, module.bias)
        options = {"bias": module.bias, "batch_first": module.batch_first, "dropout": module.dropout}
        other: nn.RNNBase = kinds[name](
            module.input_size, module.hidden_size, module.num_layers, bidirectional=module.bidirectional, **options
        )
        if name == "lstm":
            other.register_forward_pre_hook(_two_states)
            other.register_forward_hook(_one_state)
        return other

    found, new = exchanged(models, optimizer, made)
    if not new:
        raise ModelError("there is no simple recurrent layer", where=where or "the model")
    return found, new


def _two_states(module: nn.Module, args: Any) -> Any:
    """Beside the state that a simple layer would get stands a cell of zeros."""
    if len(args) > 1 and isinstance(args[1], Tensor):
        return args[0], (args[1], torch.zeros_like(args[1]))
    return None


def _one_state(module: nn.Module, args: Any, output: Any) -> Any:
    return output[0], output[1][0]


class _Cut:
    """A recurrent layer whose state is detached every ``cut_every`` steps; what it puts out is the same."""

    cut_every: int
    batch_first: bool

    def forward(self, given: Any, state: Any = None) -> Any:
        """The output of the layer, in pieces: shapes as ever."""
        if isinstance(given, PackedSequence):
            raise ModelError("a packed sequence cannot be cut into pieces of equal length", remedy="pad it instead")
        axis = 1 if self.batch_first and given.ndim == 3 else 0
        found: list[Tensor] = []
        for piece in given.split(self.cut_every, dim=axis):
            output, state = super().forward(piece, _detached(state) if found else state)  # type: ignore[misc]
            found.append(output)
        return torch.cat(found, axis), state


def _detached(state: Any) -> Any:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


# Named as torch's own, so that whoever reads the kind of a layer off its name goes on reading it.
_CUT: dict[type[nn.RNNBase], Any] = {kind: type(kind.__name__, (_Cut, kind), {}) for kind in (nn.RNN, nn.LSTM, nn.GRU)}


def truncate(models: Sequence[nn.Module], steps: int | None, where: str) -> None:
    """Cut the gradient through time every so many steps, in place; None: no longer.

    Raises ``ModelError`` where there is no layer that reads a whole sequence from one end.
    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent networks".
    """
    found = False
    for path, module in modules_of(models):
        if not isinstance(module, nn.RNNBase) or where not in ("", path) or module.bidirectional:
            continue
        plain = next((kind for kind in _CUT if isinstance(module, kind)), None)
        if plain is None or type(module) not in (plain, _CUT[plain]):  # a class of the person's own may do anything
            continue
        if steps is None:
            if type(module) is not plain:
                module.__class__, found = plain, True
        else:
            module.__class__, found = _CUT[plain], True
            module.__dict__["cut_every"] = steps
    if not found:
        what = "that reads a sequence from one end" if steps is not None else "whose gradient is cut"
        raise ModelError(f"there is no recurrent layer {what}", where=where or "the model")
