"""Plateau: after enough steps the network answers no better than the best constant answer would.

A constant answer needs no input and no network: whoever does not beat it has learned nothing, whatever the cause, and the final
model is worthless. Three doors lead to it (``health.curve``), and all that are known must be shut:
  - the loss of the late looks is not below its floor by ``GAIN``
  - the late answers are not right more often than the most frequent class by ``GAIN``, chance-corrected, beyond 3 errors
  - outputs and targets of a regression do not go together: correlation squared, what the best rescaling of the outputs could
    explain, is below ``GAIN`` too, or the loss is above the floor
Bounds:
  GAIN    0.03: on data whose best model explains 10 % of the variance, a run that got three quarters of it stands at 0.075
  FLAT    a loss that still falls is not yet a plateau while the run goes on: networks that take off late (parity, copying over
          time, deep chains) fall slowly before; when the run has ended it is judged by where it stands, and where it falls to
          the end by the last tenth
  FAR     while the run goes on: after 60 % of what was announced, or 5,000 steps where nothing was (``health.outcome``), and
          never critical
  HONEST  a gain that came with examples seen before, from pass to pass and not within, is no gain (``health.passes``)
  STEPS   50 steps at least; a shorter run is ``interrupted``, not stuck
Where no floor is known (a loss written by hand), the loss is held against that of its own mean answer (``health.replayed``);
where that cannot be computed, the program's own evaluations speak (``health.evaluated``), as they do beside a known loss that
is too noisy to be sure of alone; without them only that the loss of the last third is where that of the first tenth was, to
within ``STILL``, with standard errors that would have shown less than that.

Look-alikes that are healthy: hard problems on which the best model is little better than a constant (its little is beyond
noise), imbalanced classes (the loss tells more than the hits), a GAN whose discriminator is held at ln 2 (two optimizers take
turns: nothing is said), a late take-off, batches of one class, a loss that is 0 from the start.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health import layers as gather
from isograd.health import replayed
from isograd.health.case import Case
from isograd.health.curve import Curve, Standing
from isograd.health.evaluated import able, ignorant
from isograd.health.outcome import decided, outcome
from isograd.health.passes import repeated
from isograd.health.replayed import Worth
from isograd.health.worth import GAIN, HOPE, constant, falls, learned_nothing
from isograd.records.batch import Evaluation
from isograd.records.finding import Evidence, Finding

STEPS = 50
LOOKS = 2
STILL = 0.02
LAST = 10
MANIFOLD = 10.0
"""How far above a constant answer a loss is told in times and no longer in percent."""


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that nothing was learned."""
    if case.taken < STEPS or not decided(case) or curves.contested(case):
        return
    found = [one for one in curves.curves(case) if len(one.looks) >= LOOKS]
    judged = [one for one in found if one.late().beat is not None]
    if judged and all(_nothing(case, one) for one in judged):
        curve = max(judged, key=lambda one: len(one.looks))
        if not (constant(curve) and case.ended and curve is curves.main(case)):  # then it is a collapse, which says more
            yield _finding(case, curve)
        return
    if any(one.told for one in judged):
        tried = ignorant(case) if case.ended and all(_next_to_nothing(one) for one in judged) else ()
        if tried:
            yield _tried(case, tried)
        return
    own = None if able(case) else replayed.worth(case)
    if own is not None and own.nothing and (case.ended or not outcome(case).falling):
        yield _worthless(case, own)
        return
    if judged:
        return
    tried = ignorant(case) if case.ended else ()
    if tried:
        yield _tried(case, tried)
    elif case.ended and len(curves.curves(case)) <= 1 and not gather.apart(case.anatomy):
        yield from _untold(case)


def _tried(case: Case, tried: Sequence[Evaluation]) -> Finding:
    """The program's own evaluations find nothing: of a loss without a known floor, or one too noisy to be sure of alone."""
    last = tried[-1]
    if last.accuracy is None:
        value, floor = last.value or 0.0, last.floor or 0.0
        text = f"the {last.function} of an evaluation is {value:.4g}; the best constant answer gets {floor:.4g}"
        evidence = Evidence(text, "skill", 1.0 - value / floor, "", GAIN)
    else:
        right, most = 100.0 * last.accuracy, 100.0 * max(last.classes) / last.answers
        text = (
            f"of {last.answers:,} answers of an evaluation {right:.1f} % are right; the most frequent class gives {most:.1f} %"
        )
        evidence = Evidence(text, "hit_rate", right / 100.0, "", most / 100.0)
    return Finding(
        "plateau",
        "critical",
        0.9,
        "loss",
        f"After {case.taken:,} steps {text}: the network has learned nothing that helps.",
        (evidence,),
        source=last.source,
        since=tried[0].after,
        remedy="first make the network learn 10 examples by heart; if it cannot, the fault is in the model, the loss or the "
        "step",
    )


def _next_to_nothing(curve: Curve) -> bool:
    """Whether the late losses are where a constant answer's are, too noisy as they may be to be sure of it alone."""
    late = curve.late()
    return late.beat is not None and late.beat < GAIN and (late.hits is None or late.hits < HOPE) and not late.stale


def _worthless(case: Case, own: Worth) -> Finding:
    """Of a loss of the program's own, computed again with the mean of the outputs in every row."""
    return Finding(
        "plateau",
        "critical" if case.ended else "warning",
        0.9 if case.ended else 0.8,
        "loss",
        f"After {case.taken:,} steps the loss is {own.value:.4g}; with the mean of the outputs in every row it would be "
        f"{own.constant:.4g}, with what it asks of each row {own.best:.4g} or less: the answers are worth no more than one and "
        "the same for all.",
        (
            Evidence(
                f"(loss of the mean answer - loss) / what there is to gain, over {own.looks} late looks: {own.gain:.3f} "
                f"(standard error {own.error:.2g})",
                "skill",
                own.gain,
                "",
                GAIN,
            ),
            Evidence(
                f"cosine of how far the outputs are from their mean with what is asked of each row: {own.cosine:.2f}",
                "correlation",
                own.cosine,
            ),
        ),
        source=own.source,
        since=own.since,
        remedy="first make the network learn 10 examples by heart; if it cannot, the fault is in the model, the loss or the "
        "step (see the other findings); if it can, look at how inputs and targets belong together",
    )


def _nothing(case: Case, curve: Curve) -> bool:
    """Whether nothing was learned that counts, and nothing is on its way."""
    passes = repeated(case, curve)
    honest = passes is None or not passes.partly_between
    return learned_nothing(curve, honest=honest) and not (falls(curve) and honest and (not case.ended or _arrives(curve)))


def _arrives(curve: Curve) -> bool:
    """Whether a loss that falls to the end stands below its floor by ``GAIN`` over the last tenth of the steps."""
    last = curve.values(0.9, 1.0)
    return curve.told and curve.floor is not None and len(last) >= LAST and statistics.fmean(last) < (1.0 - GAIN) * curve.floor


def _finding(case: Case, curve: Curve) -> Finding:
    late = curve.late()
    beat = late.beat or 0.0
    value = statistics.fmean(sample.value or 0.0 for _, sample in curve.late_looks())
    floor = value / (1.0 - beat) if curve.floor is None else curve.floor
    value = floor * (1.0 - beat)  # of all late steps where these are more certain than the looks are
    what = "no better than" if beat >= -GAIN else f"{100 * -beat:.0f} % above" if beat > -MANIFOLD else f"{-beat:.1g} times"
    summary = (
        f"After {case.taken:,} steps the loss is {value:.4g}, {what} the {floor:.4g} that the best constant answer gets: "
        "the network has learned nothing that helps."
    )
    return Finding(
        "plateau",
        "critical" if case.ended else "warning",
        0.97 if case.ended else 0.85,
        "loss",
        summary,
        tuple(_evidence(late, value, floor)),
        source=curve.looks[-1][1].source,
        since=curve.looks[0][0],
        remedy="first make the network learn 10 examples by heart; if it cannot, the fault is in the model, the loss or the "
        "step (see the other findings); if it can, look at how inputs and targets belong together",
        references=(
            "Karpathy 2019, A recipe for training neural networks (overfit one batch; beat an input-independent baseline)",
        ),
    )


def _evidence(late: Standing, value: float, floor: float) -> Iterator[Evidence]:
    beat = late.beat or 0.0
    error = f" (standard error {late.error:.2g})" if math.isfinite(late.error) else ""
    yield Evidence(f"1 - loss / best constant answer over {late.looks} late looks: {beat:.3f}{error}", "skill", beat, "", GAIN)
    yield Evidence(f"the best constant answer gets {floor:.4g}, the network {value:.4g}", "loss", value, "", floor)
    if late.right is not None and late.majority is not None:
        yield Evidence(
            f"{100 * late.right:.1f} % of the answers are right; the most frequent class gives {100 * late.majority:.1f} %",
            "hit_rate",
            late.right,
            "",
            late.majority,
        )
    if late.correlation is not None:
        yield Evidence(f"correlation of outputs and targets: {late.correlation:.2f}", "correlation", late.correlation)


def _untold(case: Case) -> Iterator[Finding]:
    """A loss of unknown floor that stands where it began, measured finely enough to see less than ``STILL``."""
    rows = [(step.index, step.loss) for step in case.steps if step.loss is not None]
    if len(rows) < STEPS or not all(math.isfinite(value) and value > 0.0 for _, value in rows):
        return
    early = [value for step, value in rows if step <= max(5, 0.1 * case.taken)]
    late = [value for step, value in rows if step > (1.0 - curves.LATE) * case.taken]
    if min(len(early), len(late)) < 5:
        return
    before, after = statistics.fmean(early), statistics.fmean(late)
    error = math.hypot(*(statistics.stdev(part) / math.sqrt(len(part)) for part in (early, late)))
    if error > STILL * before / 2.0 or abs(after - before) > STILL * before:
        return
    yield Finding(
        "plateau",
        "warning",
        0.8,
        "loss",
        f"After {case.taken:,} steps the loss is {after:.4g}; it began at {before:.4g} and has not moved beyond noise.",
        (Evidence(f"loss of the last third over that of the first tenth: {after / before:.3f}", "loss", after, "", before),),
        since=rows[0][0],
        remedy="first make the network learn 10 examples by heart; if it cannot, look at the model, the loss and the step",
    )
