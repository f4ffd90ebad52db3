"""Wrong mode: training passes run in evaluation mode, or passes without gradients in training mode.

In evaluation mode dropout lets everything through and batch norm divides by running statistics that it no longer updates:
when they never saw a batch they are 0 and 1 and the layer normalises nothing. Certain as a fact; an alarm needs that nobody
would choose it:
  FRESH    a batch norm among the layers never saw a batch in training, or
  TURNED   the run began in training mode and went on in evaluation mode: model.eval() for a validation, and no model.train()
  ALONE    a batch norm that runs in evaluation mode inside a model in training mode, whose statistics are still 0 and 1, and
           at the end the answers are known to be poor: it was to keep statistics that were never loaded. Its own scale and
           bias began as 1 and 0, and are trained: else the statistics may be folded into them, or it is a random yardstick
  DROPPED  dropout is among the layers and training is not going well: without it the network may still learn well
  LEAST    three looks (two where the run has ended), and every one since the first
Passes without gradients in training mode (a validation without model.eval()) let the statistics of batch norm see validation
data and measure a network with dropout: what is reported is wrong, what is trained hardly. That stays a remark, for it is
also how fakes for a judge are made and how dropout is sampled from.

STAYS: dropout called as F.dropout(x) is on by default, and one that is made in the pass hears of no mode: a part of what is
evaluated is then thrown away by chance. An alarm where the answers end below WELL; where they are good anyway, or it is
sampled from on purpose (which says so in its source), a remark or nothing. Nothing where it drops what the model is given and
is to give back: noise that a denoising autoencoder learns to take away.

LAGS: of the running statistics of a batch norm a share of (1 - momentum)^n is, after n batches, still the 0 and 1 that they
began at. More than half of it (KEPT) at the end of the run, and batches whose variance is FAR, 4 times, from the running one
(signals that are twice or half as large) or whose mean is a deviation away, and what is evaluated is another network than the
one that was trained. Where evaluations are heard they decide: an alarm where they are worse than the training by GAP of the way
from a constant answer to perfect, and the layers together make the factor; none where they are not.

HASTY: statistics of the last batch alone, of fewer than ROWS rows, make every evaluation another network: their variance is off
by sqrt(2 / n), 35 % at 16 rows. A remark, and an alarm where evaluations are worse, as above.

Look-alikes that are healthy: a small momentum in a long run, or of layers whose batches have about mean 0 and variance 1; batch
norm alone in evaluation mode, with statistics, inside a model in training mode (fine-tuning), a pretrained model fine-tuned
with its statistics (a loss that leaves the numbers there has another cause), evaluation with gradients on between the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from isograd.health import curve as curves
from isograd.health.case import Case
from isograd.health.looks import Lasting, holds, lasting, listed, looked, opening
from isograd.health.losses import copied
from isograd.health.outcome import decided, outcome
from isograd.records.anatomy import Anatomy, spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

LEAST = 3
WELL = 0.9
KEPT, FAR, GAP = 0.5, 4.0, 0.15
ROWS = 16.0


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for training in evaluation mode, one remark on the other way round."""
    modes = lasting(case, "evaluation_mode")
    alone = {where: found for where, found in modes.items() if found.fact.get("alone", False)}
    if alone:
        yield _alone(case, alone)
    for where, found in modes.items():
        if where not in alone:
            yield _evaluating(case, where, found)
    yield from _staying(case)
    yield from _lagging(case)
    for where, found in lasting(case, "training_mode").items():
        if max(found.seen, int(found.fact.get("times", 0))) >= LEAST:
            kinds = str(found.fact.get("kinds", ""))
            yield Finding(
                "wrong_mode",
                "note",
                0.8,
                where,
                f"{opening(spoken(where))} runs without gradients but in training mode ({kinds} active).",
                (_evidence(found, "training_mode"),),
                source=found.fact.source,
                since=found.first,
                remedy="if these passes are an evaluation: model.eval() before, model.train() after it",
            )


def _staying(case: Case) -> Iterator[Finding]:
    """Dropout that model.eval() does not end: told once."""
    found = list(lasting(case, "dropout_stays").values())
    if not found or (all(one.fact.get("given", False) for one in found) and copied(case, case.losses)):
        return
    fact = max((one.fact for one in found), key=lambda fact: float(fact.get("p", 0.0)))
    kind, p = str(fact.get("kind", "")), float(fact.get("p", 0.0))
    alarm = all(holds(one, case, least=LEAST) for one in found) and outcome(case).short_of(WELL)
    function = kind.startswith("F.")
    why = "is not told the mode" if function else "is made in the pass, or held by no module"
    yield Finding(
        "wrong_mode",
        "warning" if alarm else "note",
        0.85 if alarm else 0.6,
        fact.where or "model",
        f"{kind} with p = {p:.2g} {why}, so that model.eval() does not end it: evaluations and predictions go on throwing "
        f"{100 * p:.0f} % away by chance.",
        (_evidence(found[0], "dropout_stays"),),
        tuple(one.fact.where for one in found),
        fact.source,
        found[0].first,
        cause="dropout that evaluation mode does not reach",
        remedy=f"{kind}(x, p={p:.2g}, training=self.training)" if function else f"self.drop = {kind}({p:.2g}) in __init__",
    )


def _lagging(case: Case) -> Iterator[Finding]:
    """The batch norm whose running statistics lag furthest behind at the end of the run."""
    looks = [(step.index, step.facts) for step in case.steps if any(one.kind == "statistics_lag" for one in step.facts)]
    facts = [one for one in looks[-1][1] if one.kind == "statistics_lag"] if looks and decided(case) else []
    hasty = [one for one in facts if float(one.get("rows", ROWS)) < ROWS]
    if hasty:
        yield _hasty(case, hasty, looks[-1][0])
    kept = {one.where: (1.0 - float(one.get("momentum", 1.0))) ** max(case.taken, case.planned or 0) for one in facts}
    slow = [one for one in facts if kept[one.where] > KEPT]
    worse = _worse_in_evaluation(case)
    away = [math.log(_away(one)) for one in slow]
    if not slow or worse is False or (sum(away) if worse else max(away)) < math.log(FAR):
        return
    worst = max(slow, key=_away)
    ratio, shift = float(worst.get("ratio", 1.0)), float(worst.get("shift", 0.0))
    yield Finding(
        "wrong_mode",
        "warning",
        0.85,
        worst.where,
        f"The running statistics of {spoken(worst.where)} hardly follow its batches (momentum "
        f"{float(worst.get('momentum', 0.0)):.2g}): {100 * kept[worst.where]:.0f} % of them are what they began as, and "
        f"batches have {ratio:.2g} times the variance and a mean {shift:.2g} deviations away. In evaluation mode this is "
        "another network.",
        (Evidence("variance of a batch over the running one", "activation_rms", ratio, "", FAR),),
        tuple(one.where for one in slow),
        worst.source,
        looks[-1][0],
        remedy="momentum=0.1, torch's own, for the batch norm: it is the share of the new batch",
    )


def _hasty(case: Case, facts: Sequence[Fact], since: int) -> Finding:
    """The batch norm whose running statistics rest on the fewest rows."""
    least = min(facts, key=lambda fact: float(fact.get("rows", ROWS)))
    rows, momentum = float(least.get("rows", ROWS)), float(least.get("momentum", 1.0))
    alarm = _worse_in_evaluation(case) is True
    return Finding(
        "wrong_mode",
        "warning" if alarm else "note",
        0.85 if alarm else 0.6,
        least.where,
        f"The running statistics of {spoken(least.where)} are those of its last batch (momentum {momentum:.2g}), "
        f"{rows:.0f} rows or so: the variance that evaluation mode divides by is off by {100 * math.sqrt(2.0 / rows):.0f} % by "
        "chance.",
        (Evidence("rows that the running statistics rest on", "batch_rows", rows, "", ROWS),),
        tuple(one.where for one in facts),
        least.source,
        since,
        remedy="momentum=0.1, torch's own, for the batch norm: it is the share of the new batch (Keras counts the other way "
        "round: its 0.99 is 0.01 here)",
    )


def _away(fact: Fact) -> float:
    """How far batches are from the running statistics: the factor of their variances, or FAR for a mean a deviation away."""
    ratio = max(float(fact.get("ratio", 1.0)), 1e-12)
    return max(ratio, 1.0 / ratio, math.pow(FAR, float(fact.get("shift", 0.0))))


def _worse_in_evaluation(case: Case) -> bool | None:
    """Whether the last evaluation is worse than the training by GAP of what there is between a constant answer and perfect."""
    curve, tried = curves.main(case), [one for step in case.steps for one in step.evaluations]
    if curve is None or not tried:
        return None
    late, last = curve.late(), tried[-1]
    gaps = []
    if last.accuracy is not None and late.right is not None and late.majority is not None and late.majority < 1.0:
        gaps.append((late.right - last.accuracy) / (1.0 - late.majority))  # chance-corrected
    if last.function == curve.function and last.value is not None and last.floor and late.beat is not None:
        gaps.append(late.beat - 1.0 + last.value / last.floor)
    return max(gaps) > GAP if gaps else None


def _evaluating(case: Case, where: str, found: Lasting) -> Finding:
    kinds, fresh = str(found.fact.get("kinds", "")), bool(found.fact.get("fresh", False))
    turned = found.first > min(looked(case), default=1)
    dropped = "Dropout" in kinds and not outcome(case).well(WELL)
    alarm = holds(found, case, least=LEAST) and (fresh or turned or dropped)
    name = spoken(where)
    since = f" since step {found.first}" if turned else ""
    effect = " Batch norm normalises by statistics that it never gathered." if fresh else ""
    return Finding(
        "wrong_mode",
        "warning" if alarm else "note",
        0.97 if alarm else 0.6,
        where or "loop",
        f"{opening(name)} is trained in evaluation mode{since}: {kinds} {'do' if ',' in kinds else 'does'} "
        f"not work as in training.{effect}",
        (_evidence(found, "evaluation_mode"),),
        source=found.fact.source,
        since=found.first,
        cause="model.eval() for an evaluation, and no model.train() after it" if turned else "model.eval() before the loop",
        remedy="model.train() at the start of every epoch",
    )


def _alone(case: Case, alone: Mapping[str, Lasting]) -> Finding:
    where, found = next(iter(alone.items()))
    plain = all(_plain(case.anatomy, place) for place in alone)
    sure = plain and holds(found, case, least=LEAST) and outcome(case).short_of(WELL)
    names = listed([spoken(place) for place in alone])
    return Finding(
        "wrong_mode",
        "warning" if sure else "note",
        0.9 if sure else 0.6,
        where,
        f"{opening(names)} ({found.fact.get('kinds', '')}) in evaluation mode, in a model in training mode, with statistics "
        "that are still 0 and 1: nothing is normalised there.",
        (_evidence(found, "evaluation_mode"),),
        tuple(alone),
        found.fact.source,
        found.first,
        cause="the statistics were not saved or not loaded: they are buffers, which named_parameters() does not list",
        remedy="save and load state_dict(), which holds the buffers too; or leave the batch norm in training mode",
    )


def _plain(anatomy: Anatomy, where: str) -> bool:
    """Whether a norm began with scales of 1 and biases of 0 that are trained."""
    own = [one for one in anatomy.parameters if one.layer == where]
    scales = [one for one in own if one.name.endswith("weight")]
    biases = [one for one in own if one not in scales]
    as_made = all(one.values.largest == 1.0 == one.values.mean for one in scales) and not any(b.values.largest for b in biases)
    return bool(scales) and as_made and all(one.trainable for one in own)


def _evidence(found: Lasting, kind: str) -> Evidence:
    return Evidence(f"seen in {found.seen} of {found.looks} looks", kind, found.seen / max(1, found.looks), "of the looks", 0.0)
