"""Diagnose a recording that grows: measure each step once, and tell of what has become certain and of what is over."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

from isograd.health.case import Case, case_of
from isograd.health.diagnosis import diagnose
from isograd.health.ledger import Ledger
from isograd.health.signals import Measuring
from isograd.records.expectation import Expectations
from isograd.records.finding import Finding
from isograd.records.trace import Trace

OnFinding = Callable[[Finding], object]
"""Called in the loop between two steps, with gradients off. What it returns is ignored; what it raises ends the telling."""


class Live:
    """Diagnoses of one watch, one after the other."""

    def __init__(self, on_finding: OnFinding | None = None) -> None:
        self.remarks: list[str] = []
        """What went wrong on our side."""
        self._on_finding = on_finding
        self._ledger = Ledger()
        self._measuring: Measuring | None = None
        self._foretold: Expectations | None = None
        self._of: tuple[object, ...] = ()
        self._measured: list[tuple[int, bool]] = []

    def case(self, trace: Trace) -> Case:
        """The case of the recording so far; only what is new in it is measured."""
        of = (trace.anatomy.nodes, trace.parameters)
        seen = [(step.index, step.sampled) for step in trace.steps]
        count = len(self._measured)
        if of != self._of:
            self._foretold = None
        if self._measuring is None or of != self._of or seen[:count] != self._measured:  # condensed, or another anatomy
            self._measuring, self._of, count = Measuring(trace.anatomy, trace.parameters), of, 0
        for step in trace.steps[count:]:
            self._measuring.add(step)
        self._measured = seen
        case = case_of(trace, self._measuring.readings(trace.planned_steps), self._foretold)
        self._foretold = case.expectations  # from the anatomy, the weights at the start and the first inputs: they stay
        return case

    def findings(self, case: Case) -> tuple[Finding, ...]:
        """What is wrong now, with the steps at which it was told; and tells what is due."""
        findings = diagnose(case)
        for finding in self._ledger.update(findings, case.taken, final=case.ended):
            self._tell(finding)
        return self._ledger.dated(findings)

    def look(self, recording: Callable[[], Trace]) -> None:
        """Diagnose in the person's loop: an error of ours becomes a remark."""
        try:
            self.findings(self.case(recording()))
        except Exception as error:
            text = f"a diagnosis failed: {type(error).__name__}: {error}"
            if not self.remarks:
                logging.getLogger("isograd").warning(text, exc_info=error)
            self.remarks[:] = [text]
            self._measuring = None

    def _tell(self, finding: Finding) -> None:
        if self._on_finding is None:
            return
        try:
            self._on_finding(finding)
        except Exception as error:
            self._on_finding = None
            text = f"on_finding raised and is not called again; the training goes on: {type(error).__name__}: {error}"
            self.remarks.append(text)
            logging.getLogger("isograd").warning(text, exc_info=error)
            try:
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            except RuntimeWarning:  # a filter makes an error of it
                return
