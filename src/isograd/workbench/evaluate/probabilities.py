"""How good probabilities are, as sums over rows: whether they rank (AUC), and whether they are as likely as they say (ECE)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import softmax

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Sums = dict[str, Floats]
BINS = 15
"""Equal parts of 0 .. 1 that confidences are put into for ECE; the paper's number."""


def ranking_sums(outputs: Floats, targets: Numbers) -> tuple[sparse.csr_array, Callable[[Floats], Sums]]:
    r"""Per-row terms (rows, 4 C) of the area under the ROC curve, and the function from their sums to it.

    .. math:: A = P(s_+ > s_-) + \tfrac12 P(s_+ = s_-) = \overline{V_{10}} + \overline{V_{01}} - A_0

    A positive row's V10 is the share of negative rows below it, a negative row's V01 that of positive rows above it: of all
    rows, each once, this is the area itself; of resampled rows it is the area but for terms of the order 1 / rows, so that a
    bootstrap needs sums alone. C is 1 of two classes, else every class against the rest, averaged over those that occur; NaN
    where all rows are of one class. Range: 0 to 1; 0.5 for guessing.
    Source: DeLong et al. 1988, Biometrics 44, 837 (structural components).
    """
    classes = outputs.shape[1]
    likely = outputs[:, 1:] - outputs[:, :1] if classes == 2 else softmax(outputs, axis=1)
    numbers = (1,) if classes == 2 else range(classes)
    columns, areas = [], []
    for score, number in zip(likely.T, numbers, strict=True):
        positive = targets == number
        above, below = _components(score, positive)
        columns += [positive, np.where(positive, above, 0.0), ~positive, np.where(positive, 0.0, below)]
        areas.append(above[positive].mean() if positive.any() and not positive.all() else np.nan)
    area = np.array(areas)
    known = ~np.isnan(area)

    def metrics(sums: Floats) -> Sums:
        positives, first, negatives, second = (sums[:, part::4] for part in range(4))
        there = known & (positives > 0) & (negatives > 0)
        found = first / np.maximum(positives, 1) + second / np.maximum(negatives, 1) - np.where(known, area, 0.0)
        count = there.sum(axis=1)
        total = np.where(there, np.clip(found, 0.0, 1.0), 0.0).sum(axis=1)
        return {"auc": np.divide(total, count, out=np.full(len(sums), np.nan), where=count > 0)}

    return sparse.csr_array(np.stack(columns, axis=1).astype(np.float64)), metrics


def _components(score: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Of each row the share of negative rows with a lower score, and of positive rows with a higher one; ties count half."""
    _, place = np.unique(score, return_inverse=True)
    of_positives, of_negatives = (np.bincount(place[part], minlength=place.max() + 1) for part in (positive, ~positive))
    lower = np.cumsum(of_negatives) - of_negatives / 2
    higher = of_positives.sum() - np.cumsum(of_positives) + of_positives / 2
    return (lower / max(1, of_negatives.sum()))[place], (higher / max(1, of_positives.sum()))[place]


def calibration_sums(outputs: Floats, targets: Numbers) -> tuple[sparse.csr_array, Callable[[Floats], Sums]]:
    r"""Per-row terms (rows, BINS + 1) of the expected calibration error, and the function from their sums to it.

    .. math:: \mathrm{ECE} = \sum_b \frac1N \Bigl| \sum_{i \in b} (\text{hit}_i - p_i) \Bigr|

    p is the probability of the likeliest class, whatever the threshold is; bins are equal parts of 0 .. 1.
    Range: 0 to 1; a resample of finite rows is never quite 0.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    rows = np.arange(len(outputs))
    answers = outputs.argmax(axis=1)
    sure = softmax(outputs, axis=1)[rows, answers]
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    values = np.concatenate([(answers == targets) - sure, np.ones(len(rows))])
    where = (np.concatenate([rows, rows]), np.concatenate([bins, np.full(len(rows), BINS)]))
    terms = sparse.csr_array((values, where), shape=(len(rows), BINS + 1))

    def metrics(sums: Floats) -> Sums:
        return {"ece": np.abs(sums[:, :BINS]).sum(axis=1) / sums[:, BINS]}

    return terms, metrics
