"""Split rows into training, validation and test so that no group, time or duplicate crosses a border."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError
from isograd.records.schema import Part
from isograd.workbench.data.order import alike, in_order, permutation
from isograd.workbench.data.rows import SplitPlan
from isograd.workbench.data.sources import PARTS, few

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What a split looks at, row by row.

    ``twins`` is one number for each distinct input, so that equal rows share it; ``labels`` are class numbers (none in a
    regression); ``parts``, ``groups`` and ``times`` come from the source where it has them.
    """

    twins: Index
    labels: Index | None = None
    classes: tuple[str, ...] = ()
    parts: NDArray[np.str_] | None = None
    groups: Index | None = None
    times: NDArray[np.float64] | None = None


def twins(rows: Iterable[bytes]) -> Index:
    """A number for each distinct content, in the order of first appearance.

    >>> twins([b"a", b"b", b"a"]).tolist()
    [0, 1, 0]
    """
    digests = bytearray()
    for row in rows:
        digests += hashlib.blake2b(row, digest_size=16).digest()
    halves = np.frombuffer(digests, dtype=np.int64).reshape(-1, 2)
    return alike([in_order(halves[:, 0]), in_order(halves[:, 1])])


def split(plan: SplitPlan, facts: Facts, *, seed: int) -> tuple[tuple[Index, Index, Index], tuple[str, ...]]:
    """Row numbers of (training, validation, test), ascending, and remarks; a function of plan, facts and seed.

    Equal inputs stay on one side in random and stratified splits, groups in a group split, equal times in a time split (which
    trains on the past and tests on the latest). Raises ``DataError`` where a part or a class would be left without rows.
    """
    _check_shares(plan)
    rows = len(facts.twins)
    everything = np.arange(rows)
    remarks: tuple[str, ...] = ()
    if plan.kind == "given":
        parts = _given(plan, facts, seed)
    elif plan.kind == "time":
        parts = _by_time(plan, facts)
    elif plan.kind == "group":
        parts = _by_group(plan, facts, seed)
    else:
        _check_rows(rows, 3)
        if facts.labels is None and plan.kind == "stratified":
            raise DataError(
                "a stratified split needs classes, and this task has none", where="split", remedy='split = "random" (or "time")'
            )
        if facts.parts is not None:
            remarks = ("the parts that the source gives were put together and split anew",)
        parts = _carve(everything, facts, seed, (plan.validation, plan.test), stratified=plan.kind == "stratified")
    remarks += _check_parts(plan, facts, parts)
    return parts, remarks


def _check_shares(plan: SplitPlan) -> None:
    shares = (plan.validation,) if plan.kind == "given" else (plan.validation, plan.test)
    if not all(0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise DataError(
            "validation and test must each be a share above 0, and leave rows to train on",
            where="split",
            met=f"validation = {plan.validation}, test = {plan.test}",
            remedy="validation = 0.1, test = 0.2",
        )


def _check_rows(rows: int, least: int) -> None:
    if rows < least:
        raise DataError(f"{rows} rows are too few to split: at least {least} are needed", where="split")


def _carve(
    rows: Index, facts: Facts, seed: int, shares: tuple[float, float], *, stratified: bool
) -> tuple[Index, Index, Index]:
    """Carve (validation, test) shares off ``rows``, class by class where ``stratified``, never parting twins."""
    which = facts.twins[rows]
    labels = facts.labels[rows] if stratified and facts.labels is not None else np.zeros(len(rows), dtype=np.int64)
    _, first, which, sizes = np.unique(which, return_index=True, return_inverse=True, return_counts=True)
    smallest = min(round(share * len(rows)) for share in shares if share)
    if sizes.max() > max(2, smallest // 2):  # few distinct inputs, so that equal rows are no leak and cannot be kept together
        first, which, sizes = np.arange(len(rows)), np.arange(len(rows)), np.ones(len(rows), dtype=np.int64)
    part = np.zeros(len(first), dtype=np.int64)
    for label in np.unique(labels):
        units = np.flatnonzero(labels[first] == label)
        units = units[permutation(seed, int(label), len(units))]
        _fill(part, units, sizes, shares, facts.classes[label] if stratified and facts.classes else "")
    return rows[part[which] == 0], rows[part[which] == 1], rows[part[which] == 2]


def _fill(part: Index, units: Index, sizes: Index, shares: tuple[float, float], name: str) -> None:
    """Mark the first units as test (2), the next as validation (1); every part that has a share gets at least one unit."""
    needed = 1 + sum(1 for share in shares if share)
    if len(units) < needed:
        raise DataError(
            f"class {name!r} has too few rows for a stratified split: {needed} are needed" if name else "too few rows to split",
            where="split",
            met=f"{len(units)} distinct row{'s' * (len(units) != 1)}" + (f" of class {name!r}" if name else ""),
            remedy="gather more rows of it, or leave the class out",
        )
    total = int(sizes[units].sum())
    start = 0
    for number, share in ((2, shares[1]), (1, shares[0])):
        if not share:
            continue
        later = needed - 1 if number == 2 else 1
        wanted, have = max(1, round(share * total)), 0
        while have < wanted and start < len(units) - later:
            part[units[start]] = number
            have += int(sizes[units[start]])
            start += 1


def _by_group(plan: SplitPlan, facts: Facts, seed: int) -> tuple[Index, Index, Index]:
    if facts.groups is None:
        raise DataError(
            "a group split needs the column that names the group", where="split", remedy='column = "patient" (its name)'
        )
    groups, which, sizes = np.unique(facts.groups, return_inverse=True, return_counts=True)
    if len(groups) < 3:
        raise DataError(f"a group split needs at least 3 groups, and column {plan.column!r} has {len(groups)}", where="split")
    part = np.zeros(len(groups), dtype=np.int64)
    wanted, have = {2: plan.test * len(which), 1: plan.validation * len(which)}, {2: 0, 1: 0}
    order = permutation(seed, 0, len(groups)).tolist()
    for group in order:  # to the part that lacks most of its share, if it fits there; what fits nowhere is trained on
        size = int(sizes[group])
        for number in sorted(have, key=lambda number: have[number] / wanted[number]):
            if have[number] < wanted[number] and have[number] + size <= 1.1 * wanted[number]:
                part[group] = number
                have[number] += size
                break
    for number in (2, 1):
        if not have[number]:
            part[min((group for group in order if not part[group]), key=lambda group: int(sizes[group]))] = number
    rows = part[which]
    return np.flatnonzero(rows == 0), np.flatnonzero(rows == 1), np.flatnonzero(rows == 2)


def _by_time(plan: SplitPlan, facts: Facts) -> tuple[Index, Index, Index]:
    if facts.times is None:
        raise DataError("a time split needs the column that holds the time", where="split", remedy='column = "date" (its name)')
    rows = len(facts.times)
    _check_rows(rows, 3)
    ordered = np.sort(facts.times)
    test_from = ordered[rows - max(1, round(plan.test * rows))]
    before = ordered[ordered < test_from]
    validation_from = (
        before[len(before) - min(len(before), max(1, round(plan.validation * rows)))] if len(before) else test_from
    )
    train = np.flatnonzero(facts.times < validation_from)
    validation = np.flatnonzero((facts.times >= validation_from) & (facts.times < test_from))
    return train, validation, np.flatnonzero(facts.times >= test_from)


def _given(plan: SplitPlan, facts: Facts, seed: int) -> tuple[Index, Index, Index]:
    if facts.parts is None:
        raise DataError(
            "the source gives no parts",
            where="split",
            met='split = "given", but there is neither a train and a test folder or file, nor a column "split"',
            remedy='split = "stratified" (or "random", "group", "time")',
        )
    train, validation, test = (np.flatnonzero(facts.parts == part) for part in PARTS)
    for name, part in (("train", train), ("test", test)):
        if not len(part):
            raise DataError(
                f"the source has no {name} part", where="split", met=f"parts found: {few(sorted(set(facts.parts)))}"
            )
    if not len(validation):
        _check_rows(len(train), 2)
        labels = facts.labels
        stratified = labels is not None and int(np.bincount(labels[train]).min()) >= 2
        train, validation, _ = _carve(train, facts, seed, (plan.validation, 0.0), stratified=stratified)
    return train, validation, test


def _elsewhere(facts: Facts, parts: Sequence[Index], absent: Sequence[str]) -> str:
    """Where the rows of the first class are that a part lacks."""
    assert facts.labels is not None
    number = facts.classes.index(absent[0])
    counts = [(int((facts.labels[part] == number).sum()), name) for name, part in zip(PARTS, parts, strict=True)]
    found = [f"{count:,} in the {name} part" for count, name in counts if count]
    return f"{absent[0]}: {', '.join(found)}" if found else f"{absent[0]}: none in any part"


def _check_parts(plan: SplitPlan, facts: Facts, parts: Sequence[Index]) -> tuple[str, ...]:
    remarks = []
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise DataError(f"the {plan.kind} split leaves the {name} part without rows", where="split")
        if facts.labels is None:
            continue
        counts = np.bincount(facts.labels[part], minlength=len(facts.classes))
        absent = [label for label, count in zip(facts.classes, counts, strict=True) if not count]
        if absent and (name == "train" or plan.kind in ("random", "stratified")):
            raise DataError(
                f"the {plan.kind} split leaves no row of class {few(absent)} in the {name} part",
                where="split",
                met=_elsewhere(facts, parts, absent),
                remedy='split = "stratified" keeps every class in every part'
                if plan.kind == "random"
                else "gather more rows of it",
            )
        if absent:
            remarks.append(f"the {name} part has no row of class {few(absent)}")
    crossing = np.isin(facts.twins[parts[2]], facts.twins[np.concatenate(parts[:2])])
    if crossing.any():
        remarks.append(
            f"{int(crossing.sum()):,} of {len(crossing):,} test rows have the same inputs as a row trained or validated on"
        )
    return tuple(remarks)


def describe_parts(parts: Sequence[Index], labels: Index | None, classes: tuple[str, ...]) -> tuple[Part, ...]:
    """Name, rows and rows of each class of the three parts."""
    described = []
    for name, part in zip(PARTS, parts, strict=True):
        counts = () if labels is None else tuple(np.bincount(labels[part], minlength=len(classes)).tolist())
        described.append(Part(name, len(part), counts))
    return tuple(described)
