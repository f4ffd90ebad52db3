"""What a batch brought and what the loss made of it, in a step or in an evaluation: sums, and how they fit together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from isograd.records.moments import Moments, Pairs


@dataclass(frozen=True, slots=True)
class Features:
    """How the columns of a table of inputs (examples by features) compare; standard deviations over the examples of one batch.

    ``constant`` columns do not vary in this batch; ``largest`` and ``smallest`` are the largest and smallest standard deviation
    of the others, ``median`` the middle one, ``largest_at`` the column of the largest. ``offset`` is the largest magnitude of a
    column's mean over the median standard deviation, infinite where nothing varies.
    """

    count: int
    constant: int
    largest: float
    median: float
    smallest: float
    largest_at: int
    offset: float


REACH: dict[str, tuple[float, float]] = {
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "log_softmax": (-math.inf, 0.0),
    "log_sigmoid": (-math.inf, 0.0),
}
"""What a function at the head can put out."""
UNSEEN = 0.1
"""Share of the labels whose class came once, beyond which a batch does not say how often the classes of the data come: so much
of the data has classes that the batch does not hold (Good 1953). With 10,000 words whose frequency falls as 1 / rank the
entropy of 400 is 5.0, and that of all is 6.6."""


@dataclass(frozen=True, slots=True)
class InputSample:
    """One tensor that a watched model was called with: ``where`` is the model's path and the position ("" and 0: the first).

    ``shape`` includes the batch axis. ``low`` and ``high`` are its extremes. Integer inputs (indices of an embedding) have
    moments too; ``features`` only inputs of two axes and a floating-point type.

    ``sequences`` and ``pictures`` say what places have in common, as shares of the mean square: two neighbouring positions, any
    two positions of an example, two examples at one position, two examples at different ones. Units are the last axis for
    ``sequences`` and the first behind the batch for ``pictures``. Measured once, so that they do not count where two samples
    are compared; empty where they were not.
    """

    where: str
    position: int
    shape: tuple[int, ...]
    dtype: str
    values: Moments
    low: float
    high: float
    features: Features | None = None
    sequences: tuple[float, ...] = field(default=(), compare=False)
    pictures: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class LossSample:
    """One call of the loss in a step; ``training`` False: an evaluation, with gradients off or the model in evaluation mode.

    A loss that no backward pass of the step began with, although others did, counts as an evaluation too.

    ``function`` is the name of torch's function ("cross_entropy", "mse_loss", ...); for a loss written by hand the function it
    amounts to where that is certain ("difference": the mean of outputs less targets), with ``written`` True, else "".
    ``head`` names the functions that the output came through since the last weighted operation, the last first ("softmax",),
    ``source`` the line of the call, ``head_source`` the line of the first of ``head`` and ``head_where`` its path where it is a
    module; ``base`` is the operation that the head stands on ("linear", "conv"), "" where it was not found. ``bounds`` are
    those that the last function of ``head`` was called with, where it is a clamp. ``plain``: with no option beside the
    reduction (no weights, no index to ignore, no smoothing). ``value`` is the loss as the program reduces it, by ``reduction``
    (the mean for "none").

    ``floor`` is the loss, by the same function and reduction, of the best constant answer on this very batch (class
    frequencies; mean of the targets): what a model without inputs can reach. None where it is not known. ``least`` is what
    perfect answers pay: the entropy of targets that are shares, else 0.
    ``classes`` counts the targets by class, ``answers`` the outputs by the class they favour, ``hits`` those that agree
    (-1: no classification); beyond 4,096 classes they are empty. ``agreement`` pairs outputs and targets, each less its mean
    (regression; binary targets, with the probabilities that the outputs stand for). ``rows`` are the extremes of the sums of
    outputs over the class axis: 1, 1 for probabilities; for losses that take logarithms of them, the sums of their
    exponentials. ``weights`` are the class weights handed to the loss; (1, w) for a weight w < 1 of the positives of a
    binary one, where they are the rarer. ``beyond`` is the share of the targets of a regression
    that the last function of ``head`` cannot put out (a ReLU: negative ones), ``shortfall`` the mean square of how far they are
    beyond, over the variance of the targets: what no training can explain. ``negated``: the backward pass began with minus the
    loss, and nothing else.

    Of large outputs some examples or positions are looked at only; ``floor`` and ``value`` speak of all.
    """

    function: str
    training: bool = True
    reduction: str = "mean"
    written: bool = False
    source: str | None = None
    head: tuple[str, ...] = ()
    head_source: str | None = None
    head_where: str = ""
    base: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    plain: bool = False
    value: float | None = None
    floor: float | None = None
    output: Moments | None = None
    output_shape: tuple[int, ...] = ()
    output_dtype: str = ""
    output_range: tuple[float, float] = (0.0, 0.0)
    target: Moments | None = None
    target_shape: tuple[int, ...] = ()
    target_dtype: str = ""
    target_range: tuple[float, float] = (0.0, 0.0)
    rows: tuple[float, float] | None = None
    classes: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()
    hits: int = -1
    agreement: Pairs | None = None
    weights: tuple[float, ...] = ()
    beyond: float = 0.0
    shortfall: float = 0.0
    negated: bool = False
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a program found when it tried its model between two steps: all batches together, ``after`` so many steps.

    ``function`` is the loss as in ``LossSample`` ("": none was called, answers were compared), ``source`` the line of its call,
    ``loader`` the number of the loader that was begun last (-1: none). Evaluations at several lines, or from several loaders,
    are several records. ``gradients``: they were on, and no step was made of it; ``whole`` False: only the first ``batches``
    were heard, which are the same ones from time to time where they come in the same order.

    ``value`` is the mean loss over all terms whatever the program's reduction, ``floor`` that of the best constant answer to
    all the targets together (where only batches could be asked, the mean of theirs, which is a little lower). ``classes``
    counts the targets by class (empty beyond 4,096), ``hits`` the right ones of ``answers`` (-1: no classification).

    >>> Evaluation(10, "cross_entropy", answers=50, hits=40).accuracy
    0.8
    """

    after: int
    function: str = ""
    source: str | None = None
    loader: int = -1
    gradients: bool = False
    whole: bool = True
    batches: int = 0
    examples: int = 0
    value: float | None = None
    floor: float | None = None
    classes: tuple[int, ...] = ()
    answers: int = 0
    hits: int = -1

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, in [0, 1]; nothing where there were no classes."""
        return self.hits / self.answers if self.hits >= 0 and self.answers else None


@dataclass(frozen=True, slots=True)
class Replay:
    """A loss of the program's own, computed again from the outputs on with other answers in the place of the model's.

    ``value`` is the loss that was stepped, ``constant`` that of answers that are the mean of the outputs in every row, ``best``
    the least that was found where every row does what the loss asks of it: ``constant`` where all are asked for the same, minus
    infinity where there is no least. ``agreement`` pairs how far the outputs of each row are from their mean with what is
    asked of them, over ``rows`` rows; ``spread`` is the norm of the former over that of the outputs. ``source`` is the line of
    the backward pass.

    >>> Replay(0.8, 1.0, 0.0).potential, Replay(-1.0, 0.0, -math.inf).potential
    (1.0, None)
    """

    value: float
    constant: float
    best: float
    rows: int = 0
    agreement: Pairs | None = None
    spread: float = math.nan
    source: str | None = None

    @property
    def potential(self) -> float | None:
        """What is to be gained by answers of their own for every row; None where there is nothing, or no end to it."""
        found = self.constant - self.best
        return found if math.isfinite(found) and found > 0.0 else None


def apart_by_width(samples: Sequence[LossSample]) -> frozenset[str | None]:
    """The lines at which one step calls losses on outputs of several widths: terms that stand in one line.

    >>> one, two = (LossSample("cross_entropy", source="t.py:3", output_shape=(8, width)) for width in (4, 10))
    >>> apart_by_width((one, two)), apart_by_width((one,))
    (frozenset({'t.py:3'}), frozenset())
    """
    widths: dict[str | None, set[tuple[int, ...]]] = {}
    for sample in samples:
        widths.setdefault(sample.source, set()).add(sample.output_shape[1:2])
    return frozenset(line for line, seen in widths.items() if len(seen) > 1)
