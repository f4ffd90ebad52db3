"""Read a table of any kind, or a folder with one table a part, as one table."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from isograd.errors import DataError, did_you_mean
from isograd.workbench.data.columns import joined
from isograd.workbench.data.delimited import read_csv
from isograd.workbench.data.json_lines import read_json_lines
from isograd.workbench.data.parquet import read_parquet
from isograd.workbench.data.pictures import check_bytes
from isograd.workbench.data.sources import PARQUET_SUFFIXES, PART_NAMES, PARTS, TABLE_SUFFIXES, contents, few, listing
from isograd.workbench.data.stored import need_of
from isograd.workbench.data.table import Table


def read_table(path: Path, *, skip_corrupt: bool = False) -> Table:
    """One CSV, TSV, Parquet or JSON lines file. ``skip_corrupt`` leaves out rows that are no rows, and lists them.

    Raises ``DataError`` for an empty file, an encoding other than UTF-8, ragged rows, no header, and duplicate names.
    """
    if path.suffix.lower() in PARQUET_SUFFIXES:
        check_bytes(need_of(path), path.name, 'one file with all parts and a column "split" is read in pieces')
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
