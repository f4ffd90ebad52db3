"""Keep account of what one diagnosis after the other finds: what has become certain, what is over, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from isograd.records.finding import Finding

CERTAIN = 0.99
"""Confidence from which one diagnosis is enough: a fact, not a measurement."""
AGAIN = 2
"""Diagnoses in a row that have to find it otherwise."""
GONE = 3
"""Diagnoses in a row that must not find it any more before it is over."""

_WEIGHT = {"note": 0, "warning": 1, "critical": 2}


@dataclass
class _Entry:
    finding: Finding
    seen: int
    last: int
    absent: int = 0
    told: Finding | None = None


class Ledger:
    """Findings as they come and go; the same one is known again by its disease and its place, or a place that it shares.

    A finding is told once: when two diagnoses in a row had it, at once where it is critical or certain, or in the final
    diagnosis; and once more when it has become worse than what was told. It is over when three in a row no longer had it.

    >>> ledger, finding = Ledger(), Finding("vanishing", "warning", 0.9, "0", "The gradient vanishes.")
    >>> ledger.update([finding], 2), [new.noticed for new in ledger.update([finding], 5)]
    ((), [5])
    >>> [gone.until for step in (7, 9, 12) for gone in ledger.update([], step)]
    [5]
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def update(self, findings: Iterable[Finding], step: int, *, final: bool = False) -> tuple[Finding, ...]:
        """What is to be told after a diagnosis at ``step``: new findings with ``noticed``, and with ``until`` what is over."""
        met: list[_Entry] = []
        for finding in findings:
            entry = next((one for one in self._entries if one not in met and _same(one.finding, finding)), None)
            if entry is None:
                entry = _Entry(finding, 0, step)
                self._entries.append(entry)
            entry.finding, entry.last = finding, step
            entry.seen, entry.absent = entry.seen + 1, 0
            met.append(entry)
        told = [entry.told for entry in met if _due(entry, final) and _tell(entry, step)]
        for entry in [one for one in self._entries if one not in met]:
            entry.seen, entry.absent = 0, entry.absent + 1
            if entry.told is None or entry.absent >= GONE:
                self._entries.remove(entry)
                if entry.told is not None:
                    told.append(replace(entry.told, until=entry.last))
        return tuple(finding for finding in told if finding is not None)

    def dated(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """The same findings with the step at which each was told, where it was."""
        told = [entry.told for entry in self._entries if entry.told is not None]
        return tuple(
            replace(finding, noticed=next((one.noticed for one in told if _same(one, finding)), None)) for finding in findings
        )


def _same(one: Finding, other: Finding) -> bool:
    if one.disease != other.disease:
        return False
    return one.where == other.where or bool({one.where, *one.layers} & {other.where, *other.layers})


def _due(entry: _Entry, final: bool) -> bool:
    finding, told = entry.finding, entry.told
    if told is not None and _WEIGHT[finding.severity] <= _WEIGHT[told.severity]:
        return False
    return final or entry.seen >= AGAIN or finding.severity == "critical" or finding.confidence >= CERTAIN


def _tell(entry: _Entry, step: int) -> bool:
    entry.told = replace(entry.finding, noticed=step)
    return True
