"""The learning curve of a loss beside what the best constant answer would pay on the same examples, with standard errors.

Several doors lead to the same question, whether anything was learned, and each has its own noise:
  - value against floor on the very same batch: what is hard about a batch cancels (``beat``)
  - right answers against the most frequent class (``hits``)
  - outputs against targets, whatever their scale (``correlation``)
The floor of one batch is lower than that of the data, for the constant was chosen on it: by (classes - 1) / (2 n) nats for a
cross-entropy (Miller 1955), 1 / (2 n) a column for a binary one, and by the factor (n - 1) / n for a squared or absolute error.
This is put back. Of batches below ``BATCH`` examples the targets of all looks are pooled instead; and where too many classes
come but once (UNSEEN: words), which no such correction puts right.

Only what is seen late speaks against a training. Where looking became too dear before half of the steps were taken, right
answers of old speak for it alone; and a loss that is one of several terms (a divergence, a penalty beside it) is then unknown.
What has come of the whole training, and whether that is decided, ``health.outcome`` says.
"""

from __future__ import annotations

import math
import statistics
import weakref
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from isograd.health.case import Case
from isograd.health.inside import trained
from isograd.health.signals.learning import entropy, shifted, unseen
from isograd.health.smoothing import smoothed, smoothing_of
from isograd.records.batch import UNSEEN, LossSample, apart_by_width
from isograd.records.moments import Pairs

BATCH = 8
"""Examples from which the floor of one batch, put right, says something of the data."""
LATE = 1 / 3
"""Share of the steps that counts as late."""
LAST, TAKEN_OFF = 0.1, 0.2
"""The last share of the steps speaks alone where it is so much nearer to perfect answers than the last third is. A curve that
falls straight from the floor to nothing has 1/20 and 1/6 of the floor there, .117 apart, and a convex one lies closer
(exp(-t/T) by .05 at most): beyond .2 the loss took off late, and the mean of the third is one of two states."""
LATE_STEPS = 5
"""Late losses from which their mean says something."""
LATE_LOOKS = 4
"""Looks that are late at least, as long as they are of the second half."""
STALE = 0.5
"""Share of the steps before which the last look no longer says how the training stands."""
SETTLED = 0.01
"""Part of the targets' variance over the whole run below which that of the late ones is no measure: targets that a network
makes for itself (a value) come to rest when it has learned them. Where both became one number ``collapse`` says so."""
DRIFT = 4.0
"""Times that what a constant answer pays may change over the looks, for those of old to speak of the whole run."""
ALIKE = 0.05
"""Spread of the ratio of two losses up to which one is the other, up to a constant factor."""
ENTROPIES = ("cross_entropy", "nll_loss")
REGRESSIONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@dataclass(frozen=True, slots=True)
class Standing:
    """How well a network answers over some looks; ``None``: not known.

    ``beat`` is 1 - loss / floor, both less what perfect answers pay, ``error`` its standard error. ``hits`` is the share of
    right answers, chance-corrected by the most frequent class, ``hits_error`` its standard error, ``right`` and ``majority``
    the shares themselves. ``correlation`` is the cosine of outputs and targets, each less its mean, over ``pairs`` numbers.
    ``favourite`` is the share of answers that are the most frequent of their batch, ``spread`` how far outputs spread over the
    examples, in units of the targets' spread; ``stale``: these looks are of the first half of the training.
    """

    looks: int = 0
    beat: float | None = None
    error: float = math.inf
    hits: float | None = None
    hits_error: float = math.inf
    right: float | None = None
    majority: float | None = None
    correlation: float | None = None
    pairs: int = 0
    favourite: float | None = None
    spread: float | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One training loss of a program. ``looks`` are the calls that were looked at; ``steps`` the losses of all known steps.

    ``floor`` is the loss of the best constant answer over all looks on the scale of ``looks``; ``steps`` are on that scale
    where ``told`` (the loss that is stepped is this one), else they are those of the looks. ``classes`` are the targets of all
    looks by class. ``taken`` is the last step of the training; ``moved``: targets lie elsewhere now, as returns do, or may.
    """

    looks: tuple[tuple[int, LossSample], ...]
    steps: tuple[tuple[int, float], ...]
    told: bool
    floor: float | None
    classes: tuple[int, ...]
    taken: int
    moved: bool = False

    @property
    def function(self) -> str:
        """The loss function's name."""
        return self.looks[-1][1].function

    @property
    def rows(self) -> int:
        """Examples (or positions) in a batch, on average."""
        return max(1, round(statistics.fmean(examples(sample) for _, sample in self.looks)))

    def late(self) -> Standing:
        """How the last third of the training stands: the looks, and where it is more certain the losses of all its steps."""
        found = replace(self.standing(self.late_looks()), stale=self.stale)
        if (found.stale and (not self.told or self._drifts())) or self.moved:
            return replace(found, beat=None, error=math.inf)
        beat, error = self._beat_of_steps()
        return replace(found, beat=beat, error=error) if beat is not None and error < found.error else found

    @property
    def stale(self) -> bool:
        """Whether no look was late enough to tell how the training stands now."""
        return self.looks[-1][0] <= STALE * self.taken

    def _drifts(self) -> bool:
        """Whether the targets of a regression became others while it was looked at: what they are now nobody knows."""
        floors = [sample.floor or 0.0 for _, sample in self.looks]
        if self.function not in REGRESSIONS or len(floors) < 6:
            return False
        first, last = statistics.median(floors[:3]), statistics.median(floors[-3:])
        return max(first, last) > DRIFT * min(first, last)

    def late_looks(self) -> tuple[tuple[int, LossSample], ...]:
        """The looks of the last third of the steps; ``LATE_LOOKS`` at least where the second half has so many."""
        recent = sum(step > (1.0 - LATE) * self.taken for step, _ in self.looks)
        second = sum(step > 0.5 * self.taken for step, _ in self.looks)
        return self.looks[-max(1, recent, min(LATE_LOOKS, second)) :]

    def standing(self, looks: Sequence[tuple[int, LossSample]]) -> Standing:
        """How the network answered in these looks."""
        samples = [sample for _, sample in looks]
        beat, error = self._beat(samples)
        right, majority, hits, hits_error = self._hits(samples)
        correlation, pairs, spread = _agreement(samples)
        return Standing(
            len(samples), beat, error, hits, hits_error, right, majority, correlation, pairs, _favourite(samples), spread
        )

    @property
    def answered(self) -> float | None:
        """How good the late answers are: chance-corrected hits where classes are counted, else 1 - loss / floor."""
        late = self.late()
        return late.hits if late.hits is not None else late.beat

    def above(self) -> bool:
        """Whether all late looks, two at least, and nine of ten late steps paid no less than a constant answer does."""
        if self.floor is None or len(self.late_looks()) < 2 or len(self.looks) < 3 or (self.stale and not self.told):
            return False
        late = self.values(1.0 - LATE, 1.0)
        looks = all((sample.value or 0.0) >= self.floor for _, sample in self.late_looks())
        return looks and (not self.told or sum(value >= self.floor for value in late) >= 0.9 * len(late))

    def values(self, begin: float, end: float) -> list[float]:
        """The losses of the steps from the share ``begin`` to the share ``end`` of all."""
        return [value for step, value in self.steps if begin * self.taken < step <= end * self.taken]

    def _beat_of_steps(self) -> tuple[float | None, float]:
        """1 - loss / floor by the losses of all late steps, and its standard error, that of the pooled floor included.

        Where the loss took off late and has arrived, by its last tenth: the mean of a third is that of two states then.
        """
        beat, error = self._beat_between(1.0 - LATE, 1.0)
        last, wide = self._beat_between(1.0 - LAST, 1.0)
        if beat is not None and last is not None and last - 2.0 * wide > beat + TAKEN_OFF:
            return last, wide
        return beat, error

    def _beat_between(self, begin: float, end: float) -> tuple[float | None, float]:
        late = self.values(begin, end)
        if not self.told or self.floor is None or len(late) < LATE_STEPS:
            return None, math.inf
        ratio = 1.0 - self.share(statistics.fmean(late))
        noise = statistics.stdev(late) / math.sqrt(len(late)) / (self.floor - self.least)
        return 1.0 - ratio, math.hypot(noise, ratio * self._floor_error() * self.floor / (self.floor - self.least))

    @property
    def least(self) -> float:
        """What perfect answers pay; 0 where that is no less than what a constant answer does (all targets alike)."""
        return least if (least := statistics.fmean(one.least for _, one in self.looks)) < (self.floor or 0.0) else 0.0

    def share(self, loss: float) -> float:
        """How far a loss is on its way from the best constant answer to perfect ones; NaN where the first is unknown."""
        return math.nan if self.floor is None else (self.floor - loss) / (self.floor - self.least)

    def _floor_error(self) -> float:
        """Relative standard error of the pooled floor: of an entropy by the spread of log p, of a variance as if Gaussian."""
        seen = sum(examples(sample) for _, sample in self.looks)
        total = sum(self.classes)
        if not total:
            floors = [sample.floor or 0.0 for _, sample in self.looks]
            mean = statistics.fmean(floors)
            known = len(floors) > 2 and mean > 0.0
            varied = 2.0 * statistics.stdev(floors) / mean / math.sqrt(len(floors)) if known else math.inf
            return min(math.sqrt(2.0 / seen), varied)  # many columns together vary less than one
        squares = sum(n / total * math.log(n / total) ** 2 for n in self.classes if n)
        spread = max(0.0, squares - entropy(self.classes) ** 2)
        return math.hypot(math.sqrt(spread / seen), sum(map(bool, self.classes)) / (2 * seen)) / (self.floor or 1.0)

    def _beat(self, samples: Sequence[LossSample]) -> tuple[float | None, float]:
        values = [sample.value or 0.0 for sample in samples]
        floors = [_corrected(sample) for sample in samples]
        if not all(math.isfinite(floor) and floor > 0.0 for floor in floors):
            if self.floor is None:
                return None, math.inf
            floors = [self.floor] * len(samples)
        elif self.function in REGRESSIONS and self.floor is not None and statistics.fmean(floors) < SETTLED * self.floor:
            floors = [self.floor] * len(samples)
        least = [sample.least if sum(one.least for one in samples) < sum(floors) else 0.0 for sample in samples]
        values, floors = ([one - less for one, less in zip(row, least, strict=True)] for row in (values, floors))
        return 1.0 - sum(values) / sum(floors), _ratio_error(values, floors)

    def _hits(self, samples: Sequence[LossSample]) -> tuple[float | None, float | None, float | None, float]:
        asked = sum(sum(sample.classes) for sample in samples if sample.hits >= 0)
        if not asked or not sum(self.classes) or samples[-1].weights:  # what is weighted is not after the most hits
            return None, None, None, math.inf
        right = sum(sample.hits for sample in samples if sample.hits >= 0) / asked
        majority = max(self.classes) / sum(self.classes)
        if majority >= 1.0:
            return right, majority, None, math.inf
        spread = max(right * (1.0 - right), majority * (1.0 - majority), 1.0 / asked)
        error = math.sqrt(spread / asked + majority * (1.0 - majority) / sum(self.classes)) / (1.0 - majority)
        return right, majority, (right - majority) / (1.0 - majority), error


def examples(sample: LossSample) -> int:
    """How many targets one call judged: by class where they are counted, else the length of the batch."""
    return sum(sample.classes) or (sample.target_shape[0] if sample.target_shape else 1)


_known: list[tuple[weakref.ref[Case], tuple[Curve, ...]]] = []


def curves(case: Case) -> tuple[Curve, ...]:
    """The training losses that were looked at, by the line that calls them (their order in the step where no line is known).

    >>> from isograd.records.anatomy import Anatomy
    >>> curves(Case(Anatomy("torch", (), ())))
    ()
    """
    if _known and _known[0][0]() is case:  # several diseases ask about the same case, one after the other
        return _known[0][1]
    found: dict[tuple[object, ...], list[tuple[int, LossSample]]] = defaultdict(list)
    for step, training in trained(case):
        several = apart_by_width([one for one in training if one.function in ENTROPIES])
        for place, sample in enumerate(training):
            if sample.value is not None and math.isfinite(sample.value):
                kinds = sample.output_shape[1:2] if sample.function in ENTROPIES and sample.source in several else ()
                key = sample.source or place, sample.function, sample.target_shape[1:], kinds, sample.reduction
                found[key].append((step.index, sample))
    _known[:] = [(weakref.ref(case), tuple(_curve(case, looks) for looks in found.values()))]
    return _known[0][1]


def main(case: Case) -> Curve | None:
    """The one loss of a program that has one; nothing where there are several, or two optimizers take turns."""
    found = curves(case)
    looked = {step for curve in found for step, _ in curve.looks}
    most = max(found, key=lambda curve: len(curve.looks), default=None)
    if most is None or contested(case):
        return None
    others = sum(len(curve.looks) for curve in found if curve is not most)
    return most if 10 * others <= len(most.looks) and 2 * len(most.looks) >= len(looked) else None


def contested(case: Case) -> bool:
    """Whether several losses or optimizers take turns: steps that update disjoint sets of parameters."""
    groups: list[frozenset[str]] = []
    for step in case.sampled:
        moved = frozenset(s.name for s in step.parameters if s.update is not None and s.update.largest > 0.0)
        if moved and moved not in groups:
            groups.append(moved)
        if len(groups) > 8:
            break
    return any(not one & other for one in groups for other in groups) or _two_sided(case)


def _two_sided(case: Case) -> bool:
    """Whether one of several losses always asks for the same answer, as those of a generator and its judge do."""
    found = [[sample for sample in step.losses if sample.training] for step in case.steps if len(step.losses) > 1]
    alike = [[one for one in samples if one.floor is not None and one.floor <= 1e-9] for samples in found if _differ(samples)]
    asked = Counter(what for samples in alike for what in {(one.source, one.target_range) for one in samples})
    return 2 * max(asked.values(), default=0) > len(found)


def _differ(samples: Sequence[LossSample]) -> bool:
    """Whether these are calls at several lines, or ask for several things; the parts of one large batch do neither."""
    return len({(sample.source, sample.target_range) for sample in samples}) > 1


def _curve(case: Case, looks: list[tuple[int, LossSample]]) -> Curve:
    totals: dict[int, list[float]] = defaultdict(list)
    for step, sample in looks:
        totals[step].append(sample.value or 0.0)
    seen = {step: statistics.fmean(values) for step, values in totals.items()}
    stepped = {step.index: step.loss for step in case.steps if step.loss is not None and math.isfinite(step.loss)}
    ratios = [stepped[step] / value for step, value in seen.items() if step in stepped and value and stepped[step]]
    middle = statistics.median(ratios) if ratios else 0.0
    alike = [abs(ratio / middle - 1.0) <= ALIKE for ratio in ratios] if middle > 0.0 else []
    told = len(alike) >= 2 and sum(alike) >= 0.9 * len(alike) and len(ratios) >= 0.9 * len(seen)
    if not told and _mixed(totals, stepped):
        middle, told = 1.0, True
    steps = {step: value / middle for step, value in stepped.items()} if told else seen
    classes = added([sample.classes for _, sample in looks])
    taken = max(case.taken, looks[-1][0])
    steady = looks[-1][0] > STALE * taken and not shifted(looks[0][1].target, looks[-1][1].target)
    moved = not (steady or (told and (case.facts("loader") or case.facts("repeats")))) and looks[0][1].function in REGRESSIONS
    return Curve(tuple(looks), tuple(sorted(steps.items())), told, _floor(looks, classes), classes, taken, moved)


def _mixed(calls: Mapping[int, Sequence[float]], stepped: Mapping[int, float]) -> bool:
    """Whether what is stepped is a weighted mean of several calls of this loss, as with mixed-up examples.

    It then lies between the smallest and the largest of them at every look, and a constant answer pays as much as for one.
    """
    several = [step for step, values in calls.items() if len(values) > 1 and step in stepped]
    between = [min(calls[step]) * 0.99 <= stepped[step] <= max(calls[step]) * 1.01 for step in several]
    return len(between) >= 2 and all(between) and len(between) >= 0.9 * len(calls)


def added(counts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Labels by class of several batches together."""
    width = max(map(len, counts), default=0)
    return tuple(sum(count[i] for count in counts if i < len(count)) for i in range(width))


def _floor(looks: Sequence[tuple[int, LossSample]], classes: tuple[int, ...]) -> float | None:
    """What the best constant answer pays over all looks: pooled where the loss is known well enough, else the batches' mean."""
    samples = [sample for _, sample in looks]
    if any(sample.floor is None for sample in samples):
        return None
    kinds = sum(map(bool, classes))
    smoothing = _smoothing(samples)
    if smoothing is not None:
        if unseen(classes) > UNSEEN:
            return None
        pooled = smoothed(classes, smoothing, samples[-1].weights) + (kinds - 1) / (2 * sum(classes))
        return pooled if pooled > 0.0 and kinds > 1 else None
    single = all(sample.target is not None and sample.target.count == examples(sample) for sample in samples)
    if single and all(sample.function == "mse_loss" and sample.reduction == "mean" for sample in samples):
        targets = [sample.target for sample in samples if sample.target is not None]
        whole = sum(targets[1:], targets[0])
        pooled = whole.std**2 * whole.count / (whole.count - 1) if whole.count > 1 else 0.0
        return pooled if pooled > 0.0 else None
    floors = [_corrected(sample) for sample in samples]
    known = [floor for floor in floors if math.isfinite(floor) and floor > 0.0]
    return statistics.fmean(known) if known and 2 * len(known) >= len(samples) else None  # the last of a pass may be too small


def _smoothing(samples: Sequence[LossSample]) -> float | None:
    """The label smoothing of a mean cross-entropy; None for another loss, or where none explains the floors of all batches."""
    if any(s.function not in (*ENTROPIES, *BINARY) or s.reduction != "mean" or sum(s.classes) == 0 for s in samples):
        return None
    return smoothing_of(samples, hard=samples[-1].function in BINARY)


def _corrected(sample: LossSample) -> float:
    """The floor of one batch put right for having been chosen on it; NaN where the batch is too small to say."""
    count = examples(sample)
    if sample.floor is None or count < BATCH or not sample.floor > 0.0:
        return math.nan
    if sample.function in ENTROPIES and sample.classes:
        there = entropy(sample.classes) if unseen(sample.classes) <= UNSEEN else 0.0
        return sample.floor * (1.0 + (sum(map(bool, sample.classes)) - 1) / (2 * count * there)) if there > 0.0 else math.nan
    if sample.function in BINARY:
        return sample.floor + 1.0 / (2 * count) if sample.reduction == "mean" else sample.floor
    return sample.floor * count / (count - 1) if sample.function in REGRESSIONS else sample.floor


def _ratio_error(values: Sequence[float], floors: Sequence[float]) -> float:
    """Standard error of sum(values) / sum(floors), by the deviations from it."""
    if len(values) < 2:
        return math.inf
    total, n = sum(floors), len(values)
    ratio = sum(values) / total
    squares = sum((value - ratio * floor) ** 2 for value, floor in zip(values, floors, strict=True))
    return math.sqrt(squares * n / (n - 1)) / total


def _agreement(samples: Sequence[LossSample]) -> tuple[float | None, int, float | None]:
    pairs = [sample.agreement for sample in samples if sample.agreement is not None and sample.agreement.count]
    if not pairs:
        return None, 0, None
    whole: Pairs = sum(pairs[1:], pairs[0])
    cosine, ratio = whole.cosine, whole.ratio
    return None if math.isnan(cosine) else cosine, whole.count, ratio if math.isfinite(ratio) else None


def _favourite(samples: Sequence[LossSample]) -> float | None:
    """By batch: an answer that is the same for all examples may still change from step to step."""
    answered = [sample.answers for sample in samples if sum(sample.answers) >= BATCH]
    return statistics.fmean(max(answers) / sum(answers) for answers in answered) if answered else None
