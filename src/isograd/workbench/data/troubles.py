"""Cells that cannot be read as what their column holds: found, told all at once, or left out with their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from isograd.errors import DataError, Fault
from isograd.records.schema import CleaningStep, ColumnKind, Skipped
from isograd.workbench.data.cleaning.expression import names_in
from isograd.workbench.data.cleaning.steps import written
from isograd.workbench.data.features import Trouble, settled
from isograd.workbench.data.sources import few
from isograd.workbench.data.table import MOST_NAMED, Table, rows_of, with_columns

HOLDS: dict[ColumnKind, str] = {
    "number": "finite numbers",
    "boolean": "true or false",
    "category": "categories",
    "text": "text",
    "date": "dates such as 2026-03-31",
}


def settle(table: Table, kinds: Mapping[str, ColumnKind]) -> tuple[Table, list[tuple[str, Trouble]]]:
    """The table with the numbers of some columns parsed, and what is wrong, in words, with which rows."""
    found = {name: settled(name, table.columns[name], kind) for name, kind in kinds.items()}
    troubles = [
        (f"column {name!r} should hold {HOLDS[kinds[name]]}", trouble) for name, (_, trouble) in found.items() if trouble
    ]
    return with_columns(table, {**table.columns, **{name: cells for name, (cells, _) in found.items()}}), troubles


def readable(table: Table, troubles: Sequence[tuple[str, Trouble]], skip_corrupt: bool, *, needed: bool = False) -> Table:
    """The table without the rows that cannot be read, which are listed; raises all faults at once unless ``skip_corrupt``.

    ``needed`` says that a model asks for these columns, so that none can be left out.
    """
    if troubles and not skip_corrupt:
        raise DataError([_fault(table, what, trouble, needed) for what, trouble in troubles])
    wrong: dict[int, str] = {}
    for what, trouble in troubles:
        for row, word in zip(trouble.rows.tolist(), trouble.words, strict=True):
            wrong.setdefault(row, f"{what}: {word!r}")
    skipped = tuple(Skipped(table.places[row], wrong[row]) for row in sorted(wrong))
    kept = np.setdiff1d(np.arange(len(table)), sorted(wrong))
    if not len(kept):
        raise DataError("no row is left that can be read", where=table.where, met=f"{skipped[0].name}: {skipped[0].reason}")
    return replace(rows_of(table, kept), skipped=table.skipped + skipped) if wrong else table


def _fault(table: Table, what: str, trouble: Trouble, needed: bool) -> Fault:
    named = [f"{table.places[row]}: {word!r}" for row, word in zip(trouble.rows.tolist(), trouble.words, strict=True)]
    other = "" if needed or what.startswith("the target") else f', or leave out the column: drop = ["{trouble.column}"]'
    return Fault(
        f"{what}: {len(named):,} row{'s do' * (len(named) != 1) or ' does'} not",
        where=f"{table.where}, {table.places[trouble.rows[0]]}",
        met=few(named, MOST_NAMED),
        remedy=f"repair them, or leave them out: --skip-corrupt{other}",
    )


def with_numbers(table: Table, step: CleaningStep, *, skip_corrupt: bool, new: bool = False) -> Table:
    """The table without the rows in which a step that computes finds a word where it needs a number.

    They are listed, or, without ``skip_corrupt``, refused, as those of any column of numbers are: a word that became a gap
    without a word would be read by nobody. ``new`` rows are those of a prediction, which need the column.
    """
    computes = step.name in ("log", "power", "clip_outliers") or (step.name == "impute" and step.low is not None)
    derives = step.name == "derive" and step.column not in table.columns  # else it is refused for that
    names = names_in(step.argument) if derives else (step.column,) if computes else ()
    found = [settled(name, table.columns[name], "number")[1] for name in names if name in table.columns]
    troubles = [(f"column {one.column!r} should hold {HOLDS['number']}", one) for one in found if one is not None]
    for _, trouble in troubles:
        if not new and 2 * len(trouble.rows) > len(table):
            raise DataError(f"{written(step)}: column {trouble.column!r} holds words, not numbers", where=table.where)
    return readable(table, troubles, skip_corrupt, needed=new)
