"""What is wrong, where, since when, how sure, and what to do: one frozen record, and the evidence under it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from isograd.records.anatomy import spoken

Severity = Literal["critical", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that speaks for a finding: what was measured, its unit, the bound it crossed and what theory foretold."""

    text: str
    signal: str
    value: float
    unit: str = ""
    bound: float | None = None
    foretold: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a training; ``note`` is a remark and never counts as an alarm.

    ``disease`` is a file name of ``health.diagnosis``; ``summary`` is the sentence a person reads first. ``where`` is a
    module path, or "optimizer", "data", "loss", "loop"; ``layers`` are all places that it holds, the worst first.
    ``confidence`` is in [0, 1]. ``since`` and ``until`` are the steps from which and up to which it held; ``noticed`` is the
    step at which a live watch told of it, None where none did. Printed, it is a paragraph:

    >>> print(Finding("vanishing", "warning", 0.9, "0", "The gradient vanishes.", since=3, remedy="a residual path"))
    warning: The gradient vanishes.
      where  layer 0, since step 3
      try    a residual path
    """

    disease: str
    severity: Severity
    confidence: float
    where: str
    summary: str
    evidence: tuple[Evidence, ...] = ()
    layers: tuple[str, ...] = ()
    source: str | None = None
    since: int | None = None
    until: int | None = None
    time_step: int | None = None
    cause: str | None = None
    remedy: str | None = None
    references: tuple[str, ...] = ()
    noticed: int | None = None

    @property
    def alarm(self) -> bool:
        """Whether it counts: "warning" or above."""
        return self.severity != "note"

    def __str__(self) -> str:
        since = "" if self.since is None else f"since step {self.since:,}"
        until = "" if self.until is None else f"over since step {self.until:,}"
        place = ", ".join(part for part in (spoken(self.where), self.source, since, until) if part)
        rows = [("where", place), ("why", self.cause or ""), *(("why", evidence.text) for evidence in self.evidence[:1])]
        lines = [f"{self.severity}: {self.summary}"]
        lines.extend(f"  {label:<6} {text}" for label, text in [*rows, ("try", self.remedy or "")] if text)
        return "\n".join(textwrap.fill(line, 100, subsequent_indent=" " * 9, break_on_hyphens=False) for line in lines)
