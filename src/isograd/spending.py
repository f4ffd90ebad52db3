"""Budgets as people give them: a time, a number of steps, or multiples of one run; and how long a run is where nobody said."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from isograd.errors import RequestError

SHORTEST, LEAST, MOST, ROOM = 60, 300, 2_000, 20
"""Steps of a run that nobody announced: one pass through the batches, LEAST at least and MOST at most; in a time that does not
hold ROOM such runs as many as it holds, SHORTEST at least. Of a budget in runs a shorter one counts as SHORTEST steps: what is
wrong with it may be that it is short, and ten runs of 8 steps would hold no run of 80."""
_UNITS = dict.fromkeys(("s", "sec", "second", "seconds"), 1.0)
_UNITS |= dict.fromkeys(("m", "min", "minute", "minutes"), 60.0) | dict.fromkeys(("h", "hour", "hours"), 3600.0)


@dataclass(frozen=True, slots=True)
class Budget:
    """One of the three is given."""

    steps: int | None = None
    seconds: float | None = None
    runs: float = 0.0

    def runs_of(self, length: int, per_step: float) -> float:
        """How many runs of so many steps it holds, a step taking ``per_step`` seconds.

        >>> Budget(3_000).runs_of(300, 0.01), Budget(seconds=60.0).runs_of(300, 0.01), Budget(runs=20.0).runs_of(300, 0.01)
        (10.0, 20.0, 20.0)
        >>> Budget(runs=20.0).runs_of(8, 0.01)
        150.0
        """
        if self.seconds is not None:
            return self.seconds / (length * max(per_step, 1e-9))
        return (self.steps if self.steps is not None else self.steps_of(length)) / length

    def steps_of(self, length: int) -> float:
        """The steps of a budget in runs of so many."""
        return self.runs * max(length, SHORTEST)

    def enough(self, runs: float, length: int, per_step: float) -> str:
        """A budget of the same form that holds so many runs, as it is written.

        >>> [given.enough(10.5, 300, 0.01) for given in (Budget(100), Budget(runs=3.0), Budget(seconds=1.0))]
        ['3150', '"11 runs"', '"1min"']
        """
        if self.seconds is not None:
            minutes = 1.2 * runs * length * per_step / 60.0
            return f'"{math.ceil(minutes)}min"'
        steps = math.ceil(runs * length)
        return str(steps) if self.steps is not None else f'"{math.ceil(steps / max(length, SHORTEST))} runs"'


def budget_of(given: int | str | Budget) -> Budget:
    """A budget: 5000 (steps), "5min", "20 runs". Raises ``RequestError`` for anything else.

    >>> budget_of(5_000).steps, budget_of("5min").seconds, budget_of("1 hour").seconds, budget_of("20 runs").runs
    (5000, 300.0, 3600.0, 20.0)
    """
    if isinstance(given, Budget):
        return given
    if isinstance(given, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", given.lower())
        number = float(found[1]) if found else 0.0
        if found and 0.0 < number < math.inf:
            if found[2] in _UNITS:
                return Budget(seconds=number * _UNITS[found[2]])
            if found[2] in ("run", "runs"):
                return Budget(runs=number)
            if found[2] in ("", "step", "steps") and number >= 1.0:
                return Budget(int(number))
    elif type(given) is int and given > 0:
        return Budget(given)
    raise RequestError(
        f"budget is a time, a number of steps or of runs, not {given!r}",
        remedy='"5min", 5000 (steps) or "20 runs"',
    )


def usual_length(batches: int, budget: Budget, per_step: float) -> int:
    """Steps of a run that nobody announced.

    >>> usual_length(50, Budget(runs=20.0), 0.01), usual_length(400, Budget(9_000), 0.01)
    (300, 400)
    >>> usual_length(50, Budget(seconds=30.0), 0.01)
    150
    """
    length = min(MOST, max(LEAST, batches))
    if budget.seconds is not None and budget.runs_of(length, per_step) < ROOM:
        length = max(SHORTEST, int(budget.seconds / (ROOM * max(per_step, 1e-9))))
    return length
