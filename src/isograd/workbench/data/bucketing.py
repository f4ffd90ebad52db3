"""Put texts of about one length into one batch, so that little is padding; the order stays a function of (seed, epoch)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from isograd.workbench.data.order import permutation

Codes = NDArray[np.int64]
POOL = 50
"""Batches that are drawn at random together and sorted by length among themselves: alike in length, never twice alike."""
_STREAM = 1 << 32  # the order of batches is drawn apart from that of rows


def are_tokens(inputs: torch.Tensor) -> bool:
    """Whether encoded rows are sequences of token numbers (rows, length), 0 where a text has ended.

    >>> are_tokens(torch.zeros(2, 3)), are_tokens(torch.zeros(2, 3, dtype=torch.int64))
    (False, True)
    """
    return inputs.ndim == 2 and inputs.dtype == torch.int64


def lengths_of(inputs: torch.Tensor) -> torch.Tensor:
    """Tokens of each row (rows,), those after its last one not counted."""
    places = torch.arange(1, inputs.shape[1] + 1, dtype=torch.int32, device=inputs.device)
    return torch.cat([torch.where(some != 0, places, 0).amax(dim=1) for some in torch.split(inputs, 1 << 14)]).long()


def trimmed(inputs: torch.Tensor) -> torch.Tensor:
    """The batch without the columns that are padding in all of its rows; at least one column is left.

    >>> trimmed(torch.tensor([[3, 0, 0, 0], [5, 6, 0, 0]])).tolist()
    [[3, 0], [5, 6]]
    """
    return inputs[:, : max(1, int(lengths_of(inputs).max()))] if len(inputs) else inputs


def bucketed(order: Codes, lengths: torch.Tensor, batch_size: int, *, seed: int, epoch: int) -> Codes:
    """The rows of ``order``, rearranged so that each batch holds texts of about one length.

    Pools of ``POOL`` batches are taken off the random ``order`` as they come; each is sorted by length and cut into batches,
    whose order is then drawn anew. What does not fill a batch stays at the end, as it was. A function of its arguments.

    >>> order, lengths = np.arange(4), torch.tensor([9, 1, 8, 2])
    >>> sorted(sorted(pair) for pair in bucketed(order, lengths, 2, seed=0, epoch=1).reshape(2, 2).tolist())
    [[0, 2], [1, 3]]
    """
    full, counts = len(order) // batch_size, lengths.numpy()
    if not full:
        return order
    rows = order[: full * batch_size]
    pools = [rows[first : first + POOL * batch_size] for first in range(0, len(rows), POOL * batch_size)]
    batches = np.concatenate([pool[np.argsort(counts[pool], kind="stable")] for pool in pools]).reshape(full, batch_size)
    drawn = permutation(seed, epoch + _STREAM, full)
    return np.concatenate([batches[drawn].reshape(-1), order[full * batch_size :]])
