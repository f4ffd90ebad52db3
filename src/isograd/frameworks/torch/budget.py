"""How much the watching may cost: its own clock, and when the next look is paid for."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

HIDDEN = 1.5
"""True cost over what our own clock sees: it misses hook dispatch, evicted caches and the allocator."""
NORMS = 1 / 10
"""The part of the budget that the gradient norms may use; looks at layers and parameters have the rest."""
HEARD = 1 / 5
"""The part of the budget that may go into listening to the loss alone: what it was given, and what it made of it."""
EVALUATED = 1 / 10
"""The part of the budget that may go into listening to evaluations."""
EVALUATED_FLOOR = 0.05
"""Seconds that it may cost in all, however short the run is: some tens of small evaluations, by which such a run is judged."""
EVALUATED_SPREAD = 0.1
"""As ``SPREAD``, for evaluations: all of the first ten of a program that evaluates at a steady pace, then fewer."""
HEARD_FLOOR = 0.05
"""Seconds that it may cost in all, however short the run is: its first time is dear, and what comes late tells how it ends."""
HEARD_SPREAD = 0.06
"""As ``SPREAD``, for listening: 17 times while the number of steps grows by e."""
REPLAYED = 1 / 10
"""The part of the budget that may go into computing an unknown loss again with other answers."""
REPLAYED_FLOOR = 0.07
"""Seconds that this may cost in all, however short the run is: without it nothing would be known of how such a run ended."""
REPLAYS = 12
"""Times that it is computed again beyond a quarter of a run, or while the number of steps doubles."""
DIAGNOSES = 1 / 4
"""The part of the budget that diagnoses in the loop may use of what the others have left: they are few in a long run."""
ALARMED = 1 / 8
"""The part of the budget that looks right after something alarming may use besides the ordinary ones, and again so much for
the diagnoses that follow them."""
FLOOR = 0.2
"""Seconds that watching may cost in all, however short the run is."""
SPREAD = 0.25
"""Within the floor the next look comes when so much of the steps so far has been added, or more: 5, 7, 9, 12, 15 ..."""
KEPT = 4_096
"""Steps that are kept of a long run, about: so many a diagnosis goes through, and takes as much longer as there are more."""
LARGE, EACH = 64, 2e-3
"""Parameters from which a network is so large that even a first diagnosis in the loop is not given away, and the seconds that
it takes for each of them, as measured on 400."""
TIMED = 17
"""Of the steps that are not looked at every so many-th is timed, and counted for all. It has no divisor in common with 16: what
hears the losses does more at every 16th of them, and that step would be timed always or never."""
BRIEFLY = 5e-5
"""Seconds that such a step is counted for at most. It is timed by the wall clock, because to ask for the thread's time costs as
much as the step itself; what takes longer was another program."""
LOSS_JUMP, NORM_JUMP = 4.0, 10.0
"""Times the running median from which a loss or the norm of the whole gradient calls for a look."""
ENDLESS = sys.float_info.max
_PAUSE = 0.01  # seconds of training between two questions whether a look is paid for


class Look(NamedTuple):
    """What is measured in a step: everything (``sampled``), the loss and what it was given (``heard``), gradient norms."""

    sampled: bool
    heard: bool
    normed: bool


NOTHING, NORM, LOSS, ALL = Look(False, False, False), Look(False, False, True), Look(False, True, False), Look(True, True, True)
AGAIN = Look(False, True, True)
"""As ``LOSS``, for a loss that nobody knows: it is computed again with other answers."""


@dataclass
class Account:
    """What one kind of look has cost so far, and what the last one did, in seconds.

    ``part`` of the budget is meant for it, ``floor`` seconds at least; ``spread`` is the least growth of the number of steps
    between two of them.
    """

    part: float = 1.0
    spread: float = SPREAD
    floor: float = 0.0
    spent: float = 0.0
    last: float = 0.0
    count: int = 0

    def own(self, allowance: float) -> float:
        """Of ``allowance`` seconds those that are meant for it."""
        return max(allowance * self.part, self.floor)

    def may(self, allowance: float) -> bool:
        """Whether all looks so far and one more like the last stay within ``allowance`` seconds."""
        return (self.spent + self.last) * HIDDEN < allowance

    def add(self, seconds: float) -> None:
        """One more look."""
        self.spent += seconds
        self.last = seconds
        self.count += 1


@dataclass
class Budget:
    """A share of the thread's time; ``share=None`` looks at everything, or at the steps ``only`` and at what alarms, whatever
    the clock says. The first two steps are always looked at.

    Looks are debts: the next one comes when all that was spent, and it, fit into the share of the time that has passed. In a
    short run they fit into ``FLOOR`` seconds and are spread geometrically; where ``planned`` says how long the run will be,
    they are spread so that they last to its end. Thread time is used because wall time lies on a loaded machine.
    """

    share: float | None
    planned: int | None = None
    only: frozenset[int] | None = None
    clock: float = field(default_factory=lambda: time.thread_time())
    overhead: float = 0.0
    samples: Account = field(default_factory=lambda: Account(1 - NORMS - HEARD - EVALUATED))
    norms: Account = field(default_factory=lambda: Account(NORMS))
    heard: Account = field(default_factory=lambda: Account(HEARD, HEARD_SPREAD, HEARD_FLOOR))
    evaluations: Account = field(default_factory=lambda: Account(EVALUATED, EVALUATED_SPREAD, EVALUATED_FLOOR))
    replays: Account = field(default_factory=lambda: Account(REPLAYED, floor=REPLAYED_FLOOR))
    diagnoses: Account = field(default_factory=Account)
    unknown: bool = False
    """Whether the loss that is stepped is one that nobody knows."""
    replayed: int = 0
    """The step in which it was last computed again."""
    alarmed: bool = False
    """Whether something alarming was seen that the next look should follow."""
    asked: int = 0
    """The step at which to ask again whether a look is paid for."""
    _looked: int = 0
    _listened: int = 0
    _evaluated: int = 0
    _diagnosed: int = 0
    _extra: float = 0.0
    _urgent: bool = False

    def begin(self) -> None:
        """The time counts from here on."""
        self.clock = time.thread_time()

    @property
    def elapsed(self) -> float:
        """Thread seconds since the beginning."""
        return time.thread_time() - self.clock

    @property
    def own(self) -> float:
        """Thread seconds that were ours."""
        accounts = (self.samples, self.norms, self.heard, self.evaluations, self.replays, self.diagnoses)
        return self.overhead + sum(account.spent for account in accounts)

    def charge(self, seconds: float, look: Look) -> None:
        """A step is over and has cost so much of ours."""
        if look is NOTHING:
            self.overhead += seconds
        elif look is AGAIN:
            self.replays.add(seconds)
        else:
            (self.samples if look.sampled else self.heard if look.heard else self.norms).add(seconds)

    def next(self, index: int) -> Look:
        """How closely step ``index`` is to be looked at."""
        if self.only is not None and index > 2 and index not in self.only and not self.alarmed:
            self.asked = min((one for one in self.only if one > index), default=index + len(self.only) + 64)
            return NOTHING
        if self.share is None or index <= 2 or index == self.planned:  # how it ended is worth its price
            self.alarmed = self.alarmed and self.only is None
            self._looked = self._listened = index
            return ALL
        if index < self.asked and not self.alarmed:
            return NOTHING
        elapsed = self.elapsed
        pace = max(elapsed - self.own, 1e-9) / index
        if index > 64:
            self.asked = index + min(64, max(1, int(_PAUSE / pace)))
            if self.planned is not None and index < self.planned:
                self.asked = min(self.asked, self.planned)
        allowance = max(self.share * elapsed, FLOOR)
        # What every step costs, looked at or not, is paid first, out of the largest part.
        left = allowance - self.own * HIDDEN
        looks = allowance * self.samples.part - self.overhead * HIDDEN
        fits = self.samples.may(looks) and self.samples.last * HIDDEN < left
        sampled = fits and self._due(index, elapsed, pace, self.samples, self._looked)
        if not sampled and self.alarmed and (self._extra + self.samples.last) * HIDDEN < allowance * ALARMED:
            sampled, self._extra = True, self._extra + self.samples.last
        self._urgent = self._urgent or (self.alarmed and sampled)
        self.alarmed = False
        if sampled:
            self._looked = self._listened = index
            return ALL
        if self.unknown and self._again(index, elapsed):
            self._listened = index
            return AGAIN
        # What others overdrew is not held against listening within its own part, which is cheap, and tells how a run ends; but
        # where steps are so tiny that to hear of them overdraws the share already, then only in a short run of known length.
        paid = (
            self.overhead * HIDDEN < self.share * elapsed
            or (self.planned is not None and allowance <= FLOOR)
            or self.heard.last * HIDDEN < left
        )
        may = paid and self.heard.may(self.heard.own(allowance))
        if may and self._due(index, elapsed, pace, self.heard, self._listened):
            self._listened = index
            return LOSS
        return NORM if self.norms.may(allowance * self.norms.part) and self.norms.last * HIDDEN < left else NOTHING

    def for_evaluation(self, index: int) -> float:
        """Seconds that may go into listening to an evaluation before step ``index``; 0: none is due."""
        if self.share is None:
            return math.inf
        elapsed = self.elapsed
        pace = max(elapsed - self.own, 1e-9) / index
        account = self.evaluations  # what the first looks overdrew is not held against it: it is cheap, and its part small
        allowance = account.own(self.share * elapsed)
        always = index <= 2 or (self.planned is not None and index > self.planned)
        due = always or self._due(index, elapsed, pace, account, max(1, self._evaluated))
        if not due or not (always or account.may(allowance)):
            return 0.0
        self._evaluated = index
        return max(allowance / HIDDEN - account.spent, account.last) / 2

    def may_diagnose(self, looks: int, before: int, parameters: int = 0) -> bool:
        """Whether a diagnosis is due after ``looks`` looks, ``before`` at the last one, and paid for."""
        if looks < max(2.0, before + 1.0 if self._urgent else before * (1 + SPREAD)):
            return False
        urgent, self._urgent = self._urgent, False
        if self.share is None:
            return True
        allowance = max(self.share * self.elapsed, FLOOR)
        first = self.diagnoses.count == 0
        grown = max(1 + SPREAD, min(self._looked, KEPT) / max(1, min(self._diagnosed, KEPT)))
        expected = EACH * parameters if first else self.diagnoses.last * grown  # there is more to look at each time
        if urgent and (self._extra + expected) * HIDDEN < allowance * 2 * ALARMED:
            self._extra += expected
            self._diagnosed = self._looked
            return True
        paid = self.diagnoses.may(allowance * DIAGNOSES) and self.own + expected < allowance / HIDDEN
        due = paid or (first and parameters <= LARGE)
        self._diagnosed = self._looked if due else self._diagnosed
        return due

    def _again(self, index: int, elapsed: float) -> bool:
        """Whether an unknown loss is to be computed again, and that is paid for."""
        assert self.share is not None
        due = replay_due(index, self.replayed, self.planned)
        return due and self.replays.may(self.replays.own(self.share * elapsed))

    def _due(self, index: int, elapsed: float, pace: float, account: Account, last: int) -> bool:
        assert self.share is not None
        if self.planned is None and self.share * elapsed > FLOOR:
            return True
        # Spread what can be paid for over the steps to the end, or to where the share of the time is more than the floor.
        end = self.planned or FLOOR / self.share / pace
        total = account.own(max(self.share * pace * (self.planned or 0), FLOOR))
        overhead = self.overhead if account is self.samples else 0.0
        left = max(1.0, (total / HIDDEN - overhead - account.spent) / max(account.last, 1e-9))
        ratio = max(end / last, 1.0) ** (1 / left)
        even = ratio <= 1 + account.spread and self.planned is not None
        gap = min(last * account.spread, (end - last) / left) if even else last * (ratio - 1)
        return index >= last + max(gap, 1.0 if self.planned else last * account.spread)


def replay_due(index: int, last: int, planned: int | None) -> bool:
    """Whether an unknown loss is to be computed again in step ``index``: what counts is how a run ends, and that may be early.

    >>> replay_due(24, 0, 100), replay_due(26, 0, 100), replay_due(30, 26, 100), replay_due(100, 96, None)
    (False, True, False, False)
    """
    if planned is None:
        return index >= last * float(2.0 ** (1 / REPLAYS))
    return 4 * index > planned and index >= last + 0.75 * planned / REPLAYS


class Alarm:
    """Whether a number that comes at every step has just left the ordinary: not finite, or far above its running median.

    The loss of a small batch stays within a factor of about 2 of its median (it is a mean of many terms); 4 leaves room. To be
    calibrated. Where numbers of both signs come, their spread stands for the median. Only the first of several alarming values
    in a row counts.
    """

    __slots__ = ("_alarming", "_bound", "_count", "_factor", "_recent")

    def __init__(self, factor: float) -> None:
        self._factor, self._bound, self._count, self._alarming = factor, ENDLESS, 0, False
        self._recent: deque[float] = deque(maxlen=32)

    def __call__(self, value: float) -> bool:
        """Take one more value; whether it is alarming and the one before was not."""
        if not value <= self._bound:  # also where it is not a number
            before, self._alarming = self._alarming, True
            return not before
        self._alarming = False
        self._recent.append(value)
        self._count += 1
        if not self._count % 16 or self._count == 4:
            median = statistics.median(self._recent)
            self._bound = median + (self._factor - 1.0) * max(abs(median), max(self._recent) - min(self._recent))
        return False
