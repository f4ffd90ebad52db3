"""Cut plain ASCII texts into words and punctuation, many at once: what the tokenizers library does one by one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isograd.workbench.data.order import alike, in_order

Codes = NDArray[np.int64]
_LETTERS = 1 << 20
"""Letters that are cut at once: about 20 bytes of memory each."""
_WORD = 16
_MASK = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)
_KIND = np.full(128, 2, dtype=np.uint8)
_KIND[[9, 10, 11, 12, 13, 32]] = 0
_KIND[[*range(48, 58), *range(65, 91), 95, *range(97, 123)]] = 1


def cut(texts: Sequence[str]) -> tuple[list[str], Codes, Codes]:
    r"""The distinct words of ASCII texts, which word each token is (tokens,), and where each text begins (texts + 1,).

    Texts are brought to lower case and cut as the regular expression ``\w+|[^\w\s]+`` does: runs of letters, digits and
    underscores, and runs of everything else that is no blank.

    >>> words, tokens, starts = cut(["The end, the END.", "", "end"])
    >>> words, tokens.tolist(), starts.tolist()
    (['the', 'end', ',', '.'], [0, 1, 2, 0, 1, 3, 1], [0, 6, 6, 7])
    """
    known: dict[str, int] = {}
    tokens, counts = [], []
    for some in _blocks(texts):
        words, which, count = _cut(some)
        places = np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64)
        tokens.append(places[which])
        counts.append(count)
    starts = (
        np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(counts))]) if counts else np.zeros(1, np.int64)
    )
    return list(known), np.concatenate(tokens) if tokens else np.zeros(0, dtype=np.int64), starts


def _blocks(texts: Sequence[str]) -> list[Sequence[str]]:
    ends = np.cumsum([len(text) + 1 for text in texts])
    marks = np.arange(_LETTERS, ends[-1] + _LETTERS, _LETTERS) if len(texts) else ends
    borders = [*dict.fromkeys([0, *np.searchsorted(ends, marks, side="right").tolist(), len(texts)])]
    return [texts[a:b] for a, b in itertools.pairwise(borders)]


def _cut(texts: Sequence[str]) -> tuple[list[str], Codes, Codes]:
    """Distinct words, the word of each token, and the tokens of each text."""
    whole = "\n".join(texts).lower() + "\n"
    letters = np.frombuffer(whole.encode("ascii") + bytes(_WORD), dtype=np.uint8) + np.uint8(1)  # so that 0 is no letter
    kind = _KIND[letters[: len(whole)] - 1]
    change = np.flatnonzero(kind[1:] != kind[:-1]) + 1
    edges = np.concatenate([[0], change, [len(kind)]])
    runs = np.flatnonzero(kind[edges[:-1]])
    first, last = edges[runs], edges[runs + 1]
    ends = np.cumsum([len(text) + 1 for text in texts])
    counts = np.diff(np.searchsorted(first, ends), prepend=0)
    which = _alike(letters, first, last - first)
    distinct = np.flatnonzero(np.diff(np.maximum.accumulate(which), prepend=-1))  # numbers come in order of first appearance
    spans = zip(first[distinct].tolist(), last[distinct].tolist(), strict=True)
    return [whole[a:b] for a, b in spans], which, counts


def _alike(letters: NDArray[np.uint8], first: Codes, length: Codes) -> Codes:
    """A number for each distinct run of letters, in the order of first appearance: eight letters are read as one number."""
    words = np.ndarray((len(letters) - 7,), dtype="<u8", buffer=letters, strides=(1,))
    columns = [(words[first] & _MASK[np.minimum(length, 8)]).view(np.int64)]
    longer = np.flatnonzero(length > 8)
    if len(longer):
        second = np.zeros(len(first), dtype=np.uint64)
        second[longer] = words[first[longer] + 8] & _MASK[np.minimum(length[longer] - 8, 8)]
        columns = [in_order(columns[0]), in_order(second.view(np.int64))]
    longest = np.flatnonzero(length > 16)
    if len(longest):
        known: dict[bytes, int] = {}
        ends = zip((first[longest] + 16).tolist(), (first + length)[longest].tolist(), strict=True)
        third = np.zeros(len(first), dtype=np.int64)
        third[longest] = [1 + known.setdefault(letters[a:b].tobytes(), len(known)) for a, b in ends]
        columns.append(third)
    return alike(columns) if len(columns) > 1 else in_order(columns[0])
