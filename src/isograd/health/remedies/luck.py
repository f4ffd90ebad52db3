"""Luck as data: random edits, of a given size or of any, drawn from the edits that a program admits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from isograd.health.remedies.order import in_order
from isograd.records.edit import Edit

Unit = Callable[[], float]
"""The next of a stream of numbers that are uniform in [0, 1)."""
MOST, TRIES = 4, 200
"""Edits in a random combination at most, and draws until one of the wanted size is given up."""


def drawn(pool: Sequence[Edit], size: int, unit: Unit, without: Sequence[Edit] = ()) -> tuple[Edit, ...]:
    """Random edits of ``size`` together, of other kinds than ``without``; of the nearest size there is; none from none.

    >>> numbers = iter([0.9, 0.0, 0.5, 0.5] * 400)
    >>> drawn([Edit("clip_norm", 1.0), Edit("residual")], 3, lambda: next(numbers), [Edit("clip_norm")])[0].kind
    'residual'
    """
    taken = {edit.kind for edit in without}
    able = [edit for edit in pool if edit.kind not in taken]
    best: tuple[Edit, ...] = ()
    for _ in range(TRIES if able else 0):
        made: list[Edit] = []
        while sum(edit.size for edit in made) < size:
            left = [edit for edit in able if edit.kind not in {one.kind for one in made}]
            if not left:
                break
            made.append(_one_of(left, unit))
        if not best or abs(_size(made) - size) < abs(_size(best) - size):
            best = tuple(made)
        if _size(best) == size:
            break
    return in_order(best)


def combinations(pool: Sequence[Edit], unit: Unit) -> Iterator[tuple[Edit, ...]]:
    """Random combinations of one to ``MOST`` edits of different kinds, without end; none from none."""
    while pool:
        made: list[Edit] = []
        for _ in range(1 + int(unit() * MOST)):
            left = [edit for edit in pool if edit.kind not in {one.kind for one in made}]
            if left:
                made.append(_one_of(left, unit))
        yield in_order(made)


def _one_of(edits: Sequence[Edit], unit: Unit) -> Edit:
    """A kind first, so that a kind with many values is not drawn oftener."""
    kinds = list(dict.fromkeys(edit.kind for edit in edits))
    kind = kinds[int(unit() * len(kinds))]
    values = [edit for edit in edits if edit.kind == kind]
    return values[int(unit() * len(values))]


def _size(edits: Sequence[Edit]) -> int:
    return sum(edit.size for edit in edits)
