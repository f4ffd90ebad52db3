"""Gradients lost: they are cleared before the step, no backward pass makes any, or no optimizer ever steps.

Facts, each certain: layers got a gradient in the backward pass and every parameter's was empty when the optimizer stepped;
the optimizer stepped and no backward pass had run; backward passes ran and nothing stepped, nor did the weights change, of a
model that was called or of one that never was, for the loop made another.
Nothing is learned while this holds; weight decay may shrink the weights all the same.

Where several passes make a step and each finds the gradients empty, all but the last were for nothing. They may have been kept
by hand (projected gradients of several tasks), so that it is an alarm only where the answers are poor (SKILL).

Bounds:
  LEAST   three looks (two where the run has ended), and every one since the first
  PASSES  three passes without a step: one or two may be a trial

Look-alikes that are healthy: gradients by ``torch.autograd.grad``, updates by hand (the weights change), accumulation.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import Lasting, holds, lasting
from isograd.health.outcome import outcome
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

LEAST = 3
PASSES = 3
SKILL = 0.75

_KINDS = {
    "cleared_early": (
        "The gradients are cleared between loss.backward() and optimizer.step(): the step finds none, and nothing is learned.",
        "optimizer.zero_grad() runs after the backward pass",
        "the order zero_grad(), backward(), step()",
    ),
    "ahead": (
        "The optimizer steps before the backward pass, and the gradients are cleared before the next step: it finds none, and "
        "nothing is learned.",
        "optimizer.step() stands between the forward and the backward pass",
        "the order zero_grad(), backward(), step()",
    ),
    "no_backward": (
        "The optimizer steps, but no backward pass ran before it: there are no gradients, and nothing is learned.",
        "loss.backward() is missing, or is called on something else",
        "loss.backward() before optimizer.step()",
    ),
}


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each way in which gradients are lost."""
    for kind in ("cleared_early", "no_backward"):
        found = lasting(case, kind).get("")
        if found is None:
            continue
        summary, cause, remedy = _KINDS["ahead" if found.fact.get("ahead", False) else kind]
        sure = holds(found, case, least=LEAST)
        text = f"seen in {found.seen} of {found.looks} looks"
        yield Finding(
            "gradients_lost",
            "critical" if sure else "note",
            1.0 if sure else 0.6,
            "loop",
            summary if found.always else f"In some steps: {summary[0].lower()}{summary[1:]}",
            (Evidence(text, kind, found.seen / max(1, found.looks), "of the looks", 0.0),),
            source=found.fact.source,
            since=found.first,
            cause=cause,
            remedy=remedy,
        )
    between = lasting(case, "cleared_between").get("")
    if between is not None and holds(between, case, least=LEAST):
        yield _between(case, between)
    for index, fact in case.facts("no_step"):
        passes = int(fact.get("passes", 0))
        if passes >= PASSES:
            yield (
                _unstepped(fact, max(1, index), passes) if fact.get("called", True) else _elsewhere(fact, max(1, index), passes)
            )


def _unstepped(fact: Fact, since: int, passes: int) -> Finding:
    return Finding(
        "gradients_lost",
        "critical",
        0.95,
        "loop",
        f"{passes:,} backward passes ran and no optimizer stepped: the weights are what they were at the start.",
        (Evidence(f"{passes:,} backward passes, 0 steps", "no_step", float(passes), "passes", 0.0),),
        source=fact.source,
        since=since,
        cause="optimizer.step() is missing or never reached, the optimizer holds other parameters, or an update "
        "written by hand makes new tensors (p = p - lr * p.grad) instead of changing the weights",
        remedy="optimizer.step() after loss.backward(); by hand: with torch.no_grad(): p -= lr * p.grad",
    )


def _elsewhere(fact: Fact, since: int, passes: int) -> Finding:
    return Finding(
        "gradients_lost",
        "warning",
        0.9,
        "loop",
        f"{passes:,} backward passes ran, and the model that is watched was never called: the loop trains another one, made "
        "anew, and this one stays as it was.",
        (Evidence(f"{passes:,} backward passes, 0 of them through this model", "no_step", float(passes), "passes", 0.0),),
        source=fact.source,
        since=since,
        cause="model = ... (and its optimizer) stands inside the loop: every time round begins again with new weights",
        remedy="make model and optimizer once, before the loop over epochs; where every fold has a model of its own, watch "
        "each of them inside of the loop over folds",
    )


def _between(case: Case, found: Lasting) -> Finding:
    passes = int(found.fact.get("passes", 0))
    return Finding(
        "gradients_lost",
        "warning" if outcome(case).short_of(SKILL) else "note",
        0.85,
        "loop",
        f"Of {passes} backward passes that make a step each finds the gradients empty: they are cleared in between, and only "
        "the last one counts, unless the others are kept by hand.",
        (Evidence(f"seen in {found.seen} of {found.looks} looks", "cleared_between", float(passes), "passes", 1.0),),
        source=found.fact.source,
        since=found.first,
        cause="optimizer.zero_grad() between the passes of one step",
        remedy="zero_grad() once, before the first pass of a step",
    )
