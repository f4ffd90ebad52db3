"""What a trial is worth: the gain of an edit together with the harm that the present value does to a healthy reference."""

from __future__ import annotations

import math

from isograd.health.harm import LEAST, Harm

NEUTRAL, CERTAIN = 0.3, 0.5
"""What stands in for a harm that is not known, and the least of what a certain fact asks for."""
FACTS = (
    "clear_gradients",
    "train_mode",
    "fresh_batches",
    "keep_weights",
    "take_steps",
    "parameters",
    "keep_graph",
    "precision",
    "statistics",
    "axes",
    "skip_batch",
)
"""Edits that are proposed where a certain fact asks for them alone, and are nil on a sound program."""


def least_harm(harm: Harm, kind: str) -> Harm:
    """What is known of the harm, but no less than a certain fact or a loss that does not fit counts."""
    least = CERTAIN if kind in FACTS else NEUTRAL if kind == "loss" else 0.0
    return Harm(max(harm.value or 0.0, least), harm.outside) if least else harm


def score_of(gain: float, harm: Harm) -> float:
    """sqrt(gain * harm); harm below ``harm.LEAST`` is none, and NEUTRAL stands in for what is not known.

    >>> score_of(0.5, Harm(0.5)), score_of(0.5, Harm(0.01)), score_of(-0.1, Harm(0.9))
    (0.5, 0.0, 0.0)
    """
    worth = NEUTRAL if harm.value is None else harm.value if harm.value >= LEAST else 0.0
    return math.sqrt(gain * worth) if gain > 0.0 else 0.0
