"""What a loss says of learning: its distance below the best constant answer, how often it is right, how far answers spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from isograd.records.batch import LossSample
from isograd.records.moments import Moments
from isograd.records.reading import Reading
from isograd.records.trace import Step


def skill(sample: LossSample) -> float:
    r"""How much of the loss of the best constant answer is gone.

    .. math:: s = 1 - L / L_0, \qquad L_0 = \min_c L(c)

    with both losses on the same batch. The constant is fitted to this very batch, so that a model that knows nothing has a
    skill a little below 0: by about 1/n for a squared error, by (classes - 1) / 2n nats for cross-entropy (n examples).
    Unit: none. Range: (-inf, 1]; 0 is what a model that ignores its inputs reaches; NaN where no floor above 0 is known.
    Source: Murphy 1988, Skill scores based on the mean square error, Mon. Wea. Rev. 116, eq. 4 (with climatology as reference).

    >>> skill(LossSample("mse_loss", value=0.5, floor=2.0))
    0.75
    """
    if sample.value is None or sample.floor is None or not sample.floor > 0.0 or not math.isfinite(sample.value):
        return math.nan
    return 1.0 - sample.value / sample.floor


def hit_rate(sample: LossSample) -> float:
    """Share of the examples whose favoured class is the target.

    Unit: none. Range: [0, 1]; NaN where classes were not counted.
    Source: Hastie, Tibshirani & Friedman 2009, The elements of statistical learning, section 7.2 (one less the 0-1 loss).

    >>> hit_rate(LossSample("cross_entropy", classes=(3, 1), answers=(4, 0), hits=3))
    0.75
    """
    seen = sum(sample.classes)
    return sample.hits / seen if seen and sample.hits >= 0 else math.nan


def majority_rate(sample: LossSample) -> float:
    """Share of the most frequent class among the targets: the hit rate of always naming it.

    Unit: none. Range: [1 / classes, 1]; NaN where classes were not counted.
    Source: Holte 1993, Very simple classification rules perform well on most commonly used datasets, section 2 (0R).

    >>> majority_rate(LossSample("cross_entropy", classes=(3, 1)))
    0.75
    """
    seen = sum(sample.classes)
    return max(sample.classes) / seen if seen else math.nan


def entropy(counts: Sequence[int]) -> float:
    r"""Entropy of the frequencies of some counts.

    .. math:: H = -\sum_c p_c \log p_c

    Unit: nats. Range: [0, log of how many are not zero]; NaN where nothing was counted.
    Source: Shannon 1948, A mathematical theory of communication, section 6.

    >>> round(entropy((2, 2)), 4), entropy((4, 0))
    (0.6931, 0.0)
    """
    seen = sum(counts)
    return math.fsum(count / seen * math.log(seen / count) for count in counts if count) if seen else math.nan


def unseen(counts: Sequence[int]) -> float:
    r"""The share of the data whose classes were not seen, as the classes that came once tell.

    .. math:: U = \frac{\#\{c : n_c = 1\}}{\sum_c n_c}

    Unit: none. Range: [0, 1]; 0 where nothing was counted.
    Source: Good 1953, The population frequencies of species.

    >>> unseen((2, 2)), unseen((1, 1, 2))
    (0.0, 0.5)
    """
    return sum(count == 1 for count in counts) / max(1, sum(counts))


def shifted(before: Moments | None, now: Moments | None) -> bool:
    r"""Whether a mean has moved by half of what the values spread by, beyond chance.

    .. math:: |m_1 - m_0| > \tfrac12 \max(s_0, s_1) + 3 \sqrt{s_0^2 / n_0 + s_1^2 / n_1}

    A constant that was best before then pays a quarter of the variance more (half of s, squared).
    Unit: none. Range: True, False.
    Source: Welch 1947, The generalization of Student's problem (the error of a difference of two means).

    >>> shifted(Moments.of([0.0, 2.0] * 50), Moments.of([3.0, 5.0] * 50)), shifted(Moments.of([0.0, 2.0]), Moments.of([1.0]))
    (True, False)
    """
    if before is None or now is None or not (before.count and now.count):
        return False
    error = math.hypot(before.std / math.sqrt(before.count), now.std / math.sqrt(now.count))
    return abs(now.mean - before.mean) > 0.5 * max(before.std, now.std) + 3.0 * error > 0.0


def answer_entropy(sample: LossSample) -> float:
    """Entropy of the classes that the outputs favour; 0 where every example gets the same answer.

    Unit: nats. Range: [0, log(classes)]; NaN where classes were not counted.
    Source: Shannon 1948, as for ``entropy``.

    >>> answer_entropy(LossSample("cross_entropy", classes=(3, 1), answers=(4, 0), hits=3))
    0.0
    """
    return entropy(sample.answers)


def output_spread(sample: LossSample) -> float:
    r"""How far the outputs spread over the examples, beside the targets.

    .. math:: \sigma_y / \sigma_t = \sqrt{\sum (y - \bar y)^2 / \sum (t - \bar t)^2}

    each column less its own mean. Unit: none. Range: [0, inf); about 0 for an answer collapsed to the mean, at most 1 for the
    best predictor (which spreads as its correlation does); NaN where targets do not vary or are classes.
    Source: Taylor 2001, Summarizing multiple aspects of model performance in a single diagram, eq. 2.

    >>> from isograd.records.moments import Pairs
    >>> output_spread(LossSample("mse_loss", agreement=Pairs.of([1.0, -1.0], [2.0, -2.0])))
    0.5
    """
    found = sample.agreement
    return found.ratio if found is not None and found.right_largest > 0.0 else math.nan


def correlation(sample: LossSample) -> float:
    """Correlation of outputs and targets over the examples, each column less its own mean.

    Unit: none. Range: [-1, 1]; NaN where either does not vary or the targets are classes.
    Source: Pearson 1895, Note on regression and inheritance in the case of two parents.

    >>> from isograd.records.moments import Pairs
    >>> round(correlation(LossSample("mse_loss", agreement=Pairs.of([1.0, -1.0], [2.0, -2.0]))), 6)
    1.0
    """
    return sample.agreement.cosine if sample.agreement is not None else math.nan


def read(step: Step) -> Iterator[Reading]:
    """The readings of a step's training losses: the first at "", the others at "loss@2", "loss@3", ...

    >>> step = Step(4, losses=(LossSample("mse_loss", value=0.5, floor=2.0),))
    >>> [(reading.signal, reading.value) for reading in read(step)]
    [('skill', 0.75), ('loss_floor', 2.0)]
    """
    training = [sample for sample in step.losses if sample.training]
    for count, sample in enumerate(training, 1):
        where = "" if count == 1 else f"loss@{count}"
        found = (
            ("skill", skill(sample)),
            ("loss_floor", math.nan if sample.floor is None else sample.floor),
            ("hit_rate", hit_rate(sample)),
            ("majority_rate", majority_rate(sample)),
            ("answer_entropy", answer_entropy(sample)),
            ("output_spread", output_spread(sample)),
            ("correlation", correlation(sample)),
        )
        for signal, value in found:
            if not math.isnan(value):
                yield Reading(signal, where, step.index, value)
