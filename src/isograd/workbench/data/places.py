"""Where rows stand: names such as "line 7" that are made when somebody asks, not a string for each of a million rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64] | slice


class Places(Sequence[str]):
    """A word and the number of each row (rows,); of several ``files``, ``which`` of them it is in (rows,) comes first.

    >>> Places("line", np.array([2, 3, 5]))[2], tuple(Places("line", np.array([2, 3, 5]))[1:])
    ('line 5', ('line 3', 'line 5'))
    >>> list(Places("row", np.array([1, 1]), ("a.parquet", "b.parquet"), np.array([0, 1], np.int32)))
    ['a.parquet row 1', 'b.parquet row 1']
    """

    def __init__(
        self, word: str, numbers: NDArray[np.int64], files: tuple[str, ...] = (), which: NDArray[np.int32] | None = None
    ) -> None:
        self.word, self.numbers, self.files = word, numbers, files
        self.which = np.zeros(0, dtype=np.int32) if which is None else which

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Places: ...
    def __getitem__(self, row: int | slice) -> str | Places:
        if isinstance(row, slice):
            return self.chosen(row)
        file = f"{self.files[self.which[row]]} " if self.files else ""
        return f"{file}{self.word} {self.numbers[row]}"

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Places) and not self.files and not other.files:
            return self.word == other.word and np.array_equal(self.numbers, other.numbers)
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def chosen(self, rows: Index) -> Places:
        """Some of them, in the order asked for."""
        return Places(self.word, self.numbers[rows], self.files, self.which[rows] if self.files else None)


def chosen(places: Sequence[str], rows: NDArray[np.int64]) -> Sequence[str]:
    """The places of some rows, in the order asked for."""
    return places.chosen(rows) if isinstance(places, Places) else tuple(places[row] for row in rows)
