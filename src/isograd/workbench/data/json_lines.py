"""Read JSON lines, one object a line, as a table; and say which line is not as it should be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from isograd.errors import DataError
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Cells
from isograd.workbench.data.places import Places
from isograd.workbench.data.sources import few, utf8
from isograd.workbench.data.table import MOST_NAMED, Table
from isograd.workbench.data.values import cells_of

_KEYS = 10_000
"""More different names than this are data in the place of names."""


class _Twice(ValueError):
    pass


def read_json_lines(path: Path, content: bytes, *, skip_corrupt: bool = False) -> Table:
    """One JSON object a line: a column for every name that occurs, in the order of first appearance; absent ones are gaps.

    Empty lines are skipped silently. Columns of lists and objects are left out with a remark. ``skip_corrupt`` leaves out
    lines that hold no object, or a name twice, and lists them; they raise ``DataError`` otherwise, all at once.
    """
    rows, lines, faults = _parsed(utf8(path, content))
    if faults and not skip_corrupt:
        raise DataError(
            f"{path.name} has {len(faults):,} line{'s' * (len(faults) != 1)} that hold no JSON object",
            where=f"{path}, {faults[0].name}",
            met=few([f"{fault.name}: {fault.reason}" for fault in faults], MOST_NAMED),
            remedy="repair them, or go on without them: --skip-corrupt",
        )
    if not rows:
        raise DataError(f"{path.name} has no rows", where=str(path), remedy='one object a line: {"age": 42, "city": "Rome"}')
    names = dict.fromkeys(name for row in rows for name in row)
    if len(names) > _KEYS:
        raise DataError(f"{path.name} has {len(names):,} different names of columns", where=str(path), met=few(list(names)))
    read: dict[str, Cells | None] = {name: cells_of([row.get(name) for row in rows]) for name in names}
    columns = {name: cells for name, cells in read.items() if cells is not None}
    if not columns:
        raise DataError(f"{path.name} has no column with plain values", where=str(path), met=few(list(names)))
    return Table(
        where=str(path),
        columns=columns,
        places=Places("line", np.array(lines, dtype=np.int64)),
        fingerprint=hashlib.sha256(content).hexdigest(),
        skipped=tuple(faults),
        remarks=tuple(f"column {name!r} holds lists or objects and was left out" for name in names if name not in columns),
    )


def _parsed(text: str) -> tuple[list[dict[str, object]], list[int], list[Skipped]]:
    """The objects, the line of each, and the lines that hold none."""
    rows: list[dict[str, object]] = []
    lines: list[int] = []
    faults: list[Skipped] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except _Twice as error:
            faults.append(Skipped(f"line {number}", str(error)))
        except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError too
            faults.append(Skipped(f"line {number}", f"no JSON: {error}".split(" (char")[0]))
        else:
            if isinstance(row, dict) and row:
                rows.append(row)
                lines.append(number)
            else:
                faults.append(Skipped(f"line {number}", f"{_KIND.get(type(row), 'a value')} in the place of an object"))
    return rows, lines, faults


_KIND: dict[type, str] = {list: "a list", dict: "an empty object", str: "a text", bool: "a truth", type(None): "null"}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, value in pairs:
        name = name.strip()
        if name in row:
            raise _Twice(f"the name {name!r} occurs twice")
        row[name] = value
    return row
