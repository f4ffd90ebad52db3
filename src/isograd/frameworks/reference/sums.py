"""Turn NumPy arrays into ``Moments``, ``Pairs`` and ``Units``, with exactly rounded sums: the obvious way."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from isograd.records.batch import Features, InputSample
from isograd.records.moments import Gram, Moments, Pairs, Units

Array = NDArray[np.float64]

PINNED = {"sigmoid": lambda y: (y < 0.01) | (y > 0.99), "tanh": lambda y: np.abs(y) > 0.99}
"""Which outputs sit on a flat part of the curve, by activation: within 1 % of a bound."""


def moments(values: Array) -> Moments:
    """``Moments`` of an array of any shape.

    >>> moments(np.array([[3.0, -4.0]])).norm
    5.0
    """
    return Moments.of(np.asarray(values, dtype=np.float64).ravel().tolist())


def pairs(left: Array, right: Array) -> Pairs:
    """``Pairs`` of two arrays of one shape.

    >>> pairs(np.array([1.0, 2.0]), np.array([3.0, 4.0])).dot
    11.0
    """
    return Pairs.of(np.asarray(left).ravel().tolist(), np.asarray(right).ravel().tolist())


def units(values: Array, pinned: NDArray[np.bool_] | None = None) -> Units:
    """How often each unit (column) fired and was pinned, over the examples (rows).

    >>> units(np.array([[1.0, 0.0], [2.0, 0.0]]))
    Units(seen=2, fired=(2, 0), pinned=(0, 0))
    """
    flat = np.zeros_like(values, dtype=bool) if pinned is None else pinned
    return Units(len(values), tuple((values > 0).sum(axis=0).tolist()), tuple(flat.sum(axis=0).tolist()))


def gram(values: Array) -> Gram | None:
    """Inner products of at most 16 examples (rows), spread evenly over the batch; nothing for a single one.

    >>> gram(np.array([[1.0, 0.0], [1.0, 1.0]])).products
    (1.0, 1.0, 1.0, 2.0)
    """
    count = min(len(values), 16)
    if count < 2:
        return None
    chosen = [values[place * len(values) // count].tolist() for place in range(count)]
    return Gram(count, tuple(math.fsum(a * b for a, b in zip(x, y, strict=True)) for x in chosen for y in chosen))


def input_sample(batch: Array) -> InputSample:
    """The sums of a batch (examples, features), and how its columns compare.

    >>> input_sample(np.array([[0.0, 5.0], [2.0, 5.0]])).features.constant
    1
    """
    low, high = float(batch.min()), float(batch.max())
    return InputSample("", 0, batch.shape, str(batch.dtype), moments(batch), low, high, _features(batch))


def _features(batch: Array) -> Features | None:
    deviations, means = batch.std(axis=0), np.abs(batch.mean(axis=0))
    if len(batch) < 2 or not np.isfinite(deviations).all():
        return None
    moving = sorted(deviations[deviations > 8 * np.finfo(batch.dtype).eps * means].tolist())
    constant = len(deviations) - len(moving)
    if not moving:
        return Features(len(deviations), constant, 0.0, 0.0, 0.0, 0, math.inf)
    median = moving[(len(moving) - 1) // 2]
    at = int(deviations.argmax())
    return Features(len(deviations), constant, moving[-1], median, moving[0], at, float(means.max()) / median)
