"""How good a model is, on the one yardstick that every program is measured with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skill:
    """One yardstick for every program: 0 is a trivial predictor, 1 is perfect; ``examples`` were judged."""

    value: float
    examples: int
