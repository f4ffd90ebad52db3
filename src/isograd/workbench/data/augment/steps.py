"""Change sequences in batches: noise on their quantities, another size of them, and a piece in place of the whole.

Legend: N sequences, T steps, F features. Inputs are (N, T, F); where sequences are ragged the last feature says where they end.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from isograd.records.schema import Encoding
from isograd.workbench.data.augment.plan import Settled
from isograd.workbench.data.features import width_of_column
from isograd.workbench.data.order import uniforms

Keys = NDArray[np.int64]
_JITTER, _SCALE, _WINDOW = 41, 42, 43


def there(inputs: torch.Tensor, encoding: Encoding) -> NDArray[np.bool_]:
    """Which steps there are (N, T)."""
    assert encoding.sequence is not None
    if not encoding.sequence.ragged:
        return np.ones(inputs.shape[:2], dtype=np.bool_)
    found: NDArray[np.bool_] = inputs[:, :, -1].numpy() > 0.5
    return found


def spread_of(inputs: torch.Tensor, encoding: Encoding) -> NDArray[np.float32]:
    """How far each feature varies over the steps of the training part, where it is a number; 0 where it is not (F,)."""
    found = np.zeros(inputs.shape[2], dtype=np.float32)
    seen, first = inputs[torch.from_numpy(there(inputs, encoding))], 0
    for column in encoding.columns:
        if column.kind in ("number", "date"):
            found[first] = float(seen[:, first].double().std(correction=0))
        first += width_of_column(column)
    return found


def resized(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Sequences whose every quantity is 1 - ``scale`` to 1 + ``scale`` times as large as it was, at all steps alike.

    Source: Um et al. 2017, arXiv:1706.00527.
    """
    if not plan.scale:
        return inputs
    exists, made, first = torch.from_numpy(there(inputs, encoding)), inputs.clone(), 0
    u = uniforms(seed, epoch, keys, _SCALE, len(encoding.columns))
    factors = torch.from_numpy((1 + plan.scale * (2 * u - 1)).astype(np.float32))
    for number, column in enumerate(encoding.columns):
        if column.kind == "number":
            shift = column.mean / column.std
            moved = (inputs[:, :, first] + shift) * factors[:, number, None] - shift
            known = exists & (inputs[:, :, first + 1] == 0) if column.indicator else exists
            made[:, :, first] = torch.where(known, moved, inputs[:, :, first])
        first += width_of_column(column)
    return made


def jittered(
    inputs: torch.Tensor, plan: Settled, encoding: Encoding, spread: NDArray[np.float32], seed: int, epoch: int, keys: Keys
) -> torch.Tensor:
    """Sequences whose numbers are moved by normal noise of ``jitter`` deviations, at each step anew; gaps stay gaps."""
    moved = np.flatnonzero(spread)
    if not plan.jitter or not len(moved):
        return inputs
    rows, steps, _ = inputs.shape
    drawn = ndtri(uniforms(seed, epoch, keys, _JITTER, steps * len(moved))).reshape(rows, steps, len(moved))
    noise = np.zeros(inputs.shape, dtype=np.float32)
    noise[:, :, moved] = plan.jitter * spread[moved] * drawn
    noise[~there(inputs, encoding)] = 0.0
    first = 0
    for column in encoding.columns:
        if column.indicator:
            noise[:, :, first][inputs[:, :, first + 1].numpy() > 0] = 0.0
        first += width_of_column(column)
    return inputs + torch.from_numpy(noise)


def cropped(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """A piece of each sequence, at least 1 - ``crop_steps`` of it, drawn evenly.

    Where sequences are ragged the piece begins at the first step and ends sooner; where all have one length it is drawn out to
    that length, each step standing for its neighbours.
    Source: Le Guennec et al. 2016, "Data augmentation for time series classification using CNNs", AALTD (window slicing).
    """
    if not plan.crop_steps:
        return inputs
    assert encoding.sequence is not None
    count = there(inputs, encoding).sum(axis=1)
    u = uniforms(seed, epoch, keys, _WINDOW, 2)
    whole = np.maximum(1, np.ceil(count * (1 - plan.crop_steps * u[:, 0]))).astype(np.int64)
    start = np.floor(u[:, 1] * (count - whole + 1)).astype(np.int64)
    place = np.arange(inputs.shape[1])[None, :]
    if not encoding.sequence.ragged:
        place = place * whole[:, None] // inputs.shape[1]
    index = torch.from_numpy(np.minimum(start[:, None] + place, inputs.shape[1] - 1))
    made = inputs.gather(1, index[:, :, None].expand(-1, -1, inputs.shape[2]))
    if encoding.sequence.ragged:
        made[torch.from_numpy(place >= whole[:, None])] = 0.0
    return made
