"""What a table is once it is read: columns of cells, where each row stands, and the fingerprint of the content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, did_you_mean
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Cells, spilled, taken
from isograd.workbench.data.places import chosen
from isograd.workbench.data.sources import few

MOST_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table as read: its columns in order, and where each row stands ("line 7") in the file that ``where`` names.

    ``on_disk`` says that the columns are memory-mapped, because they are larger than memory.
    """

    where: str
    columns: dict[str, Cells]
    places: Sequence[str]
    fingerprint: str
    parts: NDArray[np.str_] | None = None
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()
    on_disk: bool = False

    def __len__(self) -> int:
        return len(self.places)


def rows_of(table: Table, rows: NDArray[np.int64]) -> Table:
    """Some rows of a table, in the order asked for."""
    return replace(
        table,
        columns={name: (spilled if table.on_disk else taken)(cells, rows) for name, cells in table.columns.items()},
        places=chosen(table.places, rows),
        parts=table.parts[rows] if table.parts is not None else None,
    )


def with_columns(table: Table, columns: dict[str, Cells]) -> Table:
    """The table with these columns instead of its own; of one on disk, those that are new go there too."""
    if not table.on_disk:
        return replace(table, columns=columns)
    there = set(map(id, table.columns.values()))
    return replace(table, columns={n: cells if id(cells) in there else spilled(cells) for n, cells in columns.items()})


def refuse_duplicates(path: Path, names: Sequence[str]) -> None:
    """Raise ``DataError`` where two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path.name} has more than one column called {few(twice)}", where=f"{path}, line 1", remedy="rename them apart"
        )


def lacking(path: Path, first: Path, name: str, table: Table) -> DataError:
    """The message for a file without a column that the first of several files has."""
    return DataError(
        f"{path.name} has no column {name!r}, which {first.name} has",
        where=str(path),
        remedy=did_you_mean(name, table.columns),
    )


def left_out(extra: set[str], first: Path) -> list[str]:
    """A remark on columns that the first of several files has not, if there are any."""
    return [f"column {few(sorted(extra))} is not in {first.name} and was left out"] if extra else []
