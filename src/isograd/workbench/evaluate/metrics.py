"""Compute metrics from sums over rows, so that one matrix product gives all the resamples of a bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_softmax

from isograd.workbench.evaluate.probabilities import calibration_sums, ranking_sums
from isograd.workbench.evaluate.threshold import called

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Sums = dict[str, Floats]
_SHARES = ("accuracy", "precision", "recall", "f1")
CELLS = 4_000_000
"""Row draws that a block of resamples makes at once: 32 MB of counts."""


def classification_sums(
    outputs: Floats, targets: Numbers, threshold: float | None = None
) -> tuple[sparse.csr_array, Callable[[Floats], Sums]]:
    """Per-row terms (rows, terms) of the metrics of a classification, and the function from their sums to the metrics.

    Legend: K classes; a row adds one to the true, the called and, where they agree, the hit count of a class, and its
    -log p(true class) to the column after these; then come the terms of AUC and ECE (``probabilities``). Precision, recall
    and F1 are macro averages over the classes that occur among the truths or the answers; the second of two classes is called
    above ``threshold``, if there is one. Where a class is never called (or never true) its share counts as zero.
    Unit: shares in 0 .. 1; log_loss in nats a row, 0 and above.
    """
    rows, K = outputs.shape
    every = np.arange(rows)
    answers = called(outputs, threshold)
    hits = answers == targets
    surprise = -log_softmax(outputs, axis=1)[every, targets]
    columns = np.concatenate([targets, K + answers, 2 * K + targets[hits], np.full(rows, 3 * K)])
    where = np.concatenate([every, every, every[hits], every])
    values = np.concatenate([np.ones(2 * rows + int(hits.sum())), surprise])
    counts = sparse.csr_array((values, (where, columns)), shape=(rows, 3 * K + 1))
    ranks, auc = ranking_sums(outputs, targets)
    sure, ece = calibration_sums(outputs, targets)
    terms = sparse.csr_array(sparse.hstack([counts, ranks, sure]))
    first, last = 3 * K + 1, 3 * K + 1 + ranks.shape[1]

    def metrics(sums: Floats) -> Sums:
        true, answered, hit = sums[:, :K], sums[:, K : 2 * K], sums[:, 2 * K : 3 * K]
        total = true.sum(axis=1)
        present = (true + answered > 0).sum(axis=1)
        precision, recall, f1 = shares(true, answered, hit)
        return {
            "accuracy": hit.sum(axis=1) / total,
            "precision": precision.sum(axis=1) / present,
            "recall": recall.sum(axis=1) / present,
            "f1": f1.sum(axis=1) / present,
            "log_loss": sums[:, 3 * K] / total,
            **auc(sums[:, first:last]),
            **ece(sums[:, last:]),
        }

    return terms, metrics


def shares(true: Floats, called: Floats, hit: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class from counts; zero where there is nothing to divide by.

    >>> [float(share[0]) for share in shares(np.array([4.0]), np.array([2.0]), np.array([2.0]))]
    [1.0, 0.5, 0.6666666666666666]
    """
    return hit / np.maximum(called, 1), hit / np.maximum(true, 1), 2 * hit / np.maximum(true + called, 1)


def regression_sums(outputs: Floats, targets: Floats) -> tuple[sparse.csr_array, Callable[[Floats], Sums]]:
    """Per-row terms (rows, 5) of the metrics of a regression, and the function from their sums to the metrics.

    mae = mean |y' - y| and rmse = sqrt mean (y' - y)^2, in the target's unit; r2 = 1 - sum (y' - y)^2 / sum (y - mean y)^2,
    up to 1, and 1 or 0 (right or not) where the targets do not vary.
    """
    error = outputs - targets
    centred = targets - targets.mean()
    terms = sparse.csr_array(np.stack([np.ones(len(error)), np.abs(error), error**2, centred, centred**2], axis=1))

    def metrics(sums: Floats) -> Sums:
        rows, absolute, squared, first, second = sums.T
        spread = second - first**2 / rows
        varies = spread > 1e-12 * np.maximum(second, np.finfo(np.float64).tiny)
        ratio = np.divide(squared, spread, out=(squared > 0).astype(np.float64), where=varies)
        return {"mae": absolute / rows, "rmse": np.sqrt(squared / rows), "r2": 1 - ratio}

    return terms, metrics


def point(terms: sparse.csr_array, metrics: Callable[[Floats], Sums]) -> dict[str, float]:
    """The metrics of all rows, each once."""
    sums = np.asarray(terms.sum(axis=0), dtype=np.float64).reshape(1, -1)
    return {name: float(value[0]) for name, value in metrics(sums).items()}


def draws(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn in each resample: blocks (rows, some resamples), each resample of ``rows`` draws."""
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, CELLS // rows))
    for first in range(0, resamples, block):
        count = min(block, resamples - first)
        drawn = generator.integers(0, rows, (count, rows)) * count + np.arange(count)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=rows * count).reshape(rows, count).astype(np.float64)


def intervals(
    terms: sparse.csr_array, metrics: Callable[[Floats], Sums], *, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """The 2.5 % and 97.5 % percentiles of each metric over bootstrap resamples of the rows; a function of its arguments.

    A metric is computed from sums of per-row terms, so a resample is a weighted sum, and a block of them one matrix product.
    Where every row is right, or every one wrong, all resamples agree, which is no certainty: shares have the exact bound then.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile intervals).
    """
    blocks = [metrics((terms.T @ weights).T) for weights in draws(terms.shape[0], resamples, seed)]
    found = {
        name: (float(low), float(high))
        for name in blocks[0]
        for low, high in [np.percentile(np.concatenate([block[name] for block in blocks]), [2.5, 97.5])]
    }
    return {name: unanimous(terms.shape[0], *pair) if name in _SHARES else pair for name, pair in found.items()}


def unanimous(rows: int, low: float, high: float) -> tuple[float, float]:
    r"""An interval of a share, and where it is 1 to 1, or 0 to 0, the exact one of so many rows that all agree.

    .. math:: 0.025^{1/n} \text{ to } 1

    For accuracy it is exact; of averages over classes it says as much as there is to say without a model of the classes.
    Source: Clopper and Pearson 1934, Biometrika 26(4).

    >>> [round(bound, 3) for bound in unanimous(60, 1.0, 1.0)], unanimous(60, 0.9, 1.0)
    ([0.94, 1.0], (0.9, 1.0))
    """
    bound = 0.025 ** (1 / rows)
    return (bound, 1.0) if low == high == 1.0 else (0.0, 1.0 - bound) if low == high == 0.0 else (low, high)
