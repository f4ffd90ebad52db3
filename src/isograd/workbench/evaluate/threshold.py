"""Choose from which probability on the second of two classes is called, by a metric on the validation part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from isograd.errors import RequestError


def called(outputs: NDArray[np.floating], threshold: float | None) -> NDArray[np.int64]:
    """The class that each row (rows, classes) is called: the largest output, or, of two, the second above ``threshold``.

    >>> called(np.array([[0.0, -1.0], [0.0, -3.0]]), 0.2).tolist()
    [1, 0]
    """
    if threshold is None:
        return np.asarray(outputs.argmax(axis=1), dtype=np.int64)
    return np.asarray(probability_of(outputs) > threshold, dtype=np.int64)


def probability_of(outputs: NDArray[np.floating]) -> NDArray[np.float64]:
    """The probability of the second of two classes, from logits (rows, 2)."""
    found: NDArray[np.float64] = expit(outputs[:, 1].astype(np.float64) - outputs[:, 0].astype(np.float64))
    return found


def threshold_for(metric: str, outputs: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """The threshold with the best ``metric`` on these rows: "accuracy", or the mean over both classes of "f1" or "recall".

    Every cut between two neighbouring probabilities is tried, those beyond the ends, and 0.5; of several equally good ones
    the one nearest to 0.5 is taken, so that rows which say nothing move nothing. Range: between 0 and 1.

    Raises ``RequestError`` where there are not two classes, or a class has no row to choose by.

    >>> scores = np.array([[0.0, -2.0], [0.0, -1.0], [0.0, 1.0]])
    >>> 0.12 < threshold_for("f1", scores, np.array([0, 1, 1])) < 0.27
    True
    """
    if outputs.shape[1] != 2:
        met = f"{outputs.shape[1]} classes" if outputs.shape[1] > 1 else "a regression"
        raise RequestError("a threshold is for two classes", where="evaluate.threshold", met=met, remedy='threshold = "none"')
    if len(np.unique(targets)) < 2:
        raise RequestError(
            "a threshold needs validation rows of both classes",
            where="evaluate.threshold",
            remedy='a larger share, validation = 0.2 under [data], or threshold = "none"',
        )
    probability = probability_of(outputs)
    values = np.unique(probability)
    cuts = np.concatenate([[0.5, values[0] / 2, (1 + values[-1]) / 2], (values[1:] + values[:-1]) / 2])
    cuts = cuts[np.argsort(np.abs(cuts - 0.5), kind="stable")]  # the first of equals is the nearest to 0.5
    truths = [np.sort(probability[targets == number]) for number in (0, 1)]
    kept, lost = (np.searchsorted(part, cuts, side="right").astype(np.float64) for part in truths)
    zeros, ones = len(truths[0]), len(truths[1])
    hits = ones - lost
    match metric:
        case "accuracy":
            score = kept + hits
        case "recall":
            score = kept / zeros + hits / ones
        case _:
            score = 2 * kept / (kept + lost + zeros) + 2 * hits / (hits + (zeros - kept) + ones)
    return float(cuts[int(np.argmax(score))])
