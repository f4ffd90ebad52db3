"""The loss at the start against what a model that knows nothing must have: the entropy of the classes, the variance of targets.

A network at birth should be unsure: about log(C) for C classes of equal share, the targets' second moment for a squared error.
FAR above it, it is sure of wrong answers: outputs are too large (initialisation, unscaled inputs), and the first steps undo
that. It is a remark by itself, for most networks recover in a few steps; an alarm where the loss has not come
below 0.6 of the best constant answer (POOR) by the end, although enough steps were made.
Bound: FAR 5 times the best constant answer; logits of rms s cost about s * 0.8 for classes, so that 5 * log(10) is rms 14.

Of a squared or absolute error the outputs' spread over that of the targets counts, WIDE, 3 times, and more (a loss of 10 times
the variance): their mean is the targets' affair. There the run has to end worse than the best constant answer, for no more than
that can be asked of targets that are mostly noise.

It counts from what outputs of zero cost too, log(C) a question: rare classes make the best constant answer cheap, and nobody is
born with it.

Look-alikes that are healthy: regressions on targets whose mean is far from zero (see ``targets``), a network trained before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import BINARY, ENTROPIES, REGRESSIONS, Curve
from isograd.health.movement import FIRST_STEPS
from isograd.records.finding import Evidence, Finding

FAR = 5.0
WIDE = 3.0
POOR = 0.4
FEW = 5
"""Steps from which on a run is judged; before training those of a check are."""
STEPS = 50


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the outputs were far too sure at the start."""
    curve = curves.main(case)
    if curve is not None and curve.function in REGRESSIONS:
        yield from _spread(case, curve)
        return
    if curve is None or FIRST_STEPS < case.taken < FEW or curve.floor is None or curve.function not in (*ENTROPIES, *BINARY):
        return
    step, first = curve.looks[0]
    if step > FIRST_STEPS or first.value is None or first.value < FAR * max(curve.floor, _unsure(curve)):
        return
    late = curve.late()
    harmed = case.ended and case.taken >= STEPS and late.beat is not None and late.beat + 2.0 * late.error < POOR
    times = first.value / curve.floor
    yield Finding(
        "initial_loss",
        "warning" if harmed else "note",
        0.85 if harmed else 0.7,
        "loss",
        f"The loss began at {first.value:.3g}, {times:.0f} times what a model that knows nothing has ({curve.floor:.3g}): "
        "the first outputs are far too large" + (", and it has not recovered." if harmed else "."),
        (Evidence(f"first loss over best constant answer: {times:.3g}", "skill", 1.0 - times, "", 1.0 - FAR),),
        source=first.source,
        since=step,
        remedy="scaled inputs, the default initialisation, a small last layer",
    )


def _spread(case: Case, curve: Curve) -> Iterator[Finding]:
    """The finding that the first outputs spread far wider than the targets."""
    step, first = curve.looks[0]
    made, due = first.output, first.target
    if FIRST_STEPS < case.taken < FEW or step > FIRST_STEPS or made is None or due is None or not due.std > 0.0:
        return
    times, late = made.std / due.std, curve.late()
    if not (math.isfinite(times) and times >= WIDE):
        return
    harmed = case.ended and case.taken >= STEPS and late.beat is not None and late.beat + 2.0 * late.error < 0.0
    yield Finding(
        "initial_loss",
        "warning" if harmed else "note",
        0.85 if harmed else 0.7,
        "loss",
        f"The first outputs spread {times:.3g} times as wide as the targets"
        + (", and the loss has not come down to that of a constant answer." if harmed else "."),
        (Evidence(f"deviation of the first outputs over that of the targets: {times:.3g}", "target_size", times, "", WIDE),),
        source=first.source,
        since=step,
        remedy="standardised targets, or smaller initial weights (embeddings that are multiplied: a deviation of .05)",
    )


def _unsure(curve: Curve) -> float:
    """What outputs of zero cost: log(C), in a loss that is a mean over the examples."""
    sample = curve.looks[0][1]
    kinds = sample.output_shape[1] if sample.function in ENTROPIES and len(sample.output_shape) > 1 else 2
    return math.log(max(2, kinds)) if sample.reduction == "mean" else 0.0
