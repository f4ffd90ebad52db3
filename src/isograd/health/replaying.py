"""Whether a replay of the untouched program does better than the run that was watched: then it does not do all of its loop.

Both begin with the same weights and settings; batches may come in another order. With the loss as it is stepped, at the first
step and as a median over the later half of the first STEPS (twenty batches, whose median has a fifth of one batch's noise), the
replay does better where it falls by LEARNS of where it began at least, and the run by less than a SHARE of that.
"""

from __future__ import annotations

import math
import statistics

from isograd.health.case import Case

STEPS, FEWEST = 40, 5
"""Steps that are compared, and readings in the later half of them at least."""
LEARNS, SHARE = 0.1, 0.5


def better(run: Case, replay: Case) -> tuple[float, float, float] | None:
    """Where the replay does better: the loss that both began with, what it fell to, and what the run fell to; else None.

    >>> from isograd.health.case import case_of
    >>> from isograd.records.anatomy import Anatomy
    >>> from isograd.records.trace import Step, Trace
    >>> def falls(to):
    ...     steps = tuple(Step(at, loss=1.0 if at == 1 else to) for at in range(1, 41))
    ...     return case_of(Trace(Anatomy("", (), ()), steps=steps))
    >>> better(falls(0.9), falls(0.2)), better(falls(0.3), falls(0.2)), better(falls(0.9), falls(0.95))
    ((1.0, 0.2, 0.9), None, None)
    """
    began = next((one.value for one in replay.series("loss")), math.nan)
    ends = [_late(case) for case in (replay, run)]
    if not math.isfinite(began) or ends[0] is None or ends[1] is None:
        return None
    fell = began - ends[0]
    if fell < LEARNS * abs(began) or began - ends[1] >= SHARE * fell:
        return None
    return began, ends[0], ends[1]


def _late(case: Case) -> float | None:
    """The median loss of the later half of the steps that are compared; what is not finite is as bad as can be."""
    seen = [one.value for one in case.series("loss") if STEPS / 2 < one.step <= STEPS]
    return statistics.median(value if math.isfinite(value) else math.inf for value in seen) if len(seen) >= FEWEST else None
