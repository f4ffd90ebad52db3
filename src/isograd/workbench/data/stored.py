"""Keep Parquet files that are larger than memory as columns on disk, made piece by piece and read as if they were in memory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from isograd.errors import DamagedError, DataError, StorageError
from isograd.files import new_folder, sweep, verify
from isograd.records import codec
from isograd.workbench.data.columns import Cells, Numbers, Words, as_words
from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.parquet import broken_parquet, columns_of_words
from isograd.workbench.data.pieces import A_COLUMN, FIXED, MIB, parquet_pieces
from isograd.workbench.data.places import Places
from isograd.workbench.data.spilled import Written
from isograd.workbench.data.table import Table, lacking, left_out

MEMORY = 1024
"""MiB that reading a table may take where nobody says how many."""
A_ROW = 200
"""Bytes that are held for each row of a table on disk at the peak: its number, label and place in the split and in the order of
the epoch, and a column at a time while it is looked at. Measured: 172 in an inspection of ten million rows of ten numbers."""
A_PART = 56
"""Bytes that are held for each row beside these where each file is a part: the part, as a word, and the number of the file."""
_FORM, _FACTS, _BLOCK = 2, "facts.json", 1 << 20


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the columns are: their names, whether each holds words, and how many rows each file brought."""

    names: tuple[str, ...]
    words: tuple[bool, ...]
    rows: tuple[int, ...]
    remarks: tuple[str, ...] = ()


def need_of(path: Path) -> int:
    """Bytes that reading a Parquet file as a whole takes: its pages, their words as strings, 16 a cell; 0 if it is broken."""
    try:
        metadata = pyarrow.parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError, ValueError):
        return 0
    pages = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return int(3 * pages + 16 * metadata.num_rows * metadata.num_columns)


@dataclass(frozen=True, slots=True)
class Asked:
    """Parquet files that make one table, called ``where``, in their order; ``parts`` says which part each is, if it is one."""

    where: Path
    files: tuple[Path, ...]
    parts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files)


def stored_table(asked: Asked, place: Path, *, memory: int) -> Table:
    """The rows of Parquet files as a table whose columns lie in the folder ``place``; made unless they are there already.

    Pieces of a file take at most a quarter of ``memory`` bytes, 128 MiB at most; every byte that was kept is hashed before
    it is read. Raises ``DataError`` as ``parquet_pieces`` does and where a file lacks a column of the first one, and
    ``StorageError`` where the disk does not take them.
    """
    single = [digest_of(path) for path in asked.files]
    fingerprint = single[0] if asked.where == asked.files[0] else hashlib.sha256("".join(single).encode()).hexdigest()
    folder = place / f"{_FORM}-{fingerprint[:32]}"
    piece = max(piece_of(path, memory) for path in asked.files)
    found = _opened(folder, asked, fingerprint, memory, piece)
    if found is None:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        for old in place.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        with new_folder(folder) as aside:
            _write(asked, aside, piece)
        found = _opened(folder, asked, fingerprint, memory, piece)
    if found is None:
        raise StorageError(f"{folder} cannot be read after it was written", where=str(folder))
    return found


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def piece_of(path: Path, memory: int) -> int:
    """Bytes that are held at once while a file is read in pieces: a quarter of the memory, or what Arrow takes at least."""
    try:
        columns = int(pyarrow.parquet.read_metadata(path).num_columns)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise broken_parquet(path, error) from error
    return max(FIXED + A_COLUMN * columns, min(memory // 4, 128 * MIB))


@dataclass(slots=True)
class _Column:
    """The files of one column while its pieces come in."""

    values: BinaryIO
    letters: BinaryIO | None = None
    words: Written | None = None

    def take(self, cells: Cells) -> None:
        """Append the cells of one piece; numbers as words where the column holds words in another file."""
        if self.words is None:
            assert isinstance(cells, Numbers)
            self.values.write(np.ascontiguousarray(cells.values).data)
            return
        cells, before = as_words(cells), self.words.count
        for word in cells.values:
            self.words.add(word)
        self.values.write(np.where(cells.codes >= 0, cells.codes + before, -1).astype(np.int64).data)


def _write(asked: Asked, aside: Path, memory: int) -> None:
    """Every piece's columns, one file of values each and two of words; then equal words of different pieces become one."""
    columns, counts, remarks = _written(asked, aside, memory)
    if not columns:
        raise DataError(f"{asked.where.name} has no column that can be read", where=str(asked.where))
    for number, column in enumerate(columns.values()):
        if column.words is not None:
            column.words.ends().tofile(aside / f"{number}.ends")
            _join_equal(aside / f"{number}.values", column.words)
    told = tuple(column.words is not None for column in columns.values())
    (aside / _FACTS).write_text(codec.dumps(_Facts(tuple(columns), told, tuple(counts), remarks)), "utf-8")


def _written(asked: Asked, aside: Path, memory: int) -> tuple[dict[str, _Column], list[int], tuple[str, ...]]:
    """The columns as all pieces brought them, the rows of each file, and what there is to say; no piece is held afterwards."""
    wordy = {name for path in asked.files for name in columns_of_words(path)}
    columns: dict[str, _Column] = {}
    counts, remarks, extra = [], dict[str, None](), set[str]()
    with ExitStack() as files:
        for path in asked.files:
            counts.append(0)
            for piece in parquet_pieces(path, memory=memory):
                if not columns:
                    for number, name in enumerate(piece.columns):
                        values = files.enter_context((aside / f"{number}.values").open("wb"))
                        letters = files.enter_context((aside / f"{number}.letters").open("wb")) if name in wordy else None
                        columns[name] = _Column(values, letters, Written(letters) if letters is not None else None)
                extra |= {name for name in piece.columns if name not in columns}
                for name, column in columns.items():
                    if name not in piece.columns:
                        raise lacking(path, asked.files[0], name, piece)
                    column.take(piece.columns[name])
                counts[-1] += len(piece)
                remarks |= dict.fromkeys(piece.remarks)
    remarks |= dict.fromkeys(left_out(extra, asked.files[0]))
    return columns, counts, tuple(remarks)


def _join_equal(values: Path, words: Written) -> None:
    """Let every row point to the first of all equal words; the others stay, and nothing points to them."""
    place = words.firsts()
    if np.array_equal(place, np.arange(len(place))):
        return
    place = np.append(place, -1)
    codes = np.memmap(values, dtype=np.int64, mode="r+")
    for start in range(0, len(codes), _BLOCK):
        codes[start : start + _BLOCK] = place[codes[start : start + _BLOCK]]
    codes.flush()


def _opened(folder: Path, asked: Asked, fingerprint: str, memory: int, piece: int) -> Table | None:
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
    counts = np.array(facts.rows, dtype=np.int64)
    rows, single = int(counts.sum()), asked.where == asked.files[0]
    size, each = asked.size / MIB, A_ROW + (A_PART if asked.parts else 0)
    told = f"{asked.where.name} ({size:,.0f} MiB) is larger than the memory given ({memory // MIB:,} MiB) and is read in pieces"
    held = f" of {piece // MIB} MiB at most; beside them about {each} bytes a row are held: {each * rows / MIB:,.0f} MiB"
    which = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    numbers = np.concatenate([np.arange(1, count + 1) for count in facts.rows])
    return Table(
        str(asked.where),
        columns,
        Places("row", numbers) if single else Places("row", numbers, tuple(path.name for path in asked.files), which),
        fingerprint,
        parts=np.array(asked.parts)[which] if asked.parts else None,
        remarks=(*facts.remarks, told + held),
        on_disk=True,
    )


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
