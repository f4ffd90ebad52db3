"""Forgetting: what had been learned is lost again, and the loss is back where a constant answer stands.

The run is cut into ``PARTS`` stretches of equal length. What is asked of them:
  LEARNED  in HELD stretches in a row the mean loss was at least 0.3 below that of the best constant answer (a mean, because one
           spike cannot make it lower)
  LOST     in the last HELD stretches together the median loss is not 0.1 below it, and in none of them twice that (a median,
           because one spike cannot make it higher), nor are the late looks, each beside its own batch
That is 15 % of the run at either end; a run of which more is to come may still come back (restarts), so it is judged when it
has ended. Where classes are counted, the share of right answers has to be gone as well, by half of what it was. What answers
were worth is told by the looks, each beside its own batch, so that harder data or other weights do not pass for it.
Where the program evaluates, one kind of evaluation is enough: its best knew something, and the last two know nothing
(``health.evaluated.forgotten``), while the training itself goes well or not: another task has taken the place of the first.
Where no constant answer is known, a loss that had halved and is back at its start is a remark.

Look-alikes that are healthy: spikes, restarts of the rate that come back, two networks against each other, a loss whose scale
changes on purpose, a curriculum (its floor changes too). Data sorted by class are told by ``labels``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.curve import Curve
from isograd.health.diagnosis import labels
from isograd.health.evaluated import by_place, forgotten
from isograd.health.outcome import decided
from isograd.records.finding import Evidence, Finding

PARTS = 20
HELD = 3
LEARNED = 0.3
LOST = 0.1
HALF = 0.5
BACK = 0.95
LOOKS = 2
FEW = 4
"""Losses in a stretch from which its mean and median say something."""
REFERENCES = (
    "McCloskey & Cohen 1989, Catastrophic interference in connectionist networks",
    "Goodfellow et al. 2013, An empirical investigation of catastrophic forgetting, arXiv:1312.6211",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that what was learned is gone, or the remark that a loss is back at its start."""
    found = next(_training(case), None) or _tried(case)
    if found is not None:
        yield found


def _tried(case: Case) -> Finding | None:
    """Told from the program's own evaluations."""
    if not decided(case) or not _whole(case):
        return None
    for tried in by_place(case, lambda one: one.accuracy is not None):
        best, last = forgotten(tried), tried[-1]
        if best is None:
            continue
        then, now = best.accuracy or 0.0, last.accuracy or 0.0
        known = max(place for place, one in enumerate(tried) if forgotten((*tried[:-2], one, one)) is None)
        since = tried[min(known + 1, len(tried) - 1)].after
        return Finding(
            "forgetting",
            "warning",
            0.85,
            "loop",
            f"What was learned is lost: evaluations had {100 * then:.0f} % right answers after step {best.after:,}, and since "
            f"step {since:,} they know no more than a constant answer ({100 * now:.0f} %).",
            (Evidence("right answers, best and last", "hit_rate", now, "", then),),
            source=last.source,
            since=since,
            remedy=f"look at what changed near step {since:,}: data of another kind or task, other labels, a rate that rises; "
            "mix old examples with new ones, or keep the weights of the best evaluation",
            references=REFERENCES,
        )
    return None


def _training(case: Case) -> Iterator[Finding]:
    """Told from the losses of the training."""
    curve = curves.main(case)
    if not case.ended or curve is None or not _whole(case):
        return
    stretches = [curve.values(i / PARTS, (i + 1) / PARTS) for i in range(PARTS)]
    if min(map(len, stretches)) < FEW:
        return
    if curve.floor is not None and curve.told:
        best = _held(stretches, (1.0 - LEARNED) * curve.floor)
        if best is not None and _back(stretches, curve.floor) and _borne_out(curve, best) and not list(labels.diagnose(case)):
            yield _finding(case, curve, stretches, best, curve.floor)
    elif curve.floor is None:
        start = statistics.median(stretches[0][:FEW])
        best = _held(stretches, HALF * start)
        if start > 0.0 and best is not None and all(statistics.median(part) > BACK * start for part in stretches[-HELD:]):
            yield _finding(case, curve, stretches, best, None)


def _whole(case: Case) -> bool:
    """Whether every loss is a number: what has become NaN is not forgotten."""
    return all(math.isfinite(step.loss) for step in case.steps if step.loss is not None)


def _held(stretches: Sequence[Sequence[float]], bound: float) -> int | None:
    """The best of the stretches whose mean, with those of its neighbours on the way there, is below ``bound``."""
    means = [statistics.fmean(part) for part in stretches]
    held = [place for place in range(HELD - 1, PARTS - HELD) if max(means[place - HELD + 1 : place + 1]) < bound]
    return min(held, key=lambda place: means[place], default=None)


def _back(stretches: Sequence[Sequence[float]], floor: float) -> bool:
    """Whether the last stretches stand where a constant answer does."""
    last = stretches[-HELD:]
    together = statistics.median(value for part in last for value in part)
    return together > (1.0 - LOST) * floor and min(map(statistics.median, last)) > (1.0 - 2.0 * LOST) * floor


def _borne_out(curve: Curve, best: int) -> bool:
    """Whether the looks say the same, each beside its own batch, and the right answers are gone too."""
    begin, end = ((best + shift) / PARTS * curve.taken for shift in (1 - HELD, 1))
    then = curve.standing([look for look in curve.looks if begin < look[0] <= end]) if _looks(curve, begin, end) else None
    late = (1.0 - HELD / PARTS) * curve.taken
    if then is None or not _looks(curve, late, curve.taken):
        return False
    now = curve.standing([look for look in curve.looks if look[0] > late])
    if then.beat is None or now.beat is None or then.beat < LEARNED or now.beat > LOST:
        return False
    return then.hits is None or now.hits is None or now.hits + 2.0 * now.hits_error < HALF * then.hits


def _looks(curve: Curve, begin: float, end: float) -> bool:
    return sum(begin < step <= end for step, _ in curve.looks) >= LOOKS


def _finding(case: Case, curve: Curve, stretches: Sequence[Sequence[float]], best: int, floor: float | None) -> Finding:
    low, now = statistics.fmean(stretches[best]), statistics.median(stretches[-1])
    against = statistics.median(stretches[0][:FEW]) if floor is None else floor
    bound = (BACK if floor is None else 1.0 - 2.0 * LOST) * against
    first = next(p for p in range(PARTS - 1, -1, -1) if p <= best or statistics.median(stretches[p]) <= bound) + 1
    since = round(first / PARTS * case.taken) + 1
    what = f"what it was at the start ({against:.3g})" if floor is None else f"what a constant answer gets ({against:.3g})"
    return Finding(
        "forgetting",
        "note" if floor is None else "warning",
        0.6 if floor is None else 0.9,
        "loss",
        f"What was learned is lost: the loss was {low:.3g} around step {round((best + 0.5) / PARTS * case.taken):,}, and from "
        f"step {since:,} to the end it is back at {what}.",
        (
            Evidence(f"lowest mean loss of a twentieth of the run: {low:.3g}; last: {now:.3g}", "loss", now, "", bound),
            *([Evidence("1 - loss / best constant answer, late", "skill", 1.0 - now / floor, "", LOST)] if floor else []),
        ),
        source=curve.looks[-1][1].source,
        since=since,
        remedy=f"keep the weights of the best step, and look at what changed near step {since:,}: a rate that rises, a huge "
        "gradient that was not clipped, weights set anew, data of another kind; mix old examples with new ones",
        references=REFERENCES,
    )
