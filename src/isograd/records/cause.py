"""What an experiment found: the hypotheses that were tried, what each did, and the cause that they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.edit import Edit
from isograd.records.skill import Skill

Certainty = Literal["sure", "likely", "possible"]
Answer = Literal["cause", "healthy", "no signal", "unknown", "interrupted"]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One edit, tried against the untouched control from the same start on the same batches.

    ``given`` are the edits that both sides had already (causes found before). ``skill`` is what the edited copy reached, None
    where it could not be run (``failed`` says why); ``gain`` = skill - control. ``harm`` is what the patient's present value
    costs a healthy reference of its family, None where that is not known (then the test is one-sided); ``outside``: the value
    or the network lies outside of what was tabulated. ``score`` = sqrt(gain * harm); of a remedy it is 0. ``reason`` says who
    proposed it; ``source`` is the line of the person's program that it is about.
    """

    edit: Edit
    reason: str = ""
    skill: float | None = None
    gain: float = 0.0
    harm: float | None = None
    outside: bool = False
    score: float = 0.0
    steps: int = 0
    given: tuple[Edit, ...] = ()
    failed: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """What is to blame: the edit that takes it away, how sure, and where; ``rivals`` could not be told apart from it."""

    edit: Edit
    certainty: Certainty
    gain: float
    harm: float | None
    summary: str
    where: str = ""
    source: str | None = None
    rivals: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer of the experiment: ``causes`` in the order found, ``tried`` in the order of the trials.

    ``answer``: "cause"; "healthy": no edit helps and nothing is wrong with what the control reaches; "no signal": nothing helps
    and one batch can be learned by heart, so the labels do not follow from the inputs; "unknown": nothing that was
    tried explains it; "interrupted": it was stopped before it could say. ``control`` is the untouched copy's skill after
    ``length`` steps; ``spent`` steps of ``budget`` were used. ``remedies`` help, but name no cause.
    """

    answer: Answer
    control: Skill
    length: int
    spent: int
    budget: int
    causes: tuple[Cause, ...] = ()
    tried: tuple[Hypothesis, ...] = ()
    remedies: tuple[Edit, ...] = ()
    interrupted: bool = False
    remarks: tuple[str, ...] = ()
