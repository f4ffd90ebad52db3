"""How much the watching may cost: its own clock, and when the next look is paid for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

HIDDEN = 1.5
"""True cost over what our own clock sees: it misses hook dispatch, evicted caches and the allocator."""
NORMS = 1 / 3
"""The part of the budget that the gradient norms may use; the sampled steps have the rest."""


@dataclass
class Account:
    """What one kind of look has cost so far, and what the last one did, in seconds."""

    spent: float = 0.0
    last: float = 0.0

    def may(self, allowance: float) -> bool:
        """Whether all looks so far and one more like the last stay within ``allowance`` seconds."""
        return (self.spent + self.last) * HIDDEN < allowance


@dataclass
class Budget:
    """A share of the thread's time; ``share=None`` looks at everything. The first two steps are always looked at.

    Looks are debts: the next one comes when all that was spent, and it, fit into the share of the time that has passed.
    Thread time is used because wall time lies on a loaded machine.
    """

    share: float | None
    clock: float = field(default_factory=time.thread_time)
    overhead: float = 0.0
    samples: Account = field(default_factory=Account)
    norms: Account = field(default_factory=Account)

    @property
    def elapsed(self) -> float:
        """Thread seconds since the beginning."""
        return time.thread_time() - self.clock

    @property
    def own(self) -> float:
        """Thread seconds that were ours."""
        return self.overhead + self.samples.spent + self.norms.spent

    def charge(self, seconds: float, *, sampled: bool, normed: bool) -> None:
        """A step is over and has cost so much of ours."""
        if not normed:
            self.overhead += seconds
            return
        account = self.samples if sampled else self.norms
        account.spent += seconds
        account.last = seconds

    def next(self, index: int) -> tuple[bool, bool]:
        """Whether step ``index`` is to be sampled, and whether its gradient norms are to be taken."""
        if self.share is None or index <= 2:
            return True, True
        allowance = self.share * self.elapsed
        # What every step costs, looked at or not, is paid first, out of the larger part.
        return (
            self.samples.may(allowance * (1 - NORMS) - self.overhead * HIDDEN),
            self.norms.may(allowance * NORMS),
        )
