"""Likelihoods of classes written by hand, by their graph: log p of the right class, picked by its index or a one-hot mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isograd.frameworks.torch.heads import kind_of

ROWS = 65_536
"""Examples beyond which a one-hot mask is not looked through."""


def likelihood(node: Any) -> tuple[Tensor, Tensor, Any] | None:
    """Log probabilities (examples by classes), the class of each example, and the node of what they were picked of.

    Nothing where a node does not stand for such a pick.

    Known are ``log(p)[range(n), y]``, ``log(p).gather(1, y)``, ``one_hot * log(p)``, the same of ``log_softmax``, and the log
    of what was picked of a softmax; an eps in the logarithm or none.

    >>> p = torch.full((2, 4), 0.25, requires_grad=True)
    >>> found = likelihood(torch.log(p)[range(2), torch.tensor([3, 1])].grad_fn)
    >>> found[1].tolist(), [round(value, 2) for value in found[0][0].tolist()]
    ([3, 1], [-1.39, -1.39, -1.39, -1.39])
    """
    try:
        found = _masked(node) if kind_of(node) == "Mul" else _picked(node)
    except (RuntimeError, AttributeError, IndexError):  # the graph has been freed, or is of another make
        return None
    if found is None or found[0].ndim != 2 or found[1].shape != found[0].shape[:1] or found[0].shape[1] < 2:
        return None
    return found


def _picked(node: Any) -> tuple[Tensor, Tensor, Any] | None:
    of_softmax = kind_of(node) == "Log"
    if of_softmax:
        node = _below(node)
    if kind_of(node) not in ("Index", "Gather"):
        return None
    below = _below(node)
    logs = _logs(below, of_softmax=of_softmax)
    classes = _classes(node) if logs is not None else None
    return None if logs is None or classes is None else (logs, classes, below)


def _classes(node: Any) -> Tensor | None:
    """The class of each example, where every row gives one entry."""
    if kind_of(node) == "Gather":
        index: Tensor = node._saved_index
        return index[:, 0] if node._saved_dim in (1, 2**64 - 1) and index.ndim == 2 and index.shape[1] == 1 else None
    indices = node._saved_indices
    if len(indices) != 2 or any(one is None or one.ndim != 1 or one.dtype == torch.bool for one in indices):
        return None
    rows, classes = indices
    return classes if len(rows) == len(classes) and torch.equal(rows, torch.arange(len(rows), device=rows.device)) else None


def _masked(node: Any) -> tuple[Tensor, Tensor, Any] | None:
    logs, below = next(((found, below) for below in _children(node) if (found := _logs(below)) is not None), (None, None))
    sides = (getattr(node, name, None) for name in ("_saved_self", "_saved_other"))
    mask = next((one for one in sides if isinstance(one, Tensor) and not one.requires_grad), None)
    if logs is None or mask is None or mask.shape != logs.shape or len(mask) > ROWS:
        return None
    one_hot = ((mask == 0) | (mask == 1)).all() and (mask.sum(-1) == 1).all()
    return (logs, mask.argmax(-1), below) if bool(one_hot) else None


def _logs(node: Any, *, of_softmax: bool = False) -> Tensor | None:
    """The log probabilities that a node puts out."""
    kind = kind_of(node) if node is not None else ""
    if of_softmax:
        return node._saved_result.detach().log() if kind == "Softmax" else None
    if kind == "LogSoftmax":
        return node._saved_result.detach()  # type: ignore[no-any-return]
    return node._saved_self.detach().log() if kind == "Log" else None


def _below(node: Any) -> Any:
    """What a node was computed from; a number that was added (an eps) is passed over."""
    below = _children(node)
    if len(below) == 1 and kind_of(below[0]) == "Add" and len(_children(below[0])) == 1:
        return _children(below[0])[0]
    return below[0] if below else None


def _children(node: Any) -> list[Any]:
    return [other for other, _ in node.next_functions if other is not None]
