"""Hold on disk what is made of a table that lies there: files without a name, memory-mapped, which end with the process."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.order import alike, in_order

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
_AT_ONCE, _WORDS = 1 << 20, 1 << 15


def on_disk(pieces: Iterable[NDArray[Any]], kind: Any) -> NDArray[Any]:
    """Arrays one after the other as a single one that takes no memory.

    >>> on_disk([np.arange(2), np.arange(3)], np.int64).tolist()
    [0, 1, 0, 1, 2]
    """
    with tempfile.TemporaryFile() as file:
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=kind).data)
        return _mapped(file, kind)


def laid_down(values: NDArray[Any]) -> NDArray[Any]:
    """An array that is in memory as one that is not."""
    return on_disk((values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE)), values.dtype)


def _mapped(file: Any, kind: Any) -> NDArray[Any]:
    """What was written, as an array; a file without a byte cannot be mapped."""
    file.flush()
    return np.asarray(np.memmap(file, dtype=kind, mode="r")) if file.tell() else np.zeros(0, dtype=kind)


def firsts(digests: Codes) -> Codes:
    """For each word the place of the first that is equal to it, by digests of two numbers each.

    >>> firsts(np.array([1, 1, 2, 2, 1, 1])).tolist()
    [0, 1, 0]
    """
    halves = digests.reshape(-1, 2)
    which = alike([in_order(halves[:, 0]), in_order(halves[:, 1])])
    first = np.flatnonzero(np.diff(np.maximum.accumulate(which), prepend=-1))
    found: Codes = first[which]
    return found


class Written:
    """Words that come one after the other and go to disk, with a digest of each, by which equal ones are known."""

    def __init__(self, letters: BinaryIO) -> None:
        self._letters, self._lengths, self._new = letters, array("q"), bytearray()
        self._ends, self._digests = list[Codes](), list[Codes]()
        self.count = self._size = 0

    def add(self, word: str) -> None:
        """One more word."""
        letters = word.encode("utf-8")
        self._letters.write(letters)
        self._lengths.append(len(letters))
        self._new += hashlib.blake2b(letters, digest_size=16).digest()
        self.count += 1
        if len(self._lengths) >= _WORDS:
            self._flush()

    def _flush(self) -> None:
        ends = self._size + np.cumsum(np.array(self._lengths, dtype=np.int64))
        self._size = int(ends[-1]) if len(ends) else self._size
        self._ends.append(laid_down(ends))
        self._digests.append(laid_down(np.frombuffer(bytes(self._new), dtype=np.int64)))
        self._lengths = array("q")
        self._new.clear()

    def ends(self) -> Codes:
        """Where each word ends (words,)."""
        self._flush()
        return on_disk(self._ends, np.int64)

    def firsts(self) -> Codes:
        """For each word the place of the first that is equal to it."""
        self._flush()
        return firsts(on_disk(self._digests, np.int64))


def lexicon_of(words: Iterable[str]) -> tuple[Lexicon, Codes]:
    """Words as a lexicon on disk, and for each the place of the first that is equal to it.

    >>> found, places = lexicon_of(["b", "a", "b"])
    >>> list(found), places.tolist()
    (['b', 'a', 'b'], [0, 1, 0])
    """
    with tempfile.TemporaryFile() as file:
        writing = Written(file)
        for word in words:
            writing.add(word)
        letters = _mapped(file, np.uint8)
        return Lexicon(letters, writing.ends()), writing.firsts()


def edited(words: Iterable[str], edit: Callable[[str], str]) -> tuple[Lexicon, Codes, Flags]:
    """Words after an edit, as ``lexicon_of`` gives them, and which of them it changed."""
    touched = bytearray()

    def each() -> Iterator[str]:
        for word in words:
            new = edit(word)
            touched.append(new != word)
            yield new

    found, places = lexicon_of(each())
    return found, places, np.frombuffer(touched, dtype=np.bool_)
