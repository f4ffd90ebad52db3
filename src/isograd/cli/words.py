"""Records as lines of text: an evaluation, a list of runs, a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isograd.records.run import Evaluation, Metric, Run
from isograd.render.wording import duration, interval, percent


def metric_text(metric: Metric) -> str:
    """A figure with its interval.

    >>> metric_text(Metric("accuracy", 0.98125, 0.97, 0.99)), metric_text(Metric("rmse", 2.41e-5, 2.2e-5, 2.6e-5))
    ('accuracy 0.981 (0.970 to 0.990)', 'rmse 0.0000241 (0.0000220 to 0.0000260)')
    """
    return f"{metric.name} {interval(metric.value, metric.low, metric.high)}"


def evaluation_lines(evaluation: Evaluation, goals: Sequence[tuple[str, float, str]] = ()) -> list[str]:
    """The figures of one part, and each goal with its verdict."""
    metrics = evaluation.metrics
    lines = [f"{evaluation.part}: {metric_text(metrics[0])} on {evaluation.rows:,} rows; weights: {evaluation.weights}"]
    lines += [f"  {metric_text(metric)}" for metric in metrics[1:]]
    if evaluation.threshold is not None:
        lines.append(
            f"  {evaluation.classes[1]} is called above a probability of {evaluation.threshold:.3g}, chosen on validation"
        )
    lines += [f"goal  {name} {goal:g}: {verdict}" for name, goal, verdict in goals]
    return lines


def run_lines(runs: Sequence[Run]) -> list[str]:
    """A table of runs, oldest first."""
    rows = [("run", "status", "model", "epochs", "best on validation", "time", "started")]
    for run in runs:
        best = f"{run.best_metric[0]} {run.best_metric[1]:.4g}" if run.best_metric else ""
        rows.append((run.name, run.status, run.model, str(run.epochs), best, duration(run.seconds), run.started))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def answer_line(answer: dict[str, Any]) -> str:
    """One prediction: what it is of, what was answered, and how sure.

    >>> answer_line({"name": "a.png", "label": "7", "probabilities": {"1": 0.1, "7": 0.9}})
    'a.png: 7 (90 %)'
    >>> answer_line({"name": "row 1", "steps": [{"value": 1.0}, {"value": 2.5}]})
    'row 1: 1 2.5'
    """
    if "steps" in answer:
        each = [str(step.get("label", "")) or f"{step['value']:.6g}" for step in answer["steps"]]
        return f"{answer['name']}: {' '.join(each)}"
    if "label" in answer:
        return f"{answer['name']}: {answer['label']} ({percent(answer['probabilities'][answer['label']])})"
    return f"{answer['name']}: {answer['value']:.6g}"
