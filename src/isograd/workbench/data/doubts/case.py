"""What a doubt may look at, in one frozen record: the source as read, kinds of columns, labels, parts, equal rows, traits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError
from isograd.workbench.data.columns import TARGET_GAPS, Codes, Flags, Floats, Kind, as_labels, codes_of, kind_of
from isograd.workbench.data.order import alike
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.recordings import Recordings
from isograd.workbench.data.sources import PARTS
from isograd.workbench.data.split import twins
from isograd.workbench.data.table import Table
from isograd.workbench.data.targets import brings_parts, classes_of, parts_of

MOST_NAMED = 20
LEAST_ROWS = 20
"""Fewer rows say nothing about a distribution."""
Found = Table | Pictures | Recordings


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One source. ``same`` numbers equal inputs alike (rows,); ``traits`` are numbers by which rows can be compared.

    ``labels`` are class numbers, -1 where there is none, and None where there is no target or it is a quantity. ``features``
    are the columns that a model would see, with their kinds.
    """

    found: Found
    names: Sequence[str]
    same: Codes
    labels: Codes | None
    classes: tuple[str, ...]
    parts: NDArray[np.str_] | None
    target: str | None = None
    features: dict[str, Kind] = field(default_factory=dict)
    traits: dict[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def table(self) -> Table | None:
        """The table, where the source is one."""
        return self.found if isinstance(self.found, Table) else None

    def places(self, rows: Codes | Flags) -> tuple[str, ...]:
        """The names of the first of some rows, given by number or by flag."""
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return tuple(str(self.names[row]) for row in chosen[:MOST_NAMED])

    def rows_of_part(self, part: str) -> Codes:
        """The rows of one part; none where the source has no parts."""
        return np.flatnonzero(self.parts == part) if self.parts is not None else np.zeros(0, dtype=np.int64)


def case_of(found: Found, target: str | None, *, drop: Sequence[str] = ()) -> Case:
    """Everything that the doubts look at, computed once."""
    if isinstance(found, Table):
        return _of_table(found, target, drop)
    if isinstance(found, Pictures):
        same = twins(row.tobytes() for row in found.pixels)
        return Case(found, found.names, same, found.labels, found.classes, found.parts, traits=_of_pictures(found))
    same = twins(_normalised(signal) for signal in found.signals)
    return Case(found, found.names, same, found.labels, found.classes, found.parts, traits=_of_recordings(found))


def _of_table(table: Table, target: str | None, drop: Sequence[str]) -> Case:
    parts = table.parts if table.parts is not None else parts_of(table, "split") if brings_parts(table) else None
    steering = {"split"} if table.parts is None and parts is not None else set()
    names = [name for name in table.columns if name != target and name not in steering and name not in drop]
    kinds = {name: kind_of(table.columns[name]) for name in names}
    labels, classes = _classes(table, target)
    same = alike(codes_of(table.columns[name]) for name in names) if names else np.zeros(len(table), dtype=np.int64)
    traits = {f"length of {name}": _lengths(table, name) for name, kind in kinds.items() if kind.kind == "text"}
    return Case(table, table.places, same, labels, classes, parts, target, kinds, traits)


def _classes(table: Table, target: str | None) -> tuple[Codes | None, tuple[str, ...]]:
    """Class numbers with -1 for gaps, and nothing where the target is a quantity or is of no use as it stands."""
    if target is None or target not in table.columns:
        return None, ()
    there = np.flatnonzero(as_labels(table.columns[target], TARGET_GAPS).codes >= 0)
    try:
        from isograd.workbench.data.table import rows_of

        numbers, classes = classes_of(rows_of(table, there), target)
    except DataError:
        return None, ()
    labels = np.full(len(table), -1, dtype=np.int64)
    labels[there] = numbers
    return labels, classes


def _lengths(table: Table, name: str) -> Floats:
    words = as_labels(table.columns[name])
    lengths = np.array([*(len(word) for word in words.values), 0], dtype=np.float64)
    found: Floats = lengths[words.codes]
    return found


def _of_pictures(found: Pictures) -> dict[str, Floats]:
    means, spreads = [], []
    for row in found.pixels:
        means.append(float(row.mean()) / 255)
        spreads.append(float(row.std()) / 255)
    return {"brightness": np.array(means), "contrast": np.array(spreads)}


def _of_recordings(found: Recordings) -> dict[str, Floats]:
    loud = [float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) for signal in found.signals]
    seconds = [len(signal) / found.rate for signal in found.signals]
    return {"seconds": np.array(seconds), "loudness": np.array(loud)}


def _normalised(signal: NDArray[np.float32]) -> bytes:
    """A recording without its loudness: copies that were only turned up or down are equal."""
    peak = float(np.abs(signal).max())
    return np.rint(signal * (100 / peak) if peak > 0 else signal).astype(np.int8).tobytes()


def parts_in_order(parts: NDArray[np.str_] | None) -> list[str]:
    """The parts that occur, training first."""
    return [part for part in PARTS if parts is not None and bool((parts == part).any())]
