"""What one optimizer step does to a parameter: how far the real update moves and turns it."""

from __future__ import annotations

import math

from isograd.records.trace import ParameterSample


def update_ratio(sample: ParameterSample) -> float:
    r"""How far one real optimizer step moves a parameter, relative to its size.

    .. math:: r = \lVert \Delta\theta \rVert / \lVert \theta \rVert

    The difference of the parameter after and before the step, so that momentum, weight decay, clipping and Adam's scaling are
    in it. Unit: none. Range: [0, inf], infinite for the first step of a parameter that is zero; NaN where none was seen.
    About 1e-3 is usual; below 2**-24 a float32 parameter does not move at all.
    Source: You et al. 2017, arXiv:1708.03888 (the inverse of their trust ratio, for the real update).

    >>> from isograd.records.moments import Moments, Pairs
    >>> update_ratio(ParameterSample("w", Moments.of([2.0]), motion=Pairs.of([0.5], [2.0])))
    0.25
    """
    if sample.motion is not None:
        return sample.motion.ratio
    if sample.update is None:
        return math.nan
    moved, size = sample.update.rms, sample.weight.rms
    return moved / size if size else (math.inf if moved else math.nan)


def turning_ratio(sample: ParameterSample) -> float:
    r"""How far one step *turns* a parameter: the part of the update across the weight, relative to the weight.

    .. math:: r_\perp = r \sqrt{1 - \cos^2(\Delta\theta, \theta)}

    Weight decay only shortens a weight; it moves a layer that learns nothing by ``learning_rate * weight_decay`` a step, and
    is not in this number. A single number has nowhere to turn: of it the whole update counts. Unit: none. Range: [0, inf];
    NaN where no update was seen next to its weight.
    Source: Wan et al. 2021, Spherical motion dynamics, arXiv:2006.08419 (the angular update, for small angles).

    >>> from isograd.records.moments import Moments, Pairs
    >>> turning_ratio(ParameterSample("w", Moments.of([2.0, 0.0]), motion=Pairs.of([-0.5, 1.0], [2.0, 0.0])))
    0.5
    """
    if sample.motion is None or sample.weight.count == 1:
        return update_ratio(sample)
    ratio, cosine = sample.motion.ratio, sample.motion.cosine
    return ratio if math.isnan(cosine) else ratio * math.sqrt(max(0.0, 1.0 - cosine * cosine))
