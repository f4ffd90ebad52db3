"""Order things and draw numbers from counters alone: the same on every machine, version and day."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_DIGITS = 1 << 62
Codes = NDArray[np.int64]


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def permutation(seed: int, stream: int, count: int) -> NDArray[np.int64]:
    """A permutation of ``range(count)`` that is a function of its three arguments and of nothing else.

    Every index gets the 64-bit word splitmix64(seed, stream, index), and the indices are sorted by their words. No generator
    is carried along, so the order of epoch 7 is known without that of epoch 6, and no library's version changes it.

    Shape: (count,). Range: each of 0 .. count - 1 once. Source: Steele et al. 2014, "Fast splittable pseudorandom number
    generators", OOPSLA, doi:10.1145/2660193.2660195.

    >>> permutation(seed=0, stream=1, count=5).tolist() == permutation(seed=0, stream=1, count=5).tolist()
    True
    >>> sorted(permutation(seed=0, stream=2, count=5).tolist())
    [0, 1, 2, 3, 4]
    """
    start = _mix(np.array([(seed * _GOLDEN + 1) & _MASK], dtype=np.uint64))
    start = _mix(start ^ np.array([(stream * _GOLDEN + 2) & _MASK], dtype=np.uint64))
    words = _mix(start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN))
    return np.argsort(words, kind="stable").astype(np.int64)


def uniforms(seed: int, epoch: int, keys: Codes, lane: int, width: int | Codes = 1) -> NDArray[np.float64]:
    """Numbers that are even over 0 .. 1, ``width`` for each key, each a function of (seed, epoch, key, lane, place) alone.

    The places are the first ``width`` ones, from 0 on, or those that are named.

    A key is the number of a row; a ``lane`` keeps the draws of one purpose apart from those of another. Which other keys are
    asked for, in which order and by whom, changes no bit. Shape: (keys, width). Range: 0 < u < 1.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC '11 (counters instead of a state); the words
    are those of splitmix64, as in ``permutation``.

    >>> every, one = uniforms(0, 1, np.arange(5), lane=2), uniforms(0, 1, np.array([3]), lane=2)
    >>> bool(every[3] == one[0])
    True
    """
    start = _mix(np.array([(seed * _GOLDEN + 3) & _MASK], dtype=np.uint64))
    start = _mix(start ^ np.array([(epoch * _GOLDEN + 4) & _MASK], dtype=np.uint64))
    start = _mix(start ^ np.array([(lane * _GOLDEN + 5) & _MASK], dtype=np.uint64))
    each = _mix(start + (keys.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN))
    named = np.arange(width, dtype=np.int64) if isinstance(width, int) else width
    places = (named.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    words = _mix(each[:, None] + places)
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def alike(columns: Iterable[Codes]) -> Codes:
    """A number for each distinct row of some columns of codes, in the order of first appearance; a column at a time.

    Exact: codes are joined as digits of one number, which is numbered anew before it would no longer fit 64 bits.

    >>> alike([np.array([5, 5, 5]), np.array([-1, 0, -1])]).tolist()
    [0, 1, 0]
    """
    found, count = np.zeros(0, dtype=np.int64), 0
    for codes in columns:
        least = int(codes.min(initial=0))
        width = int(codes.max(initial=0)) - least + 1
        if not count:
            found, count = codes - least, width
            continue
        if count * width >= _DIGITS:
            found = in_order(found)
            count = int(found.max(initial=0)) + 1
        if count * width >= _DIGITS:
            codes, least = in_order(codes), 0
            width = int(codes.max(initial=0)) + 1
        found, count = found * width + (codes - least), count * width
    return in_order(found)


def in_order(codes: Codes) -> Codes:
    """A number for each distinct code, in the order of first appearance."""
    import pyarrow as pa  # its hash table is many times as fast as sorting

    numbers: Codes = pa.array(codes).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
