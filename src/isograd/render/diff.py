"""A change of text files as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Mapping


def unified(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    r"""What changed from one set of files to another, by file name; "" where nothing did.

    Reads as ``diff -u`` writes it, so that ``patch -p0`` takes it.

    >>> print(unified({"a.py": "x = 1\ny = 2\n"}, {"a.py": "x = 1\ny = 3\n"}), end="")
    --- a.py
    +++ a.py
    @@ -1,2 +1,2 @@
     x = 1
    -y = 2
    +y = 3
    """
    return "".join(_one(name, before.get(name, ""), after[name]) for name in after if before.get(name, "") != after[name])


def _one(name: str, before: str, after: str) -> str:
    pieces = difflib.unified_diff(_lines(before), _lines(after), name, name, n=3)
    return "".join(piece if piece.endswith("\n") else f"{piece}\n\\ No newline at end of file\n" for piece in pieces)


def _lines(text: str) -> list[str]:
    """Lines as ``diff`` has them: a form feed or another odd separator ends none."""
    pieces = text.split("\n")
    return [f"{piece}\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
