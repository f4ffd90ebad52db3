"""What only a call shows of an operation: steps of a sequence, a causal mask, an index, a factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from isograd.records.anatomy import Scalar, Settings

SMALL = 65_536
"""Entries of a constant tensor that is read to know its size."""


def of_call(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Settings:
    """Settings that the arguments of a module's call show.

    >>> layer = nn.RNN(2, 3, batch_first=True)
    >>> of_call(layer, (torch.zeros(4, 5, 2),), {})
    (('steps', 5), ('dropout', 0.0))
    """
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return _recurrent(module, args[0] if args else kwargs.get("input"))
    if isinstance(module, nn.MultiheadAttention):
        mask = kwargs.get("attn_mask", args[5] if len(args) > 5 else None)
        return (("causal", bool(kwargs.get("is_causal")) or _is_causal(mask)),)
    return ()


def of_arguments(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], unknown: Sequence[Tensor]) -> Settings:
    """Settings that the arguments of a function's call show; ``unknown`` are tensors that came from nowhere: constants."""
    if name in ("getitem", "select") and len(args) > 1:
        parts = args[1] if isinstance(args[1], tuple) else args[2:3] if name == "select" else (args[1],)
        index = next((part for part in reversed(parts) if type(part) is int), None)
        return () if index is None else (("index", index),)
    if name in ("mul", "imul", "rmul", "multiply") and len(unknown) == 1 and 0 < unknown[0].numel() <= SMALL:
        constant = unknown[0].detach()
        if constant.is_floating_point() or constant.dtype == torch.bool:
            return (("factor", float(constant.double().square().mean().sqrt())),)
    if name == "scaled_dot_product_attention":
        mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
        return (("causal", True),) if _is_causal(mask) else ()
    return ()


def _recurrent(module: nn.RNNBase | nn.RNNCellBase, given: Any) -> Settings:
    facts: dict[str, Scalar] = {}
    if isinstance(module, nn.RNNBase):
        if isinstance(given, PackedSequence):
            facts["steps"] = len(given.batch_sizes)
        elif isinstance(given, Tensor):
            facts["steps"] = given.shape[1 if given.ndim == 3 and module.batch_first else 0]
        facts["dropout"] = float(module.dropout) if module.training else 0.0
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        for name, bias in module.named_parameters():
            if name.startswith("bias_ih"):
                tail, other = name.removeprefix("bias_ih"), dict(module.named_parameters())[name.replace("_ih", "_hh")]
                gates = (bias.detach() + other.detach()).double().view(4, module.hidden_size)  # input, forget, cell, output
                facts[f"forget_bias{tail}"] = float(gates[1].mean())
                facts[f"gate_bias{tail}"] = float(gates[[0, 2, 3]].square().mean())
    return tuple(facts.items())


def _is_causal(mask: Any) -> bool:
    """Whether a mask hides exactly what comes later; True hides in the boolean masks of a module, and shows in fused ones."""
    if not isinstance(mask, Tensor) or mask.ndim < 2 or mask.shape[-1] != mask.shape[-2] or mask.numel() > SMALL:
        return False
    square = mask.detach().reshape(-1, *mask.shape[-2:])[0]
    hidden = square if square.dtype == torch.bool else square < -1e3
    later = torch.ones_like(hidden, dtype=torch.bool).triu(1)
    return bool((hidden == later).all()) or (square.dtype == torch.bool and bool((~hidden == later).all()))
