"""Evaluations as a judge: whether a program's own trials of its model find more right answers than a constant one would give.

A loss that nobody knows, written by hand or put together of several terms, has no constant answer to be held against; right
answers have, whatever is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from isograd.health.case import Case
from isograd.health.curve import REGRESSIONS
from isograd.health.worth import GAIN
from isograd.records.batch import Evaluation

ERRORS = 2.0
ANSWERS = 100
"""Answers of one evaluation from which it says something."""
FORGOTTEN = 4
"""Evaluations of a kind from which it shows that what they once knew is gone."""
LEFT = 0.5
"""Share of what right answers were above chance, from which something is left."""
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


def forgotten(tried: Series) -> Evaluation | None:
    """The best of some evaluations where it knew something and the last two know nothing; else nothing.

    It knew more right answers than the most frequent class gives, beyond two standard errors, and no longer does, with less
    than half (LEFT) of what they were above it. What is merely too sure of itself (overfitted) still answers right; numbers,
    whose loss alone is known, cannot be told from that, and are left to ``overfitting``.

    >>> knew, lost = (Evaluation(s, classes=(50, 50), answers=100, hits=h) for s, h in ((1, 90), (2, 45)))
    >>> forgotten((knew, knew, lost, lost)) is knew, forgotten((knew, knew, knew, lost))
    (True, None)
    """
    if len(tried) < FORGOTTEN:
        return None
    if all(one.accuracy is not None and sum(one.classes) == one.answers >= ANSWERS for one in tried):
        best = max(tried, key=lambda one: one.accuracy or 0.0)
        share = max(best.classes) / sum(best.classes)
        above = [(one.accuracy or 0.0) - share for one in (best, *tried[-2:])]
        gone = not any(knows(one) for one in tried[-2:]) and max(above[1:]) < LEFT * above[0]
        return best if knows(best) and gone else None
    return None


def ignorant(case: Case) -> Series:
    """The last two evaluations of a kind where no kind of them is better than a constant answer; else nothing.

    Right answers are the measure where they are known; else the loss of numbers, which must be below that of the best constant
    by ``GAIN``.

    >>> from isograd.records.anatomy import Anatomy
    >>> ignorant(Case(Anatomy("torch", (), ())))
    ()
    """
    counted = [tuple(tried[-2:]) for tried in by_place(case, _telling)]
    late = counted or [tuple(tried[-2:]) for tried in by_place(case, _measured)]
    if not late or any(len(pair) < 2 or any(knows(one) or _beats(one) for one in pair) for pair in late):
        return ()
    return max(late, key=lambda pair: pair[-1].answers)


def able(case: Case) -> bool:
    """Whether an evaluation, the last of its kind, is better than a constant answer.

    >>> from isograd.records.anatomy import Anatomy
    >>> able(Case(Anatomy("torch", (), ())))
    False
    """
    return any(knows(tried[-1]) or _beats(tried[-1]) for tried in by_place(case, lambda one: _telling(one) or _measured(one)))


def by_place(case: Case, wanted: Callable[[Evaluation], bool]) -> list[Series]:
    """Those that are wanted, by their loss, the line that they came from, their size and their loader; each in order.

    Where every round has loaders of its own, made in the loop, those of one place in their round belong together.
    """
    kinds: dict[tuple[object, ...], list[Evaluation]] = {}
    for step in case.steps:
        for one in filter(wanted, step.evaluations):
            kinds.setdefault((one.function, one.source, one.examples), []).append(one)
    return [series for several in kinds.values() for series in _apart(several)]


def _apart(several: list[Evaluation]) -> Iterator[Series]:
    """Evaluations of one line and size, loader by loader, or place by place in the round."""
    rounds: dict[int, set[int]] = {}
    for one in several:
        rounds.setdefault(one.loader, set()).add(one.after)
    lasting = any(loader >= 0 and len(steps) > 1 for loader, steps in rounds.items())
    found: dict[int, list[Evaluation]] = {}
    place, before = 0, -1
    for one in several:
        place = place + 1 if one.after == before else 0
        before = one.after
        found.setdefault(one.loader if lasting else place, []).append(one)
    yield from found.values()


def _measured(one: Evaluation) -> bool:
    """Whether it compares numbers by a loss of torch's, enough of them, which differ."""
    return one.function in REGRESSIONS and one.examples >= ANSWERS and one.value is not None and (one.floor or 0.0) > 0.0


def _beats(one: Evaluation) -> bool:
    return _measured(one) and (one.value or 0.0) < (1.0 - GAIN) * (one.floor or 0.0)


def _telling(one: Evaluation) -> bool:
    """Whether its right answers are a measure: of enough targets that are known, and not nearly all of one class."""
    total = sum(one.classes)
    return total == one.answers >= ANSWERS and max(one.classes) <= COMMON * total
