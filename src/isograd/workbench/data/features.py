"""Fit a table's encoding on its training rows, and encode any rows by it: one implementation for training and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import Column, ColumnEncoding, ColumnKind
from isograd.workbench.data.columns import (
    LARGEST,
    Cells,
    Codes,
    Flags,
    Floats,
    Numbers,
    as_labels,
    as_numbers,
    as_truths,
    as_words,
    taken,
)

MISSING = "missing"
"""The value that a category has where it has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Trouble:
    """Rows of a column that cannot be read as what the column holds, and what stands there."""

    column: str
    rows: Codes
    words: tuple[str, ...]
    holds: ColumnKind


def values_of(cells: Cells, kind: ColumnKind) -> tuple[Floats, Flags]:
    """A number or boolean column as float64 with NaN for gaps, and which rows are neither value nor gap."""
    return as_truths(cells) if kind == "boolean" else as_numbers(cells)


def settled(name: str, cells: Cells, kind: ColumnKind) -> tuple[Cells, Trouble | None]:
    """A column with its numbers parsed, once for all that follows, and the rows that hold something else, if there are any."""
    if kind in ("category", "text"):
        return cells, None
    values, wrong = values_of(cells, kind)
    rows = np.flatnonzero(wrong)
    words = as_words(taken(cells, rows))
    trouble = Trouble(name, rows, tuple(words.values[code] for code in words.codes), kind) if len(rows) else None
    return (Numbers(values) if kind == "number" else cells), trouble


def fit_column(name: str, cells: Cells, kind: ColumnKind) -> ColumnEncoding | None:
    """How a column becomes numbers, from training rows; nothing where it does not vary and so teaches nothing.

    Numbers and truths: mean and deviation of the values there are, and an indicator where there are gaps. Categories: the
    values, most frequent first (then by name), with "missing" among them where there are gaps.
    """
    if kind == "category":
        counts = category_counts(cells)
        return ColumnEncoding(name, kind, values=tuple(counts)) if len(counts) > 1 else None
    values, _ = values_of(cells, kind)
    gaps = np.isnan(values)
    if gaps.all():
        return None
    mean, std = float(values[~gaps].mean()), float(values[~gaps].std())
    # Less is the rounding of the values themselves, or so little that dividing by it overflows.
    least = max(1e-12 * abs(mean), 1e-270)
    if std <= least and not gaps.any():
        return None
    return ColumnEncoding(name, kind, mean=mean, std=std if std > least else max(least, 1.0), indicator=bool(gaps.any()))


def category_counts(cells: Cells) -> dict[str, int]:
    """How often each category occurs, most frequent first; rows without one count as "missing"."""
    labels = as_labels(cells)
    counts = np.bincount(labels.codes + 1, minlength=len(labels.values) + 1).tolist()
    total: dict[str, int] = {}
    for word, count in zip((MISSING, *labels.values), counts, strict=True):
        if count:
            total[word] = total.get(word, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def encode(columns: Mapping[str, Cells], encodings: Sequence[ColumnEncoding], rows: int) -> NDArray[np.float32]:
    """Rows as inputs (rows, features), each value computed from its own cell alone, so that a row's company changes no bit.

    A number: (x - mean) / deviation, 0 where there is a gap, followed by its indicator. A category: one of its values; all
    zeros where training never saw the value.
    """
    blocks = [_encode_column(columns[encoding.name], encoding) for encoding in encodings]
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((rows, 0), dtype=np.float32)


def _encode_column(cells: Cells, encoding: ColumnEncoding) -> NDArray[np.float32]:
    if encoding.kind == "category":
        places = _places(cells, encoding)
        return np.asarray(places[:, None] == np.arange(len(encoding.values)), dtype=np.float32)
    values, _ = values_of(cells, encoding.kind)
    gaps = np.isnan(values)
    scaled = np.where(gaps, 0.0, (values - encoding.mean) / encoding.std)
    scaled = np.clip(scaled, -LARGEST, LARGEST).astype(np.float32)  # a far outlier must not become an infinity of float32
    return np.stack([scaled, gaps.astype(np.float32)], axis=1) if encoding.indicator else scaled[:, None]


def _places(cells: Cells, encoding: ColumnEncoding) -> Codes:
    """Where each row's category stands among the values of the encoding; -1 where training never saw it."""
    labels = as_labels(cells)
    known = {value: place for place, value in enumerate(encoding.values)}
    places = np.array([*(known.get(word, -1) for word in labels.values), known.get(MISSING, -1)], dtype=np.int64)
    found: Codes = places[labels.codes]
    return found


def unseen(cells: Cells, encoding: ColumnEncoding) -> Trouble | None:
    """The rows whose category training never saw, if there are any."""
    if encoding.kind != "category":
        return None
    rows = np.flatnonzero(_places(cells, encoding) < 0)
    labels = as_labels(taken(cells, rows))
    words = tuple(labels.values[code] if code >= 0 else MISSING for code in labels.codes)
    return Trouble(encoding.name, rows, words, "category") if len(rows) else None


def describe_column(name: str, cells: Cells, kind: ColumnKind) -> Column:
    """What a column holds, over all rows: gaps, distinct values, range or values."""
    if kind in ("category", "text"):
        counts = category_counts(cells)
        gaps = int((as_labels(cells).codes < 0).sum())
        named = tuple(word for word in counts if not (gaps and word == MISSING))
        return Column(name, kind, missing=gaps, distinct=len(named), values=named)
    values, _ = values_of(cells, kind)
    there = values[~np.isnan(values)]
    return Column(
        name,
        kind,
        missing=len(values) - len(there),
        distinct=len(np.unique(there)),
        minimum=float(there.min()),
        maximum=float(there.max()),
        mean=float(there.mean()),
        std=float(there.std()),
    )
