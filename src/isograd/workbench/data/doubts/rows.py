"""Duplicates, near-duplicates and label conflicts: within the data, and across the border of its parts."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from isograd.records.finding import Evidence, Severity
from isograd.records.inspection import Doubt
from isograd.workbench.data.columns import Codes, Flags, as_labels, codes_of
from isograd.workbench.data.doubts.case import Case, parts_in_order
from isograd.workbench.data.kept import BLOCK
from isograd.workbench.data.order import alike
from isograd.workbench.data.pictures import Pictures, png
from isograd.workbench.data.split import twins

PLAUSIBLE = 1000
"""Rows of a table coincide by chance where it has fewer possible contents than this for each row."""
MANY = 0.01
"""A share of repeated rows from which on repeats are a warning: below, slips change no figure by more than its interval."""
BEYOND_CHANCE = 5.0
"""Standard deviations by which rows recur across a border more often than inside the training part."""
MOST_COMPARED = 20_000
ALIKE = 0.1
"""Root mean square difference of two pictures, each brought to mean 0 and deviation 1, below which one is a copy of the other:
they correlate to 0.995, as after a change of light or another JPEG quality."""


def copies(case: Case) -> Codes:
    """The rows that repeat an earlier one, label included."""
    return _later(_with_labels(case))


def crossing_copies(case: Case) -> Codes:
    """The rows of other parts whose inputs are in the training part; none where the source has no parts."""
    outside = np.flatnonzero(case.parts != "train") if case.parts is not None else np.zeros(0, dtype=np.int64)
    return outside[np.isin(case.same[outside], case.same[case.rows_of_part("train")])]


def conflicting(case: Case) -> Codes:
    """The rows whose inputs occur with several labels."""
    if case.labels is None:
        return np.zeros(0, dtype=np.int64)
    known = np.flatnonzero(case.labels >= 0)
    pairs = np.unique(np.stack([case.same[known], case.labels[known]], axis=1), axis=0)
    inputs, counts = np.unique(pairs[:, 0], return_counts=True)
    return known[np.isin(case.same[known], inputs[counts > 1])]


def near_copies(case: Case) -> Codes:
    """The rows that nearly repeat another one: all of a group but the first, which is a training row where there is one."""
    groups = _alike_texts(case) if case.table is not None else _alike_pictures(case)
    if groups is None:
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(case.parts != "train", kind="stable") if case.parts is not None else np.arange(len(case))
    return np.sort(order[_later(groups[order])])


def repeated(case: Case) -> Iterator[Doubt]:
    """Rows that occur more than once, label included, and rows of one part that occur in another.

    In a table with few possible contents equal rows are no copies, and repeats are a note. Across parts, rows of a table
    without texts must recur more often than they do inside the training part: chance alone lets them recur in both.
    """
    whole = _with_labels(case)
    surplus = len(whole) - len(np.unique(whole))
    if surplus:
        share = surplus / len(case)
        severity: Severity = "warning" if share >= MANY and not _by_chance(case) else "note"
        rows = copies(case)
        yield Doubt(
            "duplicates",
            severity,
            "rows",
            f"{surplus:,} of {len(case):,} rows repeat another one, label included.",
            surplus,
            (Evidence("share of rows that repeat another", "repeated", share, bound=MANY),),
            case.places(rows),
            "drop_duplicates",
            "drop the copies, or keep all copies of a row in one part",
            _shown(case, rows),
        )
    yield from _crossing(case)


def _later(which: Codes) -> Codes:
    """The rows that are not the first of their kind."""
    first = np.unique(which, return_index=True)[1]
    return np.setdiff1d(np.arange(len(which)), first)


def _with_labels(case: Case) -> Codes:
    if case.labels is not None:
        labels = case.labels
    elif case.table is not None and case.target in case.table.columns:
        labels = codes_of(case.table.columns[case.target])
    else:
        return case.same
    return alike([case.same, labels])


def _by_chance(case: Case) -> bool:
    """Whether equal rows are likely to be no copies: a table without texts has few possible contents for its rows."""
    if case.table is None or _has_text(case):
        return False
    contents = sum(math.log(max(1, len(np.unique(codes_of(case.table.columns[name]))))) for name in case.features)
    return contents < math.log(PLAUSIBLE * max(1, len(case)))


def _crossing(case: Case) -> Iterator[Doubt]:
    names = parts_in_order(case.parts)
    if "train" not in names:
        return
    train = case.rows_of_part("train")
    for part in names[1:]:
        rows = case.rows_of_part(part)
        crossing = rows[np.isin(case.same[rows], case.same[train])]
        if not len(crossing):
            continue
        _, which, counts = np.unique(case.same[train], return_inverse=True, return_counts=True)
        inside = float((counts[which] > 1).mean()) if case.table is not None and not _has_text(case) else 0.0
        share = len(crossing) / len(rows)
        deviation = math.sqrt(max(inside * (1 - inside), 1 / len(rows)) / len(rows))
        severity: Severity = (
            "warning" if share > inside + BEYOND_CHANCE * deviation or (share >= MANY and not _by_chance(case)) else "note"
        )
        yield Doubt(
            "duplicates across parts",
            severity,
            "parts",
            f"{len(crossing):,} of {len(rows):,} {part} rows have the inputs of a training row; figures on them say little.",
            len(crossing),
            (
                Evidence(f"share of {part} rows that are in the training part", "crossing", share),
                Evidence("share of training rows that recur inside the training part", "recurring", inside),
            ),
            case.places(crossing),
            "drop_crossing_duplicates",
            f"drop them from the {part} part, or split anew (equal rows then stay together)",
            _shown(case, crossing),
        )


def conflicts(case: Case) -> Iterator[Doubt]:
    """Equal inputs with different labels: no model can be right on both.

    In a table with few possible contents this is noise in the target, and a note.
    """
    rows = conflicting(case)
    if not len(rows):
        return
    share, torn = len(rows) / len(case), len(np.unique(case.same[rows]))
    chance = _by_chance(case) or (case.table is not None and not _has_text(case) and share < MANY / 5)
    yield Doubt(
        "label conflicts",
        "note" if chance else "warning",
        "labels",
        f"{len(rows):,} rows have the same inputs as a row with another label ({torn:,} different inputs).",
        len(rows),
        (Evidence("share of rows whose inputs have several labels", "conflicts", share),),
        case.places(rows),
        "drop_conflicts",
        "decide which label is right, or drop all of them",
        _shown(case, rows[np.argsort(case.same[rows], kind="stable")]),
    )


def _has_text(case: Case) -> bool:
    return any(kind.kind == "text" for kind in case.features.values())


def nearly_repeated(case: Case) -> Iterator[Doubt]:
    """Copies that differ in what does not matter: case, blanks and punctuation of a text; quality or light of a picture."""
    groups = _alike_texts(case) if case.table is not None else _alike_pictures(case)
    if groups is None:
        return
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    distinct = np.unique(np.stack([which, case.same], axis=1), axis=0)
    several = np.bincount(distinct[:, 0], minlength=len(sizes)) > 1
    rows = np.flatnonzero(several[which])
    if not len(rows):
        return
    ordered = rows[np.argsort(which[rows], kind="stable")]
    crossing = _groups_across(case, which, rows)
    severity: Severity = "warning" if crossing or len(rows) / len(case) >= MANY else "note"
    yield Doubt(
        "near-duplicates",
        severity,
        "parts" if crossing else "rows",
        f"{len(rows):,} rows differ from another only in what hardly matters"
        + (f"; {crossing:,} groups of them lie in more than one part." if crossing else "."),
        len(rows),
        (
            Evidence("share of rows that nearly repeat another", "nearly_repeated", len(rows) / len(case), bound=MANY),
            Evidence("groups that lie in more than one part", "nearly_crossing", float(crossing)),
        ),
        case.places(ordered),
        "drop_near_duplicates",
        "keep one of each group, or all of a group in one part",
        _shown(case, ordered),
    )


def _groups_across(case: Case, which: Codes, rows: Codes) -> int:
    if case.parts is None:
        return 0
    pairs = {(int(group), str(part)) for group, part in zip(which[rows], case.parts[rows], strict=True)}
    return len(pairs) - len({group for group, _ in pairs})


_LETTERS = re.compile(r"\W+")


def _alike_texts(case: Case) -> Codes | None:
    """A number for each text without its case, blanks and punctuation; rows of several texts are compared by all of them."""
    assert case.table is not None
    names = [name for name, kind in case.features.items() if kind.kind == "text"]
    if not names:
        return None
    codes = []
    for name in names:
        words = as_labels(case.table.columns[name])
        plain = twins(
            _LETTERS.sub("", word).casefold().encode("utf-8", "surrogatepass") for word in itertools.chain(words.values, ("",))
        )
        codes.append(plain[words.codes])
    return alike(codes)


def _alike_pictures(case: Case) -> Codes | None:
    """A number for each group of pictures that are copies of one another, found among neighbours at 8 x 8 and then compared."""
    found = case.found
    if not isinstance(found, Pictures) or not 2 <= len(case) <= MOST_COMPARED or min(found.pixels.shape[1:3]) < 8:
        return None
    first, which = np.unique(case.same, return_index=True, return_inverse=True)[1:]
    each = max(1, BLOCK // int(np.prod(found.pixels.shape[1:])))  # they may lie on disk
    blocks = [_shrunk(found.pixels[first[start : start + each]]) for start in range(0, len(first), each)]
    small = _standardised(np.concatenate(blocks))
    flat: Flags = np.logical_not(np.isfinite(small).all(axis=1))
    group = np.arange(len(first))
    for left, right in _neighbours(np.where(flat[:, None], np.float32(0), small), flat):
        a, b = (_standardised(found.pixels[[first[i]]].reshape(1, -1)) for i in (left, right))
        if float(np.sqrt(np.mean((a - b) ** 2))) < ALIKE:
            group[group == group[right]] = group[left]
    return group[which].astype(np.int64)


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures as the means of 8 x 8 fields of their grey (rows, 64)."""
    height, width = pixels.shape[1:3]
    rows, columns = (np.arange(9) * height) // 8, (np.arange(9) * width) // 8
    fields = (
        pixels[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean(axis=(1, 2, 3), dtype=np.float32)
        for i in range(8)
        for j in range(8)
    )
    return np.stack(list(fields), axis=1)


def _standardised(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    values = rows.astype(np.float32)
    spread = values.std(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float32] = (values - values.mean(axis=1, keepdims=True)) / spread
    return found


def _neighbours(small: NDArray[np.float32], flat: Flags) -> Iterator[tuple[int, int]]:
    """Pairs whose 8 x 8 means agree to within ``ALIKE``, in blocks of 1,000 so that memory stays small."""
    bound = ALIKE**2 * small.shape[1]
    norms = (small**2).sum(axis=1)
    for start in range(0, len(small), 1000):
        block = slice(start, start + 1000)
        distance = norms[block, None] + norms[None] - 2 * small[block] @ small.T
        for i, j in zip(*np.nonzero(distance < bound), strict=True):
            left, right = start + int(i), int(j)
            if left < right and not flat[left] and not flat[right]:
                yield left, right


def _shown(case: Case, rows: Codes) -> tuple[str, ...]:
    """The first eight pictures among some rows."""
    return tuple(png(case.found.pixels[row]) for row in rows[:8]) if isinstance(case.found, Pictures) else ()
