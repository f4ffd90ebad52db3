r"""Skew between training and evaluation: what is answered in training, of examples never met, is not answered when tried.

In the first pass over the data every training example is new, so that what the network pays there is what it pays for examples
that it has not seen: nothing can have been learned by heart yet. An evaluation made at the end of that pass should be no worse,
for the network has only come further. Where it is worse by GAP of what there is to gain, its examples are prepared in another
way (not scaled, labels of another order), the network is another one in evaluation mode (running statistics of batch norm that
do not fit), or they are of another kind of data.

.. math:: 1 - L_{\mathrm{first\,pass}} / L_0 \; - \; \max_t \left(1 - L_{\mathrm{evaluation}, t} / L_0\right) > \mathrm{STAYS}

Bounds:
  GAP     a quarter of the way from a constant answer to perfect ones, beyond three standard errors of the training loss
  STAYS   and no evaluation of the whole run comes within 0.1 of what the first pass already had: running statistics that lag
          behind at first catch up. Where answers are counted those must stay behind as well
  ANSWERS 100 examples of an evaluation, 8 losses of the last third of the first pass
Look-alikes that are healthy: dropout and augmentation (they make training look worse, not better), overfitting (of later
passes), batch norm that lags behind for an epoch, a test set that is harder but is learned in the end.

Source: Breck et al. 2019, Data validation for machine learning, MLSys (training-serving skew); the first pass as a test of
its own: Hardt et al. 2016, arXiv:1509.01240 (one pass, each example used once).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import Curve
from isograd.health.evaluated import Series, by_place
from isograd.health.outcome import decided
from isograd.health.passes import steps_of_a_pass
from isograd.records.batch import Evaluation
from isograd.records.finding import Evidence, Finding

GAP, STAYS = 0.25, 0.1
ANSWERS = 100
LOSSES = 8
LATE = 1.02
"""Shares of a pass within which an evaluation belongs to it: the last batch may be left out."""
ERRORS = 3.0


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding, of the series of evaluations that is worst off."""
    curve, known = curves.main(case), steps_of_a_pass(case)
    if curve is None or known is None or not curve.told or not curve.floor or not decided(case):
        return
    tried = by_place(case, lambda one: one.function == curve.function and one.examples >= ANSWERS and bool(one.floor))
    found = [finding for series in tried if (finding := _skewed(curve, series, known[0])) is not None]
    yield from found[:1]


def _skewed(curve: Curve, tried: Series, length: float) -> Finding | None:
    first = next((one for one in reversed(tried) if one.after <= LATE * length), None)
    if first is None or len(tried) < 2:
        return None
    paid = [value for step, value in curve.steps if 2 * first.after / 3 < step <= first.after and math.isfinite(value)]
    floor = curve.floor or 0.0
    if len(paid) < LOSSES or not floor > 0.0:
        return None
    trained, error = 1.0 - statistics.fmean(paid) / floor, statistics.stdev(paid) / math.sqrt(len(paid)) / floor
    gained, best = _gained(first), max(map(_gained, tried))
    if trained - gained < GAP + ERRORS * error or trained - best < STAYS or _answers_well(curve, tried, first.after):
        return None
    text = f"a loss of {statistics.fmean(paid):.3g} on examples that it had never met, {_value(first):.3g} in the evaluation"
    right = "" if tried[-1].accuracy is None else f" ({100 * tried[-1].accuracy:.0f} % of the answers are right at the end)"
    return Finding(
        "skew",
        "warning",
        0.85,
        "loop",
        f"The evaluation does not see what is trained: over the first {first.after:,} steps, whose examples were all new, the "
        f"loss came {100 * trained:.0f} % below a constant answer's, that of the evaluation was {100 * abs(gained):.0f} % "
        f"{'below' if gained > 0.0 else 'above'} it, and it never caught up{right}.",
        (Evidence(text, "loss", _value(first), "", statistics.fmean(paid)),),
        source=first.source,
        since=first.after,
        cause="inputs or labels are prepared in another way, or evaluation mode makes another network (batch norm)",
        remedy="send training examples through the evaluation: if they fail there too, look at model.eval() and the running "
        "statistics; if not, at how the inputs and labels of the two are scaled, cut and ordered",
    )


def _answers_well(curve: Curve, tried: Series, after: int) -> bool:
    """Whether the right answers of any evaluation come up to those of the first pass, where both are counted."""
    looks = [(step, sample) for step, sample in curve.looks if 2 * after / 3 < step <= after]
    met = curve.standing(looks).right if looks else None
    best = max((one.accuracy for one in tried if one.accuracy is not None), default=None)
    return met is not None and best is not None and best >= met - STAYS


def _gained(one: Evaluation) -> float:
    return 1.0 - _value(one) / (one.floor or 1.0)


def _value(one: Evaluation) -> float:
    return math.inf if one.value is None else one.value
