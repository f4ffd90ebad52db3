"""Inspect a source: read it as it is, doubt it in every way that is known, and say what was looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from isograd.errors import DataError, did_you_mean
from isograd.records.inspection import Doubt, Inspection
from isograd.records.schema import Column, Part
from isograd.workbench.data.cleaning.applying import Found, after_split, before_split
from isograd.workbench.data.columns import Kind, as_labels
from isograd.workbench.data.doubts import columns, drift, files, labels, leaks, rows, sounds, texts
from isograd.workbench.data.doubts.case import Case, case_of, parts_in_order
from isograd.workbench.data.features import describe_column
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.queries import is_database
from isograd.workbench.data.reading import Source, read
from isograd.workbench.data.recordings import Recordings
from isograd.workbench.data.sequences import SEQUENCES, summary_of
from isograd.workbench.data.sequential import read_sequences
from isograd.workbench.data.sources import few, locate
from isograd.workbench.data.table import Table
from isograd.workbench.data.targets import brings_parts, parts_of

ALWAYS: tuple[Callable[[Case], Iterator[Doubt]], ...] = (
    rows.repeated,
    rows.conflicts,
    labels.imbalance,
    drift.drift,
)
OF_A_TABLE = (
    rows.nearly_repeated,
    leaks.leaks,
    columns.identifiers,
    columns.constant,
    columns.missing,
    columns.outliers,
    labels.sorted_labels,
    texts.faulty_texts,
)
OF_PICTURES = (rows.nearly_repeated, files.blank_pictures)
OF_RECORDINGS = (sounds.faulty_recordings,)
TARGETS = ("target", "label", "class", "y", "income")
"""Names of columns that are taken for the target where nobody says which one it is."""
_RANK = {"critical": 0, "warning": 1, "note": 2}


def inspect(source: Source, *, task: str | None = None, drop: Sequence[str] = (), clean: Sequence[str] = ()) -> Inspection:
    """Everything that is doubtful in a source; unreadable files and rows are among it, and stop nothing.

    ``clean`` are steps that are taken first: what is left to doubt after them is told, and what they touched in the remarks.

    Where ``source.target`` is not said, a column called target, label, class or y is taken. Raises ``DataError`` where nothing
    at all can be read, and for a target or a column to drop that is not there.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:  # what lies in it can be read as long as we look
        found = _read(replace(source, cache=Path(place)), task, clean)
        return _inspected(found, source, drop, () if task in SEQUENCES else clean)


def _inspected(found: Table | Pictures | Recordings, source: Source, drop: Sequence[str], clean: Sequence[str]) -> Inspection:
    target = _target(found, source.target)
    if isinstance(found, Table):
        for name in drop:
            if name not in found.columns:
                raise DataError(f"drop: the table has no column {name!r}", remedy=did_you_mean(name, found.columns))
    found, cleaned = _cleaned(found, clean, target)
    case = case_of(found, target, drop=drop)
    checks = (*ALWAYS, *(OF_A_TABLE if case.table else OF_PICTURES if isinstance(found, Pictures) else OF_RECORDINGS))
    doubts = [*files.unreadable(found.skipped, len(case)), *(doubt for check in checks for doubt in check(case))]
    looked = ["unreadable", *(check.__name__.replace("_", " ") for check in checks)]
    folder = _folder(source, found)
    if folder is not None:
        doubts += files.odd_pictures(folder)
        looked.append("odd pictures")
    return Inspection(
        source=source.name,
        holds="table" if isinstance(found, Table) else "pictures" if isinstance(found, Pictures) else "recordings",
        rows=len(case),
        fingerprint=found.fingerprint,
        target=target,
        columns=tuple(_column(found, name, kind) for name, kind in case.features.items()) if isinstance(found, Table) else (),
        classes=case.classes,
        parts=_parts(case),
        doubts=tuple(sorted(doubts, key=lambda doubt: _RANK[doubt.severity])),
        skipped=found.skipped,
        remarks=(*found.remarks, *cleaned, *_not_looked_for(case)),
        looked=tuple(looked),
    )


def _read(source: Source, task: str | None, clean: Sequence[str]) -> Found:
    if task in SEQUENCES:  # whose steps were cleaned before they are summed up
        return summary_of(read_sequences(source, skip_corrupt=True, clean=clean), source.target)
    return read(source, task=task, skip_corrupt=True)


def _not_looked_for(case: Case) -> list[str]:
    """What was left out of the looking, so that nobody takes silence for health."""
    if isinstance(case.found, Pictures) and len(case) > rows.MOST_COMPARED:
        return [f"near-duplicates were not looked for: more than {rows.MOST_COMPARED:,} pictures"]
    if isinstance(case.found, Recordings):
        return ["recordings were compared up to their loudness; other near-duplicates were not looked for"]
    return []


def _cleaned(
    found: Table | Pictures | Recordings, steps: Sequence[str], target: str | None
) -> tuple[Table | Pictures | Recordings, list[str]]:
    """The source after all steps; those that learn do so from the training part, or from all rows where there are no parts."""
    found, remarks, _ = before_split(found, steps, target)
    if not isinstance(found, Table):
        return found, remarks
    parts = found.parts if found.parts is not None else parts_of(found, "split") if brings_parts(found) else None
    training = np.flatnonzero(parts == "train") if parts is not None else np.arange(len(found))
    found, learned, _ = after_split(found, steps, training, target)
    return found, remarks + learned


def _target(found: Table | Pictures | Recordings, target: str | None) -> str | None:
    if not isinstance(found, Table):
        return target or "label"
    if target is None:
        return next((name for name in found.columns if name.lower() in TARGETS), None)
    if target not in found.columns:
        raise DataError(
            f"the table has no column {target!r}",
            where=found.where,
            met=f"columns: {few(list(found.columns), 20)}",
            remedy=did_you_mean(target, found.columns),
        )
    return target


def _folder(source: Source, found: Table | Pictures | Recordings) -> Path | None:
    """The folder whose picture files can be looked at one by one."""
    if not isinstance(found, Pictures) or source.name.startswith("builtin:") or is_database(source.name):
        return None
    path = locate(source.name, source.base)
    return path if path.is_dir() else path.parent if source.files or path.suffix.lower() not in (".npz",) else None


def _column(table: Table, name: str, kind: Kind) -> Column:
    cells = table.columns[name]
    if kind.kind is None:
        codes = as_labels(cells).codes
        return Column(name, "category", missing=int((codes < 0).sum()), distinct=len(np.unique(codes[codes >= 0])))
    return describe_column(name, cells, kind.kind)


def _parts(case: Case) -> tuple[Part, ...]:
    described = []
    for name in parts_in_order(case.parts):
        rows = case.rows_of_part(name)
        known = case.labels[rows] if case.labels is not None else np.zeros(0, dtype=np.int64)
        counts = np.bincount(known[known >= 0], minlength=len(case.classes)) if case.classes else ()
        described.append(Part(name, len(rows), tuple(int(count) for count in counts)))
    return tuple(described)
