"""The yardstick, the obvious way: the likeliest temperature and biases by a general minimiser, R2 by its formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from isograd.frameworks.reference.network import Array, Loss
from isograd.records.skill import Skill

WORST = -0.2
COLUMNS = 16


def skill_of(outputs: Array, targets: NDArray[np.generic], loss: Loss) -> Skill:
    """1 - CE_calibrated / CE_prior for classes, R2 for numbers; in [-0.2, 1], and -0.2 for what is not finite.

    >>> skill_of(np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]), "squared_error").value
    1.0
    """
    if not np.isfinite(outputs).all():
        return Skill(WORST, len(outputs))
    if loss == "squared_error":
        value = _explained(outputs, targets.astype(np.float64))
    else:
        value = _told(outputs, targets.astype(np.int64))
    return Skill(max(WORST, min(1.0, value)), len(outputs))


def _explained(outputs: Array, wanted: Array) -> float:
    """The mean R2 of few columns, where they vary; of many that of all together."""
    outputs, wanted = outputs.reshape(len(outputs), -1), wanted.reshape(len(wanted), -1)
    spread, missed = ((wanted - wanted.mean(0)) ** 2).sum(0), ((outputs - wanted) ** 2).sum(0)
    if not spread.sum() > 0.0:
        return 0.0
    if wanted.shape[1] > COLUMNS:
        return float(1.0 - missed.sum() / spread.sum())
    varied = spread > 0.0
    return float(np.clip(1.0 - missed[varied] / spread[varied], WORST, 1.0).mean())


def _halves(count: int) -> NDArray[np.bool_]:
    """Whether the binary digits of an example's number have an even sum."""
    return np.array([number.bit_count() % 2 == 0 for number in range(count)])


def _told(scores: Array, classes: NDArray[np.int64]) -> float:
    spread = float(scores.std(ddof=1))
    scores = (scores - scores.mean(1, keepdims=True)) / spread if spread else np.zeros_like(scores)
    first = _halves(len(scores))
    paid = prior = 0.0
    for fit, count in ((first, ~first), (~first, first)):
        if not fit.any() or not count.any():
            return 0.0
        log_share = _log_share(classes[fit], scores.shape[1])
        prior += _pays(np.tile(log_share, (int(count.sum()), 1)), classes[count])
        scale, bias = _calibrated(scores[fit], classes[fit], log_share)
        paid += _pays(scale * scores[count] + bias, classes[count])
    return 1.0 - paid / prior if prior else 0.0


def _log_share(classes: NDArray[np.int64], kinds: int) -> Array:
    counts = np.bincount(classes, minlength=kinds) + 0.5
    return np.asarray(np.log(counts / counts.sum()))


def _pays(logits: Array, classes: NDArray[np.int64]) -> float:
    largest = logits.max(1, keepdims=True)
    log_total = np.log(np.exp(logits - largest).sum(1)) + largest[:, 0]
    return float((log_total - logits[np.arange(len(classes)), classes]).sum())


def _calibrated(scores: Array, classes: NDArray[np.int64], start: Array) -> tuple[float, Array]:
    def pays(values: Array) -> float:
        prior = 0.5 * float(((values[1:] - start) ** 2).sum()) + 0.05 * float(values[0] ** 2)
        return _pays(np.exp(values[0]) * scores + values[1:], classes) + prior

    found = minimize(pays, np.concatenate([[0.0], start]), method="L-BFGS-B").x
    return float(np.exp(found[0])), found[1:]
