"""What an experiment found: the hypotheses that were tried, what each did, and the cause that they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.edit import Edit
from isograd.records.finding import Finding
from isograd.records.skill import Skill

Certainty = Literal["sure", "likely", "possible"]
Answer = Literal["cause", "healthy", "no signal", "unknown", "interrupted"]
Standing = Literal["no edit", "not tried", "failed", "no help", "refuted"]

TIMED = 1_000_000_000
"""The budget in steps that stands for one that was given as a time."""


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
class Sighting:
    """An alarm that stands where no experiment names a cause, or before it: from what was seen and not from a trial.

    ``standing`` says what the trials showed: "no edit": none takes it away; "not tried": the search ended before ``edit``;
    "failed": ``edit`` could not be run; "no help": the best was ``edit``, with a ``gain`` that is no cause's, after ``steps``;
    "refuted": ``edit`` did a copy that learns as much harm as a cause must do good.
    """

    finding: Finding
    standing: Standing
    edit: Edit | None = None
    gain: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer of the experiment: ``causes`` in the order found, ``tried`` in the order of the trials.

    ``answer``: "cause"; "healthy": no edit helps and nothing is wrong with what the control reaches; "no signal": nothing helps
    and what is trained on can be learned by heart, so the labels do not follow from the inputs; "unknown": nothing that was
    tried explains it; "interrupted": it was stopped before it could say. ``control`` is the untouched copy's skill after
    ``length`` steps; ``spent`` steps of ``budget`` were used. ``remedies`` help, but name no cause. ``seen`` are
    the alarms that stand where there is no cause, what is refuted last; beside one, what comes before it: faults that are read
    off the program itself and that no trial could take away.
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
    seen: tuple[Sighting, ...] = ()
