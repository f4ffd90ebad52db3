"""Read CSV, TSV and Parquet tables, column by column, and say which line is not as it should be."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from isograd.errors import DataError, did_you_mean
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Cells, Numbers, Words, is_number, joined, taken
from isograd.workbench.data.sources import PART_NAMES, PARTS, TABLE_SUFFIXES, contents, few, listing

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BLOCK = 65_536
_UNCLOSED = "a quote is opened and never closed"
MOST_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table as read: its columns in order, and where each row stands ("line 7") in the file that ``where`` names."""

    where: str
    columns: dict[str, Cells]
    places: tuple[str, ...]
    fingerprint: str
    parts: NDArray[np.str_] | None = None
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.places)


@dataclass(slots=True)
class _Ragged:
    lines: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def rows_of(table: Table, rows: NDArray[np.int64]) -> Table:
    """Some rows of a table, in the order asked for."""
    return replace(
        table,
        columns={name: taken(cells, rows) for name, cells in table.columns.items()},
        places=tuple(table.places[row] for row in rows),
        parts=table.parts[rows] if table.parts is not None else None,
    )


def read_table(path: Path, *, skip_corrupt: bool = False) -> Table:
    """One CSV, TSV or Parquet file. ``skip_corrupt`` leaves out rows with too few or too many cells, and lists them.

    Raises ``DataError`` for an empty file, an encoding other than UTF-8, ragged rows, no header, and duplicate names.
    """
    content = contents(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path, content)
    return _read_csv(path, content, skip_corrupt)


def part_tables(folder: Path) -> dict[str, Path]:
    """The tables train.csv, validation.csv, test.csv (or Parquet, or val, valid, dev) of a folder, training first."""
    named: dict[str, Path] = {}
    for entry in listing(folder):
        part = PART_NAMES.get(entry.stem.lower())
        if part and entry.suffix.lower() in TABLE_SUFFIXES and entry.is_file():
            if part in named:
                raise DataError(f"{named[part].name} and {entry.name} are both the {part} part", where=str(folder))
            named[part] = entry
    return {part: named[part] for part in PARTS if part in named}


def read_parts(folder: Path, *, skip_corrupt: bool = False) -> Table:
    """The tables of a folder with one file a part, as one table with ``parts``; all must have the columns of the first."""
    files = part_tables(folder)
    tables = {part: read_table(path, skip_corrupt=skip_corrupt) for part, path in files.items()}
    first = next(iter(tables.values()))
    for part, table in tables.items():
        for name in first.columns:
            if name not in table.columns:
                raise DataError(
                    f"{files[part].name} has no column {name!r}, which {Path(first.where).name} has",
                    where=table.where,
                    remedy=did_you_mean(name, table.columns),
                )
    extra = sorted({name for table in tables.values() for name in table.columns if name not in first.columns})
    remarks = [f"column {few(extra)} is not in {Path(first.where).name} and was left out"] if extra else []
    return Table(
        where=str(folder),
        columns={name: joined([table.columns[name] for table in tables.values()]) for name in first.columns},
        places=tuple(f"{files[part].name} {place}" for part, table in tables.items() for place in table.places),
        fingerprint=hashlib.sha256("".join(table.fingerprint for table in tables.values()).encode()).hexdigest(),
        parts=np.repeat(list(tables), [len(table) for table in tables.values()]),
        skipped=tuple(skip for table in tables.values() for skip in table.skipped),
        remarks=(*(remark for table in tables.values() for remark in table.remarks), *remarks),
    )


def _read_csv(path: Path, content: bytes, skip_corrupt: bool) -> Table:
    text = _text(path, content)
    delimiter = _delimiter(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    ragged = _Ragged()
    try:
        header = next((row for row in reader if row), [])
    except csv.Error as error:
        raise DataError(f"{path.name}: its header cannot be read: {error}", where=f"{path}, line 1") from error
    names = _names(path, [cell.strip() for cell in header])
    columns, lines = _columns(_even_rows(path, reader, len(names), ragged), len(names))
    if ragged.lines and not skip_corrupt:
        named = [f"line {line}: {reason}" for line, reason in zip(ragged.lines, ragged.reasons, strict=True)]
        raise DataError(
            f"{path.name} has {len(named):,} ragged row{'s' * (len(named) != 1)}",
            where=f"{path}, line {ragged.lines[0]}",
            met=few(named, MOST_NAMED),
            remedy="repair these lines (a cell with a delimiter in it needs quotes), or go on without them: --skip-corrupt",
        )
    if not lines:
        raise DataError(f"{path.name} has a header and no rows", where=str(path))
    remarks = [] if delimiter == _usual(path) else [f"{path.name} is separated by {_DELIMITERS[delimiter]}"]
    remarks += [f"column {number} has no name and is called {name}" for number, name in _unnamed(header)]
    return Table(
        where=str(path),
        columns=dict(zip(names, columns, strict=True)),
        places=tuple(f"line {line}" for line in lines),
        fingerprint=hashlib.sha256(content).hexdigest(),
        skipped=tuple(Skipped(f"line {line}", reason) for line, reason in zip(ragged.lines, ragged.reasons, strict=True)),
        remarks=tuple(remarks),
    )


def _text(path: Path, content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content:
        kind = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "not text (it has zero bytes)"
        raise DataError(f"{path.name} is {kind}, not UTF-8", where=str(path), remedy="save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
        line = content.count(b"\n", 0, at) + 1
        raise DataError(
            f"{path.name} is not UTF-8",
            where=f"{path}, line {line}",
            met=f"byte {content[at]:#04x} at position {at:,}",
            remedy="save it as UTF-8; an older file is often Windows-1252: iconv -f WINDOWS-1252 -t UTF-8",
        ) from error


def _usual(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _delimiter(path: Path, text: str) -> str:
    """What separates the cells of the header: the usual one of the file's ending, unless only another one occurs there."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    usual = _usual(path)
    if usual in first:
        return usual
    best = max(_DELIMITERS, key=first.count)
    return best if best in first else usual


def _unnamed(header: Sequence[str]) -> list[tuple[int, str]]:
    return [(number, f"column_{number}") for number, cell in enumerate(header, 1) if not cell.strip()]


def _names(path: Path, header: list[str]) -> list[str]:
    if not header:
        raise DataError(f"{path.name} has no header and no rows", where=str(path))
    numeric = [cell for cell in header if is_number(cell)]
    if len(numeric) * 3 >= len(header):
        raise DataError(
            f"{path.name} has no header: its first row looks like data",
            where=f"{path}, line 1",
            met=few(header, 8),
            remedy="add a first line with the names of the columns",
        )
    unnamed = dict(_unnamed(header))
    names = [unnamed.get(number, cell) for number, cell in enumerate(header, 1)]
    _refuse_duplicates(path, names)
    return names


def _refuse_duplicates(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path.name} has more than one column called {few(twice)}", where=f"{path}, line 1", remedy="rename them apart"
        )


def _even_rows(path: Path, reader: Iterator[list[str]], width: int, ragged: _Ragged) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of each row that is as wide as the header; the others are noted in ``ragged``."""
    while True:
        line = reader.line_num + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):  # not this row alone: the quote that was never closed swallowed the rest
                long = f"a cell has more than {csv.field_size_limit():,} characters, or {_UNCLOSED}"
                what = long if "limit" in str(error) else _UNCLOSED
                raise DataError(f"{path.name}: {what}", where=f"{path}, line {line}", met=str(error)) from error
            ragged.lines.append(line)
            ragged.reasons.append("text after a closing quote")
            continue
        if len(row) == width:
            yield line, row
        elif row:
            ragged.lines.append(line)
            ragged.reasons.append(f"{len(row)} cell{'s' * (len(row) != 1)} where the header has {width}")


def _columns(rows: Iterator[tuple[int, list[str]]], width: int) -> tuple[list[Cells], list[int]]:
    """Each column as codes into its distinct words, so that a large table does not become a string for every cell."""
    seen: list[dict[str, int]] = [{} for _ in range(width)]
    codes: list[list[NDArray[np.int64]]] = [[] for _ in range(width)]
    lines: list[int] = []
    while block := list(itertools.islice(rows, _BLOCK)):
        lines += [line for line, _ in block]
        for number, cells in enumerate(zip(*(row for _, row in block), strict=True)):
            known = seen[number]
            codes[number].append(np.array([known.setdefault(cell.strip(), len(known)) for cell in cells], dtype=np.int64))
    columns: list[Cells] = [
        Words(np.concatenate(parts), tuple(known)) for parts, known in zip(codes, seen, strict=True) if parts
    ]
    return columns, lines


def _read_parquet(path: Path, content: bytes) -> Table:
    try:
        read = pyarrow.parquet.read_table(pa.BufferReader(content))
        read.validate(full=True)  # a damaged file may decode to offsets that point nowhere
        names = read.column_names
        columns = [_cells(column) for column in read.columns]
    except (pa.ArrowException, OSError, ValueError) as error:  # a name or a word may be no UTF-8
        raise DataError(
            f"{path.name} is not a whole Parquet file",
            where=str(path),
            met=str(error).splitlines()[0],
            remedy="export it again",
        ) from error
    _refuse_duplicates(path, names)
    if not read.num_rows or not names:
        raise DataError(f"{path.name} has no rows" if names else f"{path.name} has no columns", where=str(path))
    found = list(zip(names, columns, strict=True))
    return Table(
        where=str(path),
        columns={name: cells for name, cells in found if cells is not None},
        places=tuple(f"row {row}" for row in range(1, read.num_rows + 1)),
        fingerprint=hashlib.sha256(content).hexdigest(),
        remarks=tuple(
            f"column {name!r} holds {read.schema.field(name).type} and was left out" for name, cells in found if cells is None
        ),
    )


def _cells(column: pa.ChunkedArray) -> Cells | None:
    """A Parquet column as cells; nothing for kinds that are neither numbers, words, truths nor times."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Numbers(np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64))
    if not (pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind) or _is_string(kind)):
        return None
    coded = pa.chunked_array([column.cast(pa.string()).combine_chunks()]).combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Words(codes, tuple(word.strip() for word in coded.dictionary.to_pylist()))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
