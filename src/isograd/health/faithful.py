"""Whether a replay of the untouched program does better than the run that was watched: then it does not do all of its loop.

Both begin with the same weights and settings; batches may come in another order. With the loss as it is stepped, at the first
step and as a median over the later half of the first STEPS (twenty batches, whose median has a fifth of one batch's noise), the
replay does better where it falls by FALLS of where it began at least, and the run by less than a SHARE of that.
Where one first loss is not half (ALIKE) of the other, what is replayed is not the loss of the loop: weights are the same, and
one batch's loss differs from another's by less than that before anything was learned, but for what lies around zero (NOISE).

Where no replay names a cause, what the run itself showed remains: its alarms, possible and told apart from what was tried. On
programs that nobody had mended anything for they were right where the search had to be silent: no edit takes the fault away, or
the replay is not the run, or the budget ended first. ENDS are left out, which say that a training failed and not why. An
experiment refutes an alarm where the best edit of what it speaks for costs a copy that learns (skill above ``cause.LEARNS``) as
much as a cause must gain (``cause.GAIN``). That a change makes no difference refutes nothing, as another fault may hide it; but
of symptoms those come first whose edits were not tried in vain.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from isograd.health.blame import summary_of
from isograd.health.case import Case
from isograd.health.cause import GAIN, LEARNS, LIKELY, SURE
from isograd.health.diagnosis import DATA, PROGRAM
from isograd.health.diagnosis import STEPS as SETTINGS
from isograd.health.habits import loop_of
from isograd.health.hypotheses import SUSPECTS, Proposal
from isograd.health.outcome import outcome
from isograd.health.scoring import FACTS
from isograd.records.anatomy import spot
from isograd.records.cause import Cause, Certainty, Explanation, Hypothesis, Sighting
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.finding import Finding

STEPS, FEWEST = 40, 5
"""Steps that are compared, and readings in the later half of them at least."""
FALLS, SHARE = 0.1, 0.5
BY_HAND = {
    "weights_reset": Edit("keep_weights"),
    "gradients_not_cleared": Edit("clear_gradients"),
    "clipping": Edit("clip_norm"),
}
"""What is done by hand in a loop, by the disease that it gives."""
ALIKE = 0.5
NOISE = 6.0
"""Times its median change from step to step that a loss around zero, such as a policy's, may differ between two batches: of
normal noise the median is .95 of a deviation, so that 6 is four deviations of a difference."""
READ_OFF = frozenset(disease.__name__.rpartition(".")[2] for disease in PROGRAM)
"""Diseases that are faults of the program itself, read off it: beside a critical one nothing is said of the labels."""
BEHIND = READ_OFF | {disease.__name__.rpartition(".")[2] for disease in DATA}
"""With what the batches bring: what all else may follow from."""
SET = frozenset(disease.__name__.rpartition(".")[2] for disease in SETTINGS)
"""Diseases of what is set, seen in what the steps do."""
HARMFUL = 0.5
"""Harm of a value that is told although it could not be tried: as much as a certain fact counts (``scoring.CERTAIN``)."""
CERTAIN = 0.95
"""Confidence of an alarm that is a fact of the program or of its data."""
STRUCTURE = ("width", "dropout", "nonlinearity")
"""Edits of what bars a network from learning more."""
ENDS = ("plateau", "collapse", "first_aid")
"""Diseases that say what came of a training, and not of what it came."""


def better(run: Case, replay: Case) -> tuple[float, float, float] | None:
    """Where the replay does better: the loss that both began with, what it fell to, and what the run fell to; else None.

    >>> from isograd.health.case import case_of
    >>> from isograd.records.anatomy import Anatomy
    >>> from isograd.records.trace import Step, Trace
    >>> def falls(to):
    ...     steps = tuple(Step(at, loss=1.0 if at == 1 else to) for at in range(1, 41))
    ...     return case_of(Trace(Anatomy("", (), ()), steps=steps))
    >>> better(falls(0.9), falls(0.2)), better(falls(0.3), falls(0.2)), better(falls(0.9), falls(0.95))
    ((1.0, 0.2, 0.9), None, None)
    """
    began = next((one.value for one in replay.series("loss")), math.nan)
    ends = [_late(case) for case in (replay, run)]
    if not math.isfinite(began) or ends[0] is None or ends[1] is None:
        return None
    fell = began - ends[0]
    if fell < FALLS * abs(began) or began - ends[1] >= SHARE * fell:
        return None
    return began, ends[0], ends[1]


def by_hand(run: Case, control: float, findings: Sequence[Finding]) -> Cause | None:
    """What the loop does by hand, where the replay, which leaves it out, learns more in some tens of steps than the whole run.

    Then run and replay are the two sides of an experiment: a habit of the loop that an alarm tells of and that no replay has
    (weights cut off or put back by half a step; some gradients that are not cleared, or clamped by hand) is to blame. No more
    than likely, for the replay leaves out all that the loop does besides. A clip in the replay did not keep it from learning.
    """
    judged, loop = outcome(run), loop_of(run)
    if judged.skill is None or not run.ended or control < judged.skill + 2.0 * judged.error + GAIN:
        return None
    replayed = {"keep_weights": bool(loop.redraws), "clear_gradients": loop.clears != 1 or loop.clears_early}
    for finding in findings:
        edit = BY_HAND.get(finding.disease)
        if finding.alarm and edit is not None and not replayed.get(edit.kind):
            gain = control - judged.skill
            certainty: Certainty = "likely" if gain > LIKELY else "possible"
            return Cause(edit, certainty, gain, None, finding.summary, finding.where, finding.source)
    return None


def spoken_for(found: Explanation, findings: Sequence[Finding]) -> Cause | None:
    """What gains much and a critical alarm of the steps speaks for, where nothing else is named; else None.

    A healthy network stands the value and this one does not: the alarm measured that here, and the trial bears it out. What
    makes it so is not told apart (inputs, or a signal that is passed on too large), and so it is likely at most.
    """
    alarms = {one.disease.replace("_", " "): one for one in findings if one.severity == "critical" and one.disease in SET}
    able = [one for one in found.tried if not (one.given or one.edit.remedy) and one.gain > LIKELY]
    able = [one for one in able if one.reason.partition(": ")[2].removesuffix(", for longer") in alarms]
    if found.answer != "unknown" or found.causes or not able:
        return None
    best = max(able, key=lambda one: one.gain)
    certainty: Certainty = "likely" if best.gain > SURE else "possible"
    said = f"{summary_of(best.edit).rstrip('.')} for this network, though others like it stand it."
    return Cause(best.edit, certainty, best.gain, best.harm, said, "optimizer", best.source)


def drawn(facts: Sequence[Fact]) -> list[str]:
    """What must be said of a network whose answers in evaluation mode are not the weights' alone: a skill is of one draw.

    >>> drawn([Fact("answers_drawn")]) == drawn([]), len(drawn([Fact("answers_drawn")]))
    (False, 1)
    """
    said = "asked twice, the network answers an example in two ways, in evaluation mode too (random numbers, or a memory)"
    return [said] if any(fact.kind == "answers_drawn" for fact in facts) else []


def backwards(start: float, control: float, stood: float) -> list[str]:
    """What must be said of a training that makes what the person counts worse, in a short replay and at the end of the run.

    >>> len(backwards(0.25, 0.06, 0.0)), backwards(0.0, 0.5, 0.9), backwards(0.25, 0.06, -math.inf)
    (1, [], [])
    """
    if not (math.isfinite(stood) and start - GAIN > control and start - GAIN > stood):
        return []
    said = (
        f"training makes the score worse: {start:.2f} before the first step, {stood:.2f} at the end of the run, so that what "
        "the loss asks for is not what the score counts (a sign that is turned round, rewards that are costs)"
    )
    return [said]


def another_loss(run: Case, replay: Case) -> tuple[float, float] | None:
    """The first losses of the run and of the replay where they cannot be the same loss; else None.

    >>> from isograd.health.case import case_of
    >>> from isograd.records.anatomy import Anatomy
    >>> from isograd.records.trace import Step, Trace
    >>> one, two, near = (case_of(Trace(Anatomy("", (), ()), steps=(Step(1, loss=loss),))) for loss in (1.0, 2.3, 1.2))
    >>> another_loss(one, two), another_loss(one, near)
    ((1.0, 2.3), None)
    """
    first = [next((one.value for one in case.series("loss") if one.step == 1), math.nan) for case in (run, replay)]
    if not all(map(math.isfinite, first)) or first[0] == first[1]:
        return None
    alike = min(map(abs, first)) > ALIKE * max(map(abs, first)) and first[0] * first[1] > 0.0
    return None if alike or abs(first[0] - first[1]) <= NOISE * _noise(run) else (first[0], first[1])


def _noise(case: Case) -> float:
    """How far the loss moves from one of the first steps to the next, as the median of it; 0 where that was not seen."""
    seen = [one.value for one in case.series("loss") if one.step <= STEPS and math.isfinite(one.value)]
    return statistics.median(abs(after - before) for before, after in pairwise(seen)) if len(seen) >= FEWEST else 0.0


def with_what_was_seen(found: Explanation, findings: Sequence[Finding], candidates: Sequence[Proposal] = ()) -> Explanation:
    """The answer with the alarms that stand, where it names no cause; what is possible at most gives way to what is certain.

    A setting that gains a little, and that nothing speaks for, is no cause beside a fault that was read off the program or its
    data and that no replay can take away: it is told as what helps.

    >>> from isograd.records.skill import Skill
    >>> seen = Finding("vanishing", "critical", 0.9, "2", "No gradient reaches layer 2.")
    >>> with_what_was_seen(Explanation("unknown", Skill(0.0, 9), 80, 160, 2000), (seen,)).seen[0].standing
    'no edit'
    """
    alarms = (one for one in findings if one.alarm and one.disease not in ENDS)
    rows = [_sighting(one, found.tried, candidates) for one in alarms]
    if found.causes and not (_unspoken(found) and any(map(_untriable, rows))):
        return replace(found, seen=tuple(one for one in rows if _outranks(one, found)))
    if found.causes:
        helps = tuple(dict.fromkeys((*found.remedies, *(one.edit for one in found.causes))))
        found = replace(found, answer="unknown", causes=(), remedies=helps)
    if found.answer == "no signal":  # what was tried for so long that a batch is known by heart is answered
        told = [one for one in rows if one.finding.disease in BEHIND or one.standing in ("no edit", "not tried", "failed")]
        broken = any(one.finding.severity == "critical" and one.finding.disease in READ_OFF for one in told)
        found, rows = replace(found, answer="unknown" if broken else "no signal"), told
    if found.answer in ("unknown", "no signal"):
        found = replace(found, remarks=(*found.remarks, *_untold(found.tried)))
    return replace(found, seen=tuple(sorted(rows, key=lambda one: (one.standing == "refuted", _in_vain(one)))))


def _untold(tried: Sequence[Hypothesis]) -> list[str]:
    """Values that harm a healthy network and that no trial could change here: possible, for all that is known.

    >>> narrow = Hypothesis(Edit("width", 16.0, before=1.0), "value", harm=0.85, failed="no chain of layers")
    >>> [said.partition(" (")[0] for said in _untold([narrow])]
    ['not tried: A hidden layer is too narrow to carry the answer']
    """
    failed = {one.edit.kind: one for one in tried if one.failed is not None and not one.given and (one.harm or 0.0) >= HARMFUL}
    return [
        f"not tried: {summary_of(one.edit).rstrip('.')} (costs a healthy network of this family {one.harm:.2f}): {one.failed}"
        for one in failed.values()
        if one.reason.startswith("value")
    ]


def _unspoken(found: Explanation) -> bool:
    """Whether all that is named is possible at most, and neither a fact nor a finding speaks for it."""
    spoken = {one.edit for one in found.tried if one.reason.startswith(("fact", "finding", "beside"))}
    return all(one.certainty == "possible" and one.edit not in spoken for one in found.causes)


def _untriable(one: Sighting) -> bool:
    """Whether it is read off the program or its data, for certain, and no trial of it could be made."""
    return _read(one.finding) and one.finding.disease in BEHIND and one.standing in ("no edit", "failed")


def _outranks(one: Sighting, found: Explanation) -> bool:
    """Whether it is read off the program itself, for certain, and what is named by its gain is something else.

    That a rate helps does not make a layer of a single unit wide: no trial takes that away, or its own gains little here.
    """
    edits = [edit for cause in found.causes for edit in (cause.edit, *cause.rivals)]
    known = (one.finding.disease in READ_OFF and _read(one.finding)) or _bars(one.finding, found.tried)
    if not known or any(edit.kind in FACTS for edit in edits):
        return False
    apart = not {edit.kind for edit in edits} & set(SUSPECTS.get(one.finding.disease, ()))
    return apart and (one.standing in ("no edit", "failed") or (one.standing == "no help" and one.gain <= GAIN))


def _bars(finding: Finding, tried: Sequence[Hypothesis]) -> bool:
    """Whether it tells of a structure that costs a healthy network HARMFUL and more, and that could not be changed here."""
    failed = (one for one in tried if one.failed is not None and one.edit.kind in STRUCTURE and not one.given)
    placed = finding.disease in ("structure", "underfitting") and finding.where != "loss"
    return placed and any((one.harm or 0.0) >= HARMFUL for one in failed)


def _read(finding: Finding) -> bool:
    return finding.severity == "critical" or finding.confidence >= CERTAIN


def _in_vain(one: Sighting) -> bool:
    """Whether its edit was tried and gained nothing, and it is a symptom: what is read off the program itself stays certain."""
    return one.standing == "no help" and one.gain <= GAIN and one.finding.disease not in READ_OFF


def in_notes(findings: Sequence[Finding]) -> list[str]:
    """What was seen, in a line each for the exception that says why nothing can be tried."""
    return [
        f"seen, not tried: {one.summary.rstrip('.')} ({spot(one.where, one.source)})"
        for one in findings
        if one.alarm and one.disease not in ENDS
    ]


def _sighting(finding: Finding, tried: Sequence[Hypothesis], candidates: Sequence[Proposal]) -> Sighting:
    kinds = SUSPECTS.get(finding.disease, ())
    alone = [one for one in tried if one.edit.kind in kinds and not one.given]
    run = [one for one in alone if one.skill is not None]
    longest = max((one.steps for one in run), default=0)
    best = max((one for one in run if one.steps == longest), key=lambda one: one.gain, default=None)
    if best is None:
        failed = next((one.edit for one in alone), None)
        waiting = next((one.edit for one in candidates if one.edit.kind in kinds), None)
        if failed is not None:
            return Sighting(finding, "failed", failed)
        return Sighting(finding, "no edit" if waiting is None else "not tried", waiting)
    learned = (best.skill or 0.0) - best.gain > LEARNS
    return Sighting(finding, "refuted" if learned and best.gain < -GAIN else "no help", best.edit, best.gain, best.steps)


def _late(case: Case) -> float | None:
    """The median loss of the later half of the steps that are compared; what is not finite is as bad as can be."""
    seen = [one.value for one in case.series("loss") if STEPS / 2 < one.step <= STEPS]
    return statistics.median(value if math.isfinite(value) else math.inf for value in seen) if len(seen) >= FEWEST else None
