"""Case -> Loop: the habits of a training loop, read off a recording of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import looked
from isograd.records.loop import Loop

MOST_BATCHES = 64
"""Batches of a step that a replay takes together, at most."""
PASSES = 3
"""Backward passes without a step from which on there is none: one or two may be a trial."""
MOST_RATES = 2_000
"""Changes of the learning rate that are kept; a replay is shorter."""


def loop_of(case: Case) -> Loop:
    """What the loop does beside model, loss and optimizer.

    >>> from isograd.records.anatomy import Anatomy
    >>> loop_of(Case(Anatomy("reference", (), ()))) == Loop()
    True
    """
    looks = looked(case)
    clip = next((fact for _, fact in reversed(case.facts("clipped"))), None)
    bound = None if clip is None else float(clip.get("bound", 0.0))
    by_value = clip is not None and clip.get("by", "norm") == "value"
    return Loop(
        clears=_clears(case, looks),
        clears_early=_mostly(case, "cleared_early", looks),
        cut=_cut(case, looks),
        idle=any(int(fact.get("passes", 0)) >= PASSES for _, fact in case.facts("no_step")),
        clip_norm=None if by_value else bound,
        clip_value=bound if by_value else None,
        evaluating=_mostly(case, "evaluation_mode", looks),
        rates=_rates(case),
        same_batch=len(looks) > 1 and _mostly(case, "same_batch", looks[1:]) and not _goes_round(case),
        redraws=_redraws(case),
        steps=case.planned,
        accumulate=_accumulates(case),
    )


def passes_of_a_step(case: Case) -> float:
    """Batches that go into one step, at most: by the calls of a loss at one line and the passes of one input; 1 where unknown.

    >>> from isograd.records.anatomy import Anatomy
    >>> passes_of_a_step(Case(Anatomy("reference", (), ())))
    1.0
    """
    most = 1.0
    for step in case.sampled:
        calls = Counter((one.function, one.source) for one in step.losses if one.training)
        passes = (one.values.count / size for one in step.inputs if one.values.count and (size := math.prod(one.shape)))
        most = max((most, *calls.values(), *passes))
    return most


def _mostly(case: Case, kind: str, looks: tuple[int, ...]) -> bool:
    return len({step for step, _ in case.facts(kind)} & set(looks)) > len(looks) / 2


def _cut(case: Case, looks: tuple[int, ...]) -> bool:
    """Whether no backward pass reaches the model: mostly where it was looked at, and at no step at all did a gradient come."""
    outside = {step for step, fact in case.facts("loss_outside") if not fact.where} & set(looks)
    return len(outside) > len(looks) / 2 and not any(case.rows.get("gradient_norm", {}).values())


def _accumulates(case: Case) -> int:
    """Batches whose gradients make a step: calls of one loss at one line, as many as passes of one input; 1 where they vary."""
    counts = set()
    for step in case.sampled:
        calls = Counter((s.function, s.source, s.output_shape) for s in step.losses if s.training)
        sizes = {math.prod(one.shape): one.values.count for one in step.inputs if one.values.count}
        if not calls or not sizes or any(one.shape[:1] == () for one in step.inputs):
            continue
        passes = {count / size for size, count in sizes.items() if size}
        times = max(calls.values())
        counts.add(times if passes == {float(times)} else 1)
    return next(iter(counts)) if len(counts) == 1 and max(counts) <= MOST_BATCHES else 1


def _goes_round(case: Case) -> bool:
    """Whether a step that is like the last goes through several batches."""
    return _accumulates(case) > 1 and any(fact.get("various", False) for _, fact in case.facts("same_batch"))


def _clears(case: Case, looks: tuple[int, ...]) -> int:
    """1 where gradients are cleared each step; else the gap: the greatest age of what was carried, 0 where it never ended."""
    carried = [(step, fact) for step, fact in case.facts("carried") if float(fact.get("share", 0.0)) > 0.5]
    if len(carried) < 2 or len(carried) < len(looks) / 3:
        return 1
    ages = [(step, int(fact.get("age", 0))) for step, fact in carried]
    last, age = ages[-1]
    if age >= last - 1:  # never clean since the first step
        return 0
    return max(age for _, age in ages) + 1


def _rates(case: Case) -> tuple[tuple[int, float], ...]:
    found: list[tuple[int, float]] = []
    for step, rate in _seen(case):
        if not found or rate != found[-1][1]:
            found.append((step, rate))
    return tuple(found[:MOST_RATES]) if len(found) > 1 else ()


def _seen(case: Case) -> Iterator[tuple[int, float]]:
    for step in case.steps:
        if step.learning_rate is not None:
            yield step.index, step.learning_rate


def _redraws(case: Case) -> int:
    """Steps from one drawing anew to the next, by how often the layer it happens to most was drawn so far; 0: never."""
    times: dict[str, int] = {}
    last = 0
    for step, fact in case.facts("weights_changed"):
        times[fact.where] = times.get(fact.where, 0) + int(fact.get("times", 1))
        last = step
    most = max(times.values(), default=0)
    return max(1, round(last / most)) if most > 1 else 0
