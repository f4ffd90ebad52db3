"""Derivatives of derivatives that a program asks for by itself: whether anything is left of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isograd.frameworks.torch.heads import kind_of
from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.places import tensors_in

ENTRIES = 8
"""Entries from which being all zero says something."""
SEARCHED = 256
"""Operations that are looked through for a derivative at most."""


def flat_derivative(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> bool | None:
    """Whether ``torch.autograd.grad`` of something that is a derivative itself gave exact zeros; None for any other call.

    >>> import torch
    >>> x = torch.linspace(-1.0, 1.0, 16).requires_grad_()
    >>> for curve in (torch.relu, torch.tanh):
    ...     (slope,) = torch.autograd.grad(curve(x).sum(), x, create_graph=True)
    ...     flat_derivative("grad", (slope.sum(),), {"create_graph": True}, torch.autograd.grad(slope.sum(), x))
    True
    False
    """
    if name != "grad" or not (kwargs.get("create_graph") or (len(args) > 4 and args[4])):
        return None
    found = [one for one in tensors_in(output) if is_plain(one) and one.is_floating_point()]
    of = next(tensors_in(args[:1]), None)
    if of is None or sum(one.numel() for one in found) < ENTRIES or not _derived(of.grad_fn):
        return None
    return not any(bool(one.any()) for one in found)


def _derived(node: Any) -> bool:
    """Whether a graph holds the backward of an operation: what it computes is a derivative."""
    seen: set[Any] = set()
    waiting = [node]
    while waiting and len(seen) < SEARCHED:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if kind_of(node).endswith("Backward"):
            return True
        seen.add(node)
        waiting.extend(other for other, _ in node.next_functions)
    return False
