"""What a repair was tried against, and whether it held: candidates, paired trials, effect and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.cause import Explanation
from isograd.records.edit import Edit
from isograd.records.skill import Skill

Verdict = Literal["proven", "not proven", "harmful"]
Kind = Literal["repair", "improvement", "nothing"]
Stage = Literal["control", "preset", "single", "combination", "shrunk", "race", "random", "asked"]
Part = Literal["search", "proof"]


RESOLUTION = 1e-3
"""A difference in skill that is none: of programs that learn nothing, rounding alone made every pair "better" (dev/LOG.md)."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of one copy: the skill that it reached after ``steps`` steps, and on its way there.

    ``curve`` holds (step, skill) in order, the last point included. ``failed`` says why it could not be finished; its skill is
    then the worst there is.
    """

    skill: Skill
    curve: tuple[tuple[int, float], ...] = ()
    steps: int = 0
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """One training with what tells it from all others: what a journal holds a line of, so that a search can go on.

    ``program`` is a fingerprint of the untouched program and its data; ``part`` says on which half of the validation examples
    it was judged, ``length`` how many steps were asked for.
    """

    program: str
    edits: tuple[Edit, ...]
    seed: int
    part: Part
    length: int
    training: Training
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One seed, with the same initial weights where the edits allow, the same batches and the same random numbers: as the
    program is, with the edits, and with a random edit of the same size; judged on examples that the search never used.
    """

    seed: int
    control: Training
    treated: Training
    random: Training | None = None

    @property
    def difference(self) -> float:
        """What the edits are worth with this seed.

        >>> round(Trial(7, Training(Skill(0.25, 50)), Training(Skill(0.75, 50))).difference, 6)
        0.5
        """
        return self.treated.skill.value - self.control.skill.value


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean of paired differences with its 95 % interval (Student's t); infinite borders where there is one pair alone."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """Edits that the search tried in one training, judged on its own seed and half of the examples; ``cost`` in full runs.

    ``stage`` says on whose turn; ``reason`` who proposed it; ``failed`` why it could not be made or finished.
    """

    edits: tuple[Edit, ...]
    skill: float | None
    stage: Stage
    reason: str = ""
    cost: float = 1.0
    failed: str | None = None

    @property
    def size(self) -> int:
        """How much of the program the edits change together.

        >>> Candidate((Edit("clear_gradients"), Edit("residual")), 0.5, "combination").size
        4
        """
        return sum(edit.size for edit in self.edits)


@dataclass(frozen=True, slots=True)
class Luck:
    """The best of ``runs`` random combinations of edits, on the search's own seed and examples, where the search's choice
    reached ``chosen``. ``whole``: the runs cost as much as the whole search did.
    """

    skill: float
    edits: tuple[Edit, ...]
    runs: int
    chosen: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Proof:
    """A repair and what became of it.

    ``verdict``: "proven": ``pairs_needed`` new pairs were all positive, and the random edit drawn beforehand was not better;
    "harmful": the edits make the validation score worse; else "not proven". ``why`` says it in a sentence. ``kind``: "repair"
    of a sick program, "improvement" of a healthy one, "nothing" where there are no ``edits`` (``healthy`` says whether anything
    was wrong). ``control`` and ``ceiling`` are what the search's own seed reached untouched and with the robust preset.
    ``effect`` is over ``trials``, ``against_random`` the same against ``random_edits``. A full run has ``length`` steps, a pair
    ``pair_length``; costs are in full runs, ``steps`` is their sum. ``varies`` is what differs between the trials: the initial
    weights, or, of a model that is trained already, only the order of the data. ``measure``: our yardstick, or the person's
    own score. ``fresh``: the proof was judged by examples that the search never used; else its seeds alone are new.
    ``earlier`` has, for each other change whose proof failed before, the pairs that it was asked for.
    """

    verdict: Verdict
    edits: tuple[Edit, ...]
    kind: Kind
    healthy: bool
    why: str = ""
    effect: Effect | None = None
    against_random: Effect | None = None
    trials: tuple[Trial, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    cause: Explanation | None = None
    control: Training | None = None
    ceiling: Candidate | None = None
    luck: Luck | None = None
    random_edits: tuple[Edit, ...] = ()
    pairs_needed: int = 6
    length: int = 0
    pair_length: int = 0
    cost_search: float = 0.0
    cost_proof: float = 0.0
    steps: int = 0
    varies: Literal["weights", "order"] = "weights"
    measure: Literal["skill", "score"] = "skill"
    remarks: tuple[str, ...] = ()
    interrupted: bool = False
    fresh: bool = True
    earlier: tuple[int, ...] = ()

    @property
    def better(self) -> int:
        """How many pairs are better, by more than rounding; a score of the person's own has no resolution that we know."""
        least = RESOLUTION if self.measure == "skill" else 0.0
        return sum(trial.difference > least for trial in self.trials)

    @property
    def undecided(self) -> bool:
        """Whether every pair so far is better."""
        return self.better == len(self.trials)

    @property
    def false_proof_rate(self) -> float:
        """How often edits that do nothing are called proven at most, whatever the noise: one half for each pair, summed over
        all attempts.

        >>> Proof("proven", (), "nothing", True).false_proof_rate
        0.015625
        >>> Proof("proven", (), "nothing", True, pairs_needed=7, earlier=(6,)).false_proof_rate
        0.0234375
        """
        return 0.5**self.pairs_needed + sum(0.5**asked for asked in self.earlier)
