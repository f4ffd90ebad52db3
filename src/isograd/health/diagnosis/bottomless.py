"""Bottomless: a loss without a lower bound runs away below zero, faster and faster, and the outputs with it.

What is to be made small must have a least value. A sign that was lost (a divergence or a likelihood subtracted, a difference
that is not squared, a maximum forgotten in a quantile loss) leaves none: every step wins, and the outputs grow for ever.
Bounds:
  DEEP     the late loss lies below zero by 300 times what it was at first (1 at least): a density may be worth a few nats a
           number, and of many numbers the loss is large at first too
  FASTER   it fell as much or more in the last quarter of the run as in the quarter before: what has a least value slows down
  STEADY   and from tenth to tenth of the second half, every one
  BEYOND   or it lies below zero by a million times what it was at first: no density and no reward is worth that
Told when the run has ended, and where one loss is made small: of two players each may push the other.

Look-alikes that are healthy: log-likelihoods of densities, which fall below zero and slow down; the value that an actor drives
up (it is bounded by the rewards, and another optimizer learns it); an objective that is to rise and is bounded (a mean reward).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.records.finding import Evidence, Finding

STEPS = 100
DEEP = 300.0
FASTER = 1.0
BEYOND = 1e6
TENTHS = 10


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the loss has no bottom."""
    rows = [(r.step, r.value) for r in case.series("loss") if math.isfinite(r.value)]
    if not case.ended or case.taken < STEPS or len(rows) < 4 * TENTHS or curves.contested(case):
        return
    values = [value for _, value in rows]
    size = len(values) // TENTHS
    parts = [statistics.median(values[i * size : (i + 1) * size]) for i in range(TENTHS)]
    start = max(1.0, abs(statistics.median(values[:3])))
    quarter = len(values) // 4
    third, last, end = (statistics.median(values[-n * quarter : len(values) - (n - 1) * quarter]) for n in (3, 2, 1))
    falls = all(after < before for before, after in itertools.pairwise(parts[TENTHS // 2 :]))
    faster = parts[-1] < -DEEP * start and falls and last - end >= FASTER * (third - last)
    if not (faster or parts[-1] < -BEYOND * start):
        return
    text = f"began at {values[0]:.3g} and is {parts[-1]:.3g} after {case.taken:,} steps" + (
        ", falling ever faster" if faster else ""
    )
    yield Finding(
        "bottomless",
        "critical",
        0.93,
        "loss",
        f"The loss has no least value: it {text}. The network makes its outputs larger for ever and learns nothing else.",
        (Evidence(f"the loss {text}", "loss", parts[-1], "", -DEEP * start),),
        since=next(step for step, value in rows if value < -start),
        cause="a term of the loss has the wrong sign, or a difference is neither squared nor bounded",
        remedy="write down the least value that the loss can have, and for which outputs: squares, magnitudes and maxima have "
        "one; look at the sign of each term (minus the log-likelihood, plus the divergence)",
    )
