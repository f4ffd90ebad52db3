"""Learning rate: zero, decayed to nothing while there was still something to learn, too low, or too high.

Bounds, from theory and first runs:
  zero     no weight moved at any look, and the rate was 0 at every step that was seen: nothing can be learned, for certain.
           Of a group of parameters alone: at every look a gradient came and the rate of the group was 0, that of another was
           not; an alarm where the weights are as torch draws them and the training is not good, or nothing was learned
  decayed  the rate fell below 1/1,000 of its largest in the first half of the run, for good, while the loss was still falling
           (or within 10 steps of the largest rate, so that nothing can have been learned before; or it was down to a tenth
           within a tenth of the run, which ended at less than half of what there is to learn)
  too low  no layer comes far: n steps that turn a layer by r move it by n r at most, and a path of 0.1 leaves what the network
           computes as it was. Up to a path of 0.3 only where the loss still falls or the gradients of successive looks agree
           (then there is a way, and it is long), or where nothing was learned at all
           Before training, from the first real steps alone: a path of a hundredth over the whole run. The same after 100 steps
           and more, where a loss of unknown kind did not fall: nothing but the movement can be judged there
  too high steps that turn a typical layer by 5 % each leave nothing of what was learned after 20 of them (1 / r); where
           something was learned, 10 % and a loss that stands still; not where weights were born next to nothing, for then
           every step turns them. Or a single step of a quarter of the layer's natural
           size (1 / sqrt(fan_in) a weight) that the training has not recovered from
All but the first only where the late loss is far from what it could be (``health.outcome``): a run that answers well has the
right rate, whatever its steps look like. Edge of stability (a loss that goes up and down while it falls) is healthy.

Look-alikes that are healthy: warm-up from zero, a schedule at its end, fine-tuning with tiny steps, restarts, a first step of
Adam that is large because the weights are small, frozen layers; gradients too small for the rate (vanishing), clipping or an
eps that swallows the steps, which are diseases of their own.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from isograd.health.case import DEFAULT_STEPS, Case
from isograd.health.diagnosis import clipping, initial_loss, momentum, symmetry, weight_decay
from isograd.health.looks import fresh, holds, lasting, listed, opening
from isograd.health.movement import BRIEF, FIRST_STEPS, NOWHERE, Movement, leads_nowhere, movement
from isograd.health.outcome import Outcome, outcome
from isograd.records.anatomy import capital, spoken
from isograd.records.finding import Evidence, Finding, Severity

NOTHING = 1e-3
"""Share of its largest value below which a rate moves nothing that matters within the run."""
SOON = 0.1
"""Share of a run within which a fall to a tenth of the largest rate left too little time, where half the way was not made."""
AT_ONCE = 10
"""Steps within which a decay left no time to learn."""
SOME = 20
"""Steps below which a path says nothing of the rate."""
LONGER = 0.3
TURNS = 0.05
BLOW = 0.25
LOUD = 10.0
NEXT_TO_NOTHING = 0.15
"""Skill below which a path that is told from few looks may be trusted."""
AGREE = 0.3
"""Cosine of successive gradients above which they point the same way in spite of the noise of their batches."""
NOTHING_YET, STRAIGHT, HALF_WAY = 0.4, 0.6, 0.5
"""Paths up to which a rate is too low although looks lie close: where nothing was learned, for nothing says that it was long
enough; and where the gradient of the late looks still points where it did and half was not reached, for a way that is straight
and not half of a layer's size long has not come to its first bend."""
MOST_TIMES = 1_000
"""Times by which a rate may have to grow; what needs more does not lack a rate but a gradient."""
SHORT = "the steps are too short for the length of the run"
"""The cause of a rate that is too low; it is none where the gradient is lost on its way."""
UNSURE = 0.05
"""Standard error of the right answers from which the loss is asked as well."""
LOW_SKILL, STIRRED, DECAY_SKILL = 0.75, 0.3, 0.9
"""Skill from which a training counts as too good for the symptom to matter."""
REFERENCES = (
    "Goodfellow, Bengio & Courville 2016, Deep Learning, section 11.4.1",
    "Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability, arXiv:2103.00065",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding about the rate."""
    moved = movement(case)
    if moved is not None and (nowhere := _leads_nowhere(case, moved)) is not None:
        yield nowhere
    yield from _resting(case)
    if moved is None or case.taken < AT_ONCE:
        return
    rates = [(r.step, r.value) for r in case.series("learning_rate")]
    if rates and max(rate for _, rate in rates) == 0.0:
        yield from _zero(case, moved)
        return
    found = outcome(case)
    for one in (_decayed(case, rates, moved, found), _low(case, rates, moved, found), _high(case, rates, moved, found)):
        if one is not None:
            yield one
            return


def _leads_nowhere(case: Case, moved: Movement) -> Finding | None:
    """What the first real steps say of the run to come, before training."""
    path = leads_nowhere(case, moved)
    if path is None or momentum.swallowed(case) is not None:
        return None
    length = f"{case.planned or DEFAULT_STEPS:,} steps like the first"
    text = f"{length} would move the layer that moves furthest by {path:.1g} of its size"
    if not path > 0.0:
        text = f"{length} would move no weight at all, for each is lost in the rounding"
    return Finding(
        "learning_rate",
        "warning",
        0.9,
        "optimizer",
        f"The learning rate is too low: {text}.",
        (Evidence(text, "turning_ratio", path, "of its size", NOWHERE),),
        since=1,
        remedy=f"a learning rate {_factor(path)} times as high, or a longer run; nothing, if a warm-up begins here",
        references=REFERENCES[:1],
    )


def _zero(case: Case, moved: Movement) -> Iterator[Finding]:
    updates = [r.value for series in case.rows.get("update_rms", {}).values() for r in series]
    warming = case.planned is not None and not case.ended and case.taken < 0.1 * case.planned
    if any(updates) or not updates or not moved.fed or warming or (case.planned is None and not case.ended):
        return
    text = f"the learning rate was 0 in all {case.taken:,} steps, and no weight moved"
    yield Finding(
        "learning_rate",
        "critical",
        0.98,
        "optimizer",
        f"{capital(text)}: nothing can be learned.",
        (Evidence(text, "learning_rate", 0.0, bound=0.0),),
        since=1,
        remedy="a learning rate above 0, usually 1e-3 with Adam, 0.1 with SGD; look at what the scheduler multiplies it by",
    )


def _resting(case: Case) -> Iterator[Finding]:
    """Layers whose group has a rate of 0 while another has not."""
    judged, first = outcome(case), 0 < case.taken <= FIRST_STEPS
    least = FIRST_STEPS if first else 3
    found = {where: one for where, one in lasting(case, "rate_zero").items() if holds(one, case, least=least)}
    if not found or not (judged.decided or first):
        return
    places = list(found)
    new = fresh(case.anatomy, places)
    alarm = not first and (judged.learning is False or (bool(new) and not judged.well(LOW_SKILL)))
    whom = listed([spoken(where) for where in places])
    gets, stand = ("gets", "stands") if len(places) == 1 else ("get", "stand")
    one = found[places[0]]
    yield Finding(
        "learning_rate",
        "note" if not alarm else "critical" if judged.learning is False else "warning",
        0.95 if alarm else 0.6,
        "optimizer",
        f"{opening(whom)} {gets} gradients and {stand} in a group whose learning rate is 0: nothing of it moves.",
        (Evidence(f"seen in {one.seen} of {one.looks} looks", "rate_zero", 0.0, "learning rate", 0.0),),
        tuple(places),
        since=one.first,
        cause="a group of parameters with a rate of 0",
        remedy="give the group a rate above 0; requires_grad_(False) says that layers are to stay as they are",
    )


def _decayed(case: Case, rates: list[tuple[int, float]], moved: Movement, found: Outcome) -> Finding | None:
    length = case.taken if case.ended else case.planned
    if not rates or length is None:
        return None
    peak = max(range(len(rates)), key=lambda place: rates[place][1])
    top = rates[peak][1]
    ends = [step for step, rate in rates[peak:] if rate > NOTHING * top]
    gone = ends[-1] + 1
    if gone >= length / 2 or rates[-1][1] > NOTHING * top or case.taken < gone + AT_ONCE:
        return None
    tenth = next(step for step, rate in rates[peak:] if rate <= 0.1 * top)
    before = [r.value for r in case.series("loss") if r.step <= tenth]
    at_once = tenth - rates[peak][0] < AT_ONCE
    soon = tenth <= SOON * length and found.poor(HALF_WAY)
    early = found.skill is None and found.learning is not True and gone < length / 4
    if not found.decided or not (found.poor(DECAY_SKILL) or _dull(found) or early):
        return None
    if not (at_once or soon or _falls(before) or found.learning is not True):
        return None
    text = f"the learning rate fell below 1/1,000 of its largest value at step {gone:,} of {length:,}"
    while_ = "before anything could be learned" if at_once else "while the loss was still falling"
    while_ = f"and a tenth of that at step {tenth:,}" if soon and not at_once else while_
    return _finding(
        found,
        f"{capital(text)}, {while_}: the rest of the run moves nothing.",
        (Evidence(text, "learning_rate", rates[-1][1], "a step", NOTHING * top), *_judged(found)),
        gone,
        "a schedule that spans the whole run (cosine or linear to 0 at its last step), stepped once an epoch if its constants "
        "are counted in epochs; or a constant rate",
        0.93,
    )


def _dull(found: Outcome) -> bool:
    """Whether neither the right answers nor the loss come to what is called good, which too few answers leave open alone."""
    if found.hits is None or found.beat is None:
        return False
    return found.hits[0] < DECAY_SKILL and found.beat[0] + 2.0 * found.beat[1] < DECAY_SKILL


def _falls(values: list[float]) -> bool:
    """Whether the second half of a stretch lies lower than its first, by more than a twentieth."""
    if len(values) < 4:
        return True
    first, second = statistics.median(values[: len(values) // 2]), statistics.median(values[len(values) // 2 :])
    return first - second > 0.05 * abs(first)


def _low(case: Case, rates: list[tuple[int, float]], moved: Movement, found: Outcome) -> Finding | None:
    if case.taken < SOME or not found.decided or not moved.fed or not (_poor(found) or _rests(case, moved, found)):
        return None
    limit = _limit(moved, found)
    if found.advanced or _born_loud(found) or any(one.alarm for one in initial_loss.diagnose(case)):
        return None
    way = found.falling or (moved.agreement is not None and moved.agreement > AGREE)
    if not (moved.starved and moved.sure) and not (moved.planned_path < limit and (way or found.learning is not True)):
        return None
    bound = clipping.pinned(case)
    if (bound is not None and not clipping.undone(case, bound)) or momentum.swallowed(case) is not None:
        return None
    rate = max((rate for _, rate in rates), default=None)
    how = f" of {rate:.2g}" if rate is not None else ""
    text = f"the layer that moved furthest moved by at most {moved.planned_path:.1g} of its size"
    steps = f"over all {case.taken:,} steps" if case.ended else f"over the {case.planned or case.taken:,} steps of the run"
    return _finding(
        found,
        f"The learning rate{how} is too low: {text} {steps}, so that the network stays what it was.",
        (
            Evidence(text, "turning_ratio", moved.planned_path, "of its size", LONGER),
            *_judged(found),
            *_agreement(moved),
        ),
        1,
        f"a learning rate {_factor(moved.planned_path)} times as high, or as many times more steps",
        0.9 if moved.starved else 0.8,
        SHORT,
    )


def is_still(finding: Finding) -> bool:
    """Whether a rate is called too low by a path so short that no rate a person would choose makes up for it."""
    path = finding.evidence[0].value if finding.cause == SHORT and finding.evidence else None
    return path is not None and path < 1.0 / MOST_TIMES


def _rests(case: Case, moved: Movement, found: Outcome) -> bool:
    """Whether the network is what it was, of a loss that nobody knows a floor of and that has not fallen."""
    unknown = found.skill is None and found.learning is not True and not found.falling
    return unknown and case.ended and case.taken >= BRIEF and moved.sure and moved.planned_path < NOWHERE


def _poor(found: Outcome) -> bool:
    """Whether the answers are poor; where few looks counted them, whether the loss says so by half of the bound."""
    unsure = found.hits is not None and found.hits[1] > UNSURE and found.beat is not None
    return found.poor(LOW_SKILL) or (unsure and found.beat is not None and sum(found.beat) < LOW_SKILL / 2.0)


def _limit(moved: Movement, found: Outcome) -> float:
    """The path up to which it counts as too short."""
    if moved.sure and found.learning is False:
        return NOTHING_YET
    straight = moved.sure and moved.agreement is not None and moved.agreement > AGREE
    if straight and found.poor(HALF_WAY):
        return STRAIGHT
    if moved.sure or found.learning is False:
        return LONGER
    return LONGER / 3.0 if found.learning is not True or found.poor(NEXT_TO_NOTHING) else 0.0


def _born_loud(found: Outcome) -> bool:
    """Whether the first loss was far above that of a constant answer: outputs too large, not steps too small."""
    return found.start is not None and found.floor is not None and found.start > LOUD * found.floor


def _factor(path: float) -> str:
    """By how much a path must grow to reach 1, as a round number."""
    factor = 1.0 / max(path, 1e-6)
    return (
        "1,000 and more"
        if factor >= 1000
        else "100"
        if factor >= 60
        else "30"
        if factor >= 20
        else "10"
        if factor >= 6
        else "3"
    )


def _agreement(moved: Movement) -> Iterator[Evidence]:
    if moved.agreement is not None and moved.agreement > AGREE:
        yield Evidence(
            f"gradients of successive looks agree (cosine {moved.agreement:.2f}): the way is clear, and the steps are short",
            "gradient_turn",
            moved.agreement,
            bound=AGREE,
        )


def _high(case: Case, rates: list[tuple[int, float]], moved: Movement, found: Outcome) -> Finding | None:
    if not found.decided:
        return None
    lost = found.learning is False and moved.turning >= TURNS
    stirred = moved.turning >= 2.0 * TURNS and found.poor(STIRRED) and not found.falling
    torn = moved.recent and (lost or stirred) and not symmetry.near_zero(case)
    blown = moved.largest >= BLOW and found.poor(0.3) and found.learning is not True
    if not (torn or blown) or weight_decay.stronger(case) is not None:
        return None
    rate = max((rate for _, rate in rates), default=None)
    how = f" of {rate:.2g}" if rate is not None else ""
    evidence = []
    if torn:
        text = f"a step turns a typical layer by {min(1.0, moved.turning):.1%}"
        evidence.append(Evidence(text, "turning_ratio", moved.turning, "of the weight a step", TURNS))
        what = f"{text}, so that what was learned is gone after {max(1, round(1 / moved.turning)):,} steps"
    else:
        text = f"one step changed a typical layer by {moved.largest:.2g} times its natural size"
        evidence.append(Evidence(text, "update_rms", moved.largest, "of 1 / sqrt(fan_in)", BLOW))
        what = f"{text}, and the training has not recovered from it"
    return _finding(
        found,
        f"The learning rate{how} is too high: {what}.",
        (*evidence, *_judged(found)),
        1,
        "a learning rate 10 times lower, and again if the loss still jumps; or a warm-up over the first 5 % of the steps",
        0.88,
    )


def _judged(found: Outcome) -> Iterator[Evidence]:
    if found.skill is not None:
        yield Evidence(
            f"late answers are {100 * max(0.0, found.skill):.0f} % of the way from the best constant answer to perfect ones",
            "skill",
            found.skill,
        )


def _finding(
    found: Outcome,
    summary: str,
    evidence: tuple[Evidence, ...],
    since: int,
    remedy: str,
    confidence: float,
    cause: str | None = None,
) -> Finding:
    severity: Severity = "critical" if found.learning is False and (found.share or 0.0) >= 1.0 else "warning"
    return Finding(
        "learning_rate",
        severity,
        confidence,
        "optimizer",
        summary,
        evidence,
        since=since,
        cause=cause,
        remedy=remedy,
        references=REFERENCES,
    )
