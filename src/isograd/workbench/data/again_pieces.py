"""How much new inputs take when they are read as a whole, and new tables and texts in pieces where that is too much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet

from isograd.errors import DataError
from isograd.records.schema import Encoding
from isograd.workbench.data import texts, walking
from isograd.workbench.data.again import Piece, Strange, encoded_again, some_rows
from isograd.workbench.data.delimited import csv_pieces
from isograd.workbench.data.features import width_of_column
from isograd.workbench.data.json_lines import json_pieces
from isograd.workbench.data.kept import BLOCK
from isograd.workbench.data.pieces import MIB, parquet_pieces
from isograd.workbench.data.reading import kind_of_files
from isograd.workbench.data.sources import (
    IMAGE_SUFFIXES,
    PARQUET_SUFFIXES,
    SOUND_SUFFIXES,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    few,
    locate,
)
from isograd.workbench.data.spectra import frames_of
from isograd.workbench.data.stored import need_of, piece_of
from isograd.workbench.data.table import Table
from isograd.workbench.data.tables import read_table, several_parquet

_TIMES = 12
"""Bytes that a text file takes while it is read as a whole, for each of its own: its text, words and codes too."""
_ROWS = 8192
"""Rows of a piece that are cleaned and looked at together, so that the copies of their words that this takes are few."""
_AT_ONCE = 2.5
"""How many times its own size an encoded row takes while it is made: float64 before float32, and the answers to it."""


def bytes_again(encoding: Encoding) -> int:
    """Bytes of an encoded row with what it is made of.

    >>> bytes_again(Encoding("images", "label", image=(1, 8, 8)))
    320
    """
    if encoding.image is not None:
        return 5 * math.prod(encoding.image)
    if encoding.sound is not None:
        sound = encoding.sound
        return 4 * (sound.mels * frames_of(sound.samples, sound) + sound.samples)
    return int(_AT_ONCE * 4 * max(1, sum(map(width_of_column, encoding.columns))))


def piece_again(memory: int) -> int:
    """Bytes of one piece: a quarter of the memory, 128 MiB at most."""
    return min(memory // 4, 128 * MIB)


def blocks(count: int, each: int, memory: int | None) -> Iterator[slice]:
    """Ranges of so many things of ``each`` bytes that together take no more than a piece; one range without a bound."""
    step = max(1, count if memory is None else min(BLOCK, piece_again(memory)) // each)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def need_again(source: str, encoding: Encoding) -> int:
    """Bytes that a source takes when it is read as a whole, about; 0 where it is not read in pieces."""
    if source.startswith("builtin:") or encoding.sequence is not None:
        return 0
    path = locate(source, Path())
    if encoding.image is not None or encoding.sound is not None:
        suffixes = IMAGE_SUFFIXES if encoding.image is not None else SOUND_SUFFIXES
        files = [path] if path.is_file() else walking.files_of(path, suffixes)
        if path.is_file() and path.suffix.lower() not in suffixes:  # IDX: a byte for each pixel
            return bytes_again(encoding) * -(-path.stat().st_size // math.prod(encoding.image or (1,)))
        return bytes_again(encoding) * len(files)
    return sum(_need_of_file(file, bytes_again(encoding)) for file in _files(path))


def _files(path: Path) -> list[Path]:
    """The tables or texts that a path names."""
    if path.is_file():
        return [path]
    return [*several_parquet(path)] or walking.files_of(path, TEXT_SUFFIXES)


def _need_of_file(path: Path, each: int) -> int:
    if path.suffix.lower() in PARQUET_SUFFIXES:
        need = need_of(path)
        return need + each * int(pyarrow.parquet.read_metadata(path).num_rows) if need else 0
    if path.suffix.lower() in TEXT_SUFFIXES:
        return _TIMES * path.stat().st_size + each
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(MIB), b""))
    return _TIMES * path.stat().st_size + each * lines


def from_tables(path: Path, encoding: Encoding, *, skip_corrupt: bool, memory: int | None) -> Iterator[Piece]:
    """The rows of a table, of a folder of Parquet files or of text files, encoded; last, with no row, what was strange.

    ``memory`` is in bytes; without it everything is read as a whole. Raises ``DataError``.
    """
    several = path.is_dir() and bool(several_parquet(path))
    is_text = path.suffix.lower() in TEXT_SUFFIXES or (path.is_dir() and not several and kind_of_files(path) == "text")
    if not is_text and not several and (path.is_dir() or path.suffix.lower() not in TABLE_SUFFIXES):
        met = "a folder" if path.is_dir() else f"a file ending in {path.suffix or 'nothing'}"
        raise DataError(
            "this model takes rows of a table", where=str(path), met=met, remedy=f"one of {', '.join(TABLE_SUFFIXES)}"
        )
    rows = None if memory is None else max(1, min(BLOCK, piece_again(memory)) // bytes_again(encoding))
    strange = Strange()
    tables = _texts(path, encoding, skip_corrupt, memory) if is_text else _tables(path, skip_corrupt, memory)
    for table, file in tables:
        yield from encoded_again(table, file, encoding, strange, skip_corrupt=skip_corrupt, rows=rows)
    if told := strange.told(encoding):
        yield np.zeros((0, sum(map(width_of_column, encoding.columns))), np.float32), (), told


def _tables(path: Path, skip_corrupt: bool, memory: int | None) -> Iterator[tuple[Table, Path]]:
    for file in [path] if path.is_file() else several_parquet(path):
        if memory is None:
            yield read_table(file, skip_corrupt=skip_corrupt), file
            continue
        if file.suffix.lower() in PARQUET_SUFFIXES:
            pieces = parquet_pieces(file, memory=piece_of(file, memory))
        else:
            read = json_pieces if file.suffix.lower() in (".jsonl", ".ndjson") else csv_pieces
            pieces = read(file, memory=piece_again(memory) // 2, skip_corrupt=skip_corrupt)  # two are held at once
        for table in pieces:
            for start in range(0, len(table), _ROWS):
                yield some_rows(table, np.arange(start, min(start + _ROWS, len(table)))), file


def _texts(path: Path, encoding: Encoding, skip_corrupt: bool, memory: int | None) -> Iterator[tuple[Table, Path]]:
    """Text files as rows, for a model that looks at a single text."""
    names = [column.name for column in encoding.columns]
    if len(names) != 1 or encoding.columns[0].text is None:
        raise DataError(
            "this model takes more than a text", where=str(path), met=f"columns: {few(names, 20)}", remedy="a table"
        )
    files = [path] if path.is_file() else walking.files_of(path, TEXT_SUFFIXES)
    folder = path if path.is_dir() else path.parent
    each = max(1, sum(file.stat().st_size for file in files) // max(1, len(files)))
    for some in blocks(len(files), _TIMES * each, memory):
        yield texts.read_files(files[some], folder, names[0], skip_corrupt=skip_corrupt), path
