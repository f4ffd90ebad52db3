"""Whether a training will succeed, as far as can be told: a probability, one of three answers, and what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Answer = Literal["will fail", "will train", "uncertain"]
Basis = Literal["theory", "step", "probe", "look 2 %", "look 12 %", "look 25 %"]
"""What was known: the architecture alone, one batch and the first real step, the thin probe too, or the run up to a share."""

DOUBTS = frozenset(
    [
        *("vanishing", "exploding", "rank_collapse", "inputs", "targets", "labels", "initial_loss", "momentum", "weight_decay"),
        *("cut_graph", "learning_rate", "symmetry", "dead_units", "structure"),
    ]
)
"""Diseases of which a remark before training is enough that nobody says "will train", or "healthy": what is remarked is there,
and only whether the run gets over it is open."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One sign: its value, how far it moves the log odds of failure (positive: towards failure), and what it says in words."""

    sign: str
    value: float
    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The calibrated ``probability`` that the run ends below 0.75 of what a good setting of the same length reaches.

    ``base_rate`` is the share of such trainings that is assumed to fail before anything was looked at. ``look_again`` is the
    step at which more can be told, None where nothing more will be. ``reasons`` are the weightiest first. ``assumed`` is the
    length of the run where nobody told it: on random programs of 200 to 2,000 steps what was said of 10,000 kept the order of
    the risks (AUC 0.76; 0.85 where the length was told), but 6 of 16 of those that were to train did not get so far.
    """

    probability: float
    base_rate: float
    answer: Answer
    basis: Basis
    look_again: int | None = None
    reasons: tuple[Reason, ...] = ()
    assumed: int | None = None
