"""Words that lie on disk: a sequence of strings in a memory-mapped file, of which only those that are asked for are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
_AT_ONCE = 1 << 20
"""Bytes of words that are read at once on a walk over all of them."""


class Lexicon(Sequence[str]):
    """Words in UTF-8, one after the other in ``letters`` (bytes,), each up to its ``ends`` (words,).

    >>> found = Lexicon(np.frombuffer("héllo".encode(), np.uint8), np.array([3, 6]))
    >>> found[0], list(found), len(found)
    ('hé', ['hé', 'llo'], 2)
    """

    def __init__(self, letters: NDArray[np.uint8], ends: Codes) -> None:
        self.letters, self.ends = letters, ends
        self._known: dict[object, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, word: int) -> str: ...
    @overload
    def __getitem__(self, word: slice) -> tuple[str, ...]: ...
    def __getitem__(self, word: int | slice) -> str | tuple[str, ...]:
        if isinstance(word, slice):
            return tuple(self[i] for i in range(*word.indices(len(self))))
        word = int(word) + (len(self) if word < 0 else 0)
        if not 0 <= word < len(self):
            raise IndexError(word)
        begin = int(self.ends[word - 1]) if word else 0
        return self.letters[begin : int(self.ends[word])].tobytes().decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        first = begin = 0
        while first < len(self):
            last = max(first + 1, int(np.searchsorted(self.ends, begin + _AT_ONCE, side="right")))
            block = self.letters[begin : int(self.ends[last - 1])].tobytes()
            at = 0
            for end in (self.ends[first:last] - begin).tolist():
                yield block[at:end].decode("utf-8")
                at = end
            first, begin = last, begin + at

    def once(self, key: object, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What was made of all words under ``key``, a number or a flag each; made the first time only."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


class Chosen(Sequence[str]):
    """The words of rows, made as they are asked for: ``codes`` (rows,) into ``values``, "" where there is none."""

    def __init__(self, values: Sequence[str], codes: Codes) -> None:
        self.values, self.codes = values, codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[str, ...]: ...
    def __getitem__(self, row: int | slice) -> str | tuple[str, ...]:
        if isinstance(row, slice):
            return tuple(self.values[code] if code >= 0 else "" for code in self.codes[row].tolist())
        code = int(self.codes[row])
        return self.values[code] if code >= 0 else ""
