"""How far back in time the gradient of a recurrent layer reaches, and what it gains or loses with every step back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from isograd.health.signals.depth import slope_of
from isograd.records.moments import Moments
from isograd.records.reading import Reading
from isograd.records.trace import LayerSample

REACH = 1e-3
"""Of the largest gradient of all steps: a part r of a gradient whose noise is about its size is felt after 1 / r^2 batches,
here a million."""
MOST = 64
"""Of a longer sequence so many steps become readings of their own, evenly spread, with the first and the last."""


def through_time(steps: Sequence[Moments]) -> tuple[float, ...]:
    r"""How large the gradient of the loss at the hidden state of each step is.

    .. math:: g_t = \sqrt{\tfrac1{N H} \textstyle\sum_{n,h} (\partial L / \partial h_{t,n,h})^2}

    Unit: loss per unit of hidden state. Range: [0, inf); 0 where nothing arrived.
    Source: Pascanu et al. 2013, arXiv:1211.5063, eq. 5 (the product of Jacobians from the loss back to step t).

    >>> through_time([Moments.of([3.0, -3.0]), Moments()])
    (3.0, 0.0)
    """
    return tuple(0.0 if math.isnan(of.rms) else of.rms for of in steps)


def reach(gradients: Sequence[float]) -> float:
    """How many steps back the gradient reaches: from the last step that has ``REACH`` of the largest to the first that has it.

    With a loss at the last step alone: how far before the end an input still teaches something. Where every step has a target
    of its own the gradient is everywhere, and the reach is the length of the sequence whatever the layer remembers.
    Unit: steps. Range: [0, steps - 1]; NaN where no gradient came.
    Source: Hochreiter 1991; the bound is a choice, see ``REACH``.

    >>> reach([1e-9, 1e-4, 1e-2, 1.0])
    1.0
    """
    most = max((g for g in gradients if math.isfinite(g)), default=0.0)
    felt = [t for t, g in enumerate(gradients) if g >= REACH * most]
    return float(felt[-1] - felt[0]) if most > 0.0 else math.nan


def time_slope(gradients: Sequence[float]) -> float:
    r"""What a step back costs the gradient.

    .. math:: s = \operatorname{slope}_t \; \log g_t

    Least squares over all steps that have a gradient; exp(-s) is what one step back keeps. Unit: nats a step. Range: the real
    line; positive when gradients vanish towards the first step, negative when they explode; NaN with fewer than two steps.
    Source: Bengio et al. 1994, Learning long-term dependencies with gradient descent is difficult, theorem 4.

    >>> round(time_slope([0.25, 0.5, 1.0]), 3)
    0.693
    """
    return slope_of([math.log(g) if 0.0 < g < math.inf else math.nan for g in gradients])


def first_share(gradients: Sequence[float]) -> float:
    """The gradient at the first step beside that at the last step that has one.

    Unit: none. Range: [0, inf); small when gradients vanish through time, large when they explode; NaN where none came.
    Source: Pascanu et al. 2013, arXiv:1211.5063, section 2.1.

    >>> first_share([0.5, 1.0, 2.0, 0.0])
    0.25
    """
    last = next((g for g in reversed(gradients) if 0.0 < g < math.inf), math.nan)
    return gradients[0] / last if gradients else math.nan


def read(samples: Sequence[LayerSample], step: int) -> Iterator[Reading]:
    """The readings of one recurrent layer in one step, over all its passes; fewer than three time steps say nothing.

    >>> steps = tuple(Moments.of([value]) for value in (0.01, 0.1, 1.0))
    >>> found = tuple(read([LayerSample("rnn", through_time=steps)], 1))
    >>> [(reading.signal, round(reading.value, 3)) for reading in found[:4]]
    [('time_steps', 3.0), ('time_reach', 2.0), ('time_slope', 2.303), ('first_step_share', 0.01)]
    >>> [(reading.signal, reading.time_step, reading.value) for reading in found[4:]]
    [('time_gradient', 1, 0.01), ('time_gradient', 2, 0.1), ('time_gradient', 3, 1.0)]
    """
    passes = [sample.through_time for sample in samples if sample.through_time]
    steps = [sum(several[1:], several[0]) for several in zip_longest(*passes, fillvalue=Moments())]
    if len(steps) < 3:
        return
    gradients = through_time(steps)
    values = (
        ("time_steps", float(len(steps))),
        ("time_reach", reach(gradients)),
        ("time_slope", time_slope(gradients)),
        ("first_step_share", first_share(gradients)),
    )
    for signal, value in values:
        if not math.isnan(value):
            yield Reading(signal, samples[0].where, step, value)
    shown = min(len(gradients), MOST)
    for i in range(shown):
        t = round(i * (len(gradients) - 1) / (shown - 1))
        yield Reading("time_gradient", samples[0].where, step, gradients[t], t + 1)
