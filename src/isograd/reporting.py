"""What a person holds of a report: its record, and the ways to show it; how one is made of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isograd.health import coverage
from isograd.health.case import Case, case_of
from isograd.health.diagnosis import diagnose as diagnose_case
from isograd.health.outcome import outcome
from isograd.records import codec
from isograd.records import report as records
from isograd.records.cause import Explanation
from isograd.records.finding import Finding
from isograd.records.forecast import Forecast
from isograd.records.trace import Trace


class Report:
    """What was found, as a person holds it: the record, and the ways to show it.

    >>> from isograd.records.anatomy import Anatomy
    >>> report = Report(records.Report("check", Anatomy("torch", (), ())))
    >>> report.healthy, report.findings
    (True, ())
    """

    def __init__(self, record: records.Report) -> None:
        self.record = record

    @property
    def healthy(self) -> bool:
        """Whether no finding is an alarm."""
        return self.record.healthy

    @property
    def risk(self) -> float | None:
        """Calibrated probability that the training fails; None where it was not estimated."""
        return self.record.risk

    @property
    def cause(self) -> Explanation | None:
        """What an experiment found to be to blame; None where none was made."""
        return self.record.cause

    @property
    def forecast(self) -> Forecast | None:
        """The probability with the answer, when more can be told, and what speaks for it; None where it was not estimated."""
        return self.record.forecast

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the worst first; those of severity "note" are remarks and no alarms."""
        return self.record.findings

    def to_json(self) -> str:
        """The record as one line of JSON that names its format and version."""
        return codec.dumps(self.record)

    def to_html(self) -> str:
        """One self-contained page."""
        from isograd.render import html

        return html.report_page(self.record)

    def figure(self) -> Any:
        """A matplotlib figure of the gradients by layer and step."""
        from isograd.render import figure

        return figure.figure(self.record)

    def __str__(self) -> str:
        from isograd.render import text

        return text.report(self.record)

    def __repr__(self) -> str:
        alarms = sum(finding.alarm for finding in self.findings)
        return f"<isograd {self.record.origin} report: {'healthy' if self.healthy else f'{alarms} alarms'}>"


def report_of(
    origin: records.Origin,
    trace: Trace,
    remarks: Sequence[str],
    case: Case | None = None,
    findings: tuple[Finding, ...] | None = None,
    forecast: Forecast | None = None,
) -> Report:
    """Diagnose a trace, where that was not done already, and add what a person must know of how it was taken."""
    case = case_of(trace) if case is None else case
    unseen = () if origin in ("check", "explain") else coverage.remarks(trace, judged=outcome(case).skill is not None)
    return Report(
        records.Report(
            origin,
            trace.anatomy,
            diagnose_case(case) if findings is None else findings,
            case.expectations,
            case.readings,
            case.taken,
            trace.planned_steps,
            trace.meter,
            None if forecast is None else forecast.probability,
            (*unseen, *remarks),
            forecast=forecast,
            learned=None if origin in ("check", "explain") else _learned(case),
        )
    )


def _learned(case: Case) -> records.Learned | None:
    found = outcome(case)
    if found.skill is None or case.taken < coverage.WORTH_TELLING:
        return None
    return records.Learned(found.skill, found.error, found.falling, case.ended)
