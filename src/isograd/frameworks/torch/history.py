"""The steps that were looked at, in bounded memory: of old ones every other is dropped, and the more extreme one stays."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from isograd.records.trace import Step

STEPS = 4_096
"""Steps kept at most."""
SAMPLED = 512
"""Steps kept at most with their layers and parameters."""


@dataclass
class History:
    """Steps in order. The first two sampled steps and the newest half are never thinned."""

    steps: list[Step] = field(default_factory=list)
    _sampled: int = 0
    _given: int = 0

    def add(self, step: Step) -> None:
        """Append a step, and make room where there are too many."""
        self.steps.append(step)
        self._sampled += step.sampled
        if self._sampled > SAMPLED:
            self._strip()
        if len(self.steps) > STEPS:
            self._thin()

    def take(self) -> tuple[Step, ...]:
        """The steps since the last call."""
        fresh = tuple(step for step in self.steps if step.index > self._given)
        if fresh:
            self._given = fresh[-1].index
        return fresh

    def _strip(self) -> None:
        sampled = [place for place, step in enumerate(self.steps) if step.sampled]
        for place in sampled[2 : len(sampled) // 2 : 2]:
            self.steps[place] = dataclasses.replace(self.steps[place], layers=(), parameters=())
        self._sampled = sum(step.sampled for step in self.steps)

    def _thin(self) -> None:
        half = len(self.steps) // 2
        plain = [step for step in self.steps[:half] if not step.sampled]
        dropped = {min(pair, key=_extremity).index for pair in zip(plain[::2], plain[1::2], strict=False)}
        self.steps = [step for place, step in enumerate(self.steps) if place >= half or step.index not in dropped]


def _extremity(step: Step) -> float:
    """How far a step is from ordinary: its largest gradient norm, infinite where one is not finite."""
    norms = [norm for norm in step.gradient_norms if norm is not None]
    return max((norm if math.isfinite(norm) else math.inf for norm in norms), default=0.0)
