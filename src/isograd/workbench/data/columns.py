"""Say what a column holds: numbers, truths, categories or text; and read its cells as such."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import ColumnKind
from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.order import in_order
from isograd.workbench.data.spilled import laid_down, lexicon_of, on_disk

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

GAPS = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Words, in any case, that say that a value is missing."""
TARGET_GAPS = GAPS - {"none"}
"""The same for a target, where "none" may well be a class."""
TRUTHS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
LARGEST = 1e30
"""A magnitude above it counts as not finite: its square would not fit a float32."""
MOSTLY = 0.95
"""A column with at least this share of numbers is numeric, and what else it holds is a fault."""
FEW_ROWS = 1 << 16
MOST_WORDS = 1 << 18
"""Different numbers that are held as words in memory, of about 64 bytes each; more go to disk."""
MOST_VALUES = 200
FEW_VALUES = 10
SENTENCE = 3
LONG = 60
"""Characters: values that are longer than this on average read like text, not like names of categories."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DATE_LIKE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A column of words: ``codes`` (rows,) into ``values``, -1 where there is none."""

    codes: Codes
    values: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column of numbers, float64 (rows,), NaN where there is none."""

    values: Floats


Cells = Words | Numbers


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds, or, where it cannot be learned from, why (``reason``)."""

    kind: ColumnKind | None
    reason: str = ""


def taken(cells: Cells, rows: Codes) -> Cells:
    """Some rows of a column; of words that lie on disk only those of a few rows are brought along."""
    if isinstance(cells, Numbers):
        return Numbers(cells.values[rows])
    codes = cells.codes[rows]
    if isinstance(cells.values, Lexicon) and len(rows) <= FEW_ROWS:
        used, codes = np.unique(codes, return_inverse=True)
        least = int(used[:1].sum() < 0) if len(used) else 0
        return Words(codes.astype(np.int64) - least, tuple(cells.values[code] for code in used[least:].tolist()))
    return Words(codes, cells.values)


def spilled(cells: Cells, rows: Codes | None = None) -> Cells:
    """A column, or some rows of one that lies on disk, on disk too: in a file without a name, which ends with the process."""
    if rows is not None and len(rows) <= FEW_ROWS:
        return taken(cells, rows)
    values = cells.values if isinstance(cells, Numbers) else cells.codes
    if rows is None:
        some = laid_down(values)
    else:
        pieces = (values[rows[start : start + FEW_ROWS]] for start in range(0, len(rows), FEW_ROWS))
        some = on_disk(pieces, values.dtype)
    return Numbers(some) if isinstance(cells, Numbers) else Words(some, cells.values)


def joined(parts: Sequence[Cells]) -> Cells:
    """Columns under one another; words where any part holds words."""
    numbers = [part.values for part in parts if isinstance(part, Numbers)]
    if len(numbers) == len(parts):
        return Numbers(np.concatenate(numbers))
    known: dict[str, int] = {}
    codes = []
    for part in map(as_words, parts):
        where = np.array([known.setdefault(value, len(known)) for value in part.values] + [-1], dtype=np.int64)
        codes.append(where[part.codes])
    return Words(np.concatenate(codes), tuple(known))


def as_words(cells: Cells) -> Words:
    """A column as words; a whole number is written without a point.

    >>> as_words(Numbers(np.array([1.0, 0.5, np.nan]))).values
    ('0.5', '1')
    """
    if isinstance(cells, Words):
        return cells
    found, codes = np.unique(cells.values, return_inverse=True)
    codes = np.where(np.isnan(cells.values), -1, codes).astype(np.int64)
    words = (str(int(v)) if v.is_integer() else repr(v) for v in found.tolist() if v == v)
    return Words(codes, lexicon_of(words)[0] if len(found) > MOST_WORDS else tuple(words))


def codes_of(cells: Cells) -> Codes:
    """A number for each different content of a column, the same in all rows that hold it."""
    if isinstance(cells, Words):
        return cells.codes
    bits = np.where(np.isnan(cells.values), np.nan, cells.values + 0.0).view(np.int64)  # one zero, one gap
    return in_order(bits)


def is_number(word: str) -> bool:
    """Whether a word is a decimal number.

    >>> is_number("1.5e3"), is_number("1_000"), is_number("inf")
    (True, False, False)
    """
    return _NUMBER.fullmatch(word) is not None


def as_numbers(cells: Cells) -> tuple[Floats, Flags]:
    """A column as float64 with NaN for gaps, and which rows hold something else than a finite number (NaN there too)."""
    if isinstance(cells, Numbers):
        wrong = np.abs(cells.values) > LARGEST
        return np.where(wrong, np.nan, cells.values) if wrong.any() else cells.values, wrong
    matches = _NUMBER.fullmatch
    values = _of_each(cells.values, "number", lambda word: float(word) if matches(word) else np.nan, np.float64)
    return _looked_up(cells, values, _gaps(cells.values, GAPS))


def as_truths(cells: Cells) -> tuple[Floats, Flags]:
    """A column of true, false, yes, no (or 1, 0) as 1.0 and 0.0, NaN for gaps, and which rows hold something else."""
    words = as_words(cells)
    known = {**TRUTHS, "1": 1.0, "0": 0.0}
    values = _of_each(words.values, "truth", lambda word: known.get(word.lower(), np.nan), np.float64)
    return _looked_up(words, values, _gaps(words.values, GAPS))


def _looked_up(words: Words, values: Floats, gaps: Flags) -> tuple[Floats, Flags]:
    value = np.append(values, np.nan)
    wrong = ~(np.abs(value) <= LARGEST) & ~np.append(gaps, True)
    return np.where(wrong, np.nan, value)[words.codes], wrong[words.codes]


def _of_each(values: Sequence[str], key: object, say: Callable[[str], object], kind: type) -> NDArray[Any]:
    """What is to be said of each word; of words on disk it is said once."""

    def make() -> NDArray[Any]:
        return np.fromiter(map(say, values), dtype=kind, count=len(values))

    return values.once(key, lambda: laid_down(make())) if isinstance(values, Lexicon) else make()


def _gaps(values: Sequence[str], gaps: frozenset[str]) -> Flags:
    return _of_each(values, gaps, lambda word: word.lower() in gaps, np.bool_)


def is_missing(cells: Cells, gaps: frozenset[str] = GAPS) -> Flags:
    """Which rows of a column have no value."""
    return np.isnan(cells.values) if isinstance(cells, Numbers) else np.append(_gaps(cells.values, gaps), True)[cells.codes]


def as_labels(cells: Cells, gaps: frozenset[str] = GAPS) -> Words:
    """A column as categories: words, with -1 for every word that says that there is none."""
    words = as_words(cells)
    return Words(np.where(is_missing(words, gaps), -1, words.codes), words.values)


def kind_of(cells: Cells) -> Kind:
    """Number, boolean, date, category, text, or why none of these: no values, one value, or names.

    Words are numbers where at least 95 % (or all but one of at least five) parse as such; truths where all are true, false,
    yes or no; categories where there are at most ten different ones, or at most 200 that recur and are short.
    """
    if isinstance(cells, Numbers):
        there = cells.values[~np.isnan(cells.values)]
        if not len(there):
            return Kind(None, "has no values")
        constant = len(there) == len(cells.values) and bool((there == there[0]).all())
        return Kind(None, f"has the same value {there[0]:g} in every row") if constant else Kind("number")
    labels = as_labels(cells)
    rows = int((labels.codes >= 0).sum())
    if not rows:
        return Kind(None, "has no values")
    counts = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.values))

    def used() -> Iterator[str]:  # not a list: they may be more than memory holds
        return itertools.compress(labels.values, counts)

    first, distinct = next(used()), int((counts > 0).sum())
    if distinct == 1 and rows == len(labels.codes):
        return Kind(None, f"has the same value {first!r} in every row")
    wrong = int(as_numbers(cells)[1].sum())
    if wrong <= (1 - MOSTLY) * rows or (wrong == 1 and rows >= 5):
        return Kind("number")
    if all(word.lower() in TRUTHS for word in used()):
        return Kind("boolean")
    if all(_DECIMAL_COMMA.fullmatch(word) for word in used()):
        return Kind(None, f"has decimal commas ({first}, where {first.replace(',', '.')} is a number)")
    if all(map(_DATE_LIKE.match, used())) and _dates(used()) >= MOSTLY * distinct:
        return Kind("date")
    length = sum(len(word) * count for word, count in zip(labels.values, counts.tolist(), strict=True)) / rows
    if length <= LONG and (distinct <= FEW_VALUES or (distinct <= MOST_VALUES and 2 * distinct <= rows)):
        return Kind("category")
    said = f"reads like text or names ({distinct:,} different values in {rows:,} rows)"
    return Kind("text" if 2 * _sentences(used()) > distinct else None, said)


def _sentences(words: Iterable[str]) -> int:
    """How many words are texts to learn from, and not names or codes: those of at least three parts."""
    return sum(len(word.split(maxsplit=SENTENCE)) >= SENTENCE for word in words)


def _dates(words: Iterable[str]) -> int:
    from isograd.workbench.data.dates import is_date  # it reads cells as this module tells

    return sum(map(is_date, words))
