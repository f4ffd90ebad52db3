"""Turn what was recorded into numbers with a unit: one plain function a signal, and ``measure`` that takes them all."""

from __future__ import annotations

from isograd.health.signals.depth import backward_slope, slope_of, total_gradient_norm
from isograd.health.signals.layers import (
    activation_rms,
    dead_fraction,
    gradient_rms,
    saturated_fraction,
    stuck_fraction,
    zero_fraction,
)
from isograd.health.signals.learning import (
    answer_entropy,
    correlation,
    entropy,
    hit_rate,
    majority_rate,
    output_spread,
    skill,
)
from isograd.health.signals.measuring import ALIKE, ENOUGH, WINDOW, Measuring, measure
from isograd.health.signals.parameters import turning_ratio, update_ratio
from isograd.health.signals.rank import alignment, effective_rank
from isograd.health.signals.steps import overshoot

__all__ = [
    "ALIKE",
    "ENOUGH",
    "WINDOW",
    "Measuring",
    "activation_rms",
    "alignment",
    "answer_entropy",
    "backward_slope",
    "correlation",
    "dead_fraction",
    "effective_rank",
    "entropy",
    "gradient_rms",
    "hit_rate",
    "majority_rate",
    "measure",
    "output_spread",
    "overshoot",
    "saturated_fraction",
    "skill",
    "slope_of",
    "stuck_fraction",
    "total_gradient_norm",
    "turning_ratio",
    "update_ratio",
    "zero_fraction",
]
