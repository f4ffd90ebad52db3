"""Dates as features: how far along in time, and where in the year, the week and the day, each on a circle."""

from __future__ import annotations

import datetime
import math
import re

import numpy as np

from isograd.workbench.data.columns import Cells, Flags, Floats, as_labels, as_words

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)
_DAY = 86_400.0
YEAR, WEEK = 365.2425, 7.0
CIRCLES = ("year", "week", "day")


def is_date(word: str) -> bool:
    """Whether a word is a date, or a date and a time, as ISO 8601 writes them.

    >>> is_date("2026-03-31"), is_date("2026-03-31T12:30Z"), is_date("2026-02-31"), is_date("20260331")
    (True, True, False, False)
    """
    return not math.isnan(day_of(word))


def day_of(word: str) -> float:
    """Days since 1970 in UTC (where no zone is said, as if it were), and NaN where a word is no date.

    >>> day_of("1970-01-02T12:00"), day_of("soon")
    (1.5, nan)
    """
    if not _DATE.fullmatch(word):
        return math.nan
    try:
        found = datetime.datetime.fromisoformat(word)
    except ValueError:
        return math.nan
    zoned = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
    return (zoned - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds() / _DAY


def as_days(cells: Cells) -> tuple[Floats, Flags]:
    """A column of dates as days since 1970, NaN for gaps, and which rows hold something else (NaN there too)."""
    words = as_words(cells)
    days = np.append(np.fromiter(map(day_of, words.values), dtype=np.float64, count=len(words.values)), np.nan)
    gaps = as_labels(words).codes < 0
    values = np.where(gaps, np.nan, days[words.codes])
    return values, np.isnan(values) & ~gaps


def circles_of(days: Floats, circles: tuple[str, ...]) -> Floats:
    """Sine and cosine of where each day is in the year, the week and the day: (rows, 2 a circle); zeros for gaps.

    >>> circles_of(np.array([0.25]), ("day",)).round(3).tolist()
    [[1.0, 0.0]]
    """
    length = {"year": YEAR, "week": WEEK, "day": 1.0}
    waves = []
    for circle in circles:
        angle = 2 * np.pi * (days % length[circle]) / length[circle]
        waves += [np.sin(angle), np.cos(angle)]
    found: Floats = np.nan_to_num(np.stack(waves, axis=1)) if waves else np.zeros((len(days), 0))
    return found


def circles_that_vary(days: Floats) -> tuple[str, ...]:
    """The circles on which some days stand apart: no day where all are midnights, no year within a single month.

    >>> circles_that_vary(np.array([0.0, 1.0, 2.0])), circles_that_vary(np.array([0.0, 200.5]))
    (('week',), ('year', 'week', 'day'))
    """
    there = days[~np.isnan(days)]
    span = float(there.max() - there.min()) if len(there) else 0.0
    varies = {
        "year": span > 31,
        "week": len(np.unique(np.floor(there) % WEEK)) > 1,
        "day": len(np.unique(there % 1.0)) > 1,
    }
    return tuple(circle for circle in CIRCLES if varies[circle])
