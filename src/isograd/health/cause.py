r"""Find the edit that cures the patient and whose absence harms a healthy reference: the cause, by experiment.

Every hypothesis is an edit. It is replayed from the same start, with the same random numbers on the same batches, beside the
untouched control, and both are judged by one yardstick on held-out examples (skill J). An edit is ranked by

.. math:: s = \sqrt{gain \cdot harm}, \qquad gain = J_{edited} - J_{control}

where harm is what the patient's present value costs a healthy reference of the same family (``harm``). A cure that helps
everybody has no harm to show, and is a remedy. Where the harm is not known the test is one-sided: NEUTRAL stands in for it,
and is the least for a loss that fits. What a certain FACT asks for counts as harmful, CERTAIN at least: structural findings
that their own edit confirms come first.

Bounds, from the experiments in dev/LOG.md (205 harmful cases, 41 healthy):
  LENGTH   80 steps: two-sided top-1 .98; .92 at 10, .96 at 40. LONGER 4 times that where nothing moved and the run is longer
  GAIN     0.08 and LEAST harm 0.05: silent on 39 of 41 healthy programs; what is wrong for certain has to gain NIL alone
  LEARNS   a control above 0.1 learns: what gains less than SURE beside it must gain in a LONGER replay too, CONFIRMED at most;
           and so must what does little harm (below CERTAIN) where the control does not learn: it may only be slow
  SURE     a gain above 0.6 was right in 123 of 126, LIKELY above 0.3 in 35 of 38; below, three names are given. LIKELY at most
           where no reference of the family knows the harm (not known, or borrowed) and no certain fact speaks
  ENOUGH   0.2: once a proposal that a fact, finding or value speaks for gains so much, the rest of the list is not tried
  TIE      scores within 10 % of each other are not told apart
  ROUNDS   three faults at most, one after the other: name, apply, repeat; where a sick program stays below WELL and nothing
           gains alone (beside a cause: not ENOUGH), all that is suspect at once, and each put back (``attempting.together``);
           and where what is certain, or harmful, gains nothing alone, before a setting that does little harm (``behind``)
  NIL      a gain below 0.05 is none; where all are none and two values are suspect, pairs are tried
  SIGNAL   neither an edit, in the longer replay either, nor the run itself lifts J above 0.1, and yet one batch is
           learned by heart (J above 0.5); not said of a loss that is known for certain to teach nothing
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from isograd.errors import ModelError, RequestError
from isograd.health import attempting
from isograd.health.attempting import FAILED, LENGTH, LONGER, NIL, SAME, WELL, Search, behind, suspects, together, tried, worth
from isograd.health.blame import summary_of
from isograd.health.harm import LEAST
from isograd.health.hypotheses import Proposal, rounded_away
from isograd.health.scoring import CERTAIN, FACTS
from isograd.records.cause import Answer, Cause, Certainty, Explanation, Hypothesis
from isograd.records.edit import EDITS, Edit
from isograd.records.skill import Skill

GAIN, ENOUGH, TIE = 0.08, 0.2, 0.1
SURE, LIKELY = 0.6, 0.3
ROUNDS = 3
LEARNS, CONFIRMED = 0.1, 2
PAIRS = 6
UNTOUCHED = "no change, for longer"
STANDSTILL = ("keep_graph", "take_steps")
"""What certain facts ask for where the program learns nothing whatever else is tried, and however long."""
SIGNAL, BY_HEART = 0.1, 0.5


def search(
    work: Search, candidates: Sequence[Proposal], memorises: Callable[[int], Skill] | None = None, longest: int = LENGTH
) -> Explanation:
    """Try the candidates and say what is to blame.

    ``memorises`` gives the skill on one batch after so many steps on it alone; ``longest`` is the length of the person's run.
    Raises ``RequestError`` where the budget does not allow one comparison. An interruption (Ctrl-C) ends the search and keeps
    what was tried.

    >>> from isograd.health.harm import Harm
    >>> work = Search(lambda edits, steps: Skill(0.9 if edits else 0.1, 50), lambda edit: Harm(0.8), budget=1000)
    >>> found = search(work, [Proposal(Edit("clear_gradients"), "fact")])
    >>> found.answer, found.causes[0].certainty
    ('cause', 'sure')
    """
    if work.budget < 2 * work.length:
        raise RequestError(
            f"the budget of {work.budget:,} steps is too small for one comparison",
            remedy=f"{2 * work.length:,} steps at least: {work.length} untouched and {work.length} with one edit",
        )
    control, failure = Skill(0.0, 0), None
    causes: list[Cause] = []
    given: tuple[Edit, ...] = ()
    remedies: list[Edit] = []
    try:
        control, failure = work.skill((), "no change")
        start, left, length = control, list(candidates), work.length
        work.reached = length
        work.reserve = _reserve(work, longest)
        for _ in range(ROUNDS):
            found, hidden = _round(work, start, given, left)
            best = None if hidden else _confirmed(work, start, found, longest)
            hidden = hidden or ([] if best is None or causes else behind(work, start, best))
            if hidden:
                causes = [_named(one, (), candidates) for one in hidden]
                break
            if best is None and not causes:
                suspected = _suspects(work)
                wrong = tuple(one.edit for one in left if one.urgent and attempting.certain(one))
                best = _best(_pairs(work, start, suspected, wrong), work.stood)
                if best is None:
                    found = _longer(work, control, left, longest)
                    best = _best(found, work.stood)
                    if best is not None:
                        start = control = _control_of(work, control)
                    work.length = length if best is None else work.length
            if best is None:
                break
            remedies += [one.edit for one in found if one.edit.remedy and one.gain > GAIN]
            causes += [_named(one, found, candidates) for one in _parts(work, best, given)]
            given = (*best.given, best.edit)
            start = Skill(best.skill or 0.0, start.examples)
            if start.value >= work.enough:
                break
            left = [one for one in left if one.edit.kind != best.edit.kind]
    except KeyboardInterrupt:
        work.interrupted = True
        causes = causes or _until_then(work, candidates)
    answer = _answer(work, control, causes, failure, memorises, longest)
    if not causes:
        remedies += [one.edit for one in work.tried if one.edit.remedy and one.gain > GAIN]
    if answer == "unknown":  # what is there does a healthy network no harm, and yet without it this one learns
        remedies += [one.edit for one in attempting.best_of_each_kind(work) if min(one.gain, one.skill or 0.0) > LIKELY]
    remarks = () if failure is None else (f"the untouched program raises: {failure}",)
    if work.interrupted and causes:
        remarks = (*remarks, "the search was stopped: this is what had gained most until then")
    short = [] if answer not in ("unknown",) else _untried(work, candidates)
    return Explanation(
        answer,
        control,
        work.length,
        work.spent,
        work.budget,
        tuple(sorted(causes, key=lambda one: one.edit.kind not in FACTS)),  # what is wrong for certain comes first
        tuple(work.tried),
        tuple(dict.fromkeys(remedies)),
        work.interrupted,
        (*remarks, *short),
    )


def _reserve(work: Search, longest: int) -> int:
    """What is kept for two replays LONGER times as long, and for learning one batch by heart."""
    long = min(longest, LENGTH * LONGER)
    every = 3 * long if long >= work.run else 2 * long + work.length
    return min(every, work.budget // 2) if longest >= 2 * work.length else 0


def _round(
    work: Search, control: Skill, given: tuple[Edit, ...], candidates: Sequence[Proposal]
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """Try what is proposed, and the rest of the list where none of that gains enough; those that gain, the best first.

    And the faults that hide one another, where a sick program learns too little and nothing gains alone (beside a cause that
    was found: not enough); then no more is tried.
    """
    found: list[Hypothesis] = []
    least = ENOUGH if given else GAIN
    for urgent in (True, False):
        chosen = [one for one in candidates if one.urgent is urgent]
        kept = 0 if urgent else work.reserve
        work.foresee((*given, one.edit) for one in chosen)
        for place, one in enumerate(chosen):
            kind_ends = place == 0 or chosen[place - 1].edit.kind != one.edit.kind
            if kind_ends and any(before.score > 0.0 and before.gain >= work.sure for before in found):
                break
            if work.affords(work.length + kept):
                found.append(tried(work, one, control, given))
        if any(one.score >= ENOUGH and one.gain >= ENOUGH for one in found):
            break
        if work.alarmed and control.value < WELL and not any(one.score > 0.0 and one.gain > least for one in found):
            hidden = together(work, control, suspects(work, given), given)
            if hidden:
                return [], hidden
    return sorted((one for one in found if one.gain > NIL), key=lambda one: (-one.score, -one.gain)), []


def _best(found: Sequence[Hypothesis], stood: float = -math.inf) -> Hypothesis | None:
    """The highest score that may be spoken of; of those within TIE of it the smallest, then the most correct, edit.

    What is wrong for certain comes before all others where nothing gains more than TIE beyond it. Where the run that was
    watched ended well by itself, an edit must better that end: by ENOUGH where it had learned half of what there is.
    """
    able = [one for one in found if one.score > 0.0 and one.gain > (NIL if one.edit.kind in FACTS else GAIN)]
    margin = ENOUGH if stood >= WELL else GAIN
    able = [one for one in able if (one.skill or 0.0) > stood + margin]
    if not able:
        return None
    most = max(one.gain for one in able)
    able = [one for one in able if one.edit.kind in FACTS and one.gain >= (1.0 - TIE) * most] or able
    top = max(one.score for one in able)
    near = [one for one in able if one.score >= (1.0 - TIE) * top]
    order = list(EDITS)
    return min(
        near,
        key=lambda one: (one.edit.size, -one.gain if one.edit.kind == near[0].edit.kind else 0.0, order.index(one.edit.kind)),
    )


def _confirmed(work: Search, control: Skill, found: Sequence[Hypothesis], longest: int) -> Hypothesis | None:
    """The best that may be spoken of; where its gain is not large and the case not clear, only if it lasts in longer replays.

    What makes a network merely faster gains in a short replay and nothing in a long one.
    """
    left, length = list(found), min(longest, work.length * LONGER)
    for _ in range(CONFIRMED):
        best = _best(left, work.stood)
        if best is None or best.edit.kind in FACTS or length < 2 * work.length or _clear(work, control, best):
            return best
        if not work.affords(2 * length):  # then an alarm that speaks for it stands in, or a gain that leaves no doubt
            spoken_for = work.alarmed and best.reason.startswith(("fact", "finding"))
            return best if best.gain >= SURE or (spoken_for and best.gain >= ENOUGH) else None
        usual, work.length = work.length, length
        before, _ = work.skill(best.given, "the same for longer")
        again = tried(work, Proposal(best.edit, f"{best.reason}, for longer", source=best.source), before, best.given)
        work.length, work.reached = usual, length
        if again.score > 0.0 and again.gain > GAIN and not _weak(again, before):
            return best if work.alarmed else again
        left = [one for one in left if one.edit.kind != best.edit.kind]
    return None


def _clear(work: Search, control: Skill, best: Hypothesis) -> bool:
    """Whether a training that was found to be sick needs no longer replay: what gave no alarm may only be slow at first."""
    harmed = control.value < LEARNS and (best.harm or 0.0) >= CERTAIN
    return (work.alarmed and (best.gain >= SURE or harmed)) or attempting.sees_more(best, alarmed=work.alarmed)


def _until_then(work: Search, candidates: Sequence[Proposal]) -> list[Cause]:
    """Of a search that was stopped: the best that something speaks for and that gained ENOUGH; what waits was not compared."""
    able = [one for one in work.tried if one.gain >= ENOUGH and one.reason.startswith(("fact", "finding", "value"))]
    best = _best(able, work.stood)
    if best is None:
        return []
    certainty: Certainty = "likely" if best.edit.kind in FACTS or best.gain >= SURE else "possible"
    return [replace(_named(best, able, candidates), certainty=certainty)]


def _weak(one: Hypothesis, control: Skill) -> bool:
    """Whether a longer control stands well without it, it gains little, and no finding of what does harm speaks for it."""
    spoken_for = one.reason.startswith(("fact", "finding")) and (one.harm or 0.0) >= CERTAIN
    alone = one.reason.startswith("list") or (bool(one.given) and not spoken_for)
    return control.value >= WELL and one.gain < ENOUGH and alone


def _named(best: Hypothesis, found: Sequence[Hypothesis], candidates: Sequence[Proposal]) -> Cause:
    certainty: Certainty = "sure" if best.gain > SURE else "likely" if best.gain > LIKELY else "possible"
    others = [one for one in found if one.edit.kind != best.edit.kind and one.score > 0.0 and one.gain > GAIN]
    kinds: dict[str, Hypothesis] = {}
    for one in others:
        kinds.setdefault(one.edit.kind, one)
    near = [one for one in kinds.values() if one.score >= (1.0 - TIE) * best.score]
    rivals = near if certainty != "possible" else list(kinds.values())[:2]
    rounded = rounded_away(best.edit, candidates)
    if certainty == "sure" and (near or rounded or _one_sided(best)):
        certainty = "likely"
    proposal = next((one for one in candidates if one.edit == best.edit), None)
    where = proposal.where if proposal is not None else ""
    return Cause(
        best.edit,
        certainty,
        best.gain,
        best.harm,
        summary_of(best.edit),
        where,
        best.source,
        tuple(dict.fromkeys((*(one.edit for one in rivals), *rounded))),
    )


def _one_sided(best: Hypothesis) -> bool:
    """Whether no reference of the same family speaks for it, and what is wrong is no certain fact either."""
    certain = best.edit.kind in FACTS or best.reason.startswith("fact")
    return not certain and (best.harm is None or best.outside)


def _suspects(work: Search) -> list[Hypothesis]:
    """One edit of each kind that something speaks for and whose present value does harm; none where one gained alone."""
    single = [one for one in work.tried if one.failed is None and not one.given and not one.edit.remedy]
    if any(one.gain > GAIN and one.score > 0.0 for one in single):
        return []
    return suspects(work)


def _parts(work: Search, best: Hypothesis, given: tuple[Edit, ...]) -> list[Hypothesis]:
    """The hypotheses that a trial stands for: of a pair that is new, both."""
    alone = {one.edit: one for one in work.tried if not one.given}
    known = {edit.kind for edit in given}  # a number that was changed again is no second cause
    new = [replace(alone.get(edit, best), edit=edit, gain=best.gain) for edit in best.given if edit.kind not in known]
    parts = [*(one for one in new if one.harm is None or one.harm >= LEAST), best]  # what does no harm only goes along
    return sorted(parts, key=lambda one: (-(one.harm or 0.0), one.edit.kind == "initialisation"))  # weights that suit the curve


def _pairs(work: Search, control: Skill, suspected: Sequence[Hypothesis], certain: tuple[Edit, ...] = ()) -> list[Hypothesis]:
    """Where no single edit gains: pairs of the most suspect, the one under the other.

    What is wrong for certain is put right beside them all, and beside each alone.
    """
    if control.value > WELL:
        return []
    found = []
    put_right = {edit.kind for edit in certain}.union(*(pair for edit in certain for pair in SAME if edit.kind in pair))
    suspected = [one for one in suspected if one.edit.kind not in put_right]
    several = list(combinations(suspected[:4], 2))
    pairs: list[tuple[tuple[Edit, ...], Hypothesis]] = [((), one) for one in (suspected if certain else ())]
    pairs += [((first.edit,), second) for first, second in [*attempting.companions(work, suspected), *several][:PAIRS]]
    work.foresee((*certain, *firsts, second.edit) for firsts, second in pairs)
    for firsts, second in pairs:
        # What takes off late shows in a longer replay alone; but not where nothing arrives or nothing moves.
        kept = 0 if any(one.kind in STANDSTILL for one in certain) else work.reserve
        if not work.affords(work.length + kept):
            break
        beside = (*certain, *firsts)
        proposal = Proposal(second.edit, f"with {' and '.join(one.kind for one in beside)}", source=second.source)
        made = tried(work, proposal, control, beside)
        if made.gain > GAIN:
            found.append(made)
    return sorted(found, key=lambda one: -one.score)


def in_full(work: Search, control: Skill, candidates: Sequence[Proposal], longest: int) -> list[Cause]:
    """The cause in replays LONGER times as long, of a program that stands well and is known to leave much: by harm alone."""
    work.alarmed = True
    found = _longer(work, control, candidates, longest, by_harm=True)
    best = _best(found)
    return [] if best is None else [_named(best, found, candidates)]


def _longer(
    work: Search, control: Skill, candidates: Sequence[Proposal], longest: int, *, by_harm: bool = False
) -> list[Hypothesis]:
    """Where nothing that may be blamed gained: again, LONGER times as long, with the most suspect edits first."""
    length = min(longest, work.length * LONGER)
    best = sorted(work.tried, key=lambda one: (0.0 if by_harm else -one.score, one.reason == "list", -worth(one)))
    single = [one for one in best if one.failed is None and not (one.edit.remedy or one.given or one.edit.kind == "steps")]
    moved = abs(control.value) > NIL  # then a loss with the very skill of the control is the same loss
    single = [one for one in single if not (moved and one.edit.kind == "loss" and one.skill == control.value)]
    chosen = list(dict.fromkeys(one.edit for one in single))
    if (control.value > WELL and not work.alarmed) or length < 2 * work.length or not work.affords(2 * length):
        return []
    work.length = work.reached = length
    work.foresee([(), *((edit,) for edit in chosen)])
    control, _ = work.skill((), UNTOUCHED)
    work.tried.append(Hypothesis(Edit("steps", float(length)), UNTOUCHED, control.value, 0.0, 0.0, steps=length))
    found = []
    for edit in chosen:
        learned = max(control.value, *(one.skill for one in work.tried if one.skill is not None)) > SIGNAL
        if not work.affords(length + (0 if learned else LENGTH)):  # for learning one batch by heart
            break
        proposal = next((one for one in candidates if one.edit == edit), Proposal(edit, "list"))
        found.append(tried(work, replace(proposal, reason=f"{proposal.reason}, for longer"), control, ()))
    able = [one for one in found if one.gain > NIL and (by_harm or not _weak(one, control))]
    return sorted(able, key=lambda one: (-one.score, -one.gain))


def _control_of(work: Search, control: Skill) -> Skill:
    longer = [one for one in work.tried if one.reason == UNTOUCHED]
    return Skill(longer[-1].skill or 0.0, control.examples) if longer else control


def _answer(
    work: Search,
    control: Skill,
    causes: Sequence[Cause],
    failure: str | None,
    memorises: Callable[[int], Skill] | None,
    longest: int,
) -> Answer:
    if causes:
        return "cause"
    if work.interrupted:
        return "interrupted"
    if control.value >= WELL or work.stood >= WELL:
        return "unknown" if work.alarmed else "healthy"
    reached = max((one.skill for one in work.tried if one.skill is not None), default=FAILED)
    lost = any(one.edit.kind == "loss" and one.reason.startswith("fact") for one in work.tried)
    if lost or memorises is None or failure is not None or max(reached, control.value, work.stood) > SIGNAL or not work.tried:
        return "unknown"
    if work.reached < min(longest, LENGTH * LONGER):  # it may only be slow
        return "unknown"
    steps = max(work.length, min(work.reached, work.budget - work.spent)) if work.reached >= work.run else work.length
    if not work.affords(steps):
        return "unknown"
    work.spent += steps
    try:
        return "no signal" if memorises(steps).value > BY_HEART else "unknown"
    except ModelError:
        return "unknown"


def _untried(work: Search, candidates: Sequence[Proposal]) -> list[str]:
    known = {one.edit for one in work.tried}
    left = [one.edit.kind.replace("_", " ") for one in candidates if one.edit not in known]
    return [f"the budget ended before these were tried: {', '.join(dict.fromkeys(left))}"] if left else []
