"""What a network will see: rows of the training part as they are, and as training changes them in some epochs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """One row as a network sees it: a ``picture`` (PNG in base64), or ``fields``: names with values. ``label`` is its target.

    ``epoch`` is the one it is seen in; 0: the row as it is.
    """

    epoch: int
    label: str
    picture: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """One row: its name, the class or value it has, what it is, and what becomes of it epoch after epoch."""

    name: str
    label: str
    original: Seen
    seen: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """Some training rows; ``holds`` is "images", "sound", "sequence" or "table",
    ``done`` says how they are changed (nothing: not at all).

    ``warnings`` say what may make labels wrong, ``shape`` is that of one encoded row.
    """

    source: str
    holds: str
    rows: int
    shape: tuple[int, ...]
    done: str = ""
    warnings: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
