"""Passes over the data of a loop that takes its batches by hand: from the table it takes them from, and examples met again.

The table is a variable of the program. That batches are drawn from it without putting back is not taken on trust: within what
would be one pass no example may come twice, and over the passes some have to.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.sameness import examples_for
from isograd.records.fact import Fact

ENTRIES = 256
"""Numbers of an example, spread evenly over it, by whose bits it is known again: of few the rim of a picture is too many."""
LOOKS = 64
"""Batches that are remembered at most; only hashes of examples are."""
ROWS = 512
"""Examples of a batch at most, the first ones."""
MATCHES = 8
"""Examples met again in other passes, from which there are passes; one of chance in a pass says that there are none."""

OVERLAP = 0.5
"""Share of a batch that its neighbour has too, from which they overlap; and of a table, up to which it is left unused."""

_WEIGHTS = [random.Random(place).getrandbits(62) | 1 for place in range(ENTRIES)]

Seen = Sequence[tuple[int, frozenset[int]]]
"""Steps, and the examples of their batches."""


@dataclass
class Repeats:
    """The examples of the looks at one training."""

    seen: list[tuple[int, frozenset[int]]] = field(default_factory=list)
    table: int = -1
    """Examples of the table that the batches are from; -1: not looked for yet."""
    size: int = 0
    _index: int = 0
    _fresh: bool = False

    def begin(self, index: int) -> None:
        """A step begins that is looked at."""
        self._index, self._fresh = index, True

    def look(self, inputs: object) -> None:
        """The model is given this; of a step the first batch counts."""
        if not self._fresh or not self.table or len(self.seen) >= LOOKS:
            return
        self._fresh = False
        if not isinstance(inputs, Tensor) or inputs.ndim < 2 or not is_plain(inputs):
            return
        if self.table < 0:
            self.table, self.size = examples_for(len(inputs), inputs.detach()), len(inputs)
        rows = inputs.detach()[:ROWS].flatten(1)
        keys = frozenset(marks(rows))
        if len(keys) < len(rows):
            self.table = 0  # examples cannot be told apart
        self.seen.append((self._index, keys))

    def facts(self, passes: int) -> Iterator[Fact]:
        """How long a pass is, where there are any, or that batches overlap; ``passes`` are the backward passes of a step."""
        if self.table > 0 and passes == 1 and (found := moved(self.seen)) is not None and found[1] <= OVERLAP * self.table:
            settings = (("moved", found[0]), ("rows", self.size), ("dataset", self.table), ("used", found[1]))
            yield Fact("overlap", "data", settings=settings)
        if self.table > self.size > 0 and passes == 1 and (lengths := passes_of(self.seen, self.table / self.size)):
            order = "random" if shuffled(self.seen) else "sequential"
            steps = ("steps", lengths[0]), ("or", lengths[-1])
            passing = (("dataset", self.table), ("rows", self.size), *steps, ("order", order))
            yield Fact("repeats", "data", settings=passing)


def shuffled(seen: Seen) -> bool:
    """Whether examples come again beside others.

    >>> shuffled([(1, frozenset("ab")), (3, frozenset("ab"))]), shuffled([(1, frozenset("ab")), (3, frozenset("bc"))])
    (False, True)
    """
    return any(one & other and one != other for (_, one), (_, other) in itertools.combinations(seen, 2))


def passes_of(seen: Seen, batches: float) -> tuple[float, ...]:
    """The steps that a pass over a table of so many ``batches`` may have: the last, small one is given, filled up or left out.

    >>> thirds = [frozenset(range(9 * n, 9 * n + 9)) for n in (0, 1, 2)]
    >>> passes_of([(step, thirds[(step - 1) % 3]) for step in range(1, 10)], 3.4)
    (3.0,)
    """
    lengths = (float(math.ceil(batches)), batches, float(math.floor(batches)))
    return tuple(length for length in dict.fromkeys(lengths) if in_passes(seen, length))


def marks(rows: Tensor) -> list[int]:
    """One number for each row, of the bits of its entries and their places: in whole numbers, so that no order of sums matters.

    >>> found = marks(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    >>> found[0] == found[2], found[0] == found[1]
    (True, False)
    """
    width = min(ENTRIES, rows.shape[1])
    bits = rows[:, torch.arange(width) * (rows.shape[1] // width)].double().contiguous().view(torch.int64)
    bits = bits ^ (bits >> 24) ^ (bits >> 48)  # small numbers have their bits at the top, where a product loses them
    found: list[int] = (bits * torch.tensor(_WEIGHTS[:width], device=bits.device)).sum(1).tolist()
    return found


def in_passes(seen: Seen, length: float) -> bool:
    """Whether batches hold none twice within passes of so many steps, and some over passes; the same batch in the same place.

    >>> halves = [frozenset(range(0, 20)), frozenset(range(20, 40))]
    >>> steps = [(step, halves[(step - 1) % 2]) for step in range(1, 7)]
    >>> in_passes(steps, 2.0), in_passes(steps, 3.0), in_passes(steps[:2], 2.0)
    (True, False, False)
    """
    within = across = 0
    for place, (later, one) in enumerate(seen):
        for step, other in seen[:place]:
            same = len(one & other)
            if one == other and (later - step) % length:
                return False  # the same batch comes at the same place of a pass, if passes are alike
            if (later - 1) // length == (step - 1) // length:
                within += same
            else:
                across += same
    return not within and across >= MATCHES


def moved(seen: Seen) -> tuple[int, int] | None:
    """By how many rows each batch is the one before it moved, and about how many rows are used; nothing unless all is certain.

    Steps in a row, two at least, must all keep the same number of rows, ``OVERLAP`` of them and not all; and rows of the first
    must come back so many steps later that moving on and on would long have left them behind: then the batches began again.

    >>> slide = [(step, frozenset(range(step % 9, step % 9 + 8))) for step in range(1, 20)]
    >>> moved(slide), moved(slide[:7]), moved([(step, frozenset(range(8 * step, 8 * step + 8))) for step in range(9)])
    ((1, 25), None, None)
    """
    pairs = [(one, other) for (now, one), (then, other) in itertools.pairwise(seen) if then == now + 1]
    kept = {(len(one) - len(one & other), len(one), len(other)) for one, other in pairs if not _jumps(one, other)}
    if len(pairs) < 2 or len(kept) != 1:
        return None
    ((step, rows, also),) = kept
    if rows != also or not 0 < step <= (1.0 - OVERLAP) * rows:
        return None
    first, begun = seen[0]
    back = [index - first for index, one in seen if step * (index - first) > 2 * rows and begun & one]
    return (step, min(back) * step + rows) if back else None


def _jumps(one: frozenset[int], other: frozenset[int]) -> bool:
    """Whether two batches have nothing in common: a pass has ended between them."""
    return not one & other
