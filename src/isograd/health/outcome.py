"""Judge whether a training gets anywhere: how it answers late, where it began, its trend, and whether it is decided.

The one judge of a run: what a symptom is worth depends on it, for a network with dead units that answers well is no patient. It
stands on the learning curves of the program's losses (``health.curve``) and on the loss of every step; nothing is guessed,
``None`` says that it cannot be known. Where a program has several losses they are judged by their sum, a loss of its own by
what the outputs are worth to it (``health.replayed``), and where two networks play against each other (a GAN) no constant
answer is a yardstick. Medians are compared, so that a spike does not condemn a run.
"""

from __future__ import annotations

import itertools
import math
import statistics
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.health import replayed
from isograd.health.case import Case
from isograd.health.curve import LATE, LATE_LOOKS, Curve, contested, curves, main
from isograd.health.evaluated import able

FEW = 5
"""Losses below which nothing is said."""
CLEAR = 3.0
"""Standard errors that a difference must have: 1 in 700 by chance, one-sided."""
CHANCE = 0.03
"""Skill below which a network is no better than a constant answer in practice."""
WILD = 1.0
"""Standard error of 1 - loss / floor from which its mean is that of a few wild steps."""
DECIDED = 0.6
"""Share of an announced run that must be over; many sound runs lie on a plateau for a third or half of it."""
UNTOLD = 5_000
"""Steps that stand for it where no length was announced."""
CAN = 0.5
"""Worth to a loss of the program's own, below which an evaluation that finds something is believed instead."""
FALLEN = 0.1
"""Share of its start that a loss of unknown floor must have lost to count as learning."""
QUIET = 0.5
"""Noise, relative to the loss, below which a loss without floor that has not fallen says something."""
BEGUN = 0.7
"""First loss, relative to the floor, below which a network knew something already; untrained ones begin at 1 or above."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a training so far.

    ``steps`` were taken, which is ``share`` of the run (None: its length is not known; 1 when it has ended); ``decided``:
    whether so much of it is over that a poor result speaks against it. ``start`` is the median of the first three losses,
    ``late`` that of the last third, ``best`` the lowest median of a tenth, ``noise`` the robust standard deviation of late
    losses from one look to the next. ``floor`` is what the best constant answer gets; ``hits`` and ``beat`` are the late
    chance-corrected share of right answers and 1 - loss / floor, each with its standard error, ``skill`` the better of the two
    (1: perfect, 0: no better than a constant). ``trend`` is what the loss lost from the third to the last quarter of what was
    seen, in standard errors. ``learning`` says whether it is better than it could be without learning.
    """

    steps: int = 0
    share: float | None = None
    decided: bool = False
    seen: int = 0
    start: float | None = None
    late: float | None = None
    best: float | None = None
    noise: float = 0.0
    floor: float | None = None
    beat: tuple[float, float] | None = None
    hits: tuple[float, float] | None = None
    trend: float = 0.0
    learning: bool | None = None

    @property
    def skill(self) -> float | None:
        """The better of ``hits`` and ``beat``, beyond their errors; None where neither is known."""
        known = self._known()
        return known[0] if known else None

    @property
    def error(self) -> float:
        """Standard error of ``skill``."""
        known = self._known()
        return known[1] if known else 0.0

    def _known(self) -> tuple[float, float] | None:
        return _better(self.beat, self.hits)

    @property
    def falling(self) -> bool:
        """Whether the loss still falls, beyond noise."""
        return self.trend > CLEAR

    @property
    def advanced(self) -> bool:
        """Whether it began well below a constant answer: a network that had been trained before."""
        return self.start is not None and self.floor is not None and self.start < BEGUN * self.floor

    def poor(self, skill: float) -> bool:
        """Whether the skill is known and below ``skill``, beyond its error."""
        known = self._known()
        return known is not None and known[0] + 2.0 * known[1] < skill

    def short_of(self, skill: float) -> bool:
        """Whether so much of the run is over that being ``poor`` counts against it."""
        return self.decided and self.poor(skill)

    def well(self, skill: float) -> bool:
        """Whether the skill is known and above ``skill``."""
        known = self._known()
        return known is not None and known[0] >= skill


_judged: list[tuple[weakref.ref[Case], Outcome]] = []


def decided(case: Case) -> bool:
    """Whether so much of the run is over that poor answers speak against it.

    >>> from isograd.records.anatomy import Anatomy
    >>> bare = Anatomy("torch", (), ())
    >>> decided(Case(bare, taken=50, planned=100)), decided(Case(bare, taken=50, planned=100, ended=True))
    (False, True)
    """
    return case.ended or case.taken >= (DECIDED * case.planned if case.planned else UNTOLD)


def outcome(case: Case) -> Outcome:
    """What has come of the training so far.

    >>> from isograd.records.anatomy import Anatomy
    >>> outcome(Case(Anatomy("torch", (), ()))).learning is None
    True
    """
    if not _judged or _judged[0][0]() is not case:  # every disease asks about the same case
        _judged[:] = [(weakref.ref(case), _outcome(case))]
    return _judged[0][1]


def _outcome(case: Case) -> Outcome:
    share = 1.0 if case.ended else case.taken / case.planned if case.planned else None
    one = main(case)
    rows = [(r.step, r.value) for r in case.series("loss") if math.isfinite(r.value)]
    if one is not None and one.told:
        rows = list(one.steps)
    if len(rows) < FEW:
        return Outcome(case.taken, share, decided(case), len(rows))
    values = [value for _, value in rows]
    late = _tail(rows, LATE)
    start, now, noise = statistics.median(values[:3]), statistics.median(late), _noise(late)
    best = min(statistics.median(values[i:j]) for i, j in _tenths(len(values)))
    floor, beat, hits = _standing(case, one)
    if beat is None and hits is None and not contested(case):
        beat = _own(case)
    learning = _learning(_better(beat, hits), start, now, noise)
    return Outcome(
        case.taken, share, decided(case), len(rows), start, now, best, noise, floor, beat, hits, _trend(rows), learning
    )


Skill = tuple[float, float] | None
"""How good answers are, and the standard error of that."""


def _better(beat: Skill, hits: Skill) -> Skill:
    known = [one for one in (beat, hits) if one is not None]
    return max(known, key=lambda one: one[0] - 2.0 * one[1], default=None)


def _standing(case: Case, one: Curve | None) -> tuple[float | None, Skill, Skill]:
    """Floor, beat and hits of the program's one loss, or of the sum of its losses; nothing known of a game of two."""
    found = [one] if one is not None else [] if contested(case) else list(curves(case))
    rows = [(curve, curve.late()) for curve in found if curve.floor is not None]
    floor = sum(curve.floor or 0.0 for curve, _ in rows) or None
    known = [(curve.floor - curve.least, late) for curve, late in rows if late.beat is not None and curve.floor is not None]
    beat: Skill = None
    if known and floor is not None and len(known) == len(rows):
        span = sum(paid for paid, _ in known)  # from perfect answers up to the best constant one
        gained = sum(paid * (late.beat or 0.0) for paid, late in known) / span
        error = math.hypot(*(paid * late.error for paid, late in known)) / span
        beat = (gained, error) if math.isfinite(error) else None
    if one is not None and one.told and not one.moved and floor is not None and (beat is None or beat[1] > WILD):
        values = one.values(1.0 - LATE, 1.0)  # a mean that a few steps make is no measure of the others
        if len(values) >= FEW:
            error = _standard_error(_noise(values), len(values)) / (floor - one.least)
            beat = one.share(statistics.median(values)), error
    answered = [late for _, late in rows if late.hits is not None and math.isfinite(late.hits_error)]
    hits: Skill = None
    worse = beat is not None and beat[0] + 2.0 * beat[1] < 0.0
    stale = any(late.stale for late in answered)  # old ones speak for a training only, and not once its loss has risen above
    if answered and not (stale and (beat is None or worse)):
        hits = statistics.fmean(late.hits or 0.0 for late in answered), max(late.hits_error for late in answered)
    return floor, beat, hits


def _own(case: Case) -> Skill:
    """What the outputs are worth to a loss of the program's own; at least the square of the cosine with what is asked of them,
    the share that outputs of the right size would explain: those that know and are too loud (dropout) are not worthless. What
    the program's own evaluations found to be good is not called poor by it.
    """
    found = replayed.worth(case)
    if found is None or found.rows < replayed.ROWS or found.looks < LATE_LOOKS:
        return None
    if found.gain > 1.0 + 2.0 * found.error:  # then the best rows that were found are no bound
        return None
    value = min(1.0, max(found.gain, found.cosine**2))
    return None if value < CAN and able(case) else (value, found.error)


def _learning(known: Skill, start: float, late: float, noise: float) -> bool | None:
    if known is not None:
        skill, error = known
        if skill > CHANCE + CLEAR * error:
            return True
        return False if skill < CHANCE + error else None
    if late < start - CLEAR * noise and (start - late) > FALLEN * abs(start):
        return True
    quiet = noise < QUIET * abs(late)
    return False if quiet and late > start - noise else None


def _tail(rows: Sequence[tuple[int, float]], share: float) -> list[float]:
    """The values of the last ``share`` of the steps, the last three at least."""
    first = rows[-1][0] - share * (rows[-1][0] - rows[0][0])
    return [value for place, (step, value) in enumerate(rows) if step > first or place >= len(rows) - 3]


def _tenths(count: int) -> list[tuple[int, int]]:
    size = max(3, count // 10)
    return [(i, i + size) for i in range(0, max(1, count - size + 1), size)]


def _noise(values: Sequence[float]) -> float:
    """Robust standard deviation of values around whatever they slowly do: from the differences of neighbours."""
    steps = [abs(b - a) for a, b in itertools.pairwise(values)]
    return statistics.median(steps) / (0.6745 * math.sqrt(2.0)) if steps else 0.0


def _standard_error(noise: float, count: int) -> float:
    return 1.2533 * noise / math.sqrt(count)  # of a median


def _trend(rows: Sequence[tuple[int, float]]) -> float:
    """From the third to the last quarter of the steps, in standard errors of the difference of medians."""
    begin, end = rows[0][0], rows[-1][0]
    half = [(step, value) for step, value in rows if step > (begin + end) / 2]
    third = [value for step, value in half if step <= begin + 0.75 * (end - begin)]
    last = [value for step, value in half if step > begin + 0.75 * (end - begin)]
    if len(third) < 2 or len(last) < 2:
        return 0.0
    spread = math.hypot(_standard_error(_noise(third), len(third)), _standard_error(_noise(last), len(last)))
    difference = statistics.median(third) - statistics.median(last)
    return difference / spread if spread > 0.0 else math.copysign(math.inf, difference) if difference else 0.0
