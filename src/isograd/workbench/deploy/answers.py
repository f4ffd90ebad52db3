"""From a network's outputs to what a person asked for: a label with probabilities, or a value on its natural scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from isograd.errors import ModelError
from isograd.records.schema import Encoding


def answers_of(outputs: npt.NDArray[np.floating[Any]], encoding: Encoding) -> list[dict[str, Any]]:
    """One plain object a row of ``outputs`` (N, classes) or (N, 1).

    Classes: ``{"label": str, "probabilities": {class: p}}`` with p the softmax of the row, in [0, 1]; the first of equals wins,
    or, where the encoding has a threshold, the second of two classes above it.
    A value: ``{"value": float}`` = output * target_std + target_mean.

    Raises ``ModelError`` where the number of outputs is not that of the classes, or an output is not finite.

    >>> answers_of(np.array([[0.0]]), Encoding("table", "price", target_mean=7.0, target_std=2.0))
    [{'value': 7.0}]
    """
    width = len(encoding.classes) or 1
    if outputs.ndim != 2 or outputs.shape[1] != width:
        raise ModelError(
            f"the network gives outputs of shape {outputs.shape} and {encoding.target} needs {width} a row",
            where="model.onnx",
        )
    refuse_odd(outputs, encoding)
    numbers = outputs.astype(np.float64)
    if not encoding.classes:
        return [{"value": value} for value in (numbers[:, 0] * encoding.target_std + encoding.target_mean).tolist()]
    likely = softmax(numbers, axis=1)
    answers = likely.argmax(axis=1) if encoding.threshold is None else (likely[:, 1] > encoding.threshold).astype(np.int64)
    return [
        {"label": encoding.classes[answer], "probabilities": dict(zip(encoding.classes, row.tolist(), strict=True))}
        for answer, row in zip(answers.tolist(), likely, strict=True)
    ]


def refuse_odd(outputs: npt.NDArray[np.floating[Any]], encoding: Encoding) -> None:
    """Raise ``ModelError`` where an output is not finite; where each step is answered, its own answer says so."""
    if not np.isfinite(outputs).all() and (encoding.sequence is None or not encoding.sequence.each):
        row = int(np.argmin(np.isfinite(outputs).all(axis=1)))
        raise ModelError(f"the network's output for row {row + 1} is not finite", remedy="look for odd values in that row")


def answers_by_step(
    outputs: npt.NDArray[np.floating[Any]], encoding: Encoding, lengths: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    """One plain object a sequence of ``outputs`` (N, steps, outputs): ``{"steps": [...]}``, an answer for each of its steps.

    Raises ``ModelError`` as ``answers_of`` does.

    >>> encoding = Encoding("sequence", "price", target_mean=7.0, target_std=2.0)
    >>> answers_by_step(np.zeros((1, 3, 1)), encoding, np.array([2]))
    [{'steps': [{'value': 7.0}, {'value': 7.0}]}]
    """
    there = np.arange(outputs.shape[1]) < lengths[:, None]
    answers = iter(answers_of(outputs[there], encoding))
    return [{"steps": [next(answers) for _ in range(length)]} for length in lengths.tolist()]
