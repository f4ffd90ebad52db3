"""Targets of a size that the outputs cannot reach: a regression on unscaled numbers.

A head is born with outputs of about unit size around zero. To answer targets of mean m and deviation s it must move its bias by
m and its weights by s. Under Adam every weight and bias moves by at most about the learning rate a step (Kingma & Ba 2015,
section 2.1), so that n steps move a bias by at most n * lr; plain gradient descent gets there, but with gradients s times as
large as those that its learning rate was chosen for, and breaks instead.
Bounds:
  FAR     targets whose mean or deviation is 10 times the size that the outputs had at the start
  POOR    and answers that are still poor at the end of what was seen: less than half of the variance explained; or a loss
          that ran away until it was not finite any more, FAR times its first value or at once. One that broke from where it had
          come down to broke by something else
  AWAY    or, of targets that drift so that no constant answer is known: outputs whose mean is 3 deviations of the batch's own
          targets away from theirs, and less than half of it (POOR), in every late look of a run that has ended. From HUGE on
          alone: what a policy earns grows as it learns, and a value that trails behind it is none the worse for that
  HUGE    before training, where there are no answers yet: 1,000 times, as for inputs. The gradients of the first step are as
          many times larger than those of scaled targets

Look-alikes that are healthy: large targets that are reached all the same; targets of unit size with a hard problem behind them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import Curve
from isograd.health.movement import FIRST_STEPS
from isograd.health.outcome import outcome
from isograd.records.finding import Evidence, Finding
from isograd.records.moments import Moments

FAR = 10.0
POOR = 0.5
HUGE = 1000.0
AWAY = 3.0


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the targets are out of the outputs' reach."""
    curve = curves.main(case)
    if curve is None or curve.function not in curves.REGRESSIONS:
        return
    step, first = curve.looks[0]
    targets = [sample.target for _, sample in curve.looks if sample.target is not None]
    if first.output is None or not targets:
        return
    whole = sum(targets[1:], targets[0])
    size = max(first.output.rms, 1.0)
    far = max(abs(whole.mean), whole.std) / size
    if not (math.isfinite(far) and far >= FAR):
        return
    last = curve.looks[-1][1]
    now = last.output.rms if last.output is not None else math.nan
    broke = not any(reading.value for reading in case.series("input_nonfinite")) and _ran_away(case)
    harmed = broke or (case.taken >= 20 and (outcome(case).short_of(POOR) or (far >= HUGE and _away(case, curve))))
    alarm = harmed or (case.taken <= FIRST_STEPS and far >= HUGE)
    yield Finding(
        "targets",
        "warning" if alarm else "note",
        0.9 if alarm else 0.6,
        "data",
        _told(case, whole, first.output.rms, now, broke=far if broke else None, alarm=alarm),
        (
            Evidence(f"targets are {far:.3g} times the size of the first outputs", "target_size", far, "", FAR),
            Evidence(f"first loss: {first.value:.3g}", "loss", first.value or 0.0),
        ),
        source=curve.looks[-1][1].source,
        since=step,
        remedy="train on (y - mean) / std, both taken from the training part, and undo it on the outputs; or start the last "
        "bias at the mean of the targets",
        references=("Kingma & Ba 2015, arXiv:1412.6980, section 2.1: the step is bounded by about the learning rate",),
    )


def _ran_away(case: Case) -> bool:
    """Whether the loss grew until it was finite no more, or never was."""
    losses = [reading.value for reading in case.series("loss")]
    whole = list(itertools.takewhile(math.isfinite, losses))
    return len(whole) < len(losses) and (not whole or abs(whole[-1]) >= FAR * abs(whole[0]))


def _away(case: Case, curve: Curve) -> bool:
    """Whether the outputs are nowhere near their targets yet, batch by batch, at the end of the run."""
    looks = curve.late_looks()
    pairs = [(one.output, one.target) for _, one in looks if one.output is not None and one.target is not None]
    return (
        case.ended
        and not curve.stale
        and len(looks) == len(pairs) > 1
        and all(abs(made.mean - due.mean) > AWAY * due.std and abs(made.mean) < POOR * abs(due.mean) for made, due in pairs)
    )


def _told(case: Case, targets: Moments, born: float, now: float, *, broke: float | None, alarm: bool) -> str:
    sizes = f"Targets have mean {targets.mean:.3g} and deviation {targets.std:.3g}; the outputs "
    if broke is not None:
        return f"{sizes}began at a size of {born:.2g}: gradients {broke:.2g} times those of scaled targets, and the loss broke."
    if case.taken <= FIRST_STEPS:
        return f"{sizes}begin at a size of {born:.2g}" + (": the run would be spent on getting there." if alarm else ".")
    reached = f"{sizes}began at a size of {born:.2g} and are at {now:.3g} after {case.taken:,} steps"
    return reached + (": most of the run is spent on getting to their size." if alarm else ".")
