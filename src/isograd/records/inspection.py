"""What an inspection of data found: its columns and parts, and what is doubtful, where, with the evidence and a fix by name."""

from __future__ import annotations

from dataclasses import dataclass

from isograd.records.finding import Evidence, Severity
from isograd.records.schema import Column, Part, Skipped


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that is doubtful in data; ``note`` is a remark and never counts as an alarm.

    ``kind`` is what it is in one or two words ("duplicates"), ``where`` a column, "rows", "labels", "files" or "parts", and
    ``count`` how many rows, files or values it touches. ``places`` names the first of them. ``fix`` is a step that
    ``isograd data clean`` takes; ``remedy`` says in words what to do. ``pictures`` are PNGs in base64 of what was found.
    """

    kind: str
    severity: Severity
    where: str
    summary: str
    count: int = 0
    evidence: tuple[Evidence, ...] = ()
    places: tuple[str, ...] = ()
    fix: str | None = None
    remedy: str | None = None
    pictures: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        """Whether it counts: "warning" or above."""
        return self.severity != "note"


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that was seen of a source. ``holds`` is "table", "pictures" or "recordings"; ``fingerprint`` that of the content.

    ``looked`` names the checks that were made, so that silence is not taken for health where nothing was looked at.
    """

    source: str
    holds: str
    rows: int
    fingerprint: str
    target: str | None = None
    columns: tuple[Column, ...] = ()
    classes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[Doubt, ...]:
        """The doubts that count."""
        return tuple(doubt for doubt in self.doubts if doubt.alarm)
