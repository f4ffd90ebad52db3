"""What a repair was tried against, and whether it held: candidates, paired trials, effect and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.edit import Edit

Verdict = Literal["proven", "not proven", "harmful"]


@dataclass(frozen=True, slots=True)
class Skill:
    """One yardstick for every program: 0 is a trivial predictor, 1 is perfect; ``examples`` were judged."""

    value: float
    examples: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One seed, run with and without the edits, and with a random edit of the same size; skills on held-out examples."""

    seed: int
    control: Skill
    treated: Skill
    random: Skill | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean difference with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proof:
    """A repair and what became of it; ``cost`` is in full runs."""

    verdict: Verdict
    edits: tuple[Edit, ...]
    effect: Effect | None = None
    trials: tuple[Trial, ...] = ()
    rejected: tuple[Edit, ...] = ()
    cause: str | None = None
    cost: float = 0.0
