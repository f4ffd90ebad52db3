"""Judge whether a training gets anywhere: its late loss against the best constant answer, against its start, and its trend.

What a symptom is worth depends on this: a network with dead units that answers well is no patient. All numbers are taken from
the loss of every step and from the looks at the loss; nothing is guessed, ``None`` says that it cannot be known:
  - the floor of a batch is that of its own best constant answer, which flatters small batches; class counts and targets of all
    looks are pooled where the loss is a plain mean, and a squared error is corrected by n / (n - 1)
  - where one loss of a step has constant targets and another has not, two networks play against each other (a GAN): no
    constant answer is a yardstick there
  - the median of the late losses is compared, so that a spike does not condemn a run
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.health.case import Case
from isograd.records.batch import LossSample
from isograd.records.moments import Moments

LATE = 0.2
"""Share of the seen steps that counts as late."""
FEW = 5
"""Losses below which nothing is said."""
CLEAR = 3.0
"""Standard errors that a difference must have: 1 in 700 by chance, one-sided."""
CHANCE = 0.03
"""Skill below which a network is no better than a constant answer in practice."""
DECIDED = 0.6
"""Share of an announced run that must be over; many sound runs lie on a plateau for a third or half of it."""
STALE = 0.5
"""Share of the steps before which the last look no longer says how the training stands."""
FALLEN = 0.1
"""Share of its start that a loss of unknown floor must have lost to count as learning."""
QUIET = 0.5
"""Noise, relative to the loss, below which a loss without floor that has not fallen says something."""
BEGUN = 0.7
"""First loss, relative to the floor, below which a network knew something already; untrained ones begin at 1 or above."""
BATCH = 8
"""Examples from which the floor of one batch says something of the data."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a training so far.

    ``steps`` were taken, which is ``share`` of the run (None: its length is not known; 1 when it has ended). ``start`` is the
    median of the first three losses, ``late`` that of the last fifth, ``best`` the lowest median of a tenth, ``noise`` the
    robust standard deviation of late losses from one look to the next. ``floor`` is what the best constant answer gets,
    ``skill`` the larger of 1 - late / floor and of the chance-corrected share of right answers (1: perfect, 0: no better than a
    constant), ``error`` its standard error. ``trend`` is what the loss lost from the third to the last quarter of what was
    seen, in standard errors. ``learning`` says whether it is better than it could be without learning.
    """

    steps: int = 0
    share: float | None = None
    seen: int = 0
    start: float | None = None
    late: float | None = None
    best: float | None = None
    noise: float = 0.0
    floor: float | None = None
    skill: float | None = None
    error: float = 0.0
    trend: float = 0.0
    learning: bool | None = None

    @property
    def decided(self) -> bool:
        """Whether so much of the run is over that a poor result speaks against it."""
        return self.share is not None and self.share >= DECIDED

    @property
    def falling(self) -> bool:
        """Whether the loss still falls, beyond noise."""
        return self.trend > CLEAR

    @property
    def advanced(self) -> bool:
        """Whether it began well above a constant answer: a network that had been trained before."""
        return self.start is not None and self.floor is not None and self.start < BEGUN * self.floor

    def poor(self, skill: float) -> bool:
        """Whether the skill is known and below ``skill``, beyond its error."""
        return self.skill is not None and self.skill + 2.0 * self.error < skill

    def well(self, skill: float) -> bool:
        """Whether the skill is known and above ``skill``."""
        return self.skill is not None and self.skill >= skill


def outcome(case: Case) -> Outcome:
    """What has come of the training so far.

    >>> from isograd.records.anatomy import Anatomy
    >>> outcome(Case(Anatomy("torch", (), ()))).learning is None
    True
    """
    rows = [(r.step, r.value) for r in case.series("loss") if math.isfinite(r.value)]
    looks = _looks(case)
    share = 1.0 if case.ended else case.taken / case.planned if case.planned else None
    if len(rows) < FEW:
        return Outcome(case.taken, share, len(rows))
    values = [value for _, value in rows]
    late = _tail(rows, LATE)
    noise = _noise(late)
    start, now = statistics.median(values[:3]), statistics.median(late)
    best = min(statistics.median(values[i:j]) for i, j in _tenths(len(values)))
    floor, paid = _floor(looks), now
    stale = bool(looks) and looks[-1][0] <= STALE * case.taken
    alike = _told_alike(case, looks)
    if looks and not alike:  # the loss that is stepped holds more than the looks: compare looks with looks
        last = looks[-1][0] - LATE * (looks[-1][0] - looks[0][0])
        paid = statistics.median(_told(one) for step, one in looks if step >= last)
    skills: list[tuple[float, float]] = []
    if floor is not None and (alike or not stale):
        skills.append((1.0 - paid / floor, _standard_error(noise, len(late)) / floor))
    answers = _answers(looks)
    if answers is not None and (skills or not stale):  # right answers of old speak for a training, never against it
        skills.append(answers)
    skill, error = max(skills, key=lambda one: one[0] - 2.0 * one[1]) if skills else (None, 0.0)
    return Outcome(
        case.taken,
        share,
        len(rows),
        start,
        now,
        best,
        noise,
        floor,
        skill,
        error,
        _trend(rows),
        _learning(skill, error, start, now, noise),
    )


def _learning(skill: float | None, error: float, start: float, late: float, noise: float) -> bool | None:
    if skill is not None:
        if skill > CHANCE + CLEAR * error:
            return True
        return False if skill < CHANCE + error else None
    if late < start - CLEAR * noise and (start - late) > FALLEN * abs(start):
        return True
    quiet = noise < QUIET * abs(late)
    return False if quiet and late > start - noise else None


def _looks(case: Case) -> list[tuple[int, list[LossSample]]]:
    """The training losses of each look whose floor is known, unless two networks play against each other."""
    found: list[tuple[int, list[LossSample]]] = []
    for step in case.steps:
        samples = [s for s in step.losses if s.training and s.value is not None and math.isfinite(s.value)]
        if len(samples) > 1 and any(s.floor == 0.0 for s in samples):
            return []
        known = [s for s in samples if s.floor is not None]
        if known:
            found.append((step.index, known))
    return found


def _floor(looks: Sequence[tuple[int, Sequence[LossSample]]]) -> float | None:
    """What the best constant answer pays in a step, over all looks."""
    samples = [sample for _, one in looks for sample in one]
    if not samples:
        return None
    pooled = _pooled(samples)
    if pooled is not None and all(_same(one) for _, one in looks):
        return pooled if pooled > 0.0 else None
    floors = [_together(one, [_corrected(sample) for sample in one]) for _, one in looks]
    floors = [floor for floor in floors if math.isfinite(floor)]
    floor = statistics.median(floors) if floors else 0.0
    return floor if floor > 0.0 else None


def _pooled(samples: Sequence[LossSample]) -> float | None:
    """Entropy of all classes, or variance of all targets, where the loss is a plain mean of such."""
    if any(sample.reduction != "mean" for sample in samples):
        return None
    if all(s.classes and abs(_entropy(s.classes) - (s.floor or 0.0)) <= 1e-3 * max(0.1, s.floor or 0.0) for s in samples):
        counts: Counter[int] = Counter()
        for sample in samples:
            counts.update(dict(enumerate(sample.classes)))
        return _entropy(tuple(counts.values()))
    one_column = all(s.target is not None and s.target_shape and s.target.count == s.target_shape[0] for s in samples)
    if one_column and all(s.function == "mse_loss" for s in samples):
        targets = [s.target for s in samples if s.target is not None]
        return _variance(sum(targets[1:], targets[0]))
    return None


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -sum(n / total * math.log(n / total) for n in counts if n) if total else 0.0


def _variance(of: Moments) -> float:
    return of.std**2 * of.count / (of.count - 1) if of.count >= BATCH else 0.0


def _corrected(sample: LossSample) -> float:
    rows = sample.target_shape[0] if sample.target_shape else 0
    if rows < BATCH or sample.floor is None:
        return math.nan
    return sample.floor * rows / (rows - 1) if sample.function == "mse_loss" else sample.floor


def _same(samples: Sequence[LossSample]) -> bool:
    """Whether the losses of a step are one function called several times: gradients that are accumulated."""
    return len({(sample.function, sample.reduction, sample.source) for sample in samples}) == 1


def _together(samples: Sequence[LossSample], values: Sequence[float]) -> float:
    return statistics.fmean(values) if _same(samples) else sum(values)


def _told(samples: Sequence[LossSample]) -> float:
    """What a look says that the step paid."""
    return _together(samples, [sample.value or 0.0 for sample in samples])


def _told_alike(case: Case, looks: Sequence[tuple[int, Sequence[LossSample]]]) -> bool:
    """Whether the loss that is stepped is the one that was looked at, within 1 %, in most looks."""
    stepped = {step.index: step.loss for step in case.steps}
    agree = 0
    for index, samples in looks:
        loss, told = stepped.get(index), _told(samples)
        agree += loss is not None and abs(loss - told) <= 0.01 * max(abs(told), 1e-12)
    return 2 * agree > len(looks)


def _answers(looks: Sequence[tuple[int, Sequence[LossSample]]]) -> tuple[float, float] | None:
    """Share of right answers late, corrected for the most frequent class, and its standard error."""
    samples = [(step, s) for step, one in looks for s in one if s.hits >= 0 and any(s.classes)]
    if len(samples) < 2:
        return None
    counts: Counter[int] = Counter()
    for _, sample in samples:
        counts.update(dict(enumerate(sample.classes)))
    majority = max(counts.values()) / sum(counts.values())
    last = samples[-1][0]
    recent = [sample for step, sample in samples if step > last * (1.0 - LATE)]
    asked = sum(count for sample in recent for count in sample.classes)
    right = sum(sample.hits for sample in recent) / asked
    if majority >= 1.0:
        return None
    return (right - majority) / (1.0 - majority), math.sqrt(max(right * (1.0 - right), 1.0 / asked) / asked) / (1.0 - majority)


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
