"""How a program's loop goes on around its model, loss and optimizer: what a patient must do to fall as ill as the original."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loop:
    """The habits of a training loop, read off a recording of it.

    ``clears``: gradients are cleared every so many steps (1: each, 0: never); ``clears_early``: between the backward pass and
    the step. ``clip_norm`` and ``clip_value`` bound the gradient. ``evaluating``: it trains in evaluation mode. ``rates`` are
    (step, learning rate) where the rate changes, steps counted from 1; empty: it stays. ``same_batch``: one batch for ever.
    ``redraws``: the weights are drawn again every so many steps (0: never). ``steps``: the length of the run, where known.
    """

    clears: int = 1
    clears_early: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None
    evaluating: bool = False
    rates: tuple[tuple[int, float], ...] = ()
    same_batch: bool = False
    redraws: int = 0
    steps: int | None = None

    @property
    def drift(self) -> float:
        """How many times as high the rate is half-way as at first; 1 where it rises and then holds or falls (a warm-up).

        >>> round(Loop(rates=((1, 0.1), (51, 0.01), (101, 0.001))).drift, 6)
        0.1
        >>> Loop(rates=((1, 0.01), (10, 0.1), (100, 0.0))).drift
        1.0
        """
        if not self.rates or not self.rates[0][1]:
            return 1.0
        first, last = self.rates[0][1], self.rates[-1]
        middle = self.rate(1 + (last[0] - 1) // 2) or 0.0
        return middle / first if middle < first or last[1] > 2.0 * middle else 1.0

    def rate(self, step: int) -> float | None:
        """The learning rate of a step: the last one read at or before it; None where it does not change.

        >>> Loop(rates=((1, 0.1), (10, 0.01))).rate(12)
        0.01
        """
        if not self.rates:
            return None
        return self.rates[max(0, bisect_right(self.rates, step, key=lambda pair: pair[0]) - 1)][1]
