"""How a convolution's padding makes positions differ: which taps of each position fall on the picture, axis by axis.

Zero padding leaves positions at the border with fewer taps, forward and backward, so that signal and gradient gather in the
middle, layer by layer, and the mean over positions falls less than the mean share of taps says: in the long run by the
largest eigenvalue of the matrix of taps and not by its mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isograd.records.anatomy import Node

Profile = tuple[tuple[float, ...], ...]
"""Mean square at each place along each spatial axis beside the mean over the axis; empty where all places are alike."""


def numbers(value: object, count: int) -> tuple[float, ...]:
    """A setting such as 3 or "3x3" as ``count`` numbers.

    >>> numbers("3x5", 2), numbers(2, 2)
    ((3.0, 5.0), (2.0, 2.0))
    """
    found = [float(text) for text in re.findall(r"\d+", str(value))] or [1.0]
    return tuple(found[i] if i < len(found) else found[-1] for i in range(count))


def taps(node: Node, before: Node) -> list[NDArray[np.float64]] | None:
    """For each spatial axis which input (column) each output (row) reads, 1 or 0; nothing for a convolution of other shape."""
    found = _each(node, before)
    return None if found is None else [np.asarray(sum(axis)) for axis in found]


def together(node: Node, before: Node) -> float:
    r"""How much less two positions have in common than one with itself, because of taps that only one of them has.

    .. math:: \prod_{axes} \frac{\sum_\tau f_\tau^2}{\sum_\tau f_\tau}

    f the share of positions for which a tap falls on the picture: two have it both with f^2. 1 without padding.
    """
    share = 1.0
    for axis in _each(node, before) or ():
        inside = [float(tap.sum()) / len(tap) for tap in axis]
        share *= sum(part * part for part in inside) / max(1e-12, sum(inside))
    return share


def _each(node: Node, before: Node) -> list[list[NDArray[np.float64]]] | None:
    """The same for every tap of the kernel by itself."""
    spatial, out = before.shape[1:], node.shape[1:]
    if not spatial or len(out) != len(spatial) or node.get("padding_mode", "zeros") != "zeros":
        return None
    kernels, strides, dilations = (numbers(node.get(name, 1), len(spatial)) for name in ("kernel", "stride", "dilation"))
    if node.get("padding", 0) == "same":
        pads = tuple((d * (k - 1)) // 2 for k, d in zip(kernels, dilations, strict=True))
    else:
        pads = numbers(node.get("padding", 0), len(spatial))
    found = []
    for size, rows, k, s, p, d in zip(spatial, out, kernels, strides, pads, dilations, strict=True):
        axis = []
        for tap in range(int(k)):
            matrix, at = np.zeros((rows, size)), np.arange(rows) * s - p + d * tap
            inside = (at >= 0) & (at < size)
            matrix[np.flatnonzero(inside), at[inside].astype(int)] = 1.0
            axis.append(matrix)
        found.append(axis)
    return found


def carried(matrices: Sequence[NDArray[np.float64]], profile: Profile) -> tuple[float, Profile]:
    """What each axis' matrix makes of a profile: the sum over taps as a mean over outputs, and the new profile."""
    gain, found = 1.0, []
    for axis, matrix in enumerate(matrices):
        flat = np.ones(matrix.shape[1])
        given = np.asarray(profile[axis]) if len(profile) > axis and len(profile[axis]) == len(flat) else flat
        after = matrix @ given
        mean = float(after.mean())
        gain *= mean
        found.append(tuple(after / mean) if mean > 0.0 else tuple(after))
    return gain, tuple(found)


def mean_of(profiles: Sequence[tuple[float, Profile]]) -> Profile:
    """The weighted mean of several profiles of one shape; flat ones count as ones."""
    longest = max((profile for _, profile in profiles), key=len)
    found = []
    for axis, places in enumerate(longest):
        total = np.zeros(len(places))
        for weight, profile in profiles:
            same = len(profile) > axis and len(profile[axis]) == len(places)
            total += weight * (np.asarray(profile[axis]) if same else 1.0)
        found.append(tuple(total))
    return tuple(found)
