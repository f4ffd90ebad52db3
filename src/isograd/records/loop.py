"""How a program's loop goes on around its model, loss and optimizer: what a patient must do to fall as ill as the original."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loop:
    """The habits of a training loop, read off a recording of it.

    ``clears``: gradients are cleared every so many steps (1: each, 0: never); ``clears_early``: between the backward pass and
    the step. ``cut``: between the model's outputs and the loss something leaves the graph, so that no gradient arrives.
    ``idle``: backward passes run and no optimizer steps. ``clip_norm`` and ``clip_value`` bound the gradient. ``evaluating``:
    it trains in evaluation mode. ``rates`` are (step, learning rate) where the rate changes, steps counted from 1; empty: it
    stays. ``same_batch``: one batch for ever. ``redraws``: the weights are drawn again every so many steps (0: never).
    ``steps``: the length of the run, where known.

    What edits put in: ``clip_unit`` bounds the gradient of each unit by its weights; ``schedule`` ("cosine" or "linear") stands
    in for the fall of ``rates``, ``warm_up`` for their rise (in steps; 0: none, None: as it was); ``accumulate`` batches make a
    step; ``loss_scale`` multiplies the loss and divides the gradient; ``decay_l1`` and ``decay_decoupled`` shrink weights.
    """

    clears: int = 1
    clears_early: bool = False
    cut: bool = False
    idle: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None
    evaluating: bool = False
    rates: tuple[tuple[int, float], ...] = ()
    same_batch: bool = False
    redraws: int = 0
    steps: int | None = None
    clip_unit: float | None = None
    schedule: str | None = None
    warm_up: int | None = None
    accumulate: int = 1
    loss_scale: float | None = None
    decay_l1: float = 0.0
    decay_decoupled: float = 0.0

    @property
    def highest(self) -> float | None:
        """The highest rate that was read; None where it does not change."""
        return max((rate for _, rate in self.rates), default=None)

    def share(self, step: int, steps: int) -> float:
        r"""The learning rate of a step as a share of the highest, in a run of ``steps``.

        With t steps made, w of warm-up and T in the run: cosine (1 + cos(pi p)) / 2 and linear 1 - p, with
        p = (t - w) / (T - w), and (t + 1) / w while it rises. Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5;
        Goyal et al. 2017, arXiv:1706.02677, section 2.2 (gradual warm-up).

        >>> [round(Loop(schedule="cosine").share(step, 4), 3) for step in (1, 2, 3, 4, 5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
        >>> [Loop(schedule="linear", warm_up=2).share(step, 6) for step in (1, 2, 3, 5)]
        [0.5, 1.0, 1.0, 0.5]
        """
        rise = self.warm_up or 0
        rising = min(1.0, step / rise) if rise else 1.0
        if self.schedule is None:
            highest = self.highest
            past = self.warm_up is not None and step < self._risen
            recorded = 1.0 if not highest or past else (self.rate(step) or 0.0) / highest
            return rising * recorded
        gone = min(1.0, max(0.0, (step - 1 - rise) / max(1, steps - rise)))
        return rising * (0.5 * (1.0 + math.cos(math.pi * gone)) if self.schedule == "cosine" else 1.0 - gone)

    def reach(self, steps: int) -> float:
        r"""How many of its first step a run of ``steps`` adds up to: the sum of its learning rates over the first.

        A rate that rises from nothing counts from its second step on.

        >>> Loop().reach(100), Loop(schedule="linear", warm_up=2).reach(6)
        (100.0, 8.0)
        """
        shares = [self.share(step, self.steps or steps) for step in range(1, steps + 1)]
        first = next((share for share in shares if share > 0.0), 1.0)
        return sum(shares) / first

    @property
    def _risen(self) -> int:
        """The step at which the recorded rates have risen to their highest; 1 where they do not begin with a rise."""
        values = [rate for _, rate in self.rates]
        top = values.index(max(values)) if values else 0
        return self.rates[top][0] if top and values[: top + 1] == sorted(values[: top + 1]) else 1

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
