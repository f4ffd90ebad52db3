"""How an attention spreads over its keys: from queries and keys of a fused call, or from the logits of a softmax.

Legend of shapes: b example, h head, q query, k key, e width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isograd.frameworks.torch.alike import spread
from isograd.frameworks.torch.sums import values_of
from isograd.records.trace import Attention

EXAMPLES = 2
"""Examples that are looked at."""
QUERIES = 64
"""Queries that are looked at, spread evenly."""
ENTRIES = 2**19
"""Logits that are looked at."""
MASKED = -9e3
"""A logit below this was masked: programs fill with -1e4 and lower, and a logit of that size says nothing else."""
_PRODUCTS = ("Bmm", "Baddbmm")
_THROUGH: tuple[str, ...] = (
    "Div",
    "Mul",
    "MaskedFill",
    "AddBack",
    "Sub",
    "Where",
    "View",
    "UnsafeView",
    "Expand",
    "Reshape",
    "ToCopy",
    "Clone",
)
_THROUGH += ("Permute", "Transpose", "Unsqueeze", "Squeeze", "Alias")
_DEEP = 12


def of_logits(logits: Tensor) -> Attention | None:
    """How the softmax of scaled logits (b, h, q, k) spreads over the keys; a masked logit is minus infinite or nearly.

    A row's entropy is counted in units of the log of the keys that it may look at, so that what a causal mask leaves the first
    queries is no collapse; rows that may look at one key only are left out.

    >>> of_logits(torch.zeros(1, 1, 2, 4)).mean
    1.0
    """
    allowed = logits > MASKED
    rows = allowed.sum(-1) > 1
    if not bool(rows.any()):
        return None
    logits = logits.double()
    weights = torch.softmax(logits.masked_fill(~allowed, -math.inf), -1)
    entropy = torch.special.entr(weights).sum(-1) / allowed.sum(-1).clamp(min=2).double().log()
    kept = torch.where(rows, entropy, 0.0)
    heads = kept.sum((0, 2)) / rows.sum((0, 2)).clamp(min=1)
    lowest = float(heads[rows.any(2).any(0)].min())
    total, largest = float(kept.sum()), float(logits[allowed].abs().max())
    if not math.isfinite(total) or not math.isfinite(largest):
        return None
    return Attention(int(rows.sum()), total, lowest, largest)


def of_fused(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Attention | None:
    """The attention of a call of ``scaled_dot_product_attention``."""
    given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | dict(kwargs)
    mask = given.get("attn_mask")
    masks = [mask] if isinstance(mask, Tensor) else []
    return _spread(given["query"], given["key"], masks, causal=bool(given.get("is_causal")), scale=given.get("scale"))


def of_module(module: nn.MultiheadAttention, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Attention | None:
    """The attention of a call of ``nn.MultiheadAttention``; nothing where it adds keys of its own."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    query, key, mask, padding = (given.get(name) for name in ("query", "key", "attn_mask", "key_padding_mask"))
    if module.bias_k is not None or module.add_zero_attn or parametrize.is_parametrized(module):
        return None
    if not (isinstance(query, Tensor) and isinstance(key, Tensor)) or query.is_nested or query.ndim not in (2, 3):
        return None
    if query.ndim == 2:
        query, key, padding = query.unsqueeze(0), key.unsqueeze(0), None if padding is None else padding.unsqueeze(0)
    elif not module.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    chosen, whole, width = spread(len(query), EXAMPLES), len(query), module.embed_dim
    together: Tensor | None = module.in_proj_weight
    bias: Tensor | None = module.in_proj_bias
    if together is not None:
        weights = together[:width], together[width : 2 * width]
    else:
        weights = module.q_proj_weight, module.k_proj_weight
    biases = [None, None] if bias is None else [bias[:width], bias[width : 2 * width]]
    q, k = (
        _projected(x[chosen], weight, own).view(len(chosen), -1, module.num_heads, module.head_dim).transpose(1, 2)
        for x, weight, own in zip((query, key), weights, biases, strict=True)
    )
    if mask is not None and mask.ndim == 3:  # one for every example and head
        mask = mask.view(whole, module.num_heads, *mask.shape[1:])[chosen]
    masks = [one for one in (mask, None if padding is None else padding[chosen][:, None, None, :]) if one is not None]
    # is_causal is a hint here: the mask is given all the same. True hides in the masks of a module, and shows in fused ones
    shown = [~one if one.dtype == torch.bool else one for one in masks]
    return _spread(q, k, shown, causal=False, scale=None)


def of_softmax(logits: Any, axis: Any) -> Attention | None:
    """The attention of a softmax written by hand; nothing where it is not certain that it is one.

    Certain is a softmax over the last of three or more axes, of logits that came from a product of two batches of matrices
    through nothing but scaling, masking and reshaping.
    """
    if not isinstance(logits, Tensor) or logits.ndim < 3 or axis not in (-1, logits.ndim - 1) or not _from_product(logits):
        return None
    if logits.shape[-1] < 2 or not logits.numel():
        return None
    queries = _queries(logits.shape, logits.shape[-1])
    values = values_of(logits.detach()[spread(len(logits), EXAMPLES)][..., queries, :])
    return None if values is None else of_logits(values.reshape(len(values), -1, *values.shape[-2:]))


def _projected(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # In float64, which autocast leaves alone: it would keep what it casts here, and the person's own pass would get it.
    out = x.detach().double() @ weight.detach().double().T
    return out if bias is None else out + bias.detach().double()


def _spread(query: Any, key: Any, masks: Sequence[Tensor], *, causal: bool, scale: float | None) -> Attention | None:
    if not (isinstance(query, Tensor) and isinstance(key, Tensor)) or query.is_nested or query.ndim not in (3, 4):
        return None
    whole, keys = query.shape, key.shape[-2]
    if key.ndim != query.ndim or keys < 2 or not query.numel():
        return None
    chosen, rows = spread(len(query), EXAMPLES), _queries(whole, keys)
    q, k = values_of(query.detach()[chosen][..., rows, :]), values_of(key.detach()[chosen if len(key) > 1 else [0]])
    if q is None or k is None:
        return None
    if q.ndim == 4 and q.shape[1] != k.shape[1]:  # grouped queries share their keys
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    logits = q.double() @ k.double().transpose(-1, -2) * (scale if scale is not None else whole[-1] ** -0.5)
    if causal:
        seen = torch.ones(whole[-2], keys, dtype=torch.bool, device=logits.device).tril()
        masks = (*masks, seen)
    for mask in masks:
        part = mask.detach().broadcast_to(*whole[:-1], keys)[chosen][..., rows, :]
        logits = logits.masked_fill(~part, -math.inf) if part.dtype == torch.bool else logits + part.double()
    return of_logits(logits if logits.ndim == 4 else logits.unsqueeze(1))


def _queries(shape: Sequence[int], keys: int) -> list[int]:
    """Which queries of (b, ..., q, _) are looked at: spread evenly, and so many that no more than ``ENTRIES`` logits are."""
    beside = min(shape[0], EXAMPLES) * math.prod(shape[1:-2]) * keys
    return spread(shape[-2], max(1, min(QUERIES, ENTRIES // beside)))


def _from_product(logits: Tensor) -> bool:
    """Whether a product of two batches of matrices (not a linear layer, which is one matrix) made the logits."""
    waiting = [logits.grad_fn]
    for _ in range(_DEEP):
        if not waiting:
            return False
        node = waiting.pop(0)
        if node is None:
            continue
        name = node.name()
        if name.startswith(_PRODUCTS):
            return True
        if name.startswith(_THROUGH):
            waiting.extend(before for before, _ in node.next_functions)
    return False
