"""What a step is made of: whether gradients agree from look to look, what only shrinks a weight, what rounding swallows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from isograd.records.moments import Pairs
from isograd.records.reading import Reading
from isograd.records.trace import ParameterSample, Step


def gradient_turn(samples: Sequence[ParameterSample]) -> float:
    r"""Cosine of the angle between the whole gradient now and at the last look.

    .. math:: c = \frac{\sum_p g_p \cdot g'_p}{\lVert g \rVert \lVert g' \rVert}

    Over all parameters together. Unit: none. Range: [-1, 1]; near 1 where batches agree on the way, near 0 where noise rules,
    below 0 where the step before went too far; NaN at the first look.
    Source: Xing et al. 2018, A walk with SGD, arXiv:1802.08770, section 3 (the angle of consecutive gradients).

    >>> from isograd.records.moments import Moments
    >>> gradient_turn([ParameterSample("w", Moments.of([1.0]), turn=Pairs.of([1.0, 0.0], [-2.0, 0.0]))])
    -1.0
    """
    turns = [sample.turn for sample in samples if sample.turn is not None]
    return sum(turns[1:], turns[0]).cosine if turns else math.nan


def noise_scale(turn: Pairs, examples: int) -> float:
    r"""The batch size at which noise and signal of the gradient are equal, from the gradients of two successive batches.

    .. math:: B_{noise} = B \left( \frac{\lVert g \rVert^2 + \lVert g' \rVert^2}{2\, g \cdot g'} - 1 \right)

    Two independent batches of ``B`` examples at (nearly) the same weights: the product of their gradients is the squared true
    gradient on average, the square of each is that plus the variance of one example over ``B``. Unit: examples. Range:
    [0, inf], infinite where the two do not agree at all; NaN where nothing was seen. One pair is a very noisy estimate:
    take a median. Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1.

    >>> round(noise_scale(Pairs.of([1.0, 1.0], [1.0, -0.5]), 32), 6)
    72.0
    """
    if not turn.count or examples < 1 or not (turn.scaled_left and turn.scaled_right):
        return math.nan
    cosine, ratio = turn.cosine, turn.ratio
    if cosine <= 0.0:
        return math.inf
    return max(0.0, examples * (0.5 * (ratio + 1.0 / ratio) / cosine - 1.0))


def overshoot(promised: float, met: float) -> float:
    r"""How far a real step goes, beside the lowest point of the quadratic model along it.

    .. math:: o = \frac{d^\top H d}{\lvert g^\top d \rvert} \approx \frac{g'^\top d - g^\top d}{\lvert g^\top d \rvert}

    for a step d, the gradient g before and g' after it on the same batch; ``promised`` is g'd before, ``met`` after. At 1 the
    step ends where the loss is lowest, above 2 it ends higher than it began: for plain gradient descent, the learning rate
    times the curvature that it meets. Unit: none. Range: the real line, 0 where the loss is straight; infinite where the step
    does not go down, NaN where nothing moved.
    Source: LeCun, Simard & Pearlmutter 1992, Automatic learning rate maximization; Cohen et al. 2021, arXiv:2103.00065.

    >>> overshoot(-2.0, 2.0), overshoot(-2.0, -2.0)
    (2.0, 0.0)
    """
    if math.isnan(promised) or math.isnan(met) or promised == met == 0.0:
        return math.nan
    return (met - promised) / -promised if promised < 0.0 else math.inf


def read(step: Step) -> Iterator[Reading]:
    """The readings of one looked-at step."""
    turn = gradient_turn(step.parameters)
    if not math.isnan(turn):
        yield Reading("gradient_turn", "", step.index, turn)
    examples = max((sample.examples for sample in step.layers), default=0)
    turns = [sample.turn for sample in step.parameters if sample.turn is not None]
    if turns and examples:
        scale = noise_scale(sum(turns[1:], turns[0]), examples)
        if not math.isnan(scale):
            yield Reading("noise_scale", "", step.index, scale)
            yield Reading("batch", "", step.index, float(examples))
    for sample in step.parameters:
        yield from _of(sample, step.index)


def _of(sample: ParameterSample, step: int) -> Iterator[Reading]:
    found: list[tuple[str, float]] = []
    if sample.motion is not None:
        found.append(("update_alignment", sample.motion.cosine))
    if sample.update is not None:
        found.append(("update_zeros", sample.update.zero_fraction))
    if sample.gradient is not None:
        found.append(("gradient_zeros", sample.gradient.zero_fraction))
    for signal, value in found:
        if not math.isnan(value):
            yield Reading(signal, sample.name, step, value)
