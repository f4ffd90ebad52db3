"""Evaluations as a judge: whether a program's own trials of its model find more right answers than a constant one would give.

A loss that nobody knows, written by hand or put together of several terms, has no constant answer to be held against; right
answers have, whatever is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from isograd.health.case import Case
from isograd.records.batch import Evaluation

ERRORS = 2.0
ANSWERS = 100
"""Answers of one evaluation from which it says something."""
COMMON = 0.6
"""Share of the most frequent class above which right answers alone are no measure: rare classes may be what counts."""


Series = Sequence[Evaluation]
"""Evaluations of one kind, in order."""


def knows(one: Evaluation, classes: Sequence[int] = ()) -> bool:
    """Whether more answers are right than the most frequent class gives.

    ``classes`` counts other targets of the kind: they tell the most frequent where those of the evaluation are not known.

    >>> knows(Evaluation(1, answers=100, hits=70)), knows(Evaluation(1, answers=100, hits=70), (100, 100))
    (False, True)
    """
    counts = one.classes if sum(one.classes) == one.answers else classes
    if one.accuracy is None or not sum(counts):
        return False
    share, answers = max(counts) / sum(counts), min(one.answers, sum(counts))
    return one.accuracy - share > ERRORS * math.sqrt(max(share * (1.0 - share), 1.0 / answers) / answers)


def ignorant(case: Case) -> Series:
    """The last two evaluations of a kind where no kind of them knows more than the most frequent class; else nothing.

    >>> from isograd.records.anatomy import Anatomy
    >>> ignorant(Case(Anatomy("torch", (), ())))
    ()
    """
    late = [tuple(tried[-2:]) for tried in by_place(case, _telling)]
    if not late or any(len(pair) < 2 or any(knows(one) for one in pair) for pair in late):
        return ()
    return max(late, key=lambda pair: pair[-1].answers)


def by_place(case: Case, wanted: Callable[[Evaluation], bool]) -> list[Series]:
    """Those that are wanted, by their loss, the line and the loader that they came from, and their size; each in order."""
    kinds: dict[tuple[object, ...], list[Evaluation]] = {}
    for step in case.steps:
        for one in filter(wanted, step.evaluations):
            kinds.setdefault((one.function, one.source, one.loader, one.examples), []).append(one)
    return list(kinds.values())


def _telling(one: Evaluation) -> bool:
    """Whether its right answers are a measure: of enough targets that are known, and not nearly all of one class."""
    total = sum(one.classes)
    return total == one.answers >= ANSWERS and max(one.classes) <= COMMON * total
