"""Columns that give the target away: one of them alone foretells it on rows that were not looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isograd.records.finding import Evidence
from isograd.records.inspection import Doubt
from isograd.workbench.data.columns import Cells, Codes, Floats, Numbers, as_labels, as_numbers
from isograd.workbench.data.doubts.case import Case
from isograd.workbench.data.order import permutation

GIVEN_AWAY = 0.95
"""Share of the errors of the best constant answer that one column alone avoids (for a quantity: share of the variance). Columns
of honest data that reach it exist (a formula of physics), so the finding asks rather than tells."""
BINS = 64
LEAST = 50
MOST_ROWS = 50_000


def leaks(case: Case) -> Iterator[Doubt]:
    """Single columns that foretell the target on the half of the rows from which nothing was learned.

    Numbers are cut into up to 64 bins of equal counts; the answer of a bin or of a category is the most frequent class (or the
    mean) in the first half. So an identifier, whose values do not recur, foretells nothing.
    """
    table = case.table
    if table is None or case.target not in table.columns:
        return
    assert case.target is not None
    quantity = None if case.labels is not None else as_numbers(table.columns[case.target])[0]
    known = case.labels >= 0 if case.labels is not None else ~np.isnan(quantity) if quantity is not None else None
    if known is None or known.sum() < LEAST:
        return
    rows = np.flatnonzero(known)
    rows = rows[permutation(0, 0, len(rows))][:MOST_ROWS]
    first, second = np.array_split(rows, 2)
    for name, kind in case.features.items():
        if kind.kind in (None, "text"):
            continue
        codes = binned(table.columns[name], first)
        skill = (
            _skill_of_classes(codes, case.labels, first, second)
            if case.labels is not None
            else _skill_of_means(codes, quantity, first, second)
        )
        if skill >= GIVEN_AWAY:
            what = "of the errors of a constant answer" if case.labels is not None else "of the variance"
            yield Doubt(
                "target leakage",
                "warning",
                name,
                f"Column {name!r} alone gives the target away: it avoids {skill:.1%} {what}.",
                len(case),
                (Evidence(f"share {what} avoided on rows not looked at", "given_away", skill, bound=GIVEN_AWAY),),
                (),
                f"drop_column:{name}",
                f'is it known when the answer is asked for? if not: drop = ["{name}"]',
            )


def binned(cells: Cells, rows: Codes) -> Codes:
    """A category as its code; a number as the bin of equal counts (of ``rows``) that it falls into; gaps are a bin."""
    values, wrong = as_numbers(cells)
    if not isinstance(cells, Numbers) and wrong.mean() > 0.05:
        labels = as_labels(cells).codes
        return np.where(labels < 0, int(labels.max()) + 1, labels)
    there = values[rows][~np.isnan(values[rows])]
    if not len(there):
        return np.zeros(len(values), dtype=np.int64)
    distinct = np.unique(there)
    edges = distinct if len(distinct) <= BINS else np.unique(np.quantile(there, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values)).astype(np.int64)


def _skill_of_classes(codes: Codes, labels: Codes, first: Codes, second: Codes) -> float:
    """Share of the errors of the most frequent class that the most frequent class of each code avoids."""
    classes = int(labels.max()) + 1
    counts = np.zeros((int(codes.max()) + 1, classes), dtype=np.int64)
    np.add.at(counts, (codes[first], labels[first]), 1)
    usual = int(np.bincount(labels[first], minlength=classes).argmax())
    answer = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), usual)
    errors = float((labels[second] != usual).mean())
    return 1 - float((labels[second] != answer[codes[second]]).mean()) / errors if errors else 0.0


def _skill_of_means(codes: Codes, values: Floats | None, first: Codes, second: Codes) -> float:
    """Share of the variance that the mean of each code explains."""
    assert values is not None
    total = np.bincount(codes[first], weights=values[first], minlength=int(codes.max()) + 1)
    counts = np.bincount(codes[first], minlength=int(codes.max()) + 1)
    mean = float(values[first].mean())
    answer = np.where(counts > 0, total / np.maximum(counts, 1), mean)
    variance = float(np.mean((values[second] - mean) ** 2))
    return 1 - float(np.mean((values[second] - answer[codes[second]]) ** 2)) / variance if variance else 0.0
