"""Fit the model of risk: a few signs, each a function of straight pieces, chosen one after the other; and judge a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Table = dict[str, Array]
MOST = 8
"""Signs that a model has at most."""
GAIN = 0.0015
"""What a sign must take off the cross-validated log loss to be taken in."""
STRENGTH = 0.5
"""Inverse of the ridge penalty on the standardised pieces."""
KNOTS = (0.03, 0.3, 0.7, 0.97)
"""Quantiles at which a function bends; beyond the outermost it is flat."""


@dataclass(frozen=True)
class Model:
    """Log odds of failure: an intercept, and for each sign its value at some knots (the mean over the rows is zero)."""

    intercept: float
    pieces: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]

    def odds(self, table: Table) -> Array:
        """Log odds for every row; what is missing takes nothing and gives nothing."""
        total = np.full(len(next(iter(table.values()))), self.intercept)
        for name, (knots, values) in self.pieces.items():
            total += np.where(np.isnan(table[name]), 0.0, np.interp(np.nan_to_num(table[name]), knots, values))
        return total

    def chance(self, table: Table) -> Array:
        """Probability of failure at the rate of the rows that it was fitted on."""
        return 1.0 / (1.0 + np.exp(-self.odds(table)))


class Hinges:
    """The pieces of one sign as standardised columns, zero where the sign is missing."""

    def __init__(self, x: Array) -> None:
        known = x[~np.isnan(x)]
        self.usable = len(known) >= 20 and float(np.ptp(known)) > 0.0
        knots = sorted(set(np.quantile(known, KNOTS).tolist())) if self.usable else [0.0, 1.0]
        wide = knots[-1] - knots[0]
        least = 1e-3 * wide
        inner = [k for i, k in enumerate(knots[1:-1], 1) if k - knots[i - 1] > least and knots[-1] - k > least]
        self.usable = self.usable and wide > 0.0
        self.knots = (knots[0], *inner, knots[-1])
        raw = self._raw(known) if self.usable else np.zeros((1, 1))
        self.mean, self.spread = raw.mean(0), raw.std(0) + 1e-9

    def __call__(self, x: Array) -> Array:
        """The columns of some rows."""
        columns: Array = (self._raw(np.nan_to_num(x)) - self.mean) / self.spread
        columns[np.isnan(x)] = 0.0
        return columns

    def _raw(self, x: Array) -> Array:
        inside = np.clip(x, self.knots[0], self.knots[-1])
        return np.stack([inside, *(np.maximum(0.0, inside - k) for k in self.knots[1:-1])], 1)


def fit(table: Table, fails: Array, names: Sequence[str]) -> Model:
    """Choose signs one after the other by cross-validated log loss, fit them, and scale the odds to be calibrated."""
    hinges = {name: sign for name in names if (sign := Hinges(table[name])).usable}
    columns: Table = {name: sign(table[name]) for name, sign in hinges.items()}
    chosen: list[str] = []
    best = np.inf
    while len(chosen) < MOST:
        tried = [(_loss(columns, [*chosen, name], fails), name) for name in columns if name not in chosen]
        if not tried or min(tried)[0] > best - GAIN:
            break
        best, name = min(tried)
        chosen.append(name)
    aside = _aside(columns, chosen, fails, folds=5, seed=1)
    scale = _logistic(np.log(aside / (1.0 - aside))[:, None], fails, 100.0)
    factor, shift = float(scale[0]), float(scale[1])
    weighed = _logistic(np.concatenate([columns[name] for name in chosen], 1), fails, STRENGTH)
    pieces, place = {}, 0
    for name in chosen:
        sign, width = hinges[name], columns[name].shape[1]
        weights = weighed[place : place + width]
        values = factor * (sign(np.array(sign.knots)) @ weights)
        pieces[name] = (sign.knots, tuple(values.tolist()))
        place += width
    return Model(factor * float(weighed[-1]) + shift, pieces)


def _logistic(columns: Array, fails: Array, strength: float) -> Array:
    """Weights of a logistic regression, the intercept last, under a ridge penalty of 1 / (2 strength); Newton's method."""
    x = np.concatenate([columns, np.ones((len(columns), 1))], 1)
    penalty = np.append(np.full(columns.shape[1], 1.0 / strength), 1e-9)
    weights = np.zeros(x.shape[1])
    for _ in range(12):
        chance = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30.0, 30.0)))
        slope = x.T @ (chance - fails) + penalty * weights
        bend = (x * (chance * (1.0 - chance))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-5:
            break
    return weights


def _aside(columns: Table, names: Sequence[str], fails: Array, *, folds: int, seed: int) -> Array:
    """Probabilities for rows that were left out of the fit."""
    matrix = np.concatenate([columns[name] for name in names], 1)
    part = np.random.default_rng(seed).permutation(len(fails)) % folds
    found = np.zeros(len(fails))
    for fold in range(folds):
        out = part == fold
        weights = _logistic(matrix[~out], fails[~out], STRENGTH)
        found[out] = 1.0 / (1.0 + np.exp(-(matrix[out] @ weights[:-1] + weights[-1])))
    return np.clip(found, 1e-4, 1.0 - 1e-4)


def _loss(columns: Table, names: Sequence[str], fails: Array) -> float:
    p = _aside(columns, names, fails, folds=4, seed=0)
    return float(-np.mean(fails * np.log(p) + (1.0 - fails) * np.log(1.0 - p)))


def auc(fails: Array, score: Array) -> float:
    """Chance that a run that fails scores higher than one that does not; ties count half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(fails, score))


def calibration_error(fails: Array, chance: Array, bins: int = 10) -> float:
    """Mean distance of foretold and seen rates over bins of equal size.

    >>> calibration_error(np.array([0.0, 1.0]), np.array([0.0, 1.0]), bins=2)
    0.0
    """
    parts = np.array_split(np.argsort(chance), bins)
    return float(sum(len(p) * abs(fails[p].mean() - chance[p].mean()) for p in parts if len(p)) / len(fails))


def judged(fails: Array, chance: Array) -> dict[str, float | int]:
    """AUC, calibration, and what the three answers are worth."""
    said, cleared = chance >= 0.98, chance <= 0.05
    return {
        "auc": round(auc(fails, chance), 4),
        "ece": round(calibration_error(fails, chance), 4),
        "will_fail": int(said.sum()),
        "will_fail_precision": round(float(fails[said].mean()), 4) if said.any() else 1.0,
        "will_fail_recall": round(float(said[fails == 1].mean()), 4),
        "will_train": int(cleared.sum()),
        "will_train_wrong": round(float(fails[cleared].mean()), 4) if cleared.any() else 0.0,
        "will_train_recall": round(float(cleared[fails == 0].mean()), 4),
    }
