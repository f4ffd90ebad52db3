"""Delta debugging: take parts of a change away until none can go without loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

Part = TypeVar("Part")
Holds = Callable[[tuple[Part, ...]], bool]
"""Whether a selection of the parts still does what all of them do."""


def shrunk(parts: Sequence[Part], holds: Holds[Part]) -> tuple[Part, ...]:
    """A selection that holds and of which no single part can be taken away (1-minimal), where all parts together hold.

    ddmin: halves, then quarters and so on; each piece alone, then all but the piece. With one part that matters of n it takes
    about 2 log2 n questions, n^2 + 3n at most. ``holds`` is asked for real selections alone and is to remember its answers;
    it ends the search early by answering no. Source: Zeller & Hildebrandt 2002, Simplifying and isolating failure-inducing
    input, section 3.

    >>> shrunk("abcdefgh", lambda kept: "c" in kept and "g" in kept)
    ('c', 'g')
    """
    kept, pieces = tuple(parts), 2
    while len(kept) > 1:
        cuts = [round(place * len(kept) / pieces) for place in range(pieces + 1)]
        spans = list(pairwise(cuts))
        alone = next((kept[a:b] for a, b in spans if pieces < len(kept) and holds(kept[a:b])), None)
        if alone is not None:
            kept, pieces = alone, 2
            continue
        without = next((kept[:a] + kept[b:] for a, b in reversed(spans) if holds(kept[:a] + kept[b:])), None)
        if without is not None:
            kept, pieces = without, max(pieces - 1, 2)
        elif pieces >= len(kept):
            break
        else:
            pieces = min(2 * pieces, len(kept))
    return kept
