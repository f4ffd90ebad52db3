"""Judge a model's answers: metrics with bootstrap intervals, confusion, and the examples it got most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import softmax

from isograd.errors import ModelError
from isograd.records.run import Evaluation, ExampleError, Metric
from isograd.records.schema import REGRESSIONS
from isograd.workbench.evaluate.metrics import (
    Floats,
    Sums,
    classification_sums,
    intervals,
    point,
    regression_sums,
    shares,
)
from isograd.workbench.evaluate.stepwise import Targets, by_step, grouped, step_names
from isograd.workbench.evaluate.threshold import called

Terms = tuple[sparse.csr_array, Callable[[Floats], Sums]]
REGRESSION = ("mae", "rmse", "r2")
CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "log_loss", "auc", "ece")
_QUICK = ("accuracy", "f1", "log_loss")


def metrics_of(task: str) -> tuple[str, ...]:
    """The names of the metrics that an evaluation of ``task`` has.

    >>> metrics_of("regression")
    ('mae', 'rmse', 'r2')
    """
    return REGRESSION if task in REGRESSIONS else CLASSIFICATION


def _answers_and_truths(
    outputs: NDArray[np.float32], targets: Targets, task: str, mean: float, std: float
) -> tuple[Floats, NDArray[np.int64] | Floats]:
    """Outputs as float64 and truths: class numbers, or both on the target's natural scale, shape (rows,)."""
    truths = targets.numpy() if isinstance(targets, torch.Tensor) else np.asarray(targets)
    if outputs.ndim != 2 or len(outputs) != len(truths) or not len(outputs):
        raise ModelError(f"outputs must be {len(truths)} rows x outputs", met=f"shape {outputs.shape}")
    width = outputs.shape[1]
    if task in REGRESSIONS:
        if width != 1:
            raise ModelError(f"a regression needs a model with one output, and this one has {width}")
        return outputs[:, 0].astype(np.float64) * std + mean, truths.reshape(-1).astype(np.float64) * std + mean
    labels: NDArray[np.int64] = truths.astype(np.int64)
    if labels.min() < 0 or labels.max() >= width:
        raise ModelError(
            "the model's output does not fit the labels",
            met=f"{width} outputs, and labels from {labels.min()} to {labels.max()}",
            remedy=f"a last layer with at least {labels.max() + 1} outputs",
        )
    return outputs.astype(np.float64), labels


def quick(
    outputs: NDArray[np.float32], targets: Targets, *, task: str, target_mean: float = 0.0, target_std: float = 1.0
) -> tuple[tuple[str, float], ...]:
    """The metrics without intervals: (accuracy, f1, log_loss), or (mae, rmse, r2) on the target's natural scale.

    All are NaN where any output is not finite: a network that has diverged has no score, and NaN never counts as the best.

    >>> quick(np.array([[0.0, 9.0], [9.0, 0.0]], np.float32), np.array([1, 0]), task="classification")[0]
    ('accuracy', 1.0)
    """
    names = REGRESSION if task in REGRESSIONS else _QUICK
    outputs, targets, _ = by_step(outputs, targets)
    answers, truths = _answers_and_truths(outputs, targets, task, target_mean, target_std)
    if not np.isfinite(answers).all():
        return tuple((name, float("nan")) for name in names)
    found = point(*_terms(answers, truths, task))
    return tuple((name, found[name]) for name in names)


def _terms(answers: Floats, truths: NDArray[np.int64] | Floats, task: str, threshold: float | None = None) -> Terms:
    if task in REGRESSIONS:
        return regression_sums(answers, truths.astype(np.float64))
    return classification_sums(answers, truths.astype(np.int64), threshold)


def evaluate(
    outputs: NDArray[np.float32],
    targets: Targets,
    *,
    part: str,
    task: str,
    classes: Sequence[str] = (),
    names: Sequence[str] = (),
    weights: str = "",
    target_mean: float = 0.0,
    target_std: float = 1.0,
    resamples: int = 1000,
    seed: int = 0,
    picture: Callable[[int], str | None] | None = None,
    errors: int = 24,
    threshold: float | None = None,
) -> Evaluation:
    """How good the answers are on one part, each metric with a 95 % percentile bootstrap interval over its rows.

    ``outputs`` (rows, outputs) are raw: scores of classes, or a standardised target that ``target_mean`` and ``target_std``
    bring back. ``threshold`` is the probability above which the second of two classes is called.
    Where each step of a sequence has an answer, outputs are (rows, steps, outputs), and a step is a row.
    ``errors`` most confident wrong answers (or largest residuals) are shown with ``names`` and ``picture``.
    A class that the part lacks has no rows in ``confusion`` and does not count in the macro averages unless it was called.
    Where any output is not finite, every metric and interval is NaN, there is no confusion, and the rows are the errors.
    Raises ``ModelError`` where outputs and labels do not fit. A function of its arguments (``seed`` draws the resamples).

    >>> scores, truths = np.array([[0.0, 9.0], [9.0, 0.0]], np.float32), np.array([1, 1])
    >>> judged = evaluate(scores, truths, part="test", task="classification", classes=("no", "yes"), names=("a", "b"))
    >>> judged.metrics[0].value, judged.confusion, [(error.name, error.answer) for error in judged.errors]
    (0.5, ((0, 0), (1, 1)), [('b', 'no')])
    """
    rows = len(outputs)
    outputs, targets, owner = by_step(outputs, targets)
    answers, truths = _answers_and_truths(outputs, targets, task, target_mean, target_std)
    regression = task in REGRESSIONS
    labels = () if regression else tuple(classes) or tuple(str(number) for number in range(answers.shape[1]))
    if not regression and len(labels) != answers.shape[1]:
        raise ModelError("the model's output does not fit the labels", met=f"{answers.shape[1]} outputs, {len(labels)} classes")
    row_names = step_names(names if len(names) else tuple(f"row {row}" for row in range(rows)), owner)
    finite = np.isfinite(answers) if regression else np.isfinite(answers).all(axis=1)
    per_class: tuple[tuple[str, float, float, float, int], ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    if not finite.all():
        nan = float("nan")
        metrics = tuple(Metric(name, nan, nan, nan) for name in metrics_of(task))
        shown = _not_finite(np.flatnonzero(~finite)[:errors], truths, labels, row_names, picture)
    else:
        terms = grouped(_terms(answers, truths, task, threshold), owner)
        ranges = intervals(*terms, resamples=resamples, seed=seed)
        metrics = tuple(Metric(name, value, *ranges[name]) for name, value in point(*terms).items())
        if regression:
            shown = _residuals(answers, truths.astype(np.float64), row_names, picture, errors)
        else:
            answered = called(answers, threshold)
            confusion, per_class = _table(answered, truths.astype(np.int64), labels)
            shown = _mistakes(answers, answered, truths.astype(np.int64), labels, row_names, picture, errors)
    return Evaluation(
        part=part,
        task=task,
        rows=len(truths),
        metrics=metrics,
        weights=weights,
        classes=labels,
        confusion=confusion,
        per_class=per_class,
        errors=shown,
        resamples=resamples,
        threshold=threshold,
    )


def _table(
    called: NDArray[np.int64], truths: NDArray[np.int64], labels: Sequence[str]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[str, float, float, float, int], ...]]:
    """Confusion[i][j], rows of class i called j, and (class, precision, recall, F1, rows) of each class."""
    count = len(labels)
    confusion = np.bincount(truths * count + called, minlength=count * count).reshape(count, count)
    true = confusion.sum(axis=1)
    each = shares(true.astype(np.float64), confusion.sum(axis=0).astype(np.float64), np.diagonal(confusion).astype(np.float64))
    columns = [share.tolist() for share in each]
    return tuple(map(tuple, confusion.tolist())), tuple(zip(labels, *columns, true.tolist(), strict=True))


def _shown(row: int, picture: Callable[[int], str | None] | None) -> str | None:
    return picture(row) if picture is not None else None


def _mistakes(
    scores: Floats,
    called: NDArray[np.int64],
    truths: NDArray[np.int64],
    labels: Sequence[str],
    names: Sequence[str],
    picture: Callable[[int], str | None] | None,
    most: int,
) -> tuple[ExampleError, ...]:
    """The wrong answers, the most confident first."""
    sure = softmax(scores, axis=1)
    wrong = np.flatnonzero(called != truths)
    wrong = wrong[np.argsort(-sure[wrong, called[wrong]], kind="stable")][:most]
    return tuple(
        ExampleError(names[row], labels[truths[row]], labels[called[row]], float(sure[row, called[row]]), _shown(row, picture))
        for row in wrong.tolist()
    )


def _residuals(
    answers: Floats, truths: Floats, names: Sequence[str], picture: Callable[[int], str | None] | None, most: int
) -> tuple[ExampleError, ...]:
    """The rows with the largest residuals, those first; rows that are answered exactly are no errors."""
    off = np.abs(answers - truths)
    worst = np.argsort(-off, kind="stable")[:most]
    return tuple(
        ExampleError(
            names[row],
            f"{truths[row]:.6g}",
            f"{answers[row]:.6g}",
            picture=_shown(row, picture),
            fields=(("residual", f"{answers[row] - truths[row]:+.6g}"),),
        )
        for row in worst.tolist()
        if off[row] > 0
    )


def _not_finite(
    rows: NDArray[np.int64],
    truths: NDArray[np.int64] | Floats,
    labels: Sequence[str],
    names: Sequence[str],
    picture: Callable[[int], str | None] | None,
) -> tuple[ExampleError, ...]:
    return tuple(
        ExampleError(
            names[row],
            labels[int(truths[row])] if labels else f"{truths[row]:.6g}",
            "not a number",
            picture=_shown(row, picture),
        )
        for row in rows.tolist()
    )
