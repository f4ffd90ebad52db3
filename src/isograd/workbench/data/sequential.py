"""Prepare sequences: choose features, split whole sequences, fit on the training steps, encode arrays of one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, Fault, did_you_mean
from isograd.records.schema import REGRESSIONS, Column, ColumnKind, DataSummary, Encoding, Schema, SequenceEncoding, Skipped
from isograd.workbench.data.arrays import read_inputs
from isograd.workbench.data.cleaning.applying import after_split, again, before_split
from isograd.workbench.data.cleaning.steps import parse_step
from isograd.workbench.data.columns import Codes, Floats, kind_of
from isograd.workbench.data.features import describe_column, encode, fit_column
from isograd.workbench.data.pictures import check_bytes
from isograd.workbench.data.reading import Source, read
from isograd.workbench.data.rows import EncodingPlan, Prepared, Rows, SplitPlan
from isograd.workbench.data.sequences import (
    Sequences,
    arrays_again,
    contents_of,
    find_target,
    from_arrays,
    from_table,
    some,
    step_table,
    without,
)
from isograd.workbench.data.sources import few, locate
from isograd.workbench.data.split import Facts, describe_parts, split, twins
from isograd.workbench.data.table import Table, rows_of
from isograd.workbench.data.tables import read_table
from isograd.workbench.data.tabular import target_troubles
from isograd.workbench.data.targets import brings_parts, classes_of, groups_of, parts_of, quantity_of, times_of
from isograd.workbench.data.troubles import readable, settle

MOST_STEPS = 5_000
"""Steps that are kept of a sequence at most, where nobody says how many."""
AFTER_THE_END = -100
"""The class number of a step that is not there; torch's own ``ignore_index``."""


BY_STEP = ("drop_missing", "drop_duplicates")
"""The steps of cleaning that leave out rows and may leave out steps of a sequence; the others compare whole examples."""


def read_sequences(source: Source, *, skip_corrupt: bool = False, clean: Sequence[str] = ()) -> Sequences:
    """The sequences of a table, whose rows went through steps of cleaning, or of an archive of arrays; raises ``DataError``."""
    path = locate(source.name, source.base) if source.name.lower().endswith(".npz") else None
    if path is not None:
        if source.sequence is not None or source.time is not None:
            key = "sequence" if source.sequence is not None else "time"
            raise DataError(f"{key} names a column of a table, and {path.name} holds arrays", where=f"data.{key}")
        if clean:
            met = few(list(clean))
            raise DataError(f"steps of cleaning are for tables, and {path.name} holds arrays", where="data.clean", met=met)
        return from_arrays(path, source.target or "label")
    found = read(source, skip_corrupt=skip_corrupt)
    if not isinstance(found, Table):
        raise DataError(
            f"{source.name} holds no sequences",
            remedy="a table with a row for each step, or an .npz archive with x of rows x steps x features",
        )
    odd = [
        step for step in clean if (name := parse_step(step).name).startswith("drop_") and name not in (*BY_STEP, "drop_column")
    ]
    if odd:
        met, remedy = few(odd), f"of these there are {' and '.join(BY_STEP)}, which leave out single steps"
        raise DataError(
            "this step of cleaning compares whole examples, and rows are steps here", where="data.clean", met=met, remedy=remedy
        )
    cleaned, said, changes = before_split(found, clean, source.target)
    assert isinstance(cleaned, Table)
    table = from_table(cleaned, source.sequence, source.time)
    whole = replace(table.whole, remarks=(*table.whole.remarks, *said))
    return replace(table, whole=whole, cleaned=tuple(changes))


def prepare_sequences(
    told: Source,
    *,
    task: str,
    plan: SplitPlan,
    seed: int,
    skip_corrupt: bool = False,
    drop: tuple[str, ...] = (),
    encode_as: EncodingPlan = EncodingPlan(),  # noqa: B008 - it is frozen
    clean: Sequence[str] = (),
) -> Prepared:
    """Sequences as three encoded parts, with their summary and encoding; raises ``DataError`` for what cannot be used."""
    found = read_sequences(told, skip_corrupt=skip_corrupt, clean=clean)
    _, target, each = find_target(found, told.target or ("label" if not found.id else None))
    steering = plan.column if plan.kind in ("group", "time", "given") else None
    if steering is None and found.whole.parts is None and brings_parts(found.whole):
        steering = "split"
    kinds, remarks = _kinds(found, target, steering, drop)
    found, table = _settled(found, target, task, kinds, skip_corrupt)
    holder, _, _ = find_target(found, target)
    classifies = task not in REGRESSIONS
    labels, classes = classes_of(holder, target) if classifies else (None, ())
    quantity = None if classifies else quantity_of(holder, target)
    plan = plan.resolved(parts=found.whole.parts is not None or steering == "split", classes=classifies and not each)
    facts = _facts(found, list(kinds), None if each else labels, classes, plan, steering)
    parts, said = split(plan, facts, seed=seed)
    owner = found.owner
    training = np.isin(owner, parts[0])
    table, learned, fitted = after_split(table, clean, np.flatnonzero(training), target)
    if fitted:
        found_kinds = {name: kind_of(cells).kind for name, cells in table.columns.items()}
        kinds = {name: kind for name, kind in found_kinds.items() if kind is not None}
    seen = rows_of(table, np.flatnonzero(training))
    columns = [fit_column(n, seen.columns[n], kind, replace(encode_as, categories="one_hot")) for n, kind in kinds.items()]
    sequence, cut = _shape(found, parts[0], encode_as, each)
    encoding = Encoding(
        "sequence",
        target,
        columns=tuple(one for one in columns if one is not None),
        classes=classes,
        sequence=sequence,
        steps=(*found.cleaned, *fitted),
    )
    if not encoding.columns:
        raise DataError("no column is left to learn from", where=found.whole.where, met=few(remarks) or "none of them varies")
    if quantity is not None:
        scale = quantity[training if each else parts[0]]
        encoding = replace(encoding, target_mean=float(scale.mean()), target_std=_deviation(scale, target, found))
    described = tuple(describe_column(name, table.columns[name], kind) for name, kind in kinds.items())
    summary = DataSummary(
        source=told.name,
        schema=Schema(
            "sequence", len(found), found.whole.fingerprint, target, described, classes=classes, steps=int(found.lengths.max())
        ),
        parts=describe_parts(parts, None if each else labels, classes),
        split=plan.kind,
        skipped=found.whole.skipped,
        remarks=(*found.whole.remarks, *_told(found, target, each), *remarks, *learned, *cut, *_gaps(described), *said),
    )
    values = labels if quantity is None else quantity
    assert values is not None
    made = [_rows(found, table, part, values, encoding) for part in parts]
    return Prepared(summary, encoding, *made)


def _kinds(found: Sequences, target: str, steering: str | None, drop: Sequence[str]) -> tuple[dict[str, ColumnKind], list[str]]:
    """What each feature holds, and a remark on each column that is none."""
    names = [*found.steps.columns, *found.whole.columns]
    for name in drop:
        if name not in names:
            raise DataError(f"drop: the table has no column {name!r}", met=few(names, 20), remedy=did_you_mean(name, names))
    kinds: dict[str, ColumnKind] = {}
    remarks = [f"column {steering!r} steers the split and is not learned from"] if steering else []
    for name in names:
        if name in (target, steering, *drop):
            continue
        kind = kind_of(step_table(found, [name]).columns[name])
        if kind.kind is None or kind.kind == "text":
            remarks.append(f"column {name!r} {kind.reason} and was left out")
        else:
            kinds[name] = kind.kind
    if not kinds:
        met = few(remarks) or "the target is the only column"
        raise DataError("no column is left to learn from", where=found.whole.where, met=met)
    return kinds, remarks


def _settled(
    found: Sequences, target: str, task: str, kinds: Mapping[str, ColumnKind], skip_corrupt: bool
) -> tuple[Sequences, Table]:
    """The sequences whose every step can be read, and their features with numbers parsed; all faults at once."""
    table, troubles = settle(step_table(found, list(kinds)), kinds)
    holder, _, each = find_target(found, target)
    asked = target_troubles(holder, target, "regression" if task in REGRESSIONS else "classification")
    if not troubles and not asked:
        return found, table
    if not skip_corrupt:
        readable(table, troubles, skip_corrupt=False)
        readable(holder, asked, skip_corrupt=False)
    wrong: dict[int, str] = {}
    owner = found.owner
    for what, trouble in troubles:
        for row in trouble.rows.tolist():
            wrong.setdefault(int(owner[row]), f"{what}, {table.places[row]}")
    for what, trouble in asked:
        for row in trouble.rows.tolist():
            wrong.setdefault(int(owner[row]) if each else row, what)
    left = without(found, wrong)
    return left, settle(step_table(left, list(kinds)), kinds)[0]


def _facts(
    found: Sequences, features: list[str], labels: Codes | None, classes: tuple[str, ...], plan: SplitPlan, steering: str | None
) -> Facts:
    same = twins(contents_of(found, features))
    classes = classes if labels is not None else ()
    if steering is None:
        return Facts(same, labels, classes, found.whole.parts)
    if steering not in found.whole.columns:
        raise DataError(
            f"column: {steering!r} is no column that stays the same within a sequence",
            where="data.column",
            met=f"columns: {few(list(found.whole.columns), 20) or 'none'}",
            remedy=did_you_mean(steering, found.whole.columns),
        )
    if plan.kind == "group":
        return Facts(same, labels, classes, groups=groups_of(found.whole, steering))
    if plan.kind == "time":
        return Facts(same, labels, classes, times=times_of(found.whole, steering))
    return Facts(same, labels, classes, parts_of(found.whole, steering))


def _shape(found: Sequences, training: Codes, plan: EncodingPlan, each: bool) -> tuple[SequenceEncoding, list[str]]:
    """How many steps an array has, whether some sequences are shorter, and a remark where some are longer."""
    lengths = found.lengths
    steps = plan.length or min(int(lengths[training].max()), MOST_STEPS)
    long = int((lengths > steps).sum())
    cut = (
        [f"{long:,} sequences are longer than {steps:,} steps: their {plan.keep} ones count (length and keep under [encoding])"]
        if long
        else []
    )
    return SequenceEncoding(steps, bool((lengths < steps).any()), each, found.id, found.time, plan.keep), cut


def _deviation(training: Floats, target: str, found: Sequences) -> float:
    deviation, mean = float(training.std()), float(training.mean())
    if deviation <= 1e-12 * abs(mean):
        raise DataError(f"the target {target!r} is constant in the training part", where=found.whole.where, met=f"{mean:g}")
    return deviation


def _told(found: Sequences, target: str, each: bool) -> list[str]:
    lengths = found.lengths
    span = f"{lengths.min():,} to {lengths.max():,}" if lengths.min() < lengths.max() else f"{lengths.max():,}"
    asked = f"every step has its own {target!r}" if each else f"one {target!r} for each"
    return [f"{len(found):,} sequences of {span} steps; {asked}"]


def _gaps(columns: Sequence[Column]) -> list[str]:
    return [
        f"column {column.name!r} lacks {column.missing:,} values; they became the training mean, with a column that says so"
        for column in columns
        if column.missing
    ]


def encode_sequences(table: Table, starts: Codes, encoding: Encoding) -> NDArray[np.float32]:
    """Steps as inputs (sequences, length, features), zeros after the end of a sequence; each is computed alone.

    Where sequences are ragged, one more feature, the last, is 1 where there is a step.
    """
    shape = encoding.sequence
    assert shape is not None
    steps = encode(table.columns, encoding.columns, int(starts[-1]))
    lengths = np.diff(starts)
    size = 4 * len(lengths) * shape.length * (steps.shape[1] + shape.ragged)
    check_bytes(
        size, f"{len(lengths):,} sequences of {shape.length:,} steps", "length = 100 under [encoding] keeps less of them"
    )
    inputs = np.zeros((len(lengths), shape.length, steps.shape[1] + shape.ragged), dtype=np.float32)
    there = np.arange(shape.length) < lengths[:, None]
    inputs[there, : steps.shape[1]] = steps[_kept(starts, shape)]
    if shape.ragged:
        inputs[:, :, -1] = there
    return inputs


def _kept(starts: Codes, shape: SequenceEncoding) -> NDArray[np.bool_]:
    """Which steps are among the first, or the last, ``length`` of their sequence."""
    lengths = np.diff(starts)
    place = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    if shape.keep == "last":
        place -= np.repeat(np.maximum(lengths - shape.length, 0), lengths)
    kept: NDArray[np.bool_] = (place >= 0) & (place < shape.length)
    return kept


def _rows(found: Sequences, table: Table, part: Codes, values: Codes | Floats, encoding: Encoding) -> Rows:
    import torch  # here and not above: who only predicts needs none

    shape = encoding.sequence
    assert shape is not None
    chosen = some(replace(found, steps=table), part)
    inputs = torch.from_numpy(encode_sequences(chosen.steps, chosen.starts, encoding))
    scaled = values if encoding.classes else ((values - encoding.target_mean) / encoding.target_std).astype(np.float32)
    if not shape.each:
        targets = scaled[part]
        return Rows(inputs, torch.from_numpy(targets if encoding.classes else targets[:, None]), chosen.whole.places)
    there = np.arange(shape.length) < chosen.lengths[:, None]
    laid = np.full(there.shape, AFTER_THE_END if encoding.classes else np.nan, dtype=scaled.dtype)
    in_part = np.concatenate([np.arange(found.starts[row], found.starts[row + 1]) for row in part.tolist()])
    laid[there] = scaled[in_part][_kept(chosen.starts, shape)]
    return Rows(inputs, torch.from_numpy(laid if encoding.classes else laid[:, :, None]), chosen.whole.places)


def read_again(
    path: Path, encoding: Encoding, *, skip_corrupt: bool
) -> tuple[NDArray[np.float32], tuple[str, ...], tuple[Skipped, ...]]:
    """New sequences, encoded as those of the training were: inputs, names, and what was left out; raises ``DataError``."""
    shape = encoding.sequence
    assert shape is not None
    archive = path.suffix.lower() == ".npz"
    if archive == bool(shape.id):
        form = "a table with a row for each step" if shape.id else "an .npz archive with x of rows x steps x features"
        raise DataError("this model takes sequences of another form", where=str(path), remedy=form)
    if archive:
        found = arrays_again(path, *read_inputs(path))
    else:
        rows = again(read_table(path, skip_corrupt=skip_corrupt), encoding.steps)
        found = from_table(rows, shape.id, shape.time or None)
    names = [column.name for column in encoding.columns]
    known = [*found.steps.columns, *found.whole.columns]
    if absent := [name for name in names if name not in known]:
        raise DataError(
            [
                Fault(
                    f"{path.name} has no column {n!r}, which the model needs",
                    str(path),
                    f"columns: {few(known, 20)}",
                    did_you_mean(n, known),
                )
                for n in absent
            ]
        )
    table, troubles = settle(step_table(found, names), {column.name: column.kind for column in encoding.columns})
    readable(table, troubles, skip_corrupt=False)
    if not shape.ragged and int(found.lengths.min()) < shape.length:
        row = int(found.lengths.argmin())
        raise DataError(
            f"{found.whole.places[row]} has {found.lengths[row]:,} steps, and this model takes {shape.length:,}",
            where=str(path),
            met="all sequences that it was trained on have so many",
            remedy="train with shorter sequences among the others, and the model learns where they end",
        )
    longer = int((found.lengths > shape.length).sum())
    extra = [
        Skipped(f"column {name!r}", "the model does not know it") for name in known if name not in (*names, encoding.target)
    ]
    cut = f"steps after the {shape.length:,}th" if shape.keep == "first" else f"steps before the last {shape.length:,}"
    lost = [Skipped(cut, f"of {longer:,} sequences: the model takes so many")] if longer else []
    places = tuple(f"{path.name} {place}" for place in found.whole.places)
    return encode_sequences(table, found.starts, encoding), places, (*found.whole.skipped, *extra, *lost)
