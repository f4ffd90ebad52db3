"""What a search and a proof may ask: one training of a copy after the other, within a budget, each paid and remembered once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from isograd.errors import ModelError
from isograd.records.edit import Edit
from isograd.records.proof import RESOLUTION, Candidate, Part, Stage, Training
from isograd.records.skill import Skill

WORST = -0.2
"""Skill of what raises or is not finite."""
SEARCH_SEED = 0
"""The seed of the search; a proof never uses it."""
SECOND_SEED = 1
"""What the seed alone changes is seen on this one, in a search; a proof never uses it either."""
GAIN, HELPS, EQUAL = 0.08, 0.1, 0.02
"""On the scale of skill: what may be spoken of (silent on 39 of 41 healthy programs), what a preset must gain to count as a
ceiling, and what is no difference."""
PARTS = 3
"""Edits together at most that are chosen for being near the ceiling: more tell a person little."""

Stop = Callable[[int, float], bool]
"""Told (step, skill) on the way; where it answers True the training ends there."""
Attempt = Callable[[tuple[Edit, ...], int, Part, int, Stop | None], Training]
"""One training with these edits, from this seed, judged on that part of the validation examples, of so many steps; raises
``ModelError`` where the edits cannot be made, and tells of what fails on the way in ``Training.failed``."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One training as it is asked for; see ``Attempt``."""

    edits: tuple[Edit, ...]
    seed: int
    part: Part
    steps: int
    stop: Stop | None = None

    @property
    def key(self) -> tuple[tuple[Edit, ...], int, Part, int]:
        """What tells it from every other of its program."""
        return self.edits, self.seed, self.part, self.steps


Progress = Callable[[int, int, str], object]
"""Told of (steps spent, steps allowed, what is tried) before each training."""


@dataclass
class Work:
    """One search and its proof: what may be asked and spent, and what was tried so far.

    ``left`` says how many steps may still be made after ``spent``; ``reserve`` of them are kept for the proof. ``scale`` is
    what a difference of 1 in skill is worth on the yardstick in use, ``resolution`` a difference that is none. ``ahead`` is
    told what may be asked for next, and may begin with it: no answer depends on that.
    """

    attempt: Attempt
    length: int
    left: Callable[[int], float]
    progress: Progress | None = None
    reserve: float = 0.0
    scale: float = 1.0
    resolution: float = RESOLUTION
    ahead: Callable[[Sequence[Ask]], object] | None = None
    near: float = math.inf
    """The skill from which two to PARTS edits are tried with a second seed."""
    bar: float = math.inf
    """The skill that is enough: one edit that comes within EQUAL of it, above or below, is tried with a second seed."""
    lost: dict[tuple[Edit, ...], Candidate] = field(default_factory=dict)
    """Edits whose proof failed, as they stood before: they count as what fails, and the search goes on without them."""
    keep: Callable[[tuple[Edit, ...]], float] = lambda edits: 0.0
    """Steps that the proof of these edits will take, which a second seed leaves."""
    spent: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    known: dict[tuple[tuple[Edit, ...], int, Part, int], Training] = field(default_factory=dict)

    def affords(self, steps: float, *, reserved: bool = False) -> bool:
        """Whether so many steps are still allowed; ``reserved`` ones are the proof's."""
        return self.left(self.spent) - (0.0 if reserved else self.reserve) >= steps

    def foresee(self, asks: Iterable[Ask]) -> None:
        """Say what may be asked for next, in this order."""
        if self.ahead is not None:
            self.ahead([ask for ask in asks if ask.key not in self.known])

    def searching(self, edits: tuple[Edit, ...], steps: int | None = None, stop: Stop | None = None) -> Ask:
        """A training of the search, of a whole run where nothing else is said."""
        return Ask(edits, SEARCH_SEED, "search", steps_of(edits, steps or self.length), stop)

    def train(
        self, edits: tuple[Edit, ...], seed: int, part: Part, steps: int, told: str, stop: Stop | None = None
    ) -> Training:
        """One training, made once: what is known already costs nothing more."""
        key = (edits, seed, part, steps)
        if key not in self.known:
            if self.progress is not None:
                self.progress(self.spent, self.spent + int(min(self.left(self.spent), 1e15)), told)
            try:
                made = self.attempt(edits, seed, part, steps, stop)
            except ModelError as error:
                made = Training(Skill(WORST, 0), failed=str(error).splitlines()[0])
            self.known[key] = made
            self.spent += made.steps
        return self.known[key]

    def candidate(self, edits: tuple[Edit, ...], stage: Stage, reason: str, stop: Stop | None = None) -> Training:
        """One full training on the search's seed and examples, written down among the candidates.

        Two to PARTS edits that come ``near`` are worth the mean of two seeds: the more is tried, the likelier is one of them
        good by its seed alone, and combinations are what most is tried of; but not where a smaller change is near as well and
        these are not enough. So is one edit where noise decides whether it is
        enough. What ``lost`` its proof is worth nothing more.
        """
        before = self.spent
        made = self.train(edits, SEARCH_SEED, "search", steps_of(edits, self.length), said(edits), stop)
        if stage != "preset" and made.failed is None and self._doubtful(edits, made.skill.value):
            made = self._twice(edits, made)
        if all(one.edits != edits for one in self.candidates):
            cost = (self.spent - before) / self.length
            skill = None if made.failed is not None else made.skill.value
            self.candidates.append(Candidate(edits, skill, stage, reason, round(cost, 3), made.failed))
        return made if edits not in self.lost else replace(made, skill=Skill(WORST, 0), failed="its proof failed")

    def lose(self, edits: tuple[Edit, ...], why: str) -> None:
        """The proof of these edits failed: from now on they count as what fails."""
        place, stood = next((place, one) for place, one in enumerate(self.candidates) if one.edits == edits)
        self.lost[edits] = replace(stood, reason=f"{stood.reason}; {why}")
        self.candidates[place] = replace(stood, skill=None, failed=why)

    @property
    def tried(self) -> tuple[Candidate, ...]:
        """All candidates, those whose proof failed with what they reached in the search."""
        return tuple(self.lost.get(one.edits, one) for one in self.candidates)

    def _doubtful(self, edits: tuple[Edit, ...], skill: float) -> bool:
        """Whether one seed is too little to say what edits are worth."""
        if len(edits) == 1:
            return abs(skill - self.bar) < EQUAL * self.scale
        smaller = any(one.edits and one.size < sum(edit.size for edit in edits) for one in self.standing(self.near))
        least = self.bar - EQUAL * self.scale if smaller else self.near  # of two that are near the smaller goes to proof
        return 1 < len(edits) <= PARTS and skill >= least

    def standing(self, least: float) -> list[Candidate]:
        """The candidates that are worth so much, the preset left out."""
        return [one for one in self.candidates if one.stage != "preset" and one.skill is not None and one.skill >= least]

    def mean(self, edits: tuple[Edit, ...]) -> float:
        """The mean skill of whole runs with the search's seed and the second one."""
        steps = steps_of(edits, self.length)
        seeds = (SEARCH_SEED, SECOND_SEED)
        return sum(self.train(edits, seed, "search", steps, f"again: {said(edits)}").skill.value for seed in seeds) / len(seeds)

    def _twice(self, edits: tuple[Edit, ...], made: Training) -> Training:
        """What a training is worth with another seed as well; as it is where that cannot be paid."""
        steps = steps_of(edits, self.length)
        if (edits, SECOND_SEED, "search", steps) not in self.known and self.left(self.spent) - self.keep(edits) < steps:
            return made
        again = self.train(edits, SECOND_SEED, "search", steps, f"again: {said(edits)}")
        return replace(made, skill=replace(made.skill, value=(made.skill.value + again.skill.value) / 2.0))


def steps_of(edits: tuple[Edit, ...], steps: int) -> int:
    """How long a training is: as long as an edit of its length says, or as any other.

    >>> steps_of((Edit("steps", 500.0),), 300), steps_of((), 300)
    (500, 300)
    """
    return next((max(1, int(float(edit.value))) for edit in edits if edit.kind == "steps" and edit.value), steps)


def said(edits: tuple[Edit, ...]) -> str:
    """What is tried, in words.

    >>> said(()), said((Edit("train_mode"), Edit("unfreeze")))
    ('no change', 'train in training mode; let every parameter learn, and give it to the optimizer')
    """
    return "; ".join(edit.text for edit in edits) or "no change"
