"""Columns of a table that hold nothing, one value, a name for each row, or values far away from all others."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from isograd.records.finding import Evidence
from isograd.records.inspection import Doubt
from isograd.workbench.data.columns import GAPS, TARGET_GAPS, Cells, Flags, Floats, Numbers, as_numbers, codes_of, is_missing
from isograd.workbench.data.doubts.case import LEAST_ROWS, Case

MOSTLY_MISSING = 0.5
NEARLY = 0.995
"""A column with one value in this share of its rows tells apart fewer than one row in two hundred."""
DISTINCT = 0.99
FAR, FAR_LOG = 10.0, 2.5
"""How many times the distance of the 99 % point from the median is too far, on the scale as it is and on a logarithmic one. A
normal column reaches 10 at 23 deviations; a log-normal one passes the first bound in heavy tails and then not the second,
which it reaches at 5.8 deviations (1 in 150 million rows). A unit mistaken by a thousand passes both."""
_NAMED_ID = re.compile(r"(^|[_\W])(id|uuid|guid|key|index|idx|nr|no|number|row)$|Id$|ID$|^unnamed", re.IGNORECASE)


def missing(case: Case) -> Iterator[Doubt]:
    """Columns that lack most of their values, and a target that is missing."""
    table = case.table
    if table is None:
        return
    for name in [*case.features, *([case.target] if case.target in table.columns else [])]:
        assert name is not None
        gaps = is_missing(table.columns[name], TARGET_GAPS if name == case.target else GAPS)
        share = float(gaps.mean())
        evidence = (Evidence("share of rows without a value", "missing", share, bound=MOSTLY_MISSING),)
        if name == case.target:
            if gaps.any():
                said = f"The target {name!r} is missing in {int(gaps.sum()):,} rows."
                fix = f"drop_missing:{name}"
                yield Doubt(
                    "missing target", "warning", name, said, int(gaps.sum()), evidence, case.places(gaps), fix, "drop them"
                )
        elif MOSTLY_MISSING < share < 1:
            said = f"Column {name!r} lacks {share:.0%} of its values."
            yield Doubt(
                "missing values", "note", name, said, int(gaps.sum()), evidence, (), f"drop_column:{name}", "leave it out"
            )


def constant(case: Case) -> Iterator[Doubt]:
    """Columns with no value or one in every row, from which nothing can be learned, and those that hardly ever differ."""
    if case.table is None:
        return
    for name in case.features:
        codes = codes_of(case.table.columns[name])
        counts = np.unique(codes, return_counts=True)[1]
        share = float(counts.max() / len(codes))
        evidence = (Evidence("share of rows with the most frequent value", "most_frequent", share, bound=NEARLY),)
        fix, remedy = f"drop_column:{name}", "leave it out"
        if len(counts) == 1:
            said = f"Column {name!r} holds the same in every row."
            yield Doubt("constant column", "warning", name, said, len(codes), evidence, (), fix, remedy)
        elif share >= NEARLY and len(codes) >= 200:
            rows = codes != np.unique(codes)[counts.argmax()]
            said = f"Column {name!r} holds the same in {share:.2%} of its rows."
            yield Doubt("near-constant column", "note", name, said, int(counts.max()), evidence, case.places(rows), fix, remedy)


def identifiers(case: Case) -> Iterator[Doubt]:
    """Columns that name rows: a model can only learn them by heart.

    Words that are different in every row and read like codes; whole numbers, all different, that count rows (a permutation or
    a run of steps of one size) or are called id.
    """
    table = case.table
    if table is None or len(table) < LEAST_ROWS:
        return
    for name in case.features:
        cells = table.columns[name]
        codes = codes_of(cells)
        there = codes[codes >= 0]
        share = len(np.unique(there)) / max(1, len(there))
        if share < DISTINCT or len(there) < LEAST_ROWS:
            continue
        values, wrong = as_numbers(cells)
        if (wrong.any() and not _codes(cells)) or (not wrong.any() and not _counts_rows(name, values)):
            continue
        yield Doubt(
            "identifier",
            "warning",
            name,
            f"Column {name!r} names rows: {len(np.unique(there)):,} different values in {len(there):,} rows.",
            len(there),
            (Evidence("share of values that are different", "distinct", share, bound=DISTINCT),),
            (),
            f"drop_column:{name}",
            f'leave it out: drop = ["{name}"]; as the group of a split it may be of use',
        )


def _codes(cells: Cells) -> bool:
    """Whether words read like codes: short, and without blanks."""
    if isinstance(cells, Numbers):
        return False
    used = np.unique(cells.codes[cells.codes >= 0])
    words = (cells.values[code] for code in used.tolist())
    return sum(len(word) <= 64 and " " not in word for word in words) >= DISTINCT * len(used)


def _counts_rows(name: str, values: Floats) -> bool:
    there = values[~np.isnan(values)]
    if not (there == np.floor(there)).all():
        return False
    steps = np.diff(there)
    dense = there.max() - there.min() + 1 <= 1.5 * len(there)
    even = len(np.unique(steps)) == 1
    return bool(dense or even or _NAMED_ID.search(name))


def outliers(case: Case) -> Iterator[Doubt]:
    """Numbers so far from the median that a slip is likelier than a value, and codes such as -999 in the place of a gap."""
    table = case.table
    columns = (
        {} if table is None else {n: as_numbers(table.columns[n])[0] for n, k in case.features.items() if k.kind == "number"}
    )
    for name, values in columns.items():
        if (~np.isnan(values)).sum() < LEAST_ROWS:
            continue
        code = sentinel(values)
        if code is not None:
            rows = values == code
            said = f"Column {name!r} holds {code:g} in {int(rows.sum()):,} rows, far from all else: a code for a missing value?"
            evidence = (Evidence("share of rows with it", "sentinel", float(rows.mean())),)
            yield Doubt(
                "code for missing", "note", name, said, int(rows.sum()), evidence, case.places(rows),
                f"blank:{name}={code:g}", "turn it into a gap, if that is what it means",
            )  # fmt: skip
        rows = far_off(values)
        if rows.any():
            reach = float(np.nanmax(np.abs(values[rows] - np.nanmedian(values))))
            said = f"Column {name!r} has {int(rows.sum()):,} values far from all others, such as {values[rows][0]:g}."
            evidence = (Evidence("largest distance from the median", "outlier", reach),)
            yield Doubt(
                "outliers", "warning", name, said, int(rows.sum()), evidence, case.places(rows),
                f"clip_outliers:{name}", "a unit mistaken, or a slip? clip them, or take the logarithm",
            )  # fmt: skip


def far_off(values: Floats) -> Flags:
    """Which values are outliers by the two bounds of this file; NaN is none.

    >>> far_off(np.array([*range(100), 5000.0])).nonzero()[0].tolist()
    [100]
    >>> bool(far_off(np.exp(2 * np.random.default_rng(0).normal(size=10_000))).any())
    False
    """
    there = values[~np.isnan(values)]
    far = _beyond(values, there, FAR)
    positive = there[there > 0]
    if far.any() and len(positive) >= 0.95 * len(there) and len(np.unique(positive)) > 2:
        with np.errstate(divide="ignore", invalid="ignore"):
            far &= _beyond(np.where(values > 0, np.log(values), np.nan), np.log(positive), FAR_LOG) | (values <= 0)
    return far if far.sum() <= 0.005 * len(there) + 1 else np.zeros(len(values), dtype=np.bool_)


def bounds_of(there: Floats) -> tuple[float, float]:
    """The least and the largest value that is not too far from the median, on the scale as it is."""
    low, middle, high = _spread(there)
    if not low < high:
        return float(there.min()), float(there.max())
    up, down = _reach(low, middle, high)
    return middle - FAR * down, middle + FAR * up


def _spread(there: Floats) -> tuple[float, float, float]:
    """The 1 % point, the median and the 99 % point; a single outlier in a few rows must not widen its own bound."""
    edge = max(1, len(there) // 100) if len(there) > 2 else 0
    ordered = np.sort(there)
    return float(ordered[edge]), float(ordered[len(ordered) // 2]), float(ordered[-1 - edge])


def _reach(low: float, middle: float, high: float) -> tuple[float, float]:
    return max(high - middle, (high - low) / 10), max(middle - low, (high - low) / 10)


def _beyond(values: Floats, there: Floats, times: float) -> Flags:
    low, middle, high = _spread(there)
    if not low < high:
        return np.zeros(len(values), dtype=np.bool_)
    up, down = _reach(low, middle, high)
    with np.errstate(invalid="ignore"):
        found: Flags = (values > middle + times * up) | (values < middle - times * down)
    return found


def sentinel(values: Floats) -> float | None:
    """A number of nines (or minus one) that recurs and lies apart from all else, as codes for missing values do.

    >>> sentinel(np.array([1.0, 2.0, 3.0, 2.0, 1.0, -999.0, -999.0, -999.0]))
    -999.0
    """
    there = values[~np.isnan(values)]
    inner = there[~far_off(there)]  # a slip beyond the code, or at the other end, must not hide it
    for edge in dict.fromkeys((float(inner.min()), float(inner.max()), float(there.min()), float(there.max()))):
        rest = inner[inner != edge]
        nines = bool(re.fullmatch(r"-?9{2,}(\.0)?", str(edge)))
        apart = len(rest) > 0 and min(abs(edge - rest.min()), abs(edge - rest.max())) > (rest.max() - rest.min())
        if nines and apart and (there == edge).sum() >= 3:
            return edge
    return None
