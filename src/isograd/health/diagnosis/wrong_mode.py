"""Wrong mode: training passes run in evaluation mode, or passes without gradients in training mode.

In evaluation mode dropout lets everything through and batch norm divides by running statistics that it no longer updates:
when they never saw a batch they are 0 and 1 and the layer normalises nothing. Certain as a fact; an alarm needs that nobody
would choose it:
  FRESH    a batch norm among the layers never saw a batch in training, or
  TURNED   the run began in training mode and went on in evaluation mode: model.eval() for a validation, and no model.train()
  DROPPED  dropout is among the layers and training is not going well: without it the network may still learn well
  LEAST    three looks (two where the run has ended), and every one since the first
Passes without gradients in training mode (a validation without model.eval()) let the statistics of batch norm see validation
data and measure a network with dropout: what is reported is wrong, what is trained hardly. That stays a remark, for it is
also how fakes for a judge are made and how dropout is sampled from.

Look-alikes that are healthy: batch norm alone in evaluation mode inside a model in training mode (fine-tuning), a pretrained
model fine-tuned with its statistics, evaluation with gradients on between the steps.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import Lasting, holds, lasting, looked, opening
from isograd.health.outcome import outcome
from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding

LEAST = 3
WELL = 0.9


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for training in evaluation mode, one remark on the other way round."""
    for where, found in lasting(case, "evaluation_mode").items():
        yield _evaluating(case, where, found)
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


def _evidence(found: Lasting, kind: str) -> Evidence:
    return Evidence(f"seen in {found.seen} of {found.looks} looks", kind, found.seen / max(1, found.looks), "of the looks", 0.0)
