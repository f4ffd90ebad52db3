"""The steps of a run in bounded memory: of old ones some are dropped, and the extreme ones stay."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from isograd.records.trace import Step

STEPS = 2_048
"""Steps kept at most with their gradient norms."""
SAMPLED = 512
"""Steps kept at most with their layers and parameters."""
EVALUATED = 256
"""Steps kept at most with their evaluations."""
GLANCES = 2_048
"""Steps kept at most of those that were not looked at: their loss and learning rate."""
BLOCK = 128
"""Glances given at most by one ``take``, and an eighth of it of steps with their layers: so much a journal grows a time."""
_GROUP = 8


class Glance(NamedTuple):
    """A step that was not looked at."""

    at: int
    loss: float | None
    learning_rate: float | None

    @property
    def step(self) -> Step:
        """As a record."""
        return Step(self.at, self.loss, self.learning_rate)


@dataclass
class History:
    """Steps in order. The first two sampled steps and the newest half are never thinned."""

    looks: list[Step] = field(default_factory=list)
    glances: list[Glance] = field(default_factory=list)
    condensed: int = 0
    """How often something was dropped."""
    _sampled: int = 0
    _tried: int = 0
    _given: int = 0

    @property
    def steps(self) -> list[Step]:
        """All that is kept, in order."""
        return list(heapq.merge(self.looks, [glance.step for glance in self.glances], key=lambda step: step.index))

    def add(self, step: Step) -> None:
        """Append a step that was looked at, and make room where there are too many."""
        self.looks.append(step)
        self._sampled += step.sampled
        self._tried += bool(step.evaluations)
        if self._tried > EVALUATED:
            self._forget_evaluations()
        if self._sampled > SAMPLED:
            self._strip()
        if len(self.looks) > STEPS:
            self._thin()

    def amend(self, index: int, change: Callable[[Step], Step]) -> None:
        """Write into the record of a step that was kept last or all but last, looked at or not."""
        for place in range(len(self.looks) - 1, max(-1, len(self.looks) - 3), -1):
            if self.looks[place].index == index:
                self.looks[place] = change(self.looks[place])
                return
        last = self.glances.pop().step if self.glances and self.glances[-1].at == index else Step(index)
        self.add(change(last))

    def glance(self, glance: Glance) -> None:
        """Append a step that was not."""
        self.glances.append(glance)
        if len(self.glances) > GLANCES:
            self._condense()

    def _condense(self) -> None:
        if len(self.glances) > GLANCES:
            half = len(self.glances) // 2
            self.glances = [*thinned(self.glances[:half]), *self.glances[half:]]
            self.condensed += 1

    def take(self) -> tuple[Step, ...]:
        """The steps since the last call, some of them where they are many."""
        looks = [step for step in self.looks if step.index > self._given]
        glances: Sequence[Glance] = [glance for glance in self.glances if glance.at > self._given]
        while len(glances) > BLOCK:
            glances = thinned(glances)
        places = [place for place, step in enumerate(looks) if step.sampled]
        every = math.ceil(len(places) / (BLOCK // 8))
        for count, place in enumerate(reversed(places)):
            if count % every:
                looks[place] = _bare(looks[place])
        fresh = tuple(heapq.merge(looks, [glance.step for glance in glances], key=lambda step: step.index))
        if fresh:
            self._given = fresh[-1].index
        return fresh

    def _strip(self) -> None:
        sampled = [place for place, step in enumerate(self.looks) if step.sampled]
        for place in sampled[2 : len(sampled) // 2 : 2]:
            self.looks[place] = _bare(self.looks[place])
        self._sampled = sum(step.sampled for step in self.looks)
        self.condensed += 1

    def _forget_evaluations(self) -> None:
        """Of the older half every second, but not the first and not the best."""
        tried = [place for place, step in enumerate(self.looks) if step.evaluations]
        older = tried[1 : len(tried) // 2]
        best = min(tried, key=lambda place: _lowest(self.looks[place]))
        for place in older[::2]:
            if place != best:
                self.looks[place] = dataclasses.replace(self.looks[place], evaluations=())
        self._tried = sum(bool(step.evaluations) for step in self.looks)
        self.condensed += 1

    def _thin(self) -> None:
        half = len(self.looks) // 2
        plain = [step for step in self.looks[:half] if not step.sampled and not step.evaluations]
        dropped = {id(min(pair, key=_extremity)) for pair in zip(plain[::2], plain[1::2], strict=False)}
        kept = [Glance(step.index, step.loss, step.learning_rate) for step in plain if id(step) in dropped]
        self.looks = [step for step in self.looks if id(step) not in dropped]
        self.glances = list(heapq.merge(self.glances, kept))  # its loss may be extreme where its norm is not
        self.condensed += 1
        self._condense()


def padded(step: Step, width: int) -> Step:
    """A step with a norm for each of ``width`` parameters: one that joined later had no gradient before."""
    norms = step.gradient_norms
    if not norms or len(norms) >= width:
        return step
    return dataclasses.replace(step, gradient_norms=norms + (None,) * (width - len(norms)))


def thinned(glances: Sequence[Glance]) -> list[Glance]:
    """Of every eight the first, and those with the largest and the smallest loss; what is not finite counts as largest.

    >>> [glance.at for glance in thinned([Glance(i, loss, None) for i, loss in enumerate([3, 2, 9, 4, 4, 1, 5, 5])])]
    [0, 2, 5]
    """
    kept: list[Glance] = []
    for start in range(0, len(glances), _GROUP):
        group = glances[start : start + _GROUP]
        chosen = {group[0].at, max(group, key=_height).at, min(group, key=_height).at}
        kept.extend(glance for glance in group if glance.at in chosen)
    return kept


def _height(glance: Glance) -> float:
    loss = glance.loss
    return 0.0 if loss is None else loss if loss == loss else math.inf


def _lowest(step: Step) -> float:
    return min((one.value for one in step.evaluations if one.value is not None and one.value == one.value), default=math.inf)


def _bare(step: Step) -> Step:
    """A step without what was looked at closely."""
    return dataclasses.replace(step, layers=(), parameters=(), inputs=(), losses=())


def _extremity(step: Step) -> float:
    """How far a step is from ordinary: its largest gradient norm, infinite where one is not finite."""
    norms = [norm for norm in step.gradient_norms if norm is not None]
    return max((norm if math.isfinite(norm) else math.inf for norm in norms), default=0.0)
