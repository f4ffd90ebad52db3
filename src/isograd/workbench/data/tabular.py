"""Prepare a table: choose its columns, refuse or leave out rows that cannot be read, split, fit, encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from isograd.errors import DataError
from isograd.records import codec
from isograd.records.schema import ColumnKind, DataSummary, Encoding, Schema
from isograd.workbench.data.cleaning.applying import after_split, before_split
from isograd.workbench.data.columns import GAPS, TARGET_GAPS, Codes, Floats, codes_of, kind_of, taken
from isograd.workbench.data.encoded import Encoded
from isograd.workbench.data.features import Trouble, describe_column, fit_column, settled
from isograd.workbench.data.order import alike
from isograd.workbench.data.rows import EncodingPlan, Prepared, SplitPlan
from isograd.workbench.data.sources import PARTS, few
from isograd.workbench.data.split import Facts, describe_parts, split
from isograd.workbench.data.table import MOST_NAMED, Table
from isograd.workbench.data.targets import (
    brings_parts,
    classes_of,
    find_column,
    groups_of,
    missing_rows,
    parts_of,
    quantity_of,
    times_of,
)
from isograd.workbench.data.text_columns import TEXTS, label_of, only_text
from isograd.workbench.data.troubles import HOLDS, readable, settle


def prepare_table(
    table: Table,
    *,
    source: str,
    task: str,
    target: str | None,
    plan: SplitPlan,
    seed: int,
    skip_corrupt: bool,
    drop: tuple[str, ...],
    encode_as: EncodingPlan = EncodingPlan(),  # noqa: B008 - it is frozen
    clean: Sequence[str] = (),
    cache: Path | None = None,
) -> Prepared:
    """A table as three encoded parts, with its summary and encoding; raises ``DataError`` for what cannot be used.

    Encoded rows that are large, or that took long, are kept in ``cache``.
    """
    target = target or (label_of(table) if task == TEXTS else None)
    target = _target(table, task, target)
    cleaned, cleaning, steps = before_split(table, clean, target, skip_corrupt=skip_corrupt)
    assert isinstance(cleaned, Table)
    table = cleaned
    find_column(table, target, "target")
    classifies = task in ("classification", TEXTS)
    plan = plan.resolved(parts=brings_parts(table), classes=classifies)
    steering = _steering(table, plan)
    for name in drop:
        find_column(table, name, "drop")
    features = [name for name in table.columns if name not in (target, steering, *drop)]
    kinds, remarks = _kinds(table, features)
    kinds, remarks = only_text(table, kinds, remarks) if task == TEXTS else (kinds, remarks)
    if steering:
        remarks.append(f"column {steering!r} steers the split and is not learned from")
    table, troubles = settle(table, kinds)
    table = readable(table, [*troubles, *target_troubles(table, target, task)], skip_corrupt)
    labels, classes = classes_of(table, target) if classifies else (None, ())
    quantity = quantity_of(table, target) if labels is None else None
    parts, split_remarks = split(plan, _facts(table, list(kinds), labels, classes, plan, steering), seed=seed)
    table, learned, fitted_steps = after_split(table, clean, parts[0], target)
    if fitted_steps:
        kinds, remarks = _kinds(table, [name for name in table.columns if name not in (target, steering, *drop)])
        kinds, remarks = only_text(table, kinds, remarks) if task == TEXTS else (kinds, remarks)
    remarks += cleaning + learned
    fitted = [fit_column(name, taken(table.columns[name], parts[0]), kind, encode_as) for name, kind in kinds.items()]
    none = [name for name, encoding in zip(kinds, fitted, strict=True) if encoding is None]
    constant, wordless = [n for n in none if kinds[n] != "text"], [n for n in none if kinds[n] == "text"]
    encoding = Encoding(
        "table", target, columns=tuple(one for one in fitted if one is not None), classes=classes, steps=(*steps, *fitted_steps)
    )
    if quantity is not None:
        encoding = _with_scale(encoding, quantity[parts[0]], table)
    if constant:
        remarks.append(f"left out, because it does not vary in the training part: {few(constant, 20)}")
    if wordless:
        remarks.append(f"left out, because its training texts hold fewer than two different words: {few(wordless, 20)}")
    if not encoding.columns:
        raise _nothing_to_learn(table, remarks)
    described = tuple(describe_column(name, table.columns[name], kind) for name, kind in kinds.items())
    remarks += [_imputed(column.name, column.kind, column.missing) for column in described if column.missing]
    summary = DataSummary(
        source=source,
        schema=Schema("table", len(table), table.fingerprint, target, described, classes=classes),
        parts=describe_parts(parts, labels, classes),
        split=plan.kind,
        skipped=table.skipped,
        remarks=(*table.remarks, *remarks, *split_remarks),
    )
    made = Encoded(table, labels, quantity, encoding)
    asked = [table.fingerprint, source, task, target, skip_corrupt, list(clean), codec.dumps(encoding)]
    train, validation, test = (
        made.rows(part, cache / name if cache else None, asked) for name, part in zip(PARTS, parts, strict=True)
    )
    return Prepared(summary, encoding, train, validation, test)


def _target(table: Table, task: str, target: str | None) -> str:
    if task not in ("classification", "regression", TEXTS):
        raise DataError(
            f"{table.where} is a table, and the task {task} is for pictures", remedy='task = "classification" (or "regression")'
        )
    if target is None:
        names = list(table.columns)
        raise DataError(
            "which column is the target?", where=table.where, met=f"columns: {few(names, 20)}", remedy=f'target = "{names[-1]}"'
        )
    find_column(table, target, "target")
    return target


def _steering(table: Table, plan: SplitPlan) -> str | None:
    """The column that steers the split: where "given" names none, the column "split", if the source has no parts."""
    if plan.kind in ("random", "stratified"):
        return None
    if plan.column is None and plan.kind == "given" and table.parts is None and "split" in table.columns:
        return "split"
    return plan.column


def _kinds(table: Table, features: Sequence[str]) -> tuple[dict[str, ColumnKind], list[str]]:
    """What each column that can be learned from holds, and a remark on each that cannot."""
    kinds: dict[str, ColumnKind] = {}
    remarks = []
    for name in features:
        found = kind_of(table.columns[name])
        if found.kind is None:
            remarks.append(f"column {name!r} {found.reason} and was left out")
        else:
            kinds[name] = found.kind
    if not kinds:
        raise _nothing_to_learn(table, remarks)
    return kinds, remarks


def _nothing_to_learn(table: Table, remarks: Sequence[str]) -> DataError:
    unread = [remark for remark in table.remarks if "left out" in remark]
    met = few([*unread, *remarks], MOST_NAMED) or "the target is the only column"
    return DataError("no column is left to learn from", where=table.where, met=met)


def target_troubles(table: Table, target: str, task: str) -> list[tuple[str, Trouble]]:
    """The rows whose target is missing, or (regression) no number."""
    found = []
    cells = table.columns[target]
    gaps = missing_rows(cells, GAPS if task == "regression" else TARGET_GAPS)
    if len(gaps):
        found.append((f"the target {target!r} is missing", Trouble(target, gaps, ("",) * len(gaps), "category")))
    if task == "regression" and (trouble := settled(target, cells, "number")[1]):
        if 2 * len(trouble.rows) > len(table):
            raise DataError(
                f"the target {target!r} holds text, and a regression needs numbers",
                where=f"{table.where}, {table.places[trouble.rows[0]]}",
                met=few([repr(word) for word in dict.fromkeys(trouble.words)]),
                remedy='task = "classification"',
            )
        found.append((f"the target {target!r} should hold {HOLDS['number']}", trouble))
    return found


def _facts(
    table: Table, features: Sequence[str], labels: Codes | None, classes: tuple[str, ...], plan: SplitPlan, steering: str | None
) -> Facts:
    same = alike(codes_of(table.columns[name]) for name in features)
    if steering is None:
        return Facts(same, labels, classes, table.parts)
    if plan.kind == "group":
        return Facts(same, labels, classes, groups=groups_of(table, steering))
    if plan.kind == "time":
        return Facts(same, labels, classes, times=times_of(table, steering))
    return Facts(same, labels, classes, parts_of(table, steering))


def _with_scale(encoding: Encoding, training: Floats, table: Table) -> Encoding:
    """The encoding with the mean and the deviation of the training targets."""
    mean, std = float(training.mean()), float(training.std())
    if std <= 1e-12 * abs(mean):
        raise DataError(f"the target {encoding.target!r} is constant in the training part", where=table.where, met=f"{mean:g}")
    return replace(encoding, target_mean=mean, target_std=std)


def _imputed(name: str, kind: ColumnKind, missing: int) -> str:
    if kind == "text":
        return f"column {name!r} lacks {missing:,} values; they became empty texts"
    if kind == "category":
        return f'column {name!r} lacks {missing:,} values; they became the category "missing"'
    return f"column {name!r} lacks {missing:,} values; they became the training mean, with a column that says so"
