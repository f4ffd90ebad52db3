"""Where rows stand: names such as "line 7" that are made when somebody asks, not a string for each of a million rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Places(Sequence[str]):
    """A word and the number of each row (rows,).

    >>> Places("line", np.array([2, 3, 5]))[2], tuple(Places("line", np.array([2, 3, 5]))[1:])
    ('line 5', ('line 3', 'line 5'))
    """

    def __init__(self, word: str, numbers: NDArray[np.int64]) -> None:
        self.word, self.numbers = word, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Places: ...
    def __getitem__(self, row: int | slice) -> str | Places:
        if isinstance(row, slice):
            return Places(self.word, self.numbers[row])
        return f"{self.word} {self.numbers[row]}"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.word} {number}" for number in self.numbers)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Places):
            return self.word == other.word and np.array_equal(self.numbers, other.numbers)
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def chosen(places: Sequence[str], rows: NDArray[np.int64]) -> Sequence[str]:
    """The places of some rows, in the order asked for."""
    if isinstance(places, Places):
        return Places(places.word, places.numbers[rows])
    return tuple(places[row] for row in rows)
