"""Read JSON lines, one object a line, as a table; and say which line is not as it should be."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isograd.errors import DataError
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Cells
from isograd.workbench.data.places import Places
from isograd.workbench.data.sources import checked_utf8, few, utf8
from isograd.workbench.data.table import MOST_NAMED, Table
from isograd.workbench.data.values import cells_of

_KEYS = 10_000
"""More different names than this are data in the place of names."""


_TIMES = 24
"""Bytes that an object takes while it is read, for each byte of its line."""


class _Twice(ValueError):
    pass


def read_json_lines(path: Path, content: bytes, *, skip_corrupt: bool = False) -> Table:
    """One JSON object a line: a column for every name that occurs, in the order of first appearance; absent ones are gaps.

    Empty lines are skipped silently. Columns of lists and objects are left out with a remark. ``skip_corrupt`` leaves out
    lines that hold no object, or a name twice, and lists them; they raise ``DataError`` otherwise, all at once.
    """
    parsed = _parsed(enumerate(utf8(path, content).split("\n"), 1))
    _refuse(path, parsed, skip_corrupt)
    names = list(dict.fromkeys(name for row in parsed.rows for name in row))
    return _table(path, parsed, names, hashlib.sha256(content).hexdigest())


def json_pieces(path: Path, *, memory: int, skip_corrupt: bool = False) -> Iterator[Table]:
    """The objects of JSON lines, in order, as tables of all their names that take about ``memory`` bytes each.

    The file is read twice: any line may bring a name. Raises ``DataError`` as ``read_json_lines`` does, for lines that hold no
    object at the piece where they are met.
    """
    fingerprint, count = checked_utf8(path)
    rows = max(1, int(memory / (_TIMES * path.stat().st_size / max(1, count))))
    names = list(dict.fromkeys(name for parsed in _blocks(path, rows) for row in parsed.rows for name in row))
    waiting = _Parsed()  # until it is known that no faults come after it
    for parsed in _blocks(path, rows):
        _refuse(path, parsed, skip_corrupt)
        if waiting.rows and parsed.rows:
            yield _table(path, waiting, names, fingerprint)
            waiting = parsed
        else:
            waiting = _Parsed(waiting.rows + parsed.rows, waiting.lines + parsed.lines, waiting.faults + parsed.faults)
    yield _table(path, waiting, names, fingerprint)


@dataclass(slots=True)
class _Parsed:
    """Objects, the line of each, and the lines that hold none."""

    rows: list[dict[str, object]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    faults: list[Skipped] = field(default_factory=list)


def _blocks(path: Path, rows: int) -> Iterator[_Parsed]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        lines = enumerate((line.removesuffix("\n") for line in file), 1)
        while block := list(itertools.islice(lines, rows)):
            yield _parsed(block)


def _refuse(path: Path, parsed: _Parsed, skip_corrupt: bool) -> None:
    faults = parsed.faults
    if faults and not skip_corrupt:
        raise DataError(
            f"{path.name} has {len(faults):,} line{'s' * (len(faults) != 1)} that hold no JSON object",
            where=f"{path}, {faults[0].name}",
            met=few([f"{fault.name}: {fault.reason}" for fault in faults], MOST_NAMED),
            remedy="repair them, or go on without them: --skip-corrupt",
        )


def _table(path: Path, parsed: _Parsed, names: list[str], fingerprint: str) -> Table:
    if not parsed.rows:
        raise DataError(f"{path.name} has no rows", where=str(path), remedy='one object a line: {"age": 42, "city": "Rome"}')
    if len(names) > _KEYS:
        raise DataError(f"{path.name} has {len(names):,} different names of columns", where=str(path), met=few(names))
    read: dict[str, Cells | None] = {name: cells_of([row.get(name) for row in parsed.rows]) for name in names}
    columns = {name: cells for name, cells in read.items() if cells is not None}
    if not columns:
        raise DataError(f"{path.name} has no column with plain values", where=str(path), met=few(names))
    return Table(
        where=str(path),
        columns=columns,
        places=Places("line", np.array(parsed.lines, dtype=np.int64)),
        fingerprint=fingerprint,
        skipped=tuple(parsed.faults),
        remarks=tuple(f"column {name!r} holds lists or objects and was left out" for name in names if name not in columns),
    )


def _parsed(numbered: Iterable[tuple[int, str]]) -> _Parsed:
    """What lines with their numbers hold."""
    found = _Parsed()
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except _Twice as error:
            found.faults.append(Skipped(f"line {number}", str(error)))
        except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a ValueError too
            found.faults.append(Skipped(f"line {number}", f"no JSON: {error}".split(" (char")[0]))
        else:
            if isinstance(row, dict) and row:
                found.rows.append(row)
                found.lines.append(number)
            else:
                found.faults.append(Skipped(f"line {number}", f"{_KIND.get(type(row), 'a value')} in the place of an object"))
    return found


_KIND: dict[type, str] = {list: "a list", dict: "an empty object", str: "a text", bool: "a truth", type(None): "null"}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, value in pairs:
        name = name.strip()
        if name in row:
            raise _Twice(f"the name {name!r} occurs twice")
        row[name] = value
    return row
