"""What a person is told: findings, what was foretold and measured, and what it cost to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.anatomy import Anatomy
from isograd.records.cause import Explanation
from isograd.records.expectation import Expectations
from isograd.records.finding import Finding
from isograd.records.forecast import Forecast
from isograd.records.reading import Readings
from isograd.records.trace import Meter

Origin = Literal["check", "watch", "diagnose", "explain"]


@dataclass(frozen=True, slots=True)
class Learned:
    """What came of a training: ``skill`` of the late answers on the examples trained on, with its standard error.

    0 is the best constant answer, 1 are perfect ones. ``falling``: whether the loss was still falling, beyond noise;
    ``over``: whether the training has ended, so that nothing more will come of that.
    """

    skill: float
    error: float
    falling: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The result of looking: ``risk`` is the probability in ``forecast``; both None where it was not estimated.

    ``cause`` is what an experiment found to be to blame, None where none was made; ``learned`` what came of the training so
    far, None where no constant answer is known to compare it with.
    """

    origin: Origin
    anatomy: Anatomy
    findings: tuple[Finding, ...] = ()
    expectations: Expectations = Expectations()
    readings: Readings = Readings()
    steps: int = 0
    planned_steps: int | None = None
    meter: Meter = Meter()
    risk: float | None = None
    remarks: tuple[str, ...] = ()
    cause: Explanation | None = None
    forecast: Forecast | None = None
    learned: Learned | None = None

    @property
    def healthy(self) -> bool:
        """Whether no finding is an alarm."""
        return not any(finding.alarm for finding in self.findings)
