"""Read pictures that a table labels: one column names the file, another the class, a third, if there is one, the part."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from isograd.errors import DataError, Fault
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import TARGET_GAPS, Codes, as_labels
from isograd.workbench.data.folders import gathered
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.sources import IMAGE_SUFFIXES, few
from isograd.workbench.data.table import Table, rows_of
from isograd.workbench.data.targets import brings_parts, classes_of, find_column, parts_of
from isograd.workbench.data.walking import Labelled, refuse


def read_labelled(
    table: Table,
    *,
    target: str | None,
    files: str | None,
    size: tuple[int, int] | None = None,
    skip_corrupt: bool = False,
    cache: Path | None = None,
) -> Pictures:
    """The pictures that the rows of ``table`` name, relative to its folder; ``target`` is the column of the classes.

    ``files`` is the column of the file names; where it is not said, the one column whose every value ends as pictures do. A
    column "split" gives the parts. Raises ``DataError`` for a file that is not there, a row without a label, and everything
    that a folder of pictures is refused for.
    """
    column = files_column(table, files)
    target = _target(table, target, column)
    where = Path(table.where)
    folder = where if where.is_dir() else where.parent
    cells = as_labels(table.columns[column])
    paths = [folder / cells.values[code] if code >= 0 else None for code in cells.codes.tolist()]
    faults = _faults(table, paths, as_labels(table.columns[target], TARGET_GAPS).codes, target)
    refuse(list(faults.values()), skip_corrupt=skip_corrupt)
    good = np.setdiff1d(np.arange(len(table)), list(faults))
    if not len(good):
        raise DataError("no row names a picture with a label", where=table.where)
    kept = rows_of(table, good)
    numbers, classes = classes_of(kept, target)
    parts = kept.parts if kept.parts is not None else parts_of(kept, "split") if brings_parts(kept) else None
    found = Labelled([path for row in good if (path := paths[row])], numbers, classes, parts, table.remarks)
    pictures = gathered(folder, found, size=size, skip_corrupt=skip_corrupt, cache=cache)
    lost = tuple(Skipped(table.places[row], fault.what) for row, fault in faults.items())
    together = hashlib.sha256(f"{table.fingerprint} {pictures.fingerprint}".encode()).hexdigest()
    return replace(pictures, fingerprint=together, skipped=(*table.skipped, *lost, *pictures.skipped))


def _faults(table: Table, paths: list[Path | None], labels: Codes, target: str) -> dict[int, Fault]:
    """What is wrong with which row: no file named, a file that is not there, no label."""
    faults = {}
    for row, path in enumerate(paths):
        place = f"{table.where}, {table.places[row]}"
        if path is None:
            faults[row] = Fault(f"{table.places[row]} names no file", where=place)
        elif not path.is_file():
            faults[row] = Fault(f"there is no file {path.name}", where=place, met=str(path))
        elif labels[row] < 0:
            faults[row] = Fault(f"{path.name} has no label", where=place, met=f"column {target!r} is empty")
    return faults


def files_column(table: Table, files: str | None) -> str:
    """The column that names the picture files; raises ``DataError`` where none or several do and ``files`` does not say."""
    if files is not None:
        find_column(table, files, "files")
        return files
    found = [name for name in table.columns if names_files(table, name, IMAGE_SUFFIXES)]
    if len(found) != 1:
        raise DataError(
            "several columns name pictures" if found else f"{table.where} is a table, and no column of it names pictures",
            where=table.where,
            met=few(found or list(table.columns), 20),
            remedy=f'files = "{found[0]}"' if found else 'files = "..." names the column; or task = "classification"',
        )
    return found[0]


def names_files(table: Table, column: str, suffixes: tuple[str, ...]) -> bool:
    """Whether every value of a column ends as files of some kind do."""
    cells = as_labels(table.columns[column])
    return bool((cells.codes >= 0).any()) and all(
        cells.values[code].lower().endswith(suffixes) for code in np.unique(cells.codes) if code >= 0
    )


def _target(table: Table, target: str | None, files: str) -> str:
    if target is None:
        rest = [name for name in table.columns if name not in (files, "split")]
        if len(rest) == 1:
            return rest[0]
        raise DataError(
            "which column holds the classes?",
            where=table.where,
            met=f"columns: {few(rest, 20) or 'none beside the files'}",
            remedy=f'target = "{rest[-1]}"' if rest else "",
        )
    find_column(table, target, "target")
    return target
