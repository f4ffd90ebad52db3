"""One trial of a search for a cause: what may be asked for and was asked for, and what an edit gains beside the control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from isograd.errors import ModelError
from isograd.health.harm import Harm
from isograd.health.hypotheses import Proposal
from isograd.health.scoring import FACTS, least_harm, score_of
from isograd.records.cause import Hypothesis
from isograd.records.edit import Edit
from isograd.records.skill import Skill

LENGTH, LONGER = 80, 4
NIL = 0.05
FAILED = -0.2
"""Skill of what raises."""
BIRTHS = ("initialisation", "width", "depth", "activation", "nonlinearity", "cell", "normalisation", "residual")
"""Edits with which the network begins from other answers."""

Attempt = Callable[[tuple[Edit, ...], int], Skill]
"""The skill after so many steps with these edits; raises ``ModelError`` where they cannot be made or the program raises."""
Progress = Callable[[int, int, str], object]
"""Told of (steps spent, steps allowed, what is tried) before each trial."""


@dataclass
class Search:
    """One search: what may be asked, and what was tried so far."""

    attempt: Attempt
    harm: Callable[[Edit], Harm]
    budget: int
    length: int = LENGTH
    over: Callable[[], bool] = lambda: False
    progress: Progress | None = None
    enough: float = math.inf
    """A skill from which no further fault is looked for beside those found."""
    stood: float = -math.inf
    """Skill at which the watched run itself ended, where there was no alarm: what reaches no more is quicker at most."""
    alarmed: bool = False
    """Whether the training was found to be sick: what stands well after some tens of steps may then fail later."""
    spent: int = 0
    reserve: int = 0
    """Steps that are kept for longer replays."""
    reached: int = 0
    """Length of the longest replay."""
    tried: list[Hypothesis] = field(default_factory=list)
    interrupted: bool = False
    ahead: Callable[[Sequence[tuple[tuple[Edit, ...], int]]], object] | None = None
    """Told the edits and steps that are asked for next; no answer depends on it."""
    run: int = LENGTH * LONGER
    """Steps of the person's run."""

    def affords(self, steps: int) -> bool:
        """Whether a trial of so many steps is still allowed."""
        return not self.interrupted and not self.over() and self.spent + steps <= self.budget

    def foresee(self, next_ones: Iterable[tuple[Edit, ...]]) -> None:
        """Say what is asked for next, in this order."""
        if self.ahead is not None:
            self.ahead([(edits, steps_of(edits, self.length)) for edits in next_ones])

    def skill(self, edits: tuple[Edit, ...], told: str) -> tuple[Skill, str | None]:
        """Skill with these edits; of what fails, and why."""
        steps = steps_of(edits, self.length)
        if self.progress is not None:
            self.progress(self.spent, self.budget, told)
        self.spent += steps
        try:
            return self.attempt(edits, steps), None
        except ModelError as error:
            return Skill(FAILED, 0), str(error).splitlines()[0]

    def born(self, edits: tuple[Edit, ...]) -> float:
        """Skill with these edits before the first step."""
        try:
            return self.attempt(edits, 0).value
        except ModelError:
            return FAILED


def steps_of(edits: tuple[Edit, ...], length: int) -> int:
    """The steps that a trial of these edits makes: ``length``, or what one of them asks for."""
    return next((int(float(e.value or 0)) for e in edits if e.kind == "steps"), length)


def tried(work: Search, proposal: Proposal, control: Skill, given: tuple[Edit, ...]) -> Hypothesis:
    """Try an edit beside what is given: the gain over the control, the harm of the present value, and what both are worth."""
    edit = proposal.edit
    before = work.spent
    skill, failed = work.skill((*given, edit), edit.text)
    if edit.kind in FACTS and skill.value < control.value and work.affords(work.length):
        given, skill, failed = _gentler(work, given, edit, skill, failed)
    gain = 0.0 if failed is not None else skill.value - control.value
    if gain > NIL and edit.kind in BIRTHS:  # other weights may answer better by chance, before they learned anything
        gain = min(gain, skill.value - work.born((*given, edit)))
    harm = least_harm(work.harm(edit), edit.kind)
    value = None if failed is not None else skill.value
    score = 0.0 if edit.remedy else score_of(gain, harm)
    made = Hypothesis(
        edit, proposal.reason, value, gain, harm.value, harm.outside, score, work.spent - before, given, failed, proposal.source
    )
    work.tried.append(made)
    return made


def _gentler(
    work: Search, given: tuple[Edit, ...], edit: Edit, skill: Skill, failed: str | None
) -> tuple[tuple[Edit, ...], Skill, str | None]:
    """What a fact asks for beside a tenth of a learning rate that was found without it, where that does better."""
    slower = tuple(
        replace(one, value=one.value / 10.0) if one.kind == "learning_rate" and isinstance(one.value, float) else one
        for one in given
    )
    if slower == given:
        return given, skill, failed
    again, why = work.skill((*slower, edit), edit.text)
    return (slower, again, why) if again.value > skill.value else (given, skill, failed)
