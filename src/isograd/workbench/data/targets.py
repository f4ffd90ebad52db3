"""Read the target of a table: classes, or a number on its natural scale; and the columns that steer a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, did_you_mean
from isograd.workbench.data.columns import (
    TARGET_GAPS,
    Cells,
    Codes,
    Floats,
    Numbers,
    Words,
    as_labels,
    as_numbers,
    is_missing,
    is_number,
)
from isograd.workbench.data.lexicon import Chosen
from isograd.workbench.data.sources import PART_NAMES, few
from isograd.workbench.data.table import Table

FEW_CLASSES = 20
"""Up to so many different numbers may be classes; more are, unless each recurs ten times on average, a quantity."""


def find_column(table: Table, name: str, asked_by: str) -> Cells:
    """A column by its name; raises ``DataError`` with a did-you-mean where there is none."""
    if name not in table.columns:
        raise DataError(
            f"{asked_by}: the table has no column {name!r}",
            where=table.where,
            met=f"columns: {few(list(table.columns), 20)}",
            remedy=did_you_mean(name, table.columns) or "name one of these (if they look like data, the file lacks its header)",
        )
    return table.columns[name]


def missing_rows(cells: Cells, gaps: frozenset[str]) -> Codes:
    """The rows in which a column has no value."""
    return np.flatnonzero(is_missing(cells, gaps))


def classes_of(table: Table, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class number of each row, and the classes: in the order of the numbers where all are numbers, else by name.

    Raises ``DataError`` for a constant target and for one that is a quantity, or text, rather than classes.
    """
    labels = as_labels(table.columns[name], TARGET_GAPS)
    used = np.unique(labels.codes)
    words = Chosen(labels.values, used)  # a quantity has a word for nearly every row, and they may lie on disk
    rows, distinct = len(labels.codes), len(used)
    _refuse_constant(table, name, words)
    numeric = all(map(is_number, words))
    whole = numeric and all(float(word).is_integer() for word in words)
    many = distinct > FEW_CLASSES and distinct * 10 > rows
    if numeric and (many or (not whole and (distinct > FEW_CLASSES or 2 * distinct > rows))):
        raise DataError(
            f"the target {name!r} is a quantity, not a class",
            where=table.where,
            met=f"{distinct:,} different numbers in {rows:,} rows: {few(words)}",
            remedy='task = "regression"',
        )
    if many and 2 * distinct > rows:
        raise DataError(
            f"the target {name!r} has a class for nearly every row",
            where=table.where,
            met=f"{distinct:,} different values in {rows:,} rows: {few(words)}",
            remedy="name the column that holds the class",
        )
    order = sorted(range(distinct), key=lambda i: (float(words[i]), words[i]) if numeric else (0.0, words[i]))
    number = np.empty(len(labels.values), dtype=np.int64)
    number[used[order]] = np.arange(distinct)
    return number[labels.codes], tuple(words[i] for i in order)


def quantity_of(table: Table, name: str) -> Floats:
    """The target of each row as float64; raises ``DataError`` where it does not vary."""
    values, _ = as_numbers(table.columns[name])
    _refuse_constant(table, name, [f"{value:g}" for value in np.unique(values)[:2]])
    return values


def _refuse_constant(table: Table, name: str, values: Sequence[str]) -> None:
    if len(values) < 2:
        raise DataError(
            f"the target {name!r} is constant: every row has the same value",
            where=table.where,
            met=repr(values[0]) if values else "no value at all",
            remedy="name another target, or gather rows of another kind",
        )


def brings_parts(table: Table) -> bool:
    """Whether the source parts its rows itself: by its files, or by a column "split" that says train, validation or test."""
    cells = table.columns.get("split")
    return table.parts is not None or (isinstance(cells, Words) and all(word.lower() in PART_NAMES for word in cells.values))


def parts_of(table: Table, name: str) -> NDArray[np.str_]:
    """The part that a column assigns each row to; raises ``DataError`` for a word that names no part."""
    labels = as_labels(find_column(table, name, "column"))
    words = [PART_NAMES.get(word.lower(), "") for word in labels.values] + [""]
    parts = np.array(words)[labels.codes]
    lost = np.flatnonzero(parts == "")
    if len(lost):
        word = labels.values[labels.codes[lost[0]]] if labels.codes[lost[0]] >= 0 else ""
        raise DataError(
            f"column {name!r} must say train, validation or test in every row",
            where=f"{table.where}, {table.places[lost[0]]}",
            met=f"{word!r}, in {len(lost):,} row{'s' * (len(lost) != 1)}",
            remedy=did_you_mean(word, PART_NAMES),
        )
    return parts


def groups_of(table: Table, name: str) -> Codes:
    """The group of each row as a number; raises ``DataError`` where a row has none."""
    codes = as_labels(find_column(table, name, "column")).codes
    _refuse_gaps(table, name, np.flatnonzero(codes < 0), "group")
    return codes


def times_of(table: Table, name: str) -> Floats:
    """The time of each row, as a number to sort by: a number as it is, or an ISO 8601 date or time as seconds since 1970."""
    cells = find_column(table, name, "column")
    values, wrong = as_numbers(cells)
    if isinstance(cells, Numbers) or not wrong.any():
        _refuse_gaps(table, name, np.flatnonzero(np.isnan(values)), "time")
        return values
    import pandas as pd  # half a second to import, and only dates need it

    labels = as_labels(cells)
    read = pd.to_datetime(pd.Series(labels.values, dtype="str"), format="ISO8601", utc=True, errors="coerce")
    since = (read - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64)  # NaN where it is no time
    seconds = np.append(since, np.nan)
    times: Floats = seconds[labels.codes]
    _refuse_gaps(table, name, np.flatnonzero(np.isnan(times)), "time (a number, or a date such as 2026-03-31)")
    return times


def _refuse_gaps(table: Table, name: str, rows: Codes, what: str) -> None:
    if len(rows):
        raise DataError(
            f"column {name!r} has no {what} in {len(rows):,} row{'s' * (len(rows) != 1)}",
            where=f"{table.where}, {table.places[rows[0]]}",
            remedy="fill it in; a split needs it in every row",
        )
