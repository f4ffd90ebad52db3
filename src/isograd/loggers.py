"""Hand findings to the logging of the standard library, to TensorBoard or to MLflow: functions for ``on_finding``.

with isograd.watch(model, optimizer, on_finding=to_logging()) as watch:
    ...
    for name, value in vitals(watch).items():     # whenever the loop logs its own numbers
        writer.add_scalar(name, value, step)
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

from isograd.errors import RequestError
from isograd.records.finding import Finding
from isograd.render import text
from isograd.watching import Watch

_LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING, "note": logging.INFO}


def to_logging(logger: logging.Logger | None = None) -> Callable[[Finding], None]:
    """Findings as records of ``logger`` ("isograd" where none is given); what is over, as information.

    >>> to_logging()(Finding("vanishing", "note", 0.9, "0", "The gradient vanishes."))
    """
    target = logging.getLogger("isograd") if logger is None else logger

    def tell(finding: Finding) -> None:
        level = _LEVELS[finding.severity] if finding.until is None else logging.INFO
        target.log(level, "%s", _sentence(finding), extra={"finding": finding})

    return tell


def to_tensorboard(writer: Any) -> Callable[[Finding], None]:
    """Findings as texts of a ``SummaryWriter``, one tag a disease: anything with ``add_text(tag, text, step)``."""

    def tell(finding: Finding) -> None:
        writer.add_text(f"isograd/{finding.disease}", _sentence(finding), _step(finding))

    return tell


def to_mlflow(mlflow: Any = None) -> Callable[[Finding], None]:
    """Findings as a metric of the active run, one a disease: 1 from the step at which it was noticed, 0 where it is over.

    The sentence is the run's tag of the same name. ``mlflow`` is the module or a client of the same functions; it is imported
    where none is given. Raises ``RequestError`` where it is not installed.
    """
    if mlflow is None:
        try:
            mlflow = importlib.import_module("mlflow")
        except ImportError as error:
            raise RequestError("mlflow is not installed", remedy="pip install mlflow") from error

    def tell(finding: Finding) -> None:
        mlflow.log_metric(f"isograd/{finding.disease}", float(finding.until is None), step=_step(finding))
        mlflow.set_tag(f"isograd.{finding.disease}", _sentence(finding)[:5000])

    return tell


def vitals(watch: Watch) -> dict[str, float]:
    """The latest numbers of gradient health, by the names under which loggers file them: "isograd/first_over_last" ...

    Range: loss the real line; norms, ratios and shares [0, inf).
    """
    return {f"isograd/{name}": value for name, value in text.vitals(watch.report().record).items()}


def _step(finding: Finding) -> int:
    return next((step for step in (finding.until, finding.noticed, finding.since) if step is not None), 0)


def _sentence(finding: Finding) -> str:
    if finding.until is not None:
        return f"over since step {finding.until:,}: {finding.summary}"
    at = f"step {finding.noticed:,}: " if finding.noticed is not None else ""
    source = f" ({finding.source})" if finding.source else ""
    remedy = f" Try: {finding.remedy}" if finding.remedy else ""
    return f"{at}{finding.summary}{source}{remedy}"
