"""Non-finite numbers: NaN or infinity in the loss, a gradient, a weight or an activation.

Bound: none is allowed, for nothing computed from one means anything; the bound is arithmetic, not calibrated. Look-alikes that
are healthy: minus infinity where attention is masked (the loss and the gradients stay finite), and single skipped steps of
mixed precision, whose gradient overflows once in a while by design (loss and weights stay finite, and it passes).

Where the loss had run away before, it overflowed because the steps are too long, and there is no NaN to be looked for: steps
beyond twice the inverse of the curvature multiply the error by the same factor every time. RISING losses in a row that each are
above the one before, up to RUNAWAY times the least so far, are no noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from isograd.health.case import Case, Table, at
from isograd.records.anatomy import Anatomy, spoken
from isograd.records.finding import Evidence, Finding

_CLEAN = (
    "find these rows with torch.isfinite(inputs).all(1), and the same of the targets; drop or fill them before the loop, and "
    "look at what divides by a deviation, takes a logarithm, or reads an empty cell"
)
_TAME = (
    "look at the inputs and targets of that step for NaN; then a lower learning rate, clipping, or an eps where the loss "
    "divides, takes a logarithm or a root"
)
_SHORTER = "a learning rate 10 to 100 times lower, scaled inputs and targets, or clipping of the gradient"
RISING, RUNAWAY = 3, 1e3
MASKING = ("masked_fill", "where")
"""Functions that put minus infinity where attention must not look: only NaN is an accident there."""


def diagnose(case: Case) -> Iterator[Finding]:
    """The first step at which something was not finite, and the first place in it."""
    rows, anatomy = case.rows, case.anatomy
    loss = [r for r in at(rows, "loss") if not math.isfinite(r.value)]
    norms = [r for r in at(rows, "total_gradient_norm") if not math.isfinite(r.value)]
    weights = [r for series in rows.get("parameter_nonfinite", {}).values() for r in series if r.value > 0]
    nans = [r for series in rows.get("activation_nans", {}).values() for r in series if r.value > 0]
    bad = loss or nans or norms or weights
    if not bad:
        yield from _born(anatomy)
        return
    since = min(r.step for group in (loss, nans, norms, weights) for r in group)
    if not loss and not nans and _passes(rows, since):
        yield _remark(since, len(norms))
        return
    grown = _runaway(case, since) if since == (loss[0].step if loss else 0) else ""
    where, text, source = _told(case, since) or (*_first_place(rows, since, anatomy), None)
    node = anatomy.node(where)
    seen = max((r.step for r in case.readings.values if r.step < since), default=since - 1)
    gap = f" or earlier (the last look before it was at step {seen})" if seen < since - 1 else ""
    if where != "data" and grown:
        text = f"{grown}: the steps are too long"
    what = "The loss" if loss and loss[0].step == since else "A gradient" if norms else "A value"
    yield Finding(
        "nonfinite",
        "critical",
        1.0 if loss else 0.95,
        where or "loss",
        f"{what} is not finite from step {since} on{gap}: {text}.",
        (Evidence(text, "loss" if loss else "total_gradient_norm", math.nan, bound=math.inf),),
        (where,) if node else (),
        source or (node.source if node else None),
        since,
        remedy=_CLEAN if where == "data" else f"{_mean(case)}{_SHORTER}" if grown else _TAME,
    )


def _runaway(case: Case, since: int) -> str:
    """How the loss ran away before it broke; "" where it did not."""
    before = [r for r in case.series("loss") if r.step < since and math.isfinite(r.value)]
    last = before[-RISING - 1 :]
    least = min((abs(r.value) for r in before), default=0.0)
    rises = len(last) > RISING and all(one.value < other.value for one, other in itertools.pairwise(last))
    if not rises or last[-1].value <= RUNAWAY * least or since - last[0].step > 2 * len(last):
        return ""
    return f"it had run away before, from {before[0].value:.3g} at step {before[0].step} to {last[-1].value:.2g}"


def _mean(case: Case) -> str:
    """The way out of a loss that is summed over the batch, where it is."""
    sums = [sample for _, sample in case.losses if sample.training and sample.reduction == "sum" and sample.output_shape]
    many = sums[-1].output_shape[0] if sums else 1
    return f"reduction='mean', for the sum over {many} examples makes every step {many} times as long; " if many > 1 else ""


def _told(case: Case, since: int) -> tuple[str, str, str | None] | None:
    """What was found in the backward pass of the first such loss, where that says more than the looks do."""
    for step, fact in case.facts("loss_broke"):
        of, looked = fact.get("of", ""), any(one.index == step and one.layers for one in case.steps)
        if of == "batch":
            name, rows, column = fact.get("name", ""), int(fact.get("rows", 0)), int(fact.get("column", -1))
            at = f", all in column {column}" if column >= 0 else ""
            text = f"the batch itself holds numbers that are not finite ({name}: {fact.get('count', 0):,} in {rows:,} rows{at})"
            return "data", text, fact.source
        if of == "table" and not looked:
            if fact.get("count", 0):
                many = f"{fact.get('count', 0):,} in {fact.get('rows', 0):,} rows"
                return (
                    "data",
                    f"the weights were finite, and {fact.get('name', '')} holds numbers that are not ({many})",
                    fact.source,
                )
            return (
                "loss",
                "the weights were finite: the batch, which no variable holds, the pass or the loss was not",
                fact.source,
            )
        if of == "weights" and (step == since or not looked):
            return fact.where, f"{fact.get('parameter', '')} was not finite any more: the step before it destroyed it", None
        if of == "pass" and not looked:
            return (
                "loss",
                "batch and weights were finite: the pass itself, or the loss, overflowed or left its domain",
                fact.source,
            )
    return None


def _born(anatomy: Anatomy) -> Iterator[Finding]:
    """Weights that were not finite before the first step."""
    for parameter in anatomy.parameters:
        if parameter.values.nonfinite:
            node = anatomy.node(parameter.layer)
            text = f"{parameter.name} holds {parameter.values.nonfinite:,} numbers that are not finite"
            yield Finding(
                "nonfinite",
                "critical",
                0.95,
                parameter.layer or "loop",
                f"Before the first step {text}: everything computed from it is not finite either.",
                (Evidence(text, "parameter_nonfinite", float(parameter.values.nonfinite), bound=0.0),),
                (parameter.layer,),
                node.source if node else None,
                remedy="draw the weights again, or load a checkpoint from before they broke",
            )
            return


def _passes(rows: Table, since: int) -> bool:
    """Whether gradients were finite again later, and most of the time: mixed precision skipping a step."""
    norms = at(rows, "total_gradient_norm")
    broken = sum(not math.isfinite(r.value) for r in norms)
    weights = any(series[-1].value > 0 for series in rows.get("parameter_nonfinite", {}).values())
    return (
        bool(norms) and norms[-1].step > since and math.isfinite(norms[-1].value) and broken * 10 <= len(norms) and not weights
    )


def _remark(since: int, count: int) -> Finding:
    times = "once" if count <= 1 else f"{count} times"
    return Finding(
        "nonfinite",
        "note",
        0.9,
        "loop",
        f"A gradient overflowed {times} (first at step {since}) and passed: usual where mixed precision looks for its scale.",
        since=since,
    )


def _first_place(rows: Table, since: int, anatomy: Anatomy) -> tuple[str, str]:
    """Forward, the first layer that was not finite; if none was, the gradient nearest to the loss."""
    order = [node.path for node in anatomy.nodes]

    def broken(signal: str) -> list[str]:
        places = rows.get(signal, {})
        return [p for p in order if any(r.step <= since and r.value > 0 for r in places.get(p, ()))]

    if any(r.step <= since and r.value > 0 for r in at(rows, "input_nonfinite")):
        return "data", "the batch itself holds numbers that are not finite"
    masks = {node.path for node in anatomy.nodes if node.path.rpartition(".")[2].startswith(MASKING)}
    infinite = [place for place in broken("activation_infs") if place not in masks]
    forward = [p for p in order if p in {*broken("activation_nans"), *infinite}]
    if forward:
        node = anatomy.node(forward[0])
        hidden = node is not None and node.operation == "softmax" and broken("activation_infs") != infinite
        why = ", of which a row is masked from end to end" if hidden else ""
        return forward[0], f"the first output that is not finite is that of {spoken(forward[0])}{why}"
    backward = broken("gradient_nonfinite")
    if backward:
        return backward[-1], f"all outputs were finite; the gradient broke first at {spoken(backward[-1])}"
    held = {
        name
        for name, series in rows.get("parameter_nonfinite", {}).items()
        if any(r.step <= since and r.value > 0 for r in series)
    }
    for parameter in anatomy.parameters:
        if parameter.name in held:
            return parameter.layer, f"{parameter.name} holds, or was given, such values"
    return "", "where it began is not known, for no layer was looked at in that step"
