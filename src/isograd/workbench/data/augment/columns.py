"""Change rows of a table in batches: noise on its numbers, and words left out of its texts."""

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
_JITTER, _WORDS, _WINDOW = 31, 32, 33


def spread_of(inputs: torch.Tensor, encoding: Encoding) -> NDArray[np.float32]:
    """How far each feature varies over the training rows, where it is a number that may be moved; 0 where it is not."""
    found = np.zeros(inputs.shape[1], dtype=np.float32)
    first = 0
    for column in encoding.columns:
        if column.kind in ("number", "date"):
            found[first] = float(inputs[:, first].double().std(correction=0))
        first += width_of_column(column)
    return found


def jittered(
    inputs: torch.Tensor, plan: Settled, encoding: Encoding, spread: NDArray[np.float32], seed: int, epoch: int, keys: Keys
) -> torch.Tensor:
    """Rows whose numbers are moved by normal noise of ``jitter`` deviations; gaps stay gaps, and all else stays as it is."""
    if not plan.jitter:
        return inputs
    moved = np.flatnonzero(spread)
    noise = np.zeros(inputs.shape, dtype=np.float32)
    noise[:, moved] = plan.jitter * spread[moved] * ndtri(uniforms(seed, epoch, keys, _JITTER, moved))
    first = 0
    for column in encoding.columns:
        if column.indicator:
            noise[inputs[:, first + 1].numpy() > 0, first] = 0.0
        first += width_of_column(column)
    return inputs + torch.from_numpy(noise)


def thinned(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Rows in whose texts each word is left out with probability ``drop_words``, and of which a piece is kept.

    The piece is drawn evenly and holds at least 1 - ``crop_words`` of the text. At least one word stays; the others move up,
    and 0 fills the end, as in a text that was written so.

    Source: Iyyer et al. 2015, "Deep unordered composition rivals syntactic methods", ACL, doi:10.3115/v1/P15-1162.
    """
    if not (plan.drop_words or plan.crop_words):
        return inputs
    made = inputs.clone()
    first = 0
    for number, column in enumerate(encoding.columns):
        width = width_of_column(column)
        if column.text is not None and column.text.form == "ids":
            ids = made[:, first : first + width].numpy()
            ids[:] = _fewer(ids, plan, seed, epoch, keys, number)
        first += width
    return made


def _fewer(ids: NDArray[np.float32], plan: Settled, seed: int, epoch: int, keys: Keys, number: int) -> NDArray[np.float32]:
    length = ids.shape[1]
    place = np.arange(length)
    there = ids != 0
    count = there.sum(axis=1)
    u = uniforms(seed, epoch, keys, _WINDOW + 100 * number, 2)
    whole = np.ceil(count * (1 - plan.crop_words * u[:, 0]))
    start = np.floor(u[:, 1] * (count - whole + 1))
    there &= (place >= start[:, None]) & (place < (start + whole)[:, None])
    chance = np.where(there, uniforms(seed, epoch, keys, _WORDS + 100 * number, length), 0.0)
    kept = there & ((chance >= plan.drop_words) | (chance == chance.max(axis=1, keepdims=True)))
    order = np.argsort(~kept, axis=1, kind="stable")
    left = np.take_along_axis(ids, order, axis=1)
    return np.where(place < kept.sum(axis=1)[:, None], left, np.float32(0))
