"""Which step of a running training is to be taken back: its loss or its update leaves the range of their own recent history.

The rule is the best of those that were compared on injected spikes, poisoned batches and bursts: two times the largest of the
last 50 accepted steps, for the loss and for the length of the real update. A spike of the learning rate shows in the update
and not in the gradient, wrong labels show in the loss and not in the update, and a batch on another scale, where a batch norm
hides it from both, in the running means that it leaves behind. A burst that Adam divides by itself shows in the gradient alone,
and cripples a thousand steps. A rule on its own past can lock itself out, so
that it gives in after eight steps in a row; ``rollback`` watches what comes of that.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from isograd.records.aid import Ranges, Reading, Verdict

WINDOW = 50
"""Accepted steps whose largest value counts."""
EVERY = 10
"""Steps from one to the next in which the length of the gradient is asked for: it costs a pass over the gradients."""
FACTOR = 2.0
"""Times the largest of them that is still ordinary."""
FEWEST = 10
"""Accepted steps before a step is judged by them: until then it must be finite, no more."""
MEMORY = 30.0
"""Times the largest recent gradient from which one gradient outweighs what an adaptive optimizer remembers of all others, so
that hardly anything moves for a thousand steps: 1 / sqrt(1 - beta2) at Adam's beta2 of 0.999. Its own update looks small."""
ROW = 8
"""Steps in a row that are taken back, before one is accepted all the same."""
GRADUAL = 1.25
"""Growth of a learning rate from one step to the next that needs no scheduler to be believed: a linear warm-up written by hand
grows by a ninth or less from the tenth step on, an exponential range test by a tenth."""


def bound_of(values: Sequence[float]) -> float:
    r"""The most that the recent values allow.

    .. math:: b = f + m \max\bigl(2, \sqrt{m / \tilde m}\bigr), \quad f = \min(0, \min_i x_i), \quad m = \max_i x_i - f

    ``m`` is the largest and :math:`\tilde m` the median, both above a floor ``f`` that is 0 unless values are negative (the
    loss of a critic, a log-density): there the spread takes the place of the size. Where values spread over decades (a
    network that fits almost every example) the factor grows with half their spread in the logarithm, so that rare hard
    examples are let through. Range: positive; infinite where the values say nothing (none, all equal to the floor, or half
    of them there).

    >>> bound_of([1.0, 1.5, 2.0]), bound_of([0.01, 0.01, 0.64]), bound_of([-3.0, -2.0, -1.0])
    (4.0, 5.12, 1.0)
    """
    if not values:
        return math.inf
    floor = min(0.0, *values)
    largest, typical = max(values) - floor, statistics.median(values) - floor
    if typical <= 0.0:
        return math.inf
    return floor + largest * max(FACTOR, math.sqrt(largest / typical))


def judge(ranges: Ranges, reading: Reading) -> Verdict:
    """Whether one step is ordinary, from what came before it.

    >>> usual = Ranges(losses=(1.0,) * 10, moves=(0.1,) * 10, updates=(0.1,), rates=(0.01,), recent=((0.01,),) * 10)
    >>> judge(usual, Reading(1.2, (0.1,), (0.01,))).reason, judge(usual, Reading(5.0, (0.1,), (0.01,))).reason
    (None, 'loss')
    >>> judge(usual, Reading(1.0, (10.0,), (1.0,))).reason, judge(usual, Reading(1.0, (10.0,), (1.0,), planned=True)).reason
    ('update', None)
    """
    move, loss = math.hypot(*reading.updates), reading.loss
    if loss is not None and not math.isfinite(loss):
        return Verdict("nonfinite", loss, accept=False, what="loss")
    others = ((move, "update"), (reading.statistics or 0.0, "statistics"), (reading.gradient or 0.0, "gradient"))
    for value, what in others:
        if not math.isfinite(value):
            return Verdict("nonfinite", value, accept=False, what=what)
    yielding = ranges.row >= ROW
    if loss is not None and len(ranges.losses) >= FEWEST and loss > max(ranges.losses) and loss > bound_of(ranges.losses):
        return Verdict("loss", loss, bound_of(ranges.losses), yielding)
    moved = reading.statistics
    if moved is not None and len(ranges.statistics) >= FEWEST and moved > bound_of(ranges.statistics):
        return Verdict("statistics", moved, bound_of(ranges.statistics), yielding)
    steep = reading.gradient
    if steep is not None and len(ranges.gradients) >= FEWEST and steep > MEMORY * max(ranges.gradients) > 0.0:
        return Verdict("gradient", steep, MEMORY * max(ranges.gradients), yielding)
    if reading.judged and len(ranges.moves) >= FEWEST:
        growth = _growth(ranges, _believed(ranges, reading))
        if move > growth * max(ranges.moves) and move > (bound := growth * bound_of(ranges.moves)):
            return Verdict("update", move, bound, yielding)
    return Verdict()


def follow(ranges: Ranges, reading: Reading, verdict: Verdict) -> Ranges:
    """What is remembered after a step: an accepted one joins the history, another one is counted."""
    believed = _believed(ranges, reading)
    ranges = replace(ranges, taken=ranges.taken + 1, odd=believed != reading.rates)
    if verdict.reason is not None and not verdict.accept:
        return replace(ranges, row=ranges.row + (verdict.reason != "nonfinite"))
    losses = ranges.losses if reading.loss is None else (*ranges.losses, reading.loss)[-WINDOW:]
    moved = ranges.statistics if reading.statistics is None else (*ranges.statistics, reading.statistics)[-WINDOW:]
    steep = ranges.gradients if reading.gradient is None else (*ranges.gradients, reading.gradient)[-WINDOW:]
    norms = ranges.norms if reading.norm is None else (*ranges.norms, reading.norm)[-WINDOW // EVERY :]
    ranges = replace(ranges, losses=losses, statistics=moved, gradients=steep, norms=norms, row=0)
    move = math.hypot(*reading.updates)
    if move == 0.0:  # at a rate of 0, or where nothing needed to move: says nothing of the next one
        return ranges
    growth = _growth(ranges, reading.rates)
    moves = ranges.moves if growth == 1.0 else tuple(one * growth for one in ranges.moves)
    return replace(
        ranges,
        moves=(*moves, move)[-WINDOW:],
        updates=reading.updates,
        rates=reading.rates,
        recent=(*ranges.recent, reading.rates)[-WINDOW:],
    )


def _believed(ranges: Ranges, reading: Reading) -> tuple[float, ...]:
    """The learning rates, those that jumped without a plan held down to what may be expected of a gradual change."""
    rates = reading.rates
    if len(rates) != len(ranges.rates) or (reading.planned and not ranges.odd):
        return rates
    if all(rate <= GRADUAL * last for rate, last in zip(rates, ranges.rates, strict=True)):
        return rates
    alike = [recent for recent in ranges.recent if len(recent) == len(rates)]
    known = [max(rates) for rates in zip(*alike, strict=True)]
    return tuple(min(rate, GRADUAL * most) for rate, most in zip(rates, known, strict=True))


def _growth(ranges: Ranges, rates: tuple[float, ...]) -> float:
    """How much longer the last accepted update would have been at these rates."""
    if rates == ranges.rates or len(rates) != len(ranges.rates):
        return 1.0
    before = math.hypot(*ranges.updates)
    ratios = (rate / last if last > 0.0 else 1.0 for rate, last in zip(rates, ranges.rates, strict=True))
    return math.hypot(*(update * ratio for update, ratio in zip(ranges.updates, ratios, strict=True))) / before
