"""The goals of a project: whether its metrics answer them, and whether an evaluation meets them."""

from __future__ import annotations

from isograd.errors import RequestError, did_you_mean
from isograd.project.reading import Project
from isograd.records.run import Evaluation
from isograd.workbench import evaluate


def check_goals(project: Project) -> None:
    """Raise ``RequestError`` for a goal that no metric of the task answers."""
    known = evaluate.metrics_of(project.settings.task)
    odd = [name for name in project.settings.goals if name not in known]
    if odd:
        raise RequestError(
            f"goals: no metric of this task is called {odd[0]!r}",
            where=str(project.path),
            met=f"metrics: {', '.join(known)}",
            remedy=did_you_mean(odd[0], known),
        )


def verdicts(project: Project, evaluation: Evaluation) -> tuple[tuple[str, float, str], ...]:
    """Each goal with its verdict: "met", "not met", or "undecided" where the interval holds it."""
    found = {metric.name: metric for metric in evaluation.metrics}
    said = []
    for name, goal in project.settings.goals.items():
        metric = found[name]
        less_is_better = name in ("mae", "rmse", "log_loss", "ece")
        surely = metric.high <= goal if less_is_better else metric.low >= goal
        surely_not = metric.low > goal if less_is_better else metric.high < goal
        said.append((name, goal, "met" if surely else "not met" if surely_not else "undecided"))
    return tuple(said)
