"""What a search may try, what it has found so far, and the proof that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from isograd.health.hypotheses import Proposal
from isograd.health.proving import Held, cost_of_proof, pairs_needed
from isograd.health.scoring import FACTS
from isograd.health.trials import GAIN, Work, said
from isograd.records.cause import Explanation
from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Kind, Proof, Training

WELL = 0.5
"""A skill from which a program without an alarm counts as healthy where the preset is no better."""
HOPELESS = 0.5
"""A candidate that has less than this share of the ceiling's skill half-way is given up there."""
READ = ("decay_l1", "decay_decoupled", "reset_state")
"""Kinds that are proposed where a reading shows what they are for: a run that learned by heart, moments of other gradients."""

Propose = Callable[[Sequence[Candidate]], tuple[Edit, ...] | None]
"""The next edits to try, told of all candidates so far; None ends it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search may try: the preset, single edits in the order in which they deserve it, and how a cause is searched.

    ``explain`` takes the steps that it may spend, which it pays, and the way of the ceiling (skill by step). ``alarmed``: the
    training was found to be sick. ``natural``: the yardstick is skill, where 0 is a constant answer and 1 perfect; a person's
    own score has no such marks. ``fits`` says whether edits can be made at all, at no cost. ``asked`` are edits to be put to
    proof instead of a search; ``together`` are combinations of which theory says that they belong together, ``ways`` what the
    preset may be instead where it does not help. ``certain``: layers are frozen that nobody trained.
    """

    preset: tuple[Edit, ...] = ()
    singles: tuple[Proposal, ...] = ()
    explain: Callable[[int, dict[int, float]], Explanation | None] | None = None
    alarmed: bool = False
    natural: bool = True
    propose: Propose | None = None
    fits: Callable[[tuple[Edit, ...]], bool] = lambda edits: True
    asked: tuple[Edit, ...] = ()
    together: tuple[tuple[Edit, ...], ...] = ()
    ways: tuple[tuple[Edit, ...], ...] = ()
    certain: bool = False
    first: Callable[[int], Explanation | None] | None = None
    """The likeliest cause, by short replays of what is spoken for alone; takes the steps that it may spend, which it pays."""

    @property
    def sure(self) -> bool:
        """Whether something is wrong whatever the preset gains, so that the search goes on."""
        return self.certain or any(one.urgent and one.edit.kind in FACTS for one in self.singles)

    @property
    def pool(self) -> tuple[Edit, ...]:
        """All single edits there are."""
        return tuple(dict.fromkeys([*(one.edit for one in self.singles), *self.preset]))


@dataclass
class Found:
    """What a search has found so far; an interruption leaves it as it stands."""

    control: Training | None = None
    ceiling: Candidate | None = None
    cause: Explanation | None = None
    first: Explanation | None = None
    """What was likeliest before there was a ceiling."""
    edits: tuple[Edit, ...] = ()
    reached: Training | None = None
    payable: bool = True
    level: float | None = None
    """What parts that were taken away have left, where noise decided: so much is near enough."""
    top: tuple[Training, float] | None = None
    """The best training before any candidate, and its skill."""
    remarks: list[str] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    """What was put to proof so far, the first first."""
    searched: int = 0
    proved: int = 0
    """Steps of all searches and of all proofs."""

    @property
    def attempt(self) -> int:
        """How many proofs there were before the next."""
        return len(self.proofs)

    def afresh(self) -> None:
        """Forget what was chosen, and what was said of it; what was tried is known, and so is a cause that was searched."""
        self.cause = None if self.cause is self.first else self.cause
        self.edits, self.reached, self.payable, self.level, self.remarks = (), None, True, None, []


def may_go_on(plan: Plan, proof: Proof) -> bool:
    """Whether other edits may be put to proof after this one: where pairs and not the budget ended it, of a sick program, or of
    one that does well with an alarm. What is healthy gets one proof, so that little is improved by chance.
    """
    decided = proof.verdict == "harmful" or (len(proof.trials) == proof.pairs_needed or not proof.undecided)
    well = proof.healthy and not plan.alarmed
    return proof.verdict != "proven" and decided and not (proof.interrupted or well or plan.asked)


def is_sick(plan: Plan, found: Found) -> bool:
    """Whether a cause was found by experiment, a batch is like no other, a reading shows what the edits are for, or the program
    has not half of what it reaches changed.
    """
    proposed = {one.edit for one in plan.singles}
    if any(edit.kind == "skip_batch" or (edit.kind in READ and edit in proposed) for edit in found.edits):
        return True
    if found.edits and found.cause is not None and found.cause.answer == "cause":
        return True
    if found.control is None or not plan.natural:
        return plan.alarmed
    reached = found.control if found.reached is None else found.reached
    return found.control.skill.value < max(HOPELESS * reached.skill.value, 0.0 if found.edits else WELL)


def nothing_said(plan: Plan, found: Found, *, tried: bool) -> str:
    """Why no edit was put to proof."""
    if found.control is not None and plan.natural and found.control.skill.value > 1.0 - GAIN:
        return "the program does so well that nothing worth a proof is left to gain"
    if not is_sick(plan, found):
        return "the program learns, and nothing that was tried does clearly better: there is nothing to cure"
    if found.cause is not None and found.cause.answer == "no signal":
        return "no change helps, and one batch can be learned by heart: the labels do not follow from the inputs"
    return (
        "nothing that was tried does enough good to be put to proof"
        if tried
        else "the budget ended before any change was tried"
    )


def unpaid_said(work: Work, edits: tuple[Edit, ...]) -> str:
    """What the proof would cost that the budget does not hold."""
    runs = (work.spent + cost_of_proof(edits, work.length // 2)) / work.length
    pairs = f"{pairs_needed(edits)} pairs, and with the search {runs:.1f} runs of {work.length:,} steps"
    return f"it gains in the search, but the budget does not hold its proof: that takes {pairs}"


def proof_of(
    work: Work,
    plan: Plan,
    found: Found,
    held: Held | None,
    random: tuple[Edit, ...] = (),
    length: int = 0,
    *,
    why: str = "",
    interrupted: bool = False,
) -> Proof:
    """The record of a search, with what the trials say (``held``) where edits were put to proof."""
    searched = work.spent - found.proved
    sick = is_sick(plan, found)
    kind: Kind = "nothing" if not found.edits else "repair" if sick else "improvement"
    edits = found.edits
    return Proof(
        "not proven" if held is None else held.verdict,
        edits,
        kind,
        not sick,
        why if held is None else held.why,
        None if held is None else held.effect,
        None if held is None else held.against_random,
        () if held is None else held.trials,
        work.tried,
        found.cause,
        found.control,
        found.ceiling,
        None,
        random,
        pairs_needed(edits, found.attempt),
        work.length,
        length,
        round(searched / work.length, 3),
        round(found.proved / work.length, 3),
        work.spent,
        measure="skill" if plan.natural else "score",
        remarks=tuple(found.remarks),
        interrupted=interrupted or (held is not None and held.interrupted),
        earlier=tuple(one.pairs_needed for one in found.proofs),
    )


def standing_of(found: Found, work: Work) -> Proof:
    """Of several proofs the one that stands: the last where it is one or may become one, else the first, which was the choice
    of the whole search. What else was put to proof is told beside it.
    """
    last = found.proofs[-1]
    stands = last if last.verdict == "proven" or last.interrupted or (last.trials and last.undecided) else found.proofs[0]
    others = (f"put to proof as well: {said(one.edits)}; {one.why}" for one in found.proofs if one is not stands)
    return replace(
        stands,
        candidates=work.tried,
        remarks=(*stands.remarks, *others),
        cost_search=last.cost_search,
        cost_proof=last.cost_proof,
        steps=last.steps,
    )
