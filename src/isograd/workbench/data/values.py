"""Turn the values that JSON and databases hand out, whatever their types, into the cells of a column."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Sequence

import numpy as np

from isograd.workbench.data.columns import Cells, Numbers, Words

_TIMES = (datetime.date, datetime.time, datetime.timedelta)


def cells_of(values: Sequence[object]) -> Cells | None:
    """A column of Python values: numbers where all are numbers, else words; nothing where a value is neither (a list, bytes).

    None and NaN are gaps. Dates are written as ISO 8601, truths as true and false, and a number too large for float64 as the
    word that it is.

    >>> cells_of([1, None, 2.5]).values.tolist(), cells_of(["a", 1, True]).values
    ([1.0, nan, 2.5], ('a', '1', 'true'))
    >>> cells_of([[1], [2]]) is None
    True
    """
    if all(value is None or _is_number(value) for value in values) and any(value is not None for value in values):
        return Numbers(np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64))  # type: ignore[arg-type]
    known: dict[str, int] = {}
    codes = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        word = word_of(value)
        if word is None and value is not None and not _is_nan(value):
            return None
        codes[row] = -1 if word is None else known.setdefault(word, len(known))
    return Words(codes, tuple(known))


def word_of(value: object) -> str | None:
    """A value as it stands in a cell of a table; nothing for a gap and for what is no single value.

    >>> word_of(True), word_of(2.0), word_of(datetime.date(2026, 3, 31))
    ('true', '2', '2026-03-31')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | uuid.UUID):
        return str(value)
    if isinstance(value, float | decimal.Decimal):
        if _is_nan(value):
            return None
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(value)
    return str(value) if isinstance(value, _TIMES) else None


def _is_nan(value: object) -> bool:
    return isinstance(value, float | decimal.Decimal) and value != value


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal):
        return False
    try:
        float(value)
    except (OverflowError, ValueError):
        return False
    return True
