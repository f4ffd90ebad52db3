"""Read CSV and TSV, column by column, and say which line is not as it should be."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Cells, Words, is_number
from isograd.workbench.data.places import Places
from isograd.workbench.data.sources import checked_utf8, few, utf8
from isograd.workbench.data.table import MOST_NAMED, Table, refuse_duplicates

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BLOCK, _BYTES = 65_536, 16 << 20
_TIMES, _CELL = 10, 120
"""Bytes that a row takes while it is read: for each byte of its line, and for each cell, a string of Python's."""
_UNCLOSED = "a quote is opened and never closed"


@dataclass(slots=True)
class _Ragged:
    lines: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Each with its reason."""
        return tuple(Skipped(f"line {line}", reason) for line, reason in zip(self.lines, self.reasons, strict=True))


def read_csv(path: Path, content: bytes, *, skip_corrupt: bool = False) -> Table:
    """Cells separated by what the header is separated by; raises ``DataError`` for ragged rows unless ``skip_corrupt``."""
    text = utf8(path, content)
    delimiter = _delimiter(path, io.StringIO(text, newline=""))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    ragged = _Ragged()
    header, names = _header(path, reader)
    columns, lines = plain_columns(content, delimiter, len(names)) or _columns(
        _even_rows(path, reader, len(names), ragged), len(names)
    )
    _refuse(path, ragged, skip_corrupt)
    if not len(lines):
        raise DataError(f"{path.name} has a header and no rows", where=str(path))
    remarks = [] if delimiter == _usual(path) else [f"{path.name} is separated by {_DELIMITERS[delimiter]}"]
    remarks += [f"column {number} has no name and is called {name}" for number, name in _unnamed(header)]
    return _table(path, names, columns, lines, hashlib.sha256(content).hexdigest(), ragged, remarks)


def csv_pieces(path: Path, *, memory: int, skip_corrupt: bool = False) -> Iterator[Table]:
    """The rows of a CSV or TSV file, in order, as tables that take about ``memory`` bytes each, by the length of its lines.

    Raises ``DataError`` as ``read_csv`` does, for ragged rows at the piece where they are met.
    """
    fingerprint, count = checked_utf8(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = _delimiter(path, file)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        _, names = _header(path, reader)
        each = _TIMES * path.stat().st_size / max(1, count) + _CELL * len(names)
        rows, ragged = max(1, min(_BLOCK, int(memory / each))), _Ragged()
        even = _even_rows(path, reader, len(names), ragged)
        held: Table | None = None  # until it is known that no ragged rows come after it
        while block := list(itertools.islice(even, rows)):
            _refuse(path, ragged, skip_corrupt)
            if held is not None:
                yield held
            columns, lines = _columns(iter(block), len(names))
            held = _table(path, names, columns, lines, fingerprint, ragged)
            ragged.lines.clear()
            ragged.reasons.clear()
    _refuse(path, ragged, skip_corrupt)
    if held is None:
        raise DataError(f"{path.name} has a header and no rows", where=str(path))
    yield replace(held, skipped=(*held.skipped, *ragged.skipped))


def _table(
    path: Path,
    names: Sequence[str],
    columns: Sequence[Cells],
    lines: NDArray[np.int64],
    fingerprint: str,
    ragged: _Ragged,
    remarks: Sequence[str] = (),
) -> Table:
    return Table(
        where=str(path),
        columns=dict(zip(names, columns, strict=True)),
        places=Places("line", lines),
        fingerprint=fingerprint,
        skipped=ragged.skipped,
        remarks=tuple(remarks),
    )


def _refuse(path: Path, ragged: _Ragged, skip_corrupt: bool) -> None:
    """Raise ``DataError`` where there are ragged rows, unless these are to be left out."""
    if ragged.lines and not skip_corrupt:
        named = [f"line {line}: {reason}" for line, reason in zip(ragged.lines, ragged.reasons, strict=True)]
        raise DataError(
            f"{path.name} has {len(named):,} ragged row{'s' * (len(named) != 1)}",
            where=f"{path}, line {ragged.lines[0]}",
            met=few(named, MOST_NAMED),
            remedy="repair these lines (a cell with a delimiter in it needs quotes), or go on without them: --skip-corrupt",
        )


def _header(path: Path, reader: Iterator[list[str]]) -> tuple[list[str], list[str]]:
    """The first row, and the names that it gives to the columns."""
    try:
        header = next((row for row in reader if row), [])
    except csv.Error as error:
        raise DataError(f"{path.name}: its header cannot be read: {error}", where=f"{path}, line 1") from error
    return header, _names(path, [cell.strip() for cell in header])


def _usual(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _delimiter(path: Path, text: Iterable[str]) -> str:
    """What separates the cells of the header: the usual one of the file's ending, unless only another one occurs there."""
    lines = (line for part in text for line in part.splitlines())  # not all of a large text
    first = next((line for line in lines if line.strip()), "")
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
    refuse_duplicates(path, names)
    return names


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


def plain_columns(content: bytes, delimiter: str, width: int) -> tuple[list[Cells], NDArray[np.int64]] | None:
    """The columns of a file without quotes and blank lines, and the line of each row, as Arrow reads them; else nothing.

    Where nothing is quoted a row is a line and a cell is what stands between two delimiters, so there is one way to read it.
    """
    if b'"' in content or content.count(b"\r") != content.count(b"\r\n"):
        return None
    start = 3 * content.startswith(b"\xef\xbb\xbf")
    if b"\n\n" in content or b"\n\r\n" in content or content[start : start + 1] in (b"\r", b"\n"):
        return None
    import pyarrow as pa
    from pyarrow import csv as arrow

    names = [str(i) for i in range(width)]
    options = {
        "read_options": arrow.ReadOptions(column_names=names, skip_rows=1, use_threads=False, block_size=_BYTES),
        "parse_options": arrow.ParseOptions(delimiter=delimiter, quote_char=False),
        "convert_options": arrow.ConvertOptions(
            column_types=dict.fromkeys(names, pa.dictionary(pa.int32(), pa.string())), null_values=[], strings_can_be_null=False
        ),
    }
    try:
        read = arrow.read_csv(pa.BufferReader(content), **options).unify_dictionaries()
    except (pa.ArrowException, OSError):  # ragged rows, no rows, a line that is longer than a block: told line by line
        return None
    if not read.num_rows:
        return None
    columns: list[Cells] = []
    for column in read.columns:
        words = column.chunk(0).dictionary.to_pylist()
        if any(len(word) > csv.field_size_limit() for word in words):
            return None
        known: dict[str, int] = {}
        places = np.array([known.setdefault(word.strip(), len(known)) for word in words], dtype=np.int64)
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])
        columns.append(Words(places[codes], tuple(known)))
    return columns, np.arange(2, 2 + read.num_rows)


def _columns(rows: Iterator[tuple[int, list[str]]], width: int) -> tuple[list[Cells], NDArray[np.int64]]:
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
    return columns, np.array(lines, dtype=np.int64)
