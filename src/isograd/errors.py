"""Say what happened, where, and what to do next, in one shape everywhere.

The family, and the exit status the command line gives each::

    IsogradError                  anything isograd says to a person on purpose
    ├── RequestError        2     what was asked for cannot be done as it was asked
    │   ├── ProjectError    2     isograd.toml: unknown key, wrong type, value out of range
    │   ├── DataError       2     a file, a row or a column that cannot be used
    │   ├── ModelError      2     a model that does not fit the data, the loss or the batch
    │   └── MissingExtra    2     a library that this job needs is not installed
    ├── DamagedError        2     a file of ours whose bytes are not the bytes that were written
    └── StorageError        2     the disk refused: full, read-only, no permission
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: what happened, where, what was met, and the way out."""

    what: str
    where: str = ""
    met: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("where", self.where), ("what", self.met), ("try", self.remedy)):
            if text:
                lines.append(f"  {label:<6} {text}")
        return "\n".join(lines)


class IsogradError(Exception):
    """Anything isograd says to a person on purpose; ``faults`` holds all that is wrong at once.

    >>> print(IsogradError("the table is empty", where="a.csv", remedy="export it again"))
    the table is empty
      where  a.csv
      try    export it again
    """

    exit_status = 2

    def __init__(self, what: str | Sequence[Fault], *, where: str = "", met: str = "", remedy: str = "") -> None:
        if isinstance(what, str):
            self.faults: tuple[Fault, ...] = (Fault(what, where, met, remedy),)
        else:
            self.faults = tuple(what)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.faults,))


class RequestError(IsogradError):
    """What was asked for cannot be done as it was asked."""


class ProjectError(RequestError):
    """The project file is wrong: unknown key, wrong type, value out of range."""


class DataError(RequestError):
    """A file, a row or a column cannot be used."""


class ModelError(RequestError):
    """A model does not fit the data, the loss or the batch."""


class MissingExtra(RequestError):
    """A library that this job needs is not installed."""


class DamagedError(IsogradError):
    """A file of ours holds other bytes than were written."""


class StorageError(IsogradError):
    """The disk refused: full, read-only, no permission."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The choice that looks most like ``word``, as half a sentence, or nothing.

    >>> did_you_mean("incme", ["age", "income"])
    'did you mean "income"?'
    >>> did_you_mean("zzz", ["age", "income"])
    ''
    """
    folded = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f'did you mean "{folded[close[0]]}"?' if close else ""
