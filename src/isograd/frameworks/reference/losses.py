"""What the loss was given, the obvious way: classes counted one by one, the best constant answer by its formula."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from isograd.frameworks.reference.network import Activation, Array, Loss, Network
from isograd.frameworks.reference.sums import moments, pairs
from isograd.records.batch import REACH, LossSample


def loss_sample(network: Network, outputs: Array, targets: NDArray[np.generic], loss: Loss, value: float) -> LossSample:
    """One call of the loss, which takes the mean."""
    head: list[str] = []
    for layer in reversed(network.layers):
        if not isinstance(layer, Activation):
            break
        head.append(layer.function)
    found = _of_classes(outputs, targets) if loss == "cross_entropy" else _of_values(outputs, targets, head)
    return LossSample(
        "cross_entropy" if loss == "cross_entropy" else "mse_loss",
        head=tuple(head),
        head_where=network.layers[-1].path if head else "",
        base="linear",
        value=value,
        floor=found.floor,
        output=moments(outputs),
        output_shape=outputs.shape,
        output_dtype=str(outputs.dtype),
        output_range=(float(outputs.min()), float(outputs.max())),
        target=moments(targets.astype(np.float64)),
        target_shape=targets.shape,
        target_dtype=str(targets.dtype),
        target_range=(float(targets.min()), float(targets.max())),
        rows=found.rows,
        classes=found.classes,
        answers=found.answers,
        hits=found.hits,
        agreement=found.agreement,
        beyond=found.beyond,
        shortfall=found.shortfall,
    )


def _of_classes(outputs: Array, targets: NDArray[np.generic]) -> LossSample:
    """The floor is the entropy of the class frequencies."""
    labels, answers = targets.astype(int).tolist(), outputs.argmax(axis=1).tolist()
    counts, favoured = Counter(labels), Counter(answers)
    shares = [count / len(labels) for count in counts.values()]
    rows = outputs.sum(axis=1)
    return LossSample(
        "",
        floor=max(0.0, -math.fsum(share * math.log(share) for share in shares)),
        rows=(float(rows.min()), float(rows.max())),
        classes=tuple(counts[label] for label in range(outputs.shape[1])),
        answers=tuple(favoured[label] for label in range(outputs.shape[1])),
        hits=sum(answer == label for answer, label in zip(answers, labels, strict=True)),
    )


def _of_values(outputs: Array, targets: NDArray[np.generic], head: list[str]) -> LossSample:
    """The floor is the variance of each column, averaged over the columns."""
    wanted = targets.astype(np.float64)
    low, high = REACH[head[0]] if head else (-math.inf, math.inf)
    away = wanted - np.clip(wanted, low, high)
    variance = float(wanted.var())
    return LossSample(
        "",
        floor=float(wanted.var(axis=0).mean()),
        agreement=pairs(outputs - outputs.mean(axis=0), wanted - wanted.mean(axis=0)),
        beyond=float((np.abs(away) > 1e-5 * np.abs(wanted).max()).mean()) if variance > 0.0 else 0.0,
        shortfall=float((away**2).mean() / variance) if variance > 0.0 else 0.0,
    )
