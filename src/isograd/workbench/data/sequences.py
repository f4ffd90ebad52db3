"""Read sequences: rows of a table that belong together in the order of their time, or arrays (rows, steps, features)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, did_you_mean
from isograd.records.schema import CleaningStep, Skipped
from isograd.workbench.data.arrays import Array, read_arrays
from isograd.workbench.data.columns import Cells, Codes, Numbers, as_labels, as_numbers, codes_of, kind_of, taken
from isograd.workbench.data.sources import few
from isograd.workbench.data.table import Table, rows_of
from isograd.workbench.data.targets import find_column, times_of
from isograd.workbench.data.values import cells_of

SEQUENCES = ("sequence-classification", "sequence-regression")
"""The tasks whose examples are sequences of steps."""
MOST_FEATURES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Sequences one after another: ``steps`` has a row for each step, in order; ``whole`` has a row for each sequence.

    Sequence i is the rows ``starts[i]`` to ``starts[i + 1]`` of ``steps``. A column that never changes within a sequence is one
    of ``whole``, any other one of ``steps``. ``id`` and ``time`` name the columns that it was put together by, ``cleaned`` the
    steps of cleaning that changed values before.
    """

    whole: Table
    steps: Table
    starts: Codes
    id: str = ""
    time: str = ""
    cleaned: tuple[CleaningStep, ...] = ()

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def lengths(self) -> Codes:
        """Steps of each sequence."""
        return np.diff(self.starts)

    @property
    def owner(self) -> Codes:
        """The sequence that each step belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)


def some(found: Sequences, rows: Codes) -> Sequences:
    """Some sequences, in the order asked for."""
    lengths = found.lengths[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(starts[-1]) + np.repeat(found.starts[rows] - starts[:-1], lengths)
    return replace(found, whole=rows_of(found.whole, rows), steps=rows_of(found.steps, places), starts=starts)


def without(found: Sequences, wrong: dict[int, str]) -> Sequences:
    """The sequences but some, which are listed with what is wrong with them. Raises ``DataError`` where none is left."""
    skipped = tuple(Skipped(found.whole.places[row], reason) for row, reason in sorted(wrong.items()))
    kept = np.setdiff1d(np.arange(len(found)), sorted(wrong))
    if not len(kept):
        raise DataError("no sequence is left that can be read", where=found.whole.where, met=skipped[0].reason)
    left = some(found, kept) if wrong else found
    return replace(left, whole=replace(left.whole, skipped=left.whole.skipped + skipped))


def from_table(table: Table, id: str | None, time: str | None) -> Sequences:
    """The rows of a table as sequences: those with the same ``id`` belong together, in the order of ``time``.

    Without a ``time`` the order is that of the file, and that is said. Raises ``DataError`` where ``id`` is not said or not
    there, where a row has no id or no time, and where two steps of a sequence have one time.
    """
    if id is None:
        names = [name for name in table.columns if name.lower() in ("id", "sequence", "series", "case", "subject")]
        raise DataError(
            "which rows belong together?",
            where=table.where,
            met=f"columns: {few(list(table.columns), 20)}",
            remedy=f'sequence = "{(names or list(table.columns))[0]}" under [data] names the column that says it',
        )
    labels = as_labels(find_column(table, id, "sequence"))
    if len(lost := np.flatnonzero(labels.codes < 0)):
        raise DataError(
            f"{len(lost):,} rows say no {id!r}, and so belong to no sequence",
            where=f"{table.where}, {table.places[lost[0]]}",
            remedy=f'clean = ["drop_missing:{id}"] under [data] leaves them out',
        )
    _, first, codes = np.unique(labels.codes, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))[codes]  # sequences in the order in which they first appear
    said: tuple[str, ...] = ()
    if time is None:
        order = np.argsort(place, kind="stable")
        said = (f"steps of a sequence follow one another as in {Path(table.where).name}: no time was named under [data]",)
    else:
        find_column(table, time, "time")
        times = times_of(table, time)
        order = np.lexsort((times, place))
        same = np.flatnonzero((np.diff(times[order]) == 0) & (np.diff(place[order]) == 0))
        if len(same):
            row = order[same[0] + 1]
            raise DataError(
                f"two steps of one sequence have the same {time!r}, in {len(same):,} places",
                where=f"{table.where}, {table.places[row]}",
                met=f"{id} {labels.values[labels.codes[row]]}",
                remedy="leave the doubles out, or name a finer time",
            )
    starts = np.concatenate([[0], np.cumsum(np.bincount(place))]).astype(np.int64)
    sorted_rows = rows_of(table, order)
    heads = starts[:-1]
    still = [name for name, cells in sorted_rows.columns.items() if name not in (id, time) and _never_changes(cells, starts)]
    ids = as_labels(sorted_rows.columns[id])
    whole = Table(
        where=table.where,
        columns={name: taken(sorted_rows.columns[name], heads) for name in still},
        places=tuple(f"{id} {ids.values[code]}" for code in ids.codes[heads]),
        fingerprint=table.fingerprint,
        parts=_parts(sorted_rows, starts),
        skipped=table.skipped,
        remarks=(*table.remarks, *said),
    )
    moving = {name: cells for name, cells in sorted_rows.columns.items() if name not in (id, time, *still)}
    return Sequences(whole, replace(sorted_rows, columns=moving, parts=None), starts, id, time or "")


def _never_changes(cells: Cells, starts: Codes) -> bool:
    codes = codes_of(cells)
    return bool((codes == np.repeat(codes[starts[:-1]], np.diff(starts))).all())


def _parts(table: Table, starts: Codes) -> NDArray[np.str_] | None:
    """The part of each sequence. Raises ``DataError`` where a sequence lies in two."""
    if table.parts is None:
        return None
    first: NDArray[np.str_] = table.parts[starts[:-1]]
    torn = np.flatnonzero(table.parts != np.repeat(first, np.diff(starts)))
    if len(torn):
        raise DataError(
            "a sequence lies in two parts, so that the test part is not apart from the training part",
            where=f"{table.where}, {table.places[torn[0]]}",
            remedy="give sequences of different files different names",
        )
    return first


def from_arrays(path: Path, target: str) -> Sequences:
    """Sequences of an archive: x (rows, steps, features), or (rows, steps) for one feature, and y (rows,) or (rows, steps).

    Steps at the end that are NaN in all features are not there. Features are called x0, x1, ... Raises ``DataError``.
    """
    found = read_arrays(path, each=True)
    x, lengths = trimmed_array(path, found.inputs, found.names)
    y = found.targets
    if y.ndim == 2 and y.shape[1] != x.shape[1]:
        met = f"inputs {' x '.join(map(str, x.shape))}, labels {' x '.join(map(str, y.shape))}"
        remedy = "y has one label a row (rows,), or one a step (rows, steps)"
        raise DataError(f"{path.name}: labels and steps do not fit together", where=str(path), met=met, remedy=remedy)
    there = np.arange(x.shape[1]) < lengths[:, None]
    columns = _columns(x, there)
    labels = _cells(path, target, y[there] if y.ndim == 2 else y)
    parts = found.parts
    whole = Table(str(path), {} if y.ndim == 2 else {target: labels}, found.names, found.fingerprint, parts)
    if y.ndim == 2:
        columns[target] = labels
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = ("",) * int(starts[-1])  # their values were looked at already, and no message names one
    return Sequences(whole, Table(str(path), columns, places, found.fingerprint), starts)


def _columns(x: NDArray[np.float64], there: NDArray[np.bool_]) -> dict[str, Cells]:
    return {f"x{i}": Numbers(x[:, :, i][there]) for i in range(x.shape[2])}


def arrays_again(path: Path, inputs: Array, names: tuple[str, ...]) -> Sequences:
    """New sequences without labels, from an array."""
    x, lengths = trimmed_array(path, inputs, names)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    columns = _columns(x, np.arange(x.shape[1]) < lengths[:, None])
    return Sequences(Table(str(path), {}, names, ""), Table(str(path), columns, ("",) * int(starts[-1]), ""), starts)


def trimmed_array(path: Path, inputs: Array, names: tuple[str, ...]) -> tuple[NDArray[np.float64], Codes]:
    """An array as float64 (rows, steps, features), and the steps of each row. Raises ``DataError`` for what is none."""
    x = inputs[..., None] if inputs.ndim == 2 else inputs
    if x.ndim != 3 or x.dtype.kind not in "iufb" or not x.size or x.shape[2] > MOST_FEATURES:
        raise DataError(
            f"{path.name} holds no sequences of numbers",
            where=str(path),
            met=f"inputs {' x '.join(map(str, inputs.shape))} {inputs.dtype}",
            remedy="x is rows x steps x features, or rows x steps",
        )
    numbers: NDArray[np.float64] = x.astype(np.float64)
    if np.isinf(numbers).any():
        row, step, feature = np.argwhere(np.isinf(numbers))[0].tolist()
        raise DataError(f"{path.name}: row {names[row]} is infinite at step {step}, feature x{feature}", where=str(path))
    there = ~np.isnan(numbers).all(axis=2)
    lengths = np.where(there, np.arange(1, x.shape[1] + 1), 0).max(axis=1)
    if not lengths.all():
        row = int(np.argmin(lengths))
        raise DataError(f"{path.name}: row {names[row]} has no step: all of it is NaN", where=str(path), remedy="leave it out")
    return numbers, lengths.astype(np.int64)


def _cells(path: Path, name: str, values: Array) -> Cells:
    if values.dtype.kind in "iuf":
        return Numbers(values.astype(np.float64))
    cells = cells_of(values.tolist())
    if cells is None:
        raise DataError(f"{path.name}: {name} holds {values.dtype}, neither numbers nor words", where=str(path))
    return cells


def find_target(found: Sequences, target: str | None) -> tuple[Table, str, bool]:
    """The table that holds the target, its name, and whether every step has one of its own.

    Raises ``DataError`` with a did-you-mean where there is none.
    """
    names = [*found.whole.columns, *found.steps.columns]
    if target is None:
        raise DataError(
            "which column is the target?",
            where=found.whole.where,
            met=f"columns: {few(names, 20)}",
            remedy=f'target = "{names[-1]}"' if names else "",
        )
    if target in (found.id, found.time) or target not in names:
        raise DataError(
            f"target: the table has no column {target!r} to foretell",
            where=found.whole.where,
            met=f"columns: {few(names, 20)}",
            remedy=did_you_mean(target, names),
        )
    each = target not in found.whole.columns
    return (found.steps if each else found.whole), target, each


def step_table(found: Sequences, features: Sequence[str]) -> Table:
    """Some columns as a table of steps; what is one of the whole sequence stands at each of its steps."""
    columns = {
        name: found.steps.columns[name] if name in found.steps.columns else taken(found.whole.columns[name], found.owner)
        for name in features
    }
    return replace(found.steps, columns=columns)


def summary_of(found: Sequences, target: str | None) -> Table:
    """A row for each sequence, with what can be doubted of it: mean, least, largest, first and last value of its numbers.

    Where every step has a target, the last one stands for the sequence.
    """
    columns = dict(found.whole.columns)
    firsts, lasts = found.starts[:-1], found.starts[1:] - 1
    for name, cells in found.steps.columns.items():
        if name == target or kind_of(cells).kind != "number":
            columns[name] = taken(cells, lasts)
            continue
        values, _ = as_numbers(cells)
        counts = np.add.reduceat(~np.isnan(values), firsts)
        total = np.add.reduceat(np.nan_to_num(values), firsts)
        mean = np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        least, largest = np.fmin.reduceat(values, firsts), np.fmax.reduceat(values, firsts)
        named = {"mean": mean, "least": least, "largest": largest, "first": values[firsts], "last": values[lasts]}
        columns |= {f"{name} ({what})": Numbers(numbers) for what, numbers in named.items()}
    told = f"{len(found):,} sequences, each looked at by the mean, the ends and the bounds of its columns"
    return replace(found.whole, columns=columns, remarks=(*found.whole.remarks, told))


def contents_of(found: Sequences, features: Sequence[str]) -> list[bytes]:
    """The content of each sequence, equal where all its steps are."""
    codes = np.stack([codes_of(cells) for cells in step_table(found, features).columns.values()], axis=1)
    return [codes[start:end].tobytes() for start, end in zip(found.starts[:-1], found.starts[1:], strict=True)]
