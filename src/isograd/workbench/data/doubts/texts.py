"""Texts: letters that went through the wrong encoding, control characters, remains of markup, and texts that are empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from isograd.records.finding import Evidence, Severity
from isograd.records.inspection import Doubt
from isograd.workbench.data.columns import Flags, Words, as_labels
from isograd.workbench.data.doubts.case import Case

_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")
_LATIN = re.compile(r"[\x80-\x84\x86-\x9f]")
"""Letters that no text holds: quotes and dashes of Windows-1252 that were read as Latin-1. U+0085 is a line break in some."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|&(amp|lt|gt|quot|nbsp|#\d{1,6});")
CLEAN = 0.001
"""A share of texts with a fault of encoding from which on it is a warning: a few are slips of the people who wrote them."""


def mojibake(text: str) -> bool:
    r"""Whether a text holds UTF-8 that was read as Windows-1252 or Latin-1, or the sign for a letter that was lost.

    >>> mojibake("cafÃ©"), mojibake("itâ€™s"), mojibake("caf\ufffd"), mojibake("café"), mojibake("Ã")
    (True, True, True, False, False)
    >>> mojibake("ten \x96 twelve")
    True
    """
    return (
        "\ufffd" in text
        or _LATIN.search(text) is not None
        or any(repaired(match[0]) != match[0] for match in _FOREIGN.finditer(text))
    )


def repaired(text: str) -> str:
    """A text with each run of letters that is UTF-8 read as Windows-1252 or Latin-1 turned back into what it was, and so are
    letters of Windows-1252 that were read as Latin-1.

    >>> repaired("cafÃ© itâ€™s"), repaired("café")
    ('café it’s', 'café')
    """
    whole = _FOREIGN.sub(lambda match: _decoded(match[0]), text)
    return _LATIN.sub(lambda match: match[0].encode("latin-1").decode("cp1252", errors="ignore") or match[0], whole)


def _decoded(run: str) -> str:
    for encoding in ("cp1252", "latin-1"):
        try:
            return run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return run


def faulty_texts(case: Case) -> Iterator[Doubt]:
    """Faults of encoding, control characters and markup in the words of a table."""
    table = case.table
    if table is None:
        return
    for name, kind in case.features.items():
        cells = table.columns[name]
        if not isinstance(cells, Words) or kind.kind not in ("text", "category"):
            continue
        for what, test, severity, fix, said in _FAULTS:
            rows = _rows(cells, test)
            if not rows.any():
                continue
            share = float(rows.mean())
            worst = severity if share >= CLEAN and severity == "warning" else "note"
            yield Doubt(
                what,
                worst,
                name,
                f"{int(rows.sum()):,} of {len(case):,} cells of {name!r} {said}",
                int(rows.sum()),
                (Evidence("share of the cells", what.replace(" ", "_"), share, bound=CLEAN),),
                case.places(rows),
                f"{fix}:{name}",
            )
        if kind.kind == "text":
            yield from _empty(case, name, cells)


def _rows(cells: Words, test: Callable[[str], bool]) -> Flags:
    found = np.array([*(test(word) for word in cells.values), False], dtype=np.bool_)
    rows: Flags = found[cells.codes]
    return rows


_FAULTS: tuple[tuple[str, Callable[[str], bool], Severity, str, str], ...] = (
    ("wrong encoding", mojibake, "warning", "repair_encoding", "hold letters that went through the wrong encoding."),
    ("control characters", lambda text: bool(_CONTROL.search(text)), "note", "strip_control", "hold control characters."),
    ("markup", lambda text: bool(_MARKUP.search(text)), "note", "strip_markup", "hold HTML tags or entities."),
)


def _empty(case: Case, name: str, cells: Words) -> Iterator[Doubt]:
    rows = (as_labels(cells).codes < 0) | _rows(cells, lambda text: not any(letter.isalnum() for letter in text))
    if rows.any():
        yield Doubt(
            "empty text",
            "warning",
            name,
            f"{int(rows.sum()):,} of {len(case):,} texts of {name!r} have no letter in them.",
            int(rows.sum()),
            (Evidence("share of the texts", "empty", float(rows.mean())),),
            case.places(rows),
            f"drop_missing:{name}",
            "leave them out",
        )
