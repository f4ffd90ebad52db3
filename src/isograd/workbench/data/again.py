"""Read new rows of a table as the training rows were read: what the model needs, and, counted, what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, Fault, did_you_mean
from isograd.records.schema import ColumnEncoding, Encoding, Skipped
from isograd.workbench.data.cleaning.applying import again
from isograd.workbench.data.columns import Cells, Codes, Numbers, Words, as_labels
from isograd.workbench.data.features import encode, unseen
from isograd.workbench.data.places import chosen
from isograd.workbench.data.sources import few
from isograd.workbench.data.table import Table
from isograd.workbench.data.tokens import count_unknown
from isograd.workbench.data.troubles import readable, settle

Piece = tuple[NDArray[np.float32], tuple[str, ...], tuple[Skipped, ...]]
"""Encoded rows, the name of each, and what was left out."""


@dataclass(slots=True)
class Strange:
    """What a source held that training never saw, over all of its pieces."""

    columns: dict[str, None] = field(default_factory=dict)
    values: dict[str, list[int]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, list[int]] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)

    def see(self, table: Table, encoding: Encoding) -> None:
        """Count what one piece adds."""
        known = {column.name for column in encoding.columns} | {encoding.target}
        self.columns |= dict.fromkeys(name for name in table.columns if name not in known)
        for column in encoding.columns:
            self._see(table, column)

    def _see(self, table: Table, column: ColumnEncoding) -> None:
        cells, name = table.columns[column.name], column.name
        if column.text is not None:
            labels, before = as_labels(cells), self.tokens.get(name, [0, 0])
            self.empty[name] = self.empty.get(name, 0) + int((labels.codes < 0).sum())
            texts = [labels.values[code] for code in labels.codes.tolist() if code >= 0]
            self.tokens[name] = [a + b for a, b in zip(before, count_unknown(texts, column.text), strict=True)]
        elif (trouble := unseen(cells, column)) is not None:
            self.values[name] = [self.values.get(name, [0])[0] + len(trouble.rows)]
            self.first.setdefault(name, f"first {trouble.words[0]!r} in {table.places[int(trouble.rows[0])]}")

    def told(self, encoding: Encoding) -> tuple[Skipped, ...]:
        """In words; the network sees a category or a word that it does not know."""
        said = [Skipped(f"column {name!r}", "the model does not know it") for name in self.columns]
        for column in encoding.columns:
            if column.name in self.values:
                (count,) = self.values[column.name]
                more = f"value{'s' * (count != 1)} unseen in training, taken as unknown: {self.first[column.name]}"
                said.append(Skipped(f"column {column.name!r}", f"{count:,} {more}"))
            unknown, every = self.tokens.get(column.name, (0, 0))
            if unknown and column.text is not None:
                kept = f"{unknown:,} of {every:,} tokens are not among the {column.text.size:,} that training kept"
                said.append(Skipped(f"column {column.name!r}", kept))
            if count := self.empty.get(column.name, 0):
                met = f"{count:,} text{'s are' if count != 1 else ' is'} empty, so that there was nothing to read"
                said.append(Skipped(f"column {column.name!r}", met))
        return tuple(said)


def encoded_again(
    table: Table, path: Path, encoding: Encoding, strange: Strange, *, skip_corrupt: bool, rows: int | None = None
) -> Iterator[Piece]:
    """The rows of a table, cleaned and encoded by the very code of the training, at most so many ``rows`` at once.

    Raises ``DataError`` with all faults of the table at once, those of rows only without ``skip_corrupt``.
    """
    table = again(table, encoding.steps, skip_corrupt=skip_corrupt)
    if absent := [column.name for column in encoding.columns if column.name not in table.columns]:
        raise DataError([_absent(table, path, name) for name in absent])
    table, troubles = settle(table, {column.name: column.kind for column in encoding.columns})
    table = readable(table, troubles, skip_corrupt, needed=True)
    strange.see(table, encoding)
    each = rows or max(1, len(table))
    for start in range(0, len(table), each):
        some = some_rows(table, np.arange(start, min(start + each, len(table))))
        names = tuple(f"{path.name} {place}" for place in some.places)
        yield encode(some.columns, encoding.columns, len(some)), names, table.skipped if not start else ()


def some_rows(table: Table, rows: Codes) -> Table:
    """Some rows of a table, with the words that occur in them alone, so that a block costs what it is long.

    What was left out of the table belongs to its first row.
    """
    if len(rows) == len(table):
        return table
    columns = {name: _some(cells, rows) for name, cells in table.columns.items()}
    skipped = table.skipped if rows[0] == 0 else ()
    return replace(table, columns=columns, places=chosen(table.places, rows), skipped=skipped)


def _some(cells: Cells, rows: Codes) -> Cells:
    if isinstance(cells, Numbers):
        return Numbers(cells.values[rows])
    used, codes = np.unique(cells.codes[rows], return_inverse=True)
    least = int(used[0] < 0)
    return Words(codes.astype(np.int64) - least, tuple(cells.values[int(code)] for code in used[least:]))


def _absent(table: Table, path: Path, name: str) -> Fault:
    return Fault(
        f"{path.name} has no column {name!r}, which the model needs",
        where=str(path),
        met=f"columns: {few(list(table.columns), 20)}",
        remedy=did_you_mean(name, table.columns),
    )
