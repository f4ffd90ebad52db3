"""Read a table of any kind, or a folder with one table a part, as one table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from isograd.errors import DataError
from isograd.workbench.data.columns import joined
from isograd.workbench.data.delimited import read_csv
from isograd.workbench.data.json_lines import read_json_lines
from isograd.workbench.data.parquet import read_parquet
from isograd.workbench.data.pictures import check_bytes
from isograd.workbench.data.sources import PARQUET_SUFFIXES, PART_NAMES, PARTS, TABLE_SUFFIXES, contents, listing
from isograd.workbench.data.stored import need_of
from isograd.workbench.data.table import Table, lacking, left_out


def read_table(path: Path, *, skip_corrupt: bool = False) -> Table:
    """One CSV, TSV, Parquet or JSON lines file. ``skip_corrupt`` leaves out rows that are no rows, and lists them.

    Raises ``DataError`` for an empty file, an encoding other than UTF-8, ragged rows, no header, and duplicate names.
    """
    if path.suffix.lower() in PARQUET_SUFFIXES:
        check_bytes(need_of(path), path.name, "save every part as Parquet: they are then read in pieces")
        return read_parquet(path, contents(path))
    content = contents(path)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return read_json_lines(path, content, skip_corrupt=skip_corrupt)
    return read_csv(path, content, skip_corrupt=skip_corrupt)


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


def several_parquet(folder: Path) -> tuple[Path, ...]:
    """The Parquet files of a folder that holds several and nothing else to read, as programs write one large table."""
    entries = [entry for entry in listing(folder) if entry.name[0] != "_"]  # _SUCCESS and the like say nothing of the rows
    found = tuple(entry for entry in entries if entry.suffix.lower() in PARQUET_SUFFIXES and entry.is_file())
    return found if 1 < len(found) == len(entries) else ()


def read_parts(folder: Path, *, skip_corrupt: bool = False) -> Table:
    """The tables of a folder with one file a part, as one table with ``parts``; all must have the columns of the first."""
    files = part_tables(folder)
    table, counts = _under_one_another(folder, tuple(files.values()), skip_corrupt)
    return replace(table, parts=np.repeat(list(files), counts))


def read_several(folder: Path, files: Sequence[Path], *, skip_corrupt: bool = False) -> Table:
    """Several files as one table; all must have the columns of the first."""
    return _under_one_another(folder, files, skip_corrupt)[0]


def _under_one_another(folder: Path, files: Sequence[Path], skip_corrupt: bool) -> tuple[Table, list[int]]:
    """The rows of several files as one table, and how many rows each brought."""
    tables = [read_table(path, skip_corrupt=skip_corrupt) for path in files]
    for path, table in zip(files, tables, strict=True):
        for name in tables[0].columns:
            if name not in table.columns:
                raise lacking(path, files[0], name, table)
    extra = {name for table in tables for name in table.columns if name not in tables[0].columns}
    found = Table(
        where=str(folder),
        columns={name: joined([table.columns[name] for table in tables]) for name in tables[0].columns},
        places=tuple(f"{path.name} {place}" for path, table in zip(files, tables, strict=True) for place in table.places),
        fingerprint=hashlib.sha256("".join(table.fingerprint for table in tables).encode()).hexdigest(),
        skipped=tuple(skip for table in tables for skip in table.skipped),
        remarks=(*dict.fromkeys(remark for table in tables for remark in table.remarks), *left_out(extra, files[0])),
    )
    return found, [len(table) for table in tables]
