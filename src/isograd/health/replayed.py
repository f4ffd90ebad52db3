r"""What the outputs are worth to a loss of the program's own: against their own mean, on the scale of what could be gained.

.. math:: g = \frac{\sum_t (c_t - v_t)}{\sum_t (c_t - b_t)}

over the late looks t: v the loss as it was, c that of outputs that are their mean over the rows in every row (``constant``),
b that of rows that do what the loss asks of each (``best``; ``records.batch.Replay``). For a squared error and a cross-entropy
g is the usual skill, 1 - loss / floor, with the floor of the network's own constant answer, which is no lower than the best
one: what is called worthless here is so all the more. Nothing is said where there is no least value (an objective of a policy,
a critic), or the loss asks the same of all rows (a discriminator's half batch, a density).

Not meant are outputs that know what they are asked for and are too loud (dropout, noise on purpose): their deviations go along
with what is asked of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.health.case import Case
from isograd.health.curve import LATE, LATE_LOOKS
from isograd.health.worth import CEILING, CLEAR, GAIN, LITTLE
from isograd.records.batch import Replay
from isograd.records.moments import Pairs

ASKED = 0.9
"""Share of the late looks in which rows must have something of their own to gain."""
KNOWS = 0.1
"""Cosine squared of deviations and what is asked from which outputs know something, whatever they are worth."""
ROWS = 128
"""Rows over all late looks from which they say something: a cosine of 0.3 is three standard errors then."""


@dataclass(frozen=True, slots=True)
class Worth:
    """``gain`` as above with its standard error, from ``value``, ``constant`` and ``best`` as means over ``looks`` looks.

    ``cosine`` is that of the outputs' deviations from their mean and what is asked of the rows, ``rows`` of them in all.
    """

    gain: float
    error: float
    value: float
    constant: float
    best: float
    cosine: float
    rows: int
    looks: int
    since: int
    source: str | None

    @property
    def nothing(self) -> bool:
        """Whether, for certain, the outputs are worth no more than their mean, and know nothing that would be worth more."""
        if self.rows < ROWS or self.looks < LATE_LOOKS or self.cosine**2 >= KNOWS:
            return False
        little = self.gain > LITTLE and self.gain > CLEAR * self.error
        return self.gain < GAIN and self.gain + 2.0 * self.error < CEILING and not little


def worth(case: Case) -> Worth | None:
    """What the late outputs were worth; nothing where no loss could be computed again with other answers.

    >>> from isograd.records.anatomy import Anatomy
    >>> from isograd.records.trace import Step
    >>> pairs = Pairs.of([1.0, 0.0], [0.0, 1.0])
    >>> seen = tuple(Step(t, replays=(Replay(1.0 + 0.01 * (t % 2), 1.0, 0.0, 64, pairs),)) for t in range(1, 9))
    >>> found = worth(Case(Anatomy("torch", (), ()), steps=seen, taken=8))
    >>> round(found.gain, 3), found.nothing
    (-0.005, True)
    """
    looks = late(case)
    asked = [(step, one) for step, one in looks if one.potential is not None]
    if len(asked) < 2 or len(asked) < ASKED * len(looks):
        return None
    ones = [one for _, one in asked]
    whole = sum(one.potential or 0.0 for one in ones)
    gain = sum(one.constant - one.value for one in ones) / whole
    pairs = sum((one.agreement for one in ones if one.agreement is not None), Pairs())
    cosine = pairs.cosine
    return Worth(
        gain,
        _error(ones, gain, whole),
        _mean([one.value for one in ones]),
        _mean([one.constant for one in ones]),
        _mean([one.best for one in ones]),
        0.0 if math.isnan(cosine) else cosine,
        sum(one.rows for one in ones),
        len(ones),
        asked[0][0],
        ones[-1].source,
    )


def late(case: Case) -> tuple[tuple[int, Replay], ...]:
    """The losses that were computed again in the last third of the steps; ``LATE_LOOKS`` where the second half has so many."""
    rows = [(step.index, one) for step in case.steps for one in step.replays]
    recent = sum(step > (1.0 - LATE) * case.taken for step, _ in rows)
    second = sum(step > 0.5 * case.taken for step, _ in rows)
    return tuple(rows[-max(recent, min(LATE_LOOKS, second)) :]) if second else ()


def _error(looks: Sequence[Replay], gain: float, whole: float) -> float:
    """Standard error of a ratio of sums, by the deviations from it."""
    squares = sum((one.constant - one.value - gain * (one.potential or 0.0)) ** 2 for one in looks)
    return math.sqrt(squares * len(looks) / (len(looks) - 1)) / whole


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
