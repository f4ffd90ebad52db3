"""Collapse: the network gives every example the same answer, the mean or one class, or never gives one of the classes.

The best constant answer is the first thing that a network finds, and the only thing left where its inputs do not reach the
output (dead or saturated layers, a cut graph, a step that destroyed everything) or say nothing of the targets.
Bounds (``health.worth``): 98 % of the late answers are one class although at most 4 of 5 targets are, or outputs spread by less
than 5 % of the targets' spread; and the loss is no better than the best constant answer. Only when the run has ended.
LOST: a class with half of its fair share of the targets or more that is not answered once where 30 were due, although the
rest is learned, is worth a remark: the output of that class may be dead, or the class hides behind another (as words do).

RARE: of two classes of which one is most of the targets, the other is not answered once where RARE were due. That may be all
that can be known (clicks), or what the program is for (frauds): a remark, for the share of right answers does not show it.

ALIKE: of a loss of the program's own (``records.batch.Replay``), be it a policy's or one of positive pairs alone: the outputs
of all rows are one and the same to a thousandth of their size, although the inputs differ. Rounding makes 1e-7, an input that
barely counts 1e-2.

SHRUNK: a network that is asked to answer what it answers itself (two views of one example, its own next state) can do so by
answering everybody the same. Then the targets themselves lose their variance: in all late looks the best constant answer pays
less than a hundredth of what it paid in the first, and the outputs shrink with them. Data do not do that: it is an alarm.

Look-alikes that are healthy: one class that is nearly all of the data; a batch of one class; a start before the first steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import REGRESSIONS, Curve, Standing
from isograd.health.replayed import ROWS, late
from isograd.health.worth import COMMON, constant, learned_nothing
from isograd.records.batch import Replay
from isograd.records.finding import Evidence, Finding

STEPS = 50
LOOKS = 2
DUE, RARE = 30, 5
LEARNED = 0.3
SHRUNK, FEW = 0.01, 3
ALIKE = 1e-3


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that all answers are alike, or that one of them never comes."""
    if case.ended and case.taken >= STEPS and (looks := _alike(case)):
        yield _one_answer(case, looks)
        return
    curve = curves.main(case)
    if curve is None or not case.ended or case.taken < STEPS or len(curve.looks) < LOOKS:
        return
    together = _together(curve)
    if together is not None:
        yield together
        return
    if constant(curve) and learned_nothing(curve):
        yield _same(case, curve, curve.late())
        return
    lost = _lost(curve)
    if lost:
        yield _never(case, curve, lost)
    elif (rare := _rare(curve)) is not None:
        yield rare


def _alike(case: Case) -> tuple[tuple[int, Replay], ...]:
    """The late looks at a loss of one's own in which all rows had one answer, although their inputs differ; or none.

    Not where rows have something of their own to gain, and an end to it: then it counts what the outputs are worth (plateau).
    """
    looks = late(case)
    if len(looks) < LOOKS or curves.contested(case) or sum(one.rows for _, one in looks) < ROWS:
        return ()
    differ = bool(case.inputs) and all(one.low < one.high for step, one in case.inputs if step >= looks[0][0])
    one_answer = all(one.spread <= ALIKE and one.potential is None for _, one in looks)
    return looks if one_answer and differ else ()


def _one_answer(case: Case, looks: Sequence[tuple[int, Replay]]) -> Finding:
    spread = max(one.spread for _, one in looks)
    text = f"outputs differ from row to row by {spread:.1g} of their size at most, in {len(looks)} late looks"
    return Finding(
        "collapse",
        "critical",
        0.9,
        "loss",
        f"After {case.taken:,} steps the network gives every example the same answer, whatever it is shown.",
        (Evidence(text, "output_spread", spread, "of the outputs' size", ALIKE),),
        source=looks[-1][1].source,
        since=looks[0][0],
        remedy="look whether the inputs reach the output at all (dead, saturated or cut layers, inputs in huge units: see the "
        "other findings); where outputs are only to agree with each other, the loss needs negatives or a term that keeps "
        "their variance (contrastive loss, VICReg)",
    )


def _same(case: Case, curve: Curve, late: Standing) -> Finding:
    if late.favourite is not None:
        answers = [sum(counts) for counts in zip(*(s.answers for _, s in curve.late_looks() if s.answers), strict=False)]
        label = answers.index(max(answers))
        common = 100 * (late.majority or 0.0)
        text = f"{100 * late.favourite:.0f} % of a batch get one answer, {common:.0f} % of the targets are one class"
        evidence = Evidence(text, "answer_entropy", late.favourite, "share of one answer", late.majority)
        what = f"the network gives every example of a batch the same answer, mostly class {label},"
    else:
        spread = late.spread or 0.0
        text = f"outputs spread by {spread:.1e} of what the targets do"
        evidence = Evidence(text, "output_spread", spread, "of the targets' spread", 0.05)
        what = "the network answers nearly the same number"
    beat = late.beat or 0.0
    return Finding(
        "collapse",
        "critical",
        0.97,
        "loss",
        f"After {case.taken:,} steps {what} whatever it is shown: it has found the best constant answer and nothing else.",
        (evidence, Evidence(f"1 - loss / best constant answer: {beat:.3f}", "skill", beat)),
        source=curve.looks[-1][1].source,
        since=curve.late_looks()[0][0],
        remedy="look whether the inputs reach the output at all (dead, saturated or cut layers: see the other findings) and "
        "whether inputs and targets belong together",
    )


def _together(curve: Curve) -> Finding | None:
    """Outputs and targets that have come down to one number together."""
    looks = [(step, one) for step, one in curve.looks if one.floor is not None and one.output and one.target]
    first, late = looks[:FEW], [look for look in curve.late_looks() if look in looks]
    if curve.function not in REGRESSIONS or len(first) < FEW or len(late) < LOOKS or looks.index(late[0]) < FEW:
        return None
    before = min(one.floor or 0.0 for _, one in first)
    now = max(one.floor or 0.0 for _, one in late)
    spreads = [min(one.output.std for _, one in first if one.output), max(one.output.std for _, one in late if one.output)]
    if not before > 0.0 or now >= SHRUNK * before or spreads[1] >= spreads[0]:
        return None
    text = f"what the targets vary by fell from {before:.2g} to {now:.2g}, and the outputs follow"
    return Finding(
        "collapse",
        "critical",
        0.9,
        "loss",
        f"Outputs and targets have become the same for every example together: {text}. The network is asked to agree with "
        "itself, and answering everybody alike is the cheapest way.",
        (Evidence(text, "loss_floor", now, "", SHRUNK * before),),
        source=late[-1][1].source,
        since=late[0][0],
        remedy="negatives or a term that keeps the variance of the outputs (contrastive loss, VICReg); or stop the gradient on "
        "one side (.detach()) and put a predictor on the other",
        references=("Chen & He 2021, Exploring simple siamese representation learning, arXiv:2011.10566",),
    )


def _lost(curve: Curve) -> list[int]:
    """Classes that are due in the late looks and never answered, where the rest is learned."""
    late = curve.late()
    if late.hits is None or late.hits < LEARNED:
        return []
    samples = [sample for _, sample in curve.late_looks() if sample.answers and sample.classes]
    fair = 0.5 * sum(curve.classes) / max(1, sum(map(bool, curve.classes)))
    return [
        label
        for label, total in enumerate(curve.classes)
        if total >= fair
        and sum(sample.classes[label] for sample in samples if label < len(sample.classes)) >= DUE
        and not any(sample.answers[label] for sample in samples if label < len(sample.answers))
    ]


def _rare(curve: Curve) -> Finding | None:
    """The remark that the rarer of two classes is never answered."""
    late = curve.late()
    samples = [sample for _, sample in curve.late_looks() if sum(sample.answers) and not sample.weights]
    counts = [sum(column) for column in zip(*(sample.classes for sample in samples), strict=False)]
    if sum(map(bool, curve.classes)) != 2 or (late.majority or 0.0) <= COMMON or not sum(counts):
        return None
    label = max((i for i, n in enumerate(curve.classes) if n), key=lambda i: -curve.classes[i])
    answers = sum(sample.answers[label] for sample in samples if label < len(sample.answers))
    if answers or label >= len(counts) or counts[label] < RARE:
        return None
    share = 100 * (late.majority or 0.0)
    return Finding(
        "collapse",
        "note",
        0.7,
        "loss",
        f"Class {label} is never answered, though {counts[label]} of the {sum(counts):,} targets looked at late were of it: "
        f"{share:.0f} % of the targets are the other class, so that always to say that is {share:.0f} % right.",
        (Evidence(f"answers of class {label}: 0 where {counts[label]} were due", "answer_entropy", 0.0),),
        source=curve.looks[-1][1].source,
        since=curve.late_looks()[0][0],
        remedy="judge by recall, balanced accuracy or the area under the curve; then a threshold below one half, or weights: "
        "pos_weight in BCEWithLogitsLoss, weight in CrossEntropyLoss, a sampler that draws the rare class more often",
    )


def _never(case: Case, curve: Curve, lost: list[int]) -> Finding:
    names = ", ".join(map(str, lost))
    return Finding(
        "collapse",
        "note",
        0.7,
        "loss",
        f"After {case.taken:,} steps the network never answers class {names}, which the targets hold as often as others.",
        (Evidence(f"no answer is class {names} in the last {len(curve.late_looks())} looks", "answer_entropy", 0.0),),
        source=curve.looks[-1][1].source,
        since=curve.late_looks()[0][0],
        remedy="look at the last layer: a ReLU there, or a dead unit, keeps an output from ever being the largest",
    )
