"""Keep a Parquet file that is larger than memory as columns on disk, made piece by piece and read as if they were in memory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from isograd.errors import DamagedError, DataError, StorageError
from isograd.files import new_folder, sweep, verify
from isograd.records import codec
from isograd.workbench.data.columns import Cells, Numbers, Words
from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.order import alike, in_order
from isograd.workbench.data.pieces import A_COLUMN, FIXED, MIB, parquet_pieces
from isograd.workbench.data.places import Places
from isograd.workbench.data.table import Table

MEMORY = 1024
"""MiB that reading a table may take where nobody says how many."""
A_ROW = 200
"""Bytes that are held for each row of a table on disk at the peak: its number, label and place in the split and in the order of
the epoch, and a column at a time while it is looked at. Measured: 172 in an inspection of ten million rows of ten numbers."""
_FORM, _FACTS, _BLOCK = 1, "facts.json", 1 << 20


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the columns are: their names, whether each holds words, and how many rows there are."""

    names: tuple[str, ...]
    words: tuple[bool, ...]
    rows: int
    remarks: tuple[str, ...] = ()


def need_of(path: Path) -> int:
    """Bytes that reading a Parquet file as a whole takes: its pages, their words as strings, 16 a cell; 0 if it is broken."""
    try:
        metadata = pyarrow.parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError, ValueError):
        return 0
    pages = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return int(3 * pages + 16 * metadata.num_rows * metadata.num_columns)


def stored_table(path: Path, place: Path, *, memory: int) -> Table:
    """The rows of a Parquet file as a table whose columns lie in the folder ``place``; made unless they are there already.

    Pieces of the file take at most a quarter of ``memory`` bytes, 128 MiB at most; every byte that was kept is hashed before
    it is read. Raises ``DataError`` as ``parquet_pieces`` does, and ``StorageError`` where the disk does not take them.
    """
    with path.open("rb") as content:
        fingerprint = hashlib.file_digest(content, "sha256").hexdigest()
    folder = place / f"{_FORM}-{fingerprint[:32]}"
    found = _opened(folder, path, fingerprint, memory)
    if found is None:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        for old in place.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        with new_folder(folder) as aside:
            _write(path, aside, piece_of(path, memory))
        found = _opened(folder, path, fingerprint, memory)
    if found is None:
        raise StorageError(f"{folder} cannot be read after it was written", where=str(folder))
    return found


def piece_of(path: Path, memory: int) -> int:
    """Bytes that are held at once while a file is read in pieces: a quarter of the memory, or what Arrow takes at least."""
    least = FIXED + A_COLUMN * int(pyarrow.parquet.read_metadata(path).num_columns)
    return max(least, min(memory // 4, 128 * MIB))


@dataclass(slots=True)
class _Writing:
    """The files of one column while its pieces come in; ``digests`` of the words so far tell equal ones."""

    values: BinaryIO
    letters: BinaryIO | None = None
    ends: list[NDArray[np.int64]] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)
    count: int = 0
    size: int = 0

    def take(self, cells: Cells) -> None:
        """Append the cells of one piece."""
        if isinstance(cells, Numbers):
            self.values.write(np.ascontiguousarray(cells.values).data)
            return
        assert self.letters is not None
        lengths = []
        for word in cells.values:
            letters = word.encode("utf-8")
            self.letters.write(letters)
            lengths.append(len(letters))
            self.digests += hashlib.blake2b(letters, digest_size=16).digest()
        self.ends.append(self.size + np.cumsum(lengths, dtype=np.int64))
        self.values.write(np.where(cells.codes >= 0, cells.codes + self.count, -1).astype(np.int64).data)
        self.count, self.size = self.count + len(lengths), self.size + sum(lengths)


def _write(path: Path, aside: Path, memory: int) -> None:
    """Every piece's columns, one file of values each and two of words; then equal words of different pieces become one."""
    writing: dict[str, _Writing] = {}
    rows, remarks = 0, dict[str, None]()
    with ExitStack() as files:
        for piece in parquet_pieces(path, memory=memory):
            for number, (name, cells) in enumerate(piece.columns.items()):
                if name not in writing:
                    values = files.enter_context((aside / f"{number}.values").open("wb"))
                    words = isinstance(cells, Words)
                    letters = files.enter_context((aside / f"{number}.letters").open("wb")) if words else None
                    writing[name] = _Writing(values, letters)
                writing[name].take(cells)
            rows += len(piece)
            remarks |= dict.fromkeys(piece.remarks)
    if not writing:
        raise DataError(f"{path.name} has no column that can be read", where=str(path))
    for number, one in enumerate(writing.values()):
        if one.letters is not None:
            np.concatenate(one.ends).tofile(aside / f"{number}.ends")
            _join_equal(aside / f"{number}.values", one)
    told = tuple(one.letters is not None for one in writing.values())
    (aside / _FACTS).write_text(codec.dumps(_Facts(tuple(writing), told, rows, tuple(remarks))), "utf-8")


def _join_equal(values: Path, column: _Writing) -> None:
    """Let every row point to the first of all equal words; the others stay, and nothing points to them."""
    halves = np.frombuffer(column.digests, dtype=np.int64).reshape(-1, 2)
    which = alike([in_order(halves[:, 0]), in_order(halves[:, 1])])
    first = np.flatnonzero(np.diff(np.maximum.accumulate(which), prepend=-1))
    if len(first) == len(which):
        return
    place = np.append(first[which], -1)
    codes = np.memmap(values, dtype=np.int64, mode="r+")
    for start in range(0, len(codes), _BLOCK):
        codes[start : start + _BLOCK] = place[codes[start : start + _BLOCK]]
    codes.flush()


def _opened(folder: Path, path: Path, fingerprint: str, memory: int) -> Table | None:
    """The table whose columns lie in a folder; nothing where there is none or a byte is not as written."""
    if not folder.is_dir():
        return None
    try:
        verify(folder)
        facts = codec.loads(_Facts, (folder / _FACTS).read_text("utf-8"))
        columns = dict(_columns(folder, facts))
    except (DamagedError, OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    size, piece = path.stat().st_size / MIB, piece_of(path, memory) // MIB
    told = f"{path.name} ({size:,.0f} MiB) is larger than the memory given ({memory // MIB:,} MiB) and is read in pieces"
    held = f" of {piece} MiB at most; beside them about {A_ROW} bytes a row are held: {A_ROW * facts.rows / MIB:,.0f} MiB"
    places = Places("row", np.arange(1, facts.rows + 1))
    return Table(str(path), columns, places, fingerprint, remarks=(*facts.remarks, told + held), on_disk=True)


def _columns(folder: Path, facts: _Facts) -> Iterator[tuple[str, Cells]]:
    for number, (name, words) in enumerate(zip(facts.names, facts.words, strict=True)):
        values = _mapped(folder / f"{number}.values", np.int64 if words else np.float64)
        if not words:
            yield name, Numbers(values)
            continue
        yield name, Words(values, Lexicon(_mapped(folder / f"{number}.letters", np.uint8), _mapped(folder / f"{number}.ends")))


def _mapped(file: Path, kind: type = np.int64) -> NDArray[Any]:
    """A file as an array; one without a byte cannot be mapped."""
    return np.asarray(np.memmap(file, kind, "r")) if file.stat().st_size else np.zeros(0, kind)
