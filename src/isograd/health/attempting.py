"""One trial of a search for a cause: what may be asked for and was asked for, and what an edit gains beside the control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from isograd.errors import ModelError
from isograd.health.harm import Harm
from isograd.health.hypotheses import Proposal
from isograd.health.remedies.order import in_order
from isograd.health.scoring import CERTAIN, FACTS, NEUTRAL, least_harm, score_of
from isograd.records.cause import Hypothesis
from isograd.records.edit import Edit
from isograd.records.skill import Skill

LENGTH, LONGER = 80, 4
NIL = 0.05
FAILED = -0.2
"""Skill of what raises."""
BIRTHS = ("initialisation", "width", "depth", "activation", "nonlinearity", "cell", "normalisation", "residual")
"""Edits with which the network begins from other answers."""

SUSPECT, COSTS, WELL = 0.2, 0.08, 0.5
"""The least harm of a value that is put right with all others, and what these must reach together; what it must cost to put
one back (what a certain fact asks for: NIL); what is well enough."""
RATES = (1.0, 0.1, 10.0)
"""Times a learning rate that are tried beside all else: what suits the mended program may be another than the usual one."""
AT_ONCE = "all at once"
SAME = ({"loss", "last"}, {"unfreeze", "parameters"})
"""Edits of which one does what the other does as well: the loss that fits is put behind outputs without a last function."""
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
    sure: float = math.inf
    """A gain that leaves no doubt: what it speaks for is tried in full before any other kind of edit is tried at all."""

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


def suspects(work: Search, given: Sequence[Edit] = ()) -> list[Hypothesis]:
    """One edit of each kind that something speaks for and whose present value does harm, beside what is given."""
    taken = {edit.kind for edit in given}
    kinds: dict[str, Hypothesis] = {}
    able = (one for one in work.tried if one.failed is None and not one.given and not one.edit.remedy and _spoken_for(one))
    for one in sorted(able, key=lambda one: (-worth(one), -one.gain if one.gain > NIL else 0.0)):
        doubled = any(one.edit.kind in pair and pair & (taken | set(kinds)) for pair in SAME)
        if worth(one) >= SUSPECT and one.edit.kind not in taken and not doubled:
            kinds.setdefault(one.edit.kind, one)
    return list(kinds.values())


def companions(work: Search, suspected: Sequence[Hypothesis]) -> list[tuple[Hypothesis, Hypothesis]]:
    """A deep network with another activation needs weights that suit it: the activation on trial beside each initialisation."""
    curves = [one for one in suspected if one.edit.kind in ("activation", "nonlinearity")]
    drawn = [one for one in work.tried if one.edit.kind == "initialisation" and one.failed is None and not one.given]
    return [(weights, curve) for curve in curves for weights in reversed(drawn) if weights not in suspected]


def best_of_each_kind(work: Search) -> list[Hypothesis]:
    """Of each kind of edit the one that does best alone, by its last trial, which is the longest; the best first."""
    last = {one.edit: one for one in work.tried if not one.given}
    kinds: dict[str, Hypothesis] = {}
    for one in sorted(last.values(), key=lambda one: -one.gain):
        kinds.setdefault(one.edit.kind, one)
    return list(kinds.values())


def worth(one: Hypothesis) -> float:
    """What the harm of the present value counts."""
    return NEUTRAL if one.harm is None else one.harm


def _spoken_for(one: Hypothesis) -> bool:
    """Whether a fact, a finding or its value speaks for an edit, or the harm of what is there alone."""
    return one.reason != "list" or (one.edit.kind != "loss" and (one.harm or 0.0) >= CERTAIN)


def together(work: Search, start: Skill, known: Sequence[Hypothesis], given: tuple[Edit, ...] = ()) -> list[Hypothesis]:
    r"""Faults that hide one another: what of all suspects is to blame, the costliest first.

    Of three faults none may gain anything when it alone is mended. A copy without any of them shows what there is to be had;
    of what was put right, a present value is to blame where putting it back beside all others costs enough,

    .. math:: gain_i = J_{all} - J_{all \setminus i}

    and what costs less goes, the least harmful first, so that of two edits that do the same one is left; what stayed beside
    something that went later is put back once more, where the budget holds it. Only values that harm a healthy reference are
    put right at all: an edit that helps everybody is not among them. Empty where mending them all gains too little over
    ``start``, the skill with what is ``given``.
    """
    if len(known) + len(given) < 2 or not work.affords((2 + len(known)) * work.length):
        return []
    edits, whole = _all(work, start, known, given)
    if whole < max(start.value, _at_birth(work, edits)) + SUSPECT:
        return []
    told = {one.edit.kind: one for one in (*work.tried, *known) if one.reason != AT_ONCE}
    kept: dict[Edit, Hypothesis] = {}
    while left := [one for one in edits if one not in kept or set(kept[one].given) != {*edits} - {one}]:
        if not work.affords(work.length):
            break
        edit = min(left, key=lambda one: (one.kind in FACTS, worth(told[one.kind])))
        rest = tuple(one for one in edits if one is not edit)
        before = work.spent
        without = work.skill(rest, f"put back beside all others: {edit.kind.replace('_', ' ')}")[0].value
        cost = whole - (without if edit.kind not in BIRTHS else max(without, _at_birth(work, edits)))
        if cost <= (NIL if edit.kind in FACTS else COSTS):
            edits, whole = rest, max(whole, without)
            kept.pop(edit, None)
            continue
        score = score_of(cost, Harm(told[edit.kind].harm))
        reason = f"beside {' and '.join(one.kind.replace('_', ' ') for one in rest)}" if rest else told[edit.kind].reason
        told_so = replace(told[edit.kind], edit=edit, reason=reason, gain=cost, score=score)
        kept[edit] = replace(told_so, skill=whole, given=rest, steps=work.spent - before, failed=None)
    found = [replace(one, given=tuple(edit for edit in one.given if edit in edits), skill=whole) for one in kept.values()]
    work.tried += found
    return sorted(found, key=lambda one: -one.gain)


def _at_birth(work: Search, edits: tuple[Edit, ...]) -> float:
    """Skill before the first step, where an edit begins from other answers: what these happen to be worth was not learned."""
    return work.born(edits) if any(edit.kind in BIRTHS for edit in edits) else -math.inf


def behind(work: Search, start: Skill, best: Hypothesis) -> list[Hypothesis]:
    """What is to blame together, where ``best`` gains alone although a healthy network hardly minds what it changes.

    A loss that compares every output with every target teaches nothing on any scale, and raw targets behind raw inputs gain
    nothing until both are scaled: that a larger rate gains something beside them is no reason to leave them. So where what is
    wrong for certain, or harms a healthy network by CERTAIN and more, gains NIL alone, all that is suspect is put right at once
    (``together``). Its parts are to blame where they reach no less than ``best`` and do without it; or, of what is wrong for
    certain, more by SUSPECT. Empty where nothing of the kind waits.
    """
    alone = [one for one in work.tried if not (one.given or one.failed or one.edit.remedy) and one.gain <= NIL]
    waits = {one.edit.kind for one in alone if certain(one) or (_spoken_for(one) and (one.harm or 0.0) >= CERTAIN)}
    if not waits or certain(best) or best.given or (best.harm or 0.0) >= CERTAIN:
        return []
    found = together(work, start, suspects(work))
    kinds = {one.edit.kind for one in found}
    reached = max((one.skill or 0.0 for one in found), default=0.0) - (best.skill or 0.0)
    without = reached >= 0.0 and best.edit.kind not in kinds
    more = reached >= SUSPECT and any(certain(one) and one.edit.kind in kinds for one in alone)
    return found if kinds & waits and (without or more) else []


def sees_more(one: Hypothesis, *, alarmed: bool) -> bool:
    """Whether it takes larger batches, as a finding asks, or more steps, as an alarm does.

    In as many steps larger batches see the same examples more often than the control, and in a longer replay they would learn
    by heart the few that batches this small are made of. More steps are a longer replay themselves, and no more beside one.
    """
    before, value = one.edit.before, one.edit.value
    larger = isinstance(before, float | int) and isinstance(value, float | int) and value > before
    asked = one.edit.kind == "batch_size" or (one.edit.kind == "steps" and alarmed)
    return asked and larger and one.reason.startswith("finding")


def certain(one: Hypothesis | Proposal) -> bool:
    """Whether an edit is what a certain fact of the program asks for: its correctness, or the loss that fits."""
    return one.edit.kind in FACTS or (one.edit.kind == "loss" and one.reason.startswith("fact"))


def _all(work: Search, start: Skill, known: Sequence[Hypothesis], given: tuple[Edit, ...]) -> tuple[tuple[Edit, ...], float]:
    """All edits together, with the rate of RATES that does best, and what they reach."""
    best: tuple[tuple[Edit, ...], float] = ((), start.value)
    for factor in RATES:
        edits = in_order((*given, *(_times(one.edit, factor) for one in known)))
        again = any(one.reason == AT_ONCE and {*one.given, one.edit} == set(edits) for one in work.tried)
        if again or not work.affords((1 + len(known)) * work.length):
            break
        before = work.spent
        skill, failed = work.skill(edits, f"all at once: {', '.join(one.kind.replace('_', ' ') for one in edits)}")
        rows = Hypothesis(edits[-1], AT_ONCE, skill.value, skill.value - start.value, steps=work.spent - before)
        work.tried.append(replace(rows, given=edits[:-1], failed=failed))
        if skill.value > best[1]:
            best = edits, skill.value
        if best[1] >= WELL or all(one.edit.kind != "learning_rate" for one in known):
            break
    return best


def _times(edit: Edit, factor: float) -> Edit:
    """The edit with another learning rate, where it is one."""
    if edit.kind != "learning_rate" or not isinstance(edit.value, float) or factor == 1.0:
        return edit
    return replace(edit, value=float(f"{edit.value * factor:.3g}"))
