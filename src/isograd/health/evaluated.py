"""Evaluations as a judge: whether a program's own trials of its model find more right answers than a constant one would give.

A loss that nobody knows, written by hand or put together of several terms, has no constant answer to be held against; right
answers have, whatever is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.records.batch import Evaluation

ERRORS = 2.0
ANSWERS = 100
"""Answers of one evaluation from which it says something."""
COMMON = 0.6
"""Share of the most frequent class above which right answers alone are no measure: rare classes may be what counts."""


def knows(one: Evaluation) -> bool:
    """Whether more answers are right than the most frequent class gives."""
    if one.accuracy is None or not one.classes or sum(one.classes) != one.answers:
        return False
    share = max(one.classes) / one.answers
    return one.accuracy - share > ERRORS * error_of(share, one.answers)


def error_of(share: float, answers: int) -> float:
    """Standard error of a share of so many answers."""
    return math.sqrt(max(share * (1.0 - share), 1.0 / answers) / answers)


def ignorant(case: Case) -> Sequence[Evaluation]:
    """The last two evaluations of a kind where no kind of them knows more than the most frequent class; else nothing.

    >>> from isograd.records.anatomy import Anatomy
    >>> ignorant(Case(Anatomy("torch", (), ())))
    ()
    """
    kinds = list(_kinds(case))
    late = [tuple(tried[-2:]) for tried in kinds]
    if not late or any(len(pair) < 2 or any(knows(one) for one in pair) for pair in late):
        return ()
    return max(late, key=lambda pair: pair[-1].answers)


def _kinds(case: Case) -> Iterator[Sequence[Evaluation]]:
    """Evaluations that count answers and know their targets, by the line and the loader that they came from."""
    kinds: dict[tuple[object, ...], list[Evaluation]] = {}
    for step in case.steps:
        for one in step.evaluations:
            total = sum(one.classes)
            if total == one.answers and total >= ANSWERS and max(one.classes) <= COMMON * total:
                kinds.setdefault((one.source, one.loader, one.function), []).append(one)
    yield from kinds.values()
