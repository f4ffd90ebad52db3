"""Fit a table's encoding on its training rows, and encode any rows by it: one implementation for training and prediction."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import Column, ColumnEncoding, ColumnKind, Encoding, TextEncoding
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
from isograd.workbench.data.dates import as_days, circles_of, circles_that_vary
from isograd.workbench.data.lexicon import Chosen
from isograd.workbench.data.pictures import check_bytes
from isograd.workbench.data.rows import EncodingPlan
from isograd.workbench.data.tokens import encode_texts, fit_texts, width_of

_TEXTS = 4096
"""Texts that are cut into tokens at once."""
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
    """A number, boolean or date column as float64 with NaN for gaps, and which rows are neither value nor gap."""
    return as_truths(cells) if kind == "boolean" else as_days(cells) if kind == "date" else as_numbers(cells)


def settled(name: str, cells: Cells, kind: ColumnKind) -> tuple[Cells, Trouble | None]:
    """A column with its numbers parsed, once for all that follows, and the rows that hold something else, if there are any."""
    if kind in ("category", "text"):
        return cells, None
    values, wrong = values_of(cells, kind)
    rows = np.flatnonzero(wrong)
    words = as_words(taken(cells, rows))
    trouble = Trouble(name, rows, tuple(words.values[code] for code in words.codes), kind) if len(rows) else None
    same = kind != "number" or (isinstance(cells, Numbers) and cells.values is values)
    return (cells if same else Numbers(values)), trouble


def fit_column(
    name: str,
    cells: Cells,
    kind: ColumnKind,
    plan: EncodingPlan = EncodingPlan(),  # noqa: B008 - it is frozen
) -> ColumnEncoding | None:
    """How a column becomes numbers, from training rows; nothing where it does not vary and so teaches nothing.

    Numbers, truths and dates: centre and scale of the values there are, and an indicator where there are gaps. Categories: the
    values, most frequent first (then by name), with "missing" among them where there are gaps. Texts: a vocabulary.
    """
    if kind == "category":
        counts = category_counts(cells)
        return ColumnEncoding(name, kind, values=tuple(counts), index=plan.categories == "index") if len(counts) > 1 else None
    if kind == "text":
        labels = as_labels(cells)
        texts = Chosen(labels.values, labels.codes)
        found = fit_texts(
            texts, tokens=plan.tokens, form=plan.text, vocabulary=plan.vocabulary, length=plan.length, keep=plan.keep
        )
        return ColumnEncoding(name, kind, text=found) if found is not None else None
    values, _ = values_of(cells, kind)
    gaps = np.isnan(values)
    if gaps.all():
        return None
    scaling = plan.scaling if kind != "boolean" else "standard"
    centre, scale = centre_and_scale(values[~gaps], scaling)
    # Less is the rounding of the values themselves, or so little that dividing by it overflows.
    least = max(1e-12 * abs(centre), 1e-270)
    if scale <= least and not gaps.any():
        return None
    return ColumnEncoding(
        name,
        kind,
        mean=centre,
        std=scale if scale > least else max(least, 1.0),
        indicator=bool(gaps.any()),
        scaling=scaling,
        circles=circles_that_vary(values) if kind == "date" else (),
    )


def centre_and_scale(values: Floats, scaling: str) -> tuple[float, float]:
    """What is taken off a number and what it is divided by then: mean and deviation, least and range, median and quartiles.

    Where the quartiles are equal (most values are), the deviation takes the place of their distance.

    >>> centre_and_scale(np.array([0.0, 1.0, 2.0, 3.0, 100.0]), "robust")
    (2.0, 2.0)
    """
    if scaling == "minmax":
        low, high = float(values.min()), float(values.max())
        return low, high - low
    if scaling == "robust":
        low, middle, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
        return middle, high - low or float(values.std())
    return float(values.mean()), float(values.std())


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

    A number: (x - mean) / deviation, 0 where there is a gap, followed by its indicator; a date is followed by its circles
    too. A category: one of its values, all zeros where training never saw the value; or its place. A text: its tokens.
    """
    blocks = [_encode_column(columns[encoding.name], encoding) for encoding in encodings]
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((rows, 0), dtype=np.float32)


def _encode_column(cells: Cells, encoding: ColumnEncoding) -> NDArray[np.float32]:
    if encoding.text is not None:
        return _encode_texts(cells, encoding.text)
    if encoding.kind == "category":
        places = _places(cells, encoding)
        if encoding.index:
            return np.asarray(places[:, None] + 1, dtype=np.float32)
        return np.asarray(places[:, None] == np.arange(len(encoding.values)), dtype=np.float32)
    values, _ = values_of(cells, encoding.kind)
    gaps = np.isnan(values)
    scaled = np.where(gaps, 0.0, (values - encoding.mean) / encoding.std)
    scaled = np.clip(scaled, -LARGEST, LARGEST).astype(np.float32)  # a far outlier must not become an infinity of float32
    blocks = [scaled[:, None]]
    if encoding.indicator:
        blocks.append(gaps[:, None].astype(np.float32))
    if encoding.circles:
        blocks.append(circles_of(values, encoding.circles).astype(np.float32))
    return np.concatenate(blocks, axis=1)


def width_of_column(encoding: ColumnEncoding) -> int:
    """How many features a column becomes.

    >>> width_of_column(ColumnEncoding("age", "number", indicator=True))
    2
    """
    if encoding.text is not None:
        return width_of(encoding.text)
    if encoding.kind == "category":
        return 1 if encoding.index else len(encoding.values)
    return 1 + encoding.indicator + 2 * len(encoding.circles)


def _encode_texts(cells: Cells, encoding: TextEncoding) -> NDArray[np.float32]:
    """Each different text once: (rows, features)."""
    labels = as_labels(cells)
    check_bytes(4 * len(labels.codes) * width_of(encoding), f"{len(labels.codes):,} texts", "a smaller vocabulary")
    found = np.zeros((len(labels.codes), width_of(encoding)), dtype=np.float32)
    codes, place = np.unique(labels.codes, return_inverse=True)
    order = np.argsort(place, kind="stable")
    for first in range(0, len(codes), _TEXTS):
        some = codes[first : first + _TEXTS].tolist()
        rows = order[slice(*np.searchsorted(place[order], [first, first + len(some)]))]
        encoded = encode_texts([labels.values[code] if code >= 0 else "" for code in some], encoding)
        found[rows] = encoded[place[rows] - first]
    return found


def _places(cells: Cells, encoding: ColumnEncoding) -> Codes:
    """Where each row's category stands among the values of the encoding; -1 where training never saw it."""
    labels = as_labels(cells)
    known = {value: place for place, value in enumerate(encoding.values)}
    places = np.array([*(known.get(word, -1) for word in labels.values), known.get(MISSING, -1)], dtype=np.int64)
    found: Codes = places[labels.codes]
    return found


def features_of(encoding: Encoding) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], int]:
    """Which features of an encoded row are quantities, which are places of categories and among how many, and the vocabulary.

    A place is 0 where training never saw the category. The vocabulary is that of a text given as token numbers, else 0.

    >>> town = ColumnEncoding("town", "category", values=("A",), index=True)
    >>> features_of(Encoding("table", "income", columns=(ColumnEncoding("age", "number", indicator=True), town)))
    ((0,), ((2, 2),), 0)
    """
    numbers, categories, vocabulary, place = [], [], 0, 0
    if encoding.kind == "sequence":  # its features are those of a step
        return (), (), 0
    for column in encoding.columns:
        if column.kind in ("number", "date"):
            numbers.append(place)
        if column.kind == "category" and column.index:
            categories.append((place, len(column.values) + 1))
        if column.text is not None and column.text.form == "ids":
            vocabulary = column.text.size
        place += width_of_column(column)
    return tuple(numbers), tuple(categories), vocabulary


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
    if kind == "text":
        labels = as_labels(cells)
        often = np.bincount(labels.codes + 1, minlength=len(labels.values) + 1)
        used = heapq.nsmallest(3, ((-n, word) for n, word in zip(often[1:].tolist(), labels.values, strict=True) if n))
        shown = tuple(word[:100] for _, word in used)
        return Column(name, kind, missing=int(often[0]), distinct=int((often[1:] > 0).sum()), values=shown)
    if kind == "category":
        counts = category_counts(cells)
        gaps = int((as_labels(cells).codes < 0).sum())
        named = tuple(word for word in counts if not (gaps and word == MISSING))
        return Column(name, kind, missing=gaps, distinct=len(named), values=named)
    values, _ = values_of(cells, kind)
    there = values[~np.isnan(values)]
    if kind == "date":
        words = as_labels(cells)
        first, last = (words.values[words.codes[row]] for row in (np.nanargmin(values), np.nanargmax(values)))
        return Column(name, kind, missing=len(values) - len(there), distinct=len(np.unique(there)), values=(first, last))
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
