"""What one layer puts out and gets back: sizes of signals and gradients, units that never fire or never move."""

from __future__ import annotations

import math

from isograd.records.moments import Units
from isograd.records.trace import LayerSample


def activation_rms(sample: LayerSample) -> float:
    r"""How large a layer's output is.

    .. math:: a_l = \sqrt{\tfrac1{N n_l} \textstyle\sum_{n,i} x_{l,n,i}^2}

    Over examples and units, so that neither batch size nor width bends it. Unit: that of the output. Range: [0, inf); NaN
    where nothing finite was seen.
    Source: Poole et al. 2016, arXiv:1606.05340, eq. 3 (the length q of a layer's output; this is its root).

    >>> from isograd.records.moments import Moments
    >>> activation_rms(LayerSample("a", activation=Moments.of([3.0, -3.0])))
    3.0
    """
    return sample.activation.rms if sample.activation else math.nan


def gradient_rms(sample: LayerSample) -> float:
    r"""How large the gradient of one example's loss is at a layer's output.

    .. math:: \delta_l = N \sqrt{\tfrac1{N n_l} \textstyle\sum_{n,i} (\partial L / \partial x_{l,n,i})^2}

    The factor N (examples in the batch) undoes the mean over the batch in the loss, so that a larger batch does not look like
    a smaller gradient; under a loss that sums, it makes every layer's reading N times as large, and ratios of layers stay
    right. Unit: loss per unit of output. Range: [0, inf); NaN where no gradient came.
    Source: Schoenholz et al. 2017, arXiv:1611.01232, eq. 8 (the second moment of the backward signal; this is its root).

    >>> from isograd.records.moments import Moments
    >>> gradient_rms(LayerSample("a", examples=4, gradient=Moments.of([0.25, 0.25])))
    1.0
    """
    return sample.gradient.rms * max(1, sample.examples) if sample.gradient else math.nan


def zero_fraction(sample: LayerSample) -> float:
    """Share of a layer's outputs that are exactly zero.

    Unit: none. Range: [0, 1]; about 0.5 after a healthy ReLU; NaN where nothing finite was seen.
    Source: Glorot, Bordes & Bengio 2011, Deep sparse rectifier neural networks, section 3.1.

    >>> from isograd.records.moments import Moments
    >>> zero_fraction(LayerSample("a", activation=Moments.of([0.0, 2.0])))
    0.5
    """
    return sample.activation.zero_fraction if sample.activation else math.nan


def saturated_fraction(units: Units) -> float:
    """Share of looks at which a unit sat on a flat part of its activation.

    Unit: none. Range: [0, 1]; NaN where nothing was counted.
    Source: Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, section 3.

    >>> saturated_fraction(Units(4, (4, 4), (1, 3)))
    0.5
    """
    looks = units.seen * len(units.pinned)
    return sum(units.pinned) / looks if looks else math.nan


def dead_fraction(units: Units) -> float:
    """Share of a layer's units that fired at no look.

    Unit: none. Range: [0, 1]; NaN where nothing was counted.
    Source: Lu et al. 2019, Dying ReLU and initialization, arXiv:1903.06733.

    >>> dead_fraction(Units(4, (4, 0), (0, 0)))
    0.5
    """
    return len(units.dead) / len(units.fired) if units.seen and units.fired else math.nan


def stuck_fraction(units: Units) -> float:
    """Share of a layer's units that sat on a flat part at every look.

    Unit: none. Range: [0, 1]; NaN where nothing was counted.
    Source: Glorot & Bengio 2010, as for ``saturated_fraction``, counted by unit.

    >>> stuck_fraction(Units(4, (4, 0), (4, 1)))
    0.5
    """
    return len(units.stuck) / len(units.pinned) if units.seen and units.pinned else math.nan
