"""What a learning curve is worth: whether anything was learned, whether the answers are constant, what its hits allow.

Bounds:
  GAIN    0.03: on data whose best model explains 10 % of the variance, a run that got three quarters of it stands at 0.075
  CEILING the skill must be below 0.05 with two standard errors, or the share of right answers below HOPE, 0.1 of what is left
  CLEAR   3 standard errors: 1 in 700 by chance, one-sided
  SAME    98 % of the answers are one class although it is at most 4 of 5 targets; or the outputs of a regression spread by
          less than 5 % of what the targets do
  LITTLE  0.0015 beyond CLEAR errors: 53 right answers of 100 where 50 are chance lower a cross-entropy by that much of its
          floor (1 - H(0.53) / log 2 = 0.0026); calibrated: no alarm on 420 healthy runs, hard labels among them
"""

from __future__ import annotations

import math
import statistics

from isograd.health.curve import ENTROPIES, Curve, Standing
from isograd.health.signals.learning import entropy

GAIN = 0.03
CLEAR = 3.0
CEILING = 0.05
HOPE = 0.1
LITTLE = 0.0015
SAME = 0.98
COMMON = 0.8
SPREAD = 0.05
ANSWERS = 32


def against(beat: float) -> str:
    """How a loss stands beside the best constant answer, in words.

    >>> against(0.07)
    'only 7 % below that of the best constant answer'
    >>> against(0.0), against(-28.9)
    ('no lower than that of the best constant answer', 'far above that of the best constant answer')
    """
    how = f"only {100 * beat:.0f} % below" if beat >= 0.005 else "no lower than" if beat > -1.0 else "far above"
    return f"{how} that of the best constant answer"


def learned_nothing(curve: Curve, *, honest: bool = True) -> bool:
    """Whether the late looks show, for certain, nothing that a constant answer could not do.

    ``honest``: what little they show counts, for it was not gained on examples that came again (``health.passes``).
    """
    late = curve.late()
    if late.beat is None:
        return False
    if late.hits is None and _follows(curve, late):
        return False
    if late.hits is None and _explains(late) < GAIN and late.beat < CEILING + 2.0 * late.error:
        return late.beat < GAIN or late.beat <= CLEAR * late.error  # what the loss itself proves is not argued away
    if late.beat >= GAIN:
        return False
    certain = late.beat + 2.0 * late.error < CEILING or curve.above()
    if late.hits is None:
        return certain
    answers = late.hits + 2.0 * late.hits_error < HOPE and not late.stale
    return (certain or answers) and not (honest and _proven(late))


def _follows(curve: Curve, late: Standing) -> bool:
    """Whether outputs of one number go with their targets, by GAIN of the variance or more and beyond CLEAR standard errors.

    Outputs that go with the targets and pay what a constant does are right but for their size, which costs what they gain;
    of few looks the loss tells that less surely than the correlation does. Several columns go along by their means alone.
    """
    beat, correlation = late.beat or 0.0, late.correlation or 0.0
    single = all(math.prod(sample.target_shape[1:]) == 1 for _, sample in curve.late_looks())
    clear = correlation**2 >= GAIN and correlation > CLEAR / math.sqrt(max(1, late.pairs))
    return single and clear and beat > 0.0 and not late.stale


def _explains(late: Standing) -> float:
    r"""What outputs of spread s (in units of the targets') and correlation r explain of the targets at most: 2 r s - s**2.

    With the correlation two standard errors higher than it looks; infinite where it is not known.
    """
    if late.spread is None or not late.pairs:
        return math.inf
    correlation = (late.correlation or 0.0) + 2.0 / math.sqrt(late.pairs)
    return 2.0 * correlation * late.spread - late.spread**2


def _proven(late: Standing) -> bool:
    """Whether some little was learned for certain: more right answers than the most frequent class, or a lower loss."""
    beat, hits = late.beat or 0.0, late.hits or 0.0
    if beat > LITTLE and beat > CLEAR * late.error:
        return True
    return hits >= (GAIN if beat > 0.0 else HOPE) and hits > CLEAR * late.hits_error


def constant(curve: Curve) -> bool:
    """Whether the late answers are one and the same for all examples, although the targets are not."""
    late = curve.late()
    answers = sum(sum(sample.answers) for _, sample in curve.late_looks())
    if late.favourite is not None:
        return answers >= ANSWERS and late.favourite >= SAME and (late.majority or 1.0) <= COMMON
    return late.spread is not None and late.spread < SPREAD


def falls(curve: Curve, begin: float = 0.5) -> bool:
    """Whether the loss fell from the first to the second half of the steps since ``begin``, beyond two standard errors."""
    middle = (1.0 + begin) / 2.0
    before, after = curve.values(begin, middle), curve.values(middle, 1.0)
    return gain(before, after)[0] > 2.0 * gain(before, after)[1]


def gain(before: list[float], after: list[float]) -> tuple[float, float]:
    """How much lower the mean of the later losses is, and its standard error, infinite where it cannot be told."""
    if min(len(before), len(after)) < 2:
        return 0.0, math.inf
    error = math.hypot(*(statistics.stdev(part) / math.sqrt(len(part)) for part in (before, after)))
    return statistics.fmean(before) - statistics.fmean(after), error


def allowed(curve: Curve) -> float | None:
    r"""The skill that a network with as many right answers has at least, if only its outputs are of the right size.

    .. math:: 1 - \frac{H(a) + (1 - a) \log(K - 1)}{H_0}

    for a share ``a`` of right answers out of ``K`` classes: a network whose confidence fits its hits pays at most that much
    (Fano's inequality read backwards; ``a`` less two standard errors, for few looks count few answers). For a regression the
    correlation squared: what the best affine rescaling of the outputs would explain. None where it cannot be said (weighted or
    smoothed losses have another floor).
    """
    late = curve.late()
    kinds = sum(map(bool, curve.classes))
    if curve.function in ENTROPIES or (late.right is not None and kinds == 2):
        if late.right is None or curve.floor is None or kinds < 2:
            return None
        if abs(entropy(curve.classes) - curve.floor) > 0.05 * curve.floor:
            return None
        error = 2.0 * late.hits_error * (1.0 - (late.majority or 0.0)) if math.isfinite(late.hits_error) else 0.0
        a = min(1.0 - 1e-9, max(late.right - error, 1.0 / kinds))
        pays = -a * math.log(a) - (1.0 - a) * math.log((1.0 - a) / max(1, kinds - 1))
        return max(0.0, 1.0 - pays / curve.floor)
    if late.correlation is None or late.correlation <= 0.0:
        return None
    return late.correlation**2
