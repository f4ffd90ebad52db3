"""Tell label smoothing from the floors of a cross-entropy: what a constant answer pays where targets are partly spread out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.health.signals.learning import entropy
from isograd.records.batch import LossSample


def smoothed(counts: Sequence[int], smoothing: float, weights: Sequence[float] = ()) -> float:
    """Entropy of class frequencies, weighted, of which a part is spread evenly over all classes: a cross-entropy's floor.

    >>> round(smoothed([1, 1], 0.0), 4), round(smoothed([4, 0], 0.1), 4)
    (0.6931, 0.1985)
    """
    shares = [n * w for n, w in zip(counts, weights or [1.0] * len(counts), strict=False)]
    total = sum(shares)
    if not total:
        return 0.0
    spread = [(1.0 - smoothing) * share / total + smoothing / len(shares) for share in shares]
    return -sum(p * math.log(p) for p in spread if p > 0.0)


def smoothing_of(samples: Sequence[LossSample], *, hard: bool = False) -> float | None:
    """The label smoothing that explains the floors of all batches of a cross-entropy; None where none does.

    ``hard``: only none at all is asked for.

    >>> smoothing_of([LossSample("cross_entropy", classes=(2, 2), floor=math.log(2))])
    0.0
    """
    first = min(samples, key=lambda sample: entropy(sample.classes))  # the more uneven, the more smoothing shows
    low, high = 0.0, 0.0 if hard or first.weights or _told(samples, 0.0) else 1.0
    for _ in range(30 if high else 0):  # the entropy grows with the part that is spread evenly
        middle = (low + high) / 2.0
        low, high = (middle, high) if smoothed(first.classes, middle) < (first.floor or 0.0) else (low, middle)
    found = 0.0 if high < 1e-3 else high
    return found if _told(samples, found) else None


def _told(samples: Sequence[LossSample], smoothing: float) -> bool:
    """Whether this smoothing gives the floors of all batches."""
    floors = [(smoothed(s.classes, smoothing, s.weights), s.floor or 0.0) for s in samples]
    return all(abs(made - seen) <= 0.01 * max(0.1, seen) for made, seen in floors)
