"""Take steps in order: those that drop rows or change values before the split, those that learn after it; count rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from isograd.errors import DataError
from isograd.records.schema import CleaningStep
from isograd.workbench.data.cleaning.steps import STEPS, change, parse_step, written
from isograd.workbench.data.columns import GAPS, TARGET_GAPS, Codes, as_labels
from isograd.workbench.data.doubts import rows as doubts
from isograd.workbench.data.doubts.case import Case, case_of
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.recordings import SILENT, Recordings, Signal
from isograd.workbench.data.table import Table, rows_of
from isograd.workbench.data.targets import find_column
from isograd.workbench.data.troubles import with_numbers

Found = Table | Pictures | Recordings


def before_split(
    found: Found, steps: Sequence[str], target: str | None, *, skip_corrupt: bool = True
) -> tuple[Found, list[str], list[CleaningStep]]:
    """The source after all steps that learn nothing, in order; a remark on each; and those that change values.

    Raises ``DataError`` for a step that does not fit the source, for words where a step computes (unless ``skip_corrupt``), and
    where no row is left.
    """
    remarks: list[str] = []
    travelling: list[CleaningStep] = []
    for step in map(parse_step, steps):
        kind = STEPS[step.name]
        if kind.learn is not None:
            if not isinstance(found, Table):
                raise _misplaced(step, found)
            continue
        if kind.change is not None:
            if not isinstance(found, Table):
                raise _misplaced(step, found)
            found, touched = change(with_numbers(found, step, skip_corrupt=skip_corrupt), step)
            if target not in (step.column, step.argument if step.name == "rename" else None):
                travelling.append(step)
        elif step.name == "trim_silence":
            found, touched = _trimmed(found, step)
            travelling.append(step)
        else:
            found, touched = _without(found, step, target)
        remarks.append(_remark(step, touched))
    return found, remarks, travelling


def after_split(
    table: Table, steps: Sequence[str], training: Codes, target: str | None
) -> tuple[Table, list[str], list[CleaningStep]]:
    """The table after the steps that learn, each fitted on the training rows as the steps before it left them."""
    remarks: list[str] = []
    fitted: list[CleaningStep] = []
    for step in map(parse_step, steps):
        learn = STEPS[step.name].learn
        if learn is None:
            continue
        if step.column == target:
            raise DataError(f"{written(step)}: the target is not to be changed by what is learned from it", where=table.where)
        alone = {step.column: table.columns[step.column]} if step.column in table.columns else table.columns
        known = learn(rows_of(replace(table, columns=alone), training), step)
        table, touched = change(table, known)
        remarks.append(_remark(step, touched))
        fitted.append(known)
    return table, remarks, fitted


def again(table: Table, steps: Sequence[CleaningStep], *, skip_corrupt: bool = False) -> Table:
    """New rows after the steps that travel with a model; a column to drop or to rename may be absent already.

    Raises ``DataError`` for words where a step computes, unless ``skip_corrupt``.
    """
    for step in steps:
        if step.name == "drop_column" and step.column not in table.columns:
            continue
        if step.name == "rename" and step.column not in table.columns and step.argument in table.columns:
            continue
        table, _ = change(with_numbers(table, step, skip_corrupt=skip_corrupt, new=True), step)
    return table


def _remark(step: CleaningStep, touched: int) -> str:
    return f"cleaned by {written(step)}: {touched:,} rows touched"


def _misplaced(step: CleaningStep, found: Found) -> DataError:
    what = "a table" if isinstance(found, Table) else "pictures" if isinstance(found, Pictures) else "recordings"
    return DataError(f"the step {written(step)!r} does not fit {what}", met=STEPS[step.name].help)


def _without(found: Found, step: CleaningStep, target: str | None) -> tuple[Found, int]:
    """The source without the rows that a step drops."""
    if step.name == "drop_missing":
        if not isinstance(found, Table):
            raise _misplaced(step, found)
        cells = find_column(found, step.column, written(step))
        gone = np.flatnonzero(as_labels(cells, TARGET_GAPS if step.column == target else GAPS).codes < 0)
    elif step.name == "drop_silent":
        if not isinstance(found, Recordings):
            raise _misplaced(step, found)
        gone = np.flatnonzero(np.array([float(np.abs(signal).max()) < SILENT for signal in found.signals]))
    else:
        gone = _GONE[step.name](case_of(found, target))
    rows = len(found) if isinstance(found, Table) else len(found.labels)
    if len(gone) == rows:
        raise DataError(f"{written(step)} leaves no row")
    kept = np.setdiff1d(np.arange(rows), gone)
    return (kept_rows(found, kept) if len(gone) else found), len(gone)


_GONE: dict[str, Callable[[Case], Codes]] = {
    "drop_duplicates": doubts.copies,
    "drop_near_duplicates": doubts.near_copies,
    "drop_crossing_duplicates": doubts.crossing_copies,
    "drop_conflicts": doubts.conflicting,
}


def kept_rows(found: Found, rows: Codes) -> Found:
    """Some rows of a source of any kind, in the order asked for."""
    if isinstance(found, Table):
        return rows_of(found, rows)
    parts = found.parts[rows] if found.parts is not None else None
    names = tuple(found.names[row] for row in rows)
    if isinstance(found, Pictures):
        return replace(found, pixels=found.pixels[rows], labels=found.labels[rows], names=names, parts=parts)
    return replace(
        found,
        signals=tuple(found.signals[row] for row in rows),
        labels=found.labels[rows],
        names=names,
        parts=parts,
        fields={name: tuple(words[row] for row in rows) for name, words in found.fields.items()},
    )


def _trimmed(found: Found, step: CleaningStep) -> tuple[Found, int]:
    if not isinstance(found, Recordings):
        raise _misplaced(step, found)
    signals = tuple(map(trimmed, found.signals))
    touched = sum(len(a) != len(b) for a, b in zip(signals, found.signals, strict=True))
    return replace(found, signals=signals), touched


def trimmed(signal: Signal) -> Signal:
    """A recording without what lies more than 40 dB below its peak at both ends; a silent one as it is.

    >>> trimmed(np.array([0, 0, 0.5, -0.2, 0, 0.4, 0.001], np.float32)).tolist()[0], len(trimmed(np.zeros(5, np.float32)))
    (0.5, 5)
    """
    loud = np.flatnonzero(np.abs(signal) > 0.01 * np.abs(signal).max())
    return signal[loud[0] : loud[-1] + 1] if len(loud) else signal
