"""Drift between the parts that a source gives: columns, labels and traits that are distributed otherwise in another part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from isograd.records.finding import Evidence
from isograd.records.inspection import Doubt
from isograd.workbench.data.columns import Codes, Floats, as_labels, as_numbers
from isograd.workbench.data.doubts.case import LEAST_ROWS, Case, parts_in_order

APART = 0.1
"""The largest difference of two cumulative distributions, or half the sum of the differences of two shares, that matters: a
tenth of the rows would have to change places. What is certain but smaller is drift that no figure shows."""
UNLIKELY = 1e-6
"""Largest probability of a difference by chance, for all comparisons together: a false alarm in a million inspections."""


def drift(case: Case) -> Iterator[Doubt]:
    """Columns and labels of each part compared with the training part; large and certain differences are told."""
    names = parts_in_order(case.parts)
    if "train" not in names:
        return
    train = case.rows_of_part("train")
    columns = list(_columns(case))
    comparisons = max(1, len(columns) * (len(names) - 1))
    for part in names[1:]:
        rows = case.rows_of_part(part)
        if min(len(rows), len(train)) < LEAST_ROWS:
            continue
        for where, values, is_number in columns:
            apart, chance = (_of_numbers if is_number else _of_codes)(values[train], values[rows])
            if apart >= APART and chance * comparisons < UNLIKELY:
                yield Doubt(
                    "drift",
                    "warning",
                    where,
                    f"{where[0].upper() + where[1:]} is distributed otherwise in the {part} part than in training.",
                    len(rows),
                    (
                        Evidence("share of rows that would have to change places", "apart", apart, bound=APART),
                        Evidence("logarithm (base 10) of the probability of it by chance", "chance", _log10(chance)),
                    ),
                    remedy="was it gathered otherwise? if the parts are of one kind, put them together and split anew",
                )


def _log10(chance: float) -> float:
    return max(-300.0, math.log10(chance)) if chance > 0 else -300.0


def _columns(case: Case) -> Iterator[tuple[str, Floats | Codes, bool]]:
    if case.table is not None:
        for name, kind in case.features.items():
            cells = case.table.columns[name]
            if kind.kind == "number":
                yield f"column {name!r}", as_numbers(cells)[0], True
            elif kind.kind in ("category", "boolean"):
                yield f"column {name!r}", as_labels(cells).codes, False
        if case.labels is None and case.target in case.table.columns:
            yield "the target", as_numbers(case.table.columns[case.target])[0], True
    for name, trait in case.traits.items():
        yield f"the {name}", trait, True
    if case.labels is not None:
        yield "the label", case.labels, False


def _of_numbers(here: Floats | Codes, there: Floats | Codes) -> tuple[float, float]:
    """The statistic of Kolmogorov and Smirnov over the values there are (or the difference in gaps, where larger), and p."""
    gaps = abs(float(np.isnan(here).mean() - np.isnan(there).mean()))
    a, b = np.sort(here[~np.isnan(here)]), np.sort(there[~np.isnan(there)])
    if not len(a) or not len(b):
        return gaps, _normal(gaps, len(here), len(there))
    every = np.concatenate([a, b])
    cumulated = np.searchsorted(a, every, side="right") / len(a) - np.searchsorted(b, every, side="right") / len(b)
    apart = float(np.abs(cumulated).max())
    # The bound of Massart with both samples' sizes: P(D > d) <= 2 exp(-2 d^2 nm / (n + m)).
    chance = 2 * math.exp(-2 * apart**2 * len(a) * len(b) / (len(a) + len(b)))
    return (apart, chance) if apart >= gaps else (gaps, _normal(gaps, len(here), len(there)))


def _normal(difference: float, n: int, m: int) -> float:
    """Hoeffding's bound on a difference of two shares by chance."""
    return 2 * math.exp(-2 * difference**2 * n * m / (n + m))


def _of_codes(here: Codes | Floats, there: Codes | Floats) -> tuple[float, float]:
    """Half the sum of the differences in share over what chance alone lets many values differ by, and p of chi-square."""
    from scipy.stats import chi2  # a second to import

    codes = np.unique(np.concatenate([here, there]), return_inverse=True)[1]
    a = np.bincount(codes[: len(here)], minlength=codes.max() + 1)
    b = np.bincount(codes[len(here) :], minlength=codes.max() + 1)
    apart = float(np.abs(a / len(here) - b / len(there)).sum() / 2)
    expected = (a + b) / (len(here) + len(there))
    statistic = float(
        (
            ((a - expected * len(here)) ** 2) / (expected * len(here))
            + ((b - expected * len(there)) ** 2) / (expected * len(there))
        ).sum()
    )
    return apart, float(chi2.sf(statistic, max(1, len(a) - 1)))
