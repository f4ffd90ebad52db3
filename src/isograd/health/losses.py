"""The calls of the loss that belong together: one place in the program, looked at in several steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from isograd.health.case import Case
from isograd.records.batch import REACH, LossSample, apart_by_width

INDEXED = ("cross_entropy", "nll_loss")
"""Losses whose targets are class indices."""
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
"""Losses whose targets are probabilities of yes."""
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
"""Losses whose targets are numbers."""

SHOWN = {
    "cross_entropy": "cross-entropy",
    "nll_loss": "the negative log-likelihood (nll_loss)",
    "binary_cross_entropy": "binary cross-entropy",
    "binary_cross_entropy_with_logits": "binary cross-entropy with logits",
    "kl_div": "the Kullback-Leibler divergence (kl_div)",
    "mse_loss": "the squared error",
    "l1_loss": "the absolute error",
    "smooth_l1_loss": "the smooth absolute error",
    "huber_loss": "the Huber loss",
}
"""Losses in a sentence."""


SAME = 1e-3
"""Relative difference up to which the value that was stepped is that of a call: half precision."""


def copied(case: Case, looks: Iterable[tuple[int, LossSample]]) -> bool:
    """Whether the targets are the inputs themselves, number for number, as an autoencoder's are."""
    given = {(step, sample.values) for step, sample in case.inputs}
    return any((step, sample.target) in given for step, sample in looks)


@dataclass(frozen=True, slots=True)
class Use:
    """One loss of the program at one line with one head, as every look saw it, the first at step ``since``."""

    since: int
    looks: tuple[LossSample, ...]

    @property
    def last(self) -> LossSample:
        """What was seen last."""
        return self.looks[-1]

    @property
    def head(self) -> str:
        """The function that the output came through last, "" where it came straight from a layer."""
        return self.last.head[0] if self.last.head else ""

    @property
    def reach(self) -> tuple[float, float]:
        """What the last function can put out: known of its kind, or the bounds that a clamp was called with."""
        return REACH.get(self.head, self.last.bounds)

    @property
    def plain(self) -> Use:
        """The same, where the last function belongs to the loss: what log_softmax or sigmoid got, under the loss of logits."""
        head = self.last.head
        own = {"cross_entropy": "log_softmax", "nll_loss": "log_softmax", BINARY[0]: "sigmoid"}.get(self.last.function)
        if len(head) < 2 or head[0] != own:
            return self
        function = BINARY[1] if self.last.function in BINARY else "cross_entropy"
        changes: dict[str, Any] = {"function": function, "head": head[1:], "head_where": "", "head_source": None, "rows": None}
        changes["bounds"] = (-math.inf, math.inf)
        return Use(self.since, tuple(replace(look, **changes) for look in self.looks)).plain

    @property
    def bare(self) -> bool:
        """Whether the output comes straight from a weighted layer."""
        return not self.last.head and self.last.base in ("linear", "conv")

    @property
    def outputs(self) -> int:
        """Length of the class axis."""
        shape = self.last.output_shape
        return shape[1] if len(shape) > 1 else 1

    @property
    def where(self) -> str:
        """The module of the head, or "loss"."""
        return self.last.head_where or "loss"

    @property
    def source(self) -> str | None:
        """The line of the head, or of the loss."""
        return self.last.head_source or self.last.source

    @property
    def probabilities(self) -> bool:
        """Whether all outputs lay in [0, 1] and summed to 1 over the classes in every look (1e-2: half precision)."""
        return all(sums_to_one(look) and look.output_range[0] >= 0.0 and look.output_range[1] <= 1.01 for look in self.looks)


def ranks_the_batch(sample: LossSample) -> bool:
    """Whether the targets are shares of a list that the batch is: they sum to one over its examples, not its columns."""
    target, shape = sample.target, sample.output_shape
    if target is None or len(shape) != 2 or sample.target_shape != shape or sample.target_range[0] < 0.0:
        return False
    return math.isclose(target.mean * shape[0], 1.0, rel_tol=SAME) and shape[0] != shape[1]


def sums_to_one(look: LossSample) -> bool:
    """Whether the sums over the class axis were 1 (of the exponentials, where the loss takes logarithms).

    >>> sums_to_one(LossSample("cross_entropy", rows=(0.999, 1.001))), sums_to_one(LossSample("cross_entropy"))
    (True, False)
    """
    return look.rows is not None and all(abs(total - 1.0) <= 1e-2 for total in look.rows)


def stepped_alone(case: Case) -> LossSample | None:
    """The call of a loss, last seen, that each step which was looked at went by and nothing else; None where there is none.

    Of several terms, or a term that is added, the value that was stepped is another than that of any call.
    """
    looks = [(step.loss, calls) for step in case.steps if (calls := [one for one in step.losses if one.training])]
    if not looks or len({(one.function, one.reduction, one.source) for _, calls in looks for one in calls}) > 1:
        return None
    for stepped, (one, *more) in looks:
        if more or one.value is None or stepped is None:
            return None
        same = stepped == one.value or abs(abs(stepped) - abs(one.value)) <= SAME * abs(one.value)
        if not same and math.isfinite(stepped):
            return None
    return looks[-1][1][0]


def uses(case: Case) -> Iterator[Use]:
    """The training losses by their place in the program; evaluations and losses of an unknown function are left out."""
    found: dict[tuple[object, ...], list[tuple[int, LossSample]]] = {}
    several: dict[int, frozenset[str | None]] = {}
    for at in case.steps:
        several[at.index] = apart_by_width([one for one in at.losses if one.training and one.function in INDEXED])
    for step, sample in case.losses:
        if sample.training and sample.function:
            terms = sample.function in INDEXED and sample.source in several.get(step, ())
            outputs = sample.output_shape[1:2] if terms else ()
            key = (sample.function, sample.source, sample.head, sample.head_where, sample.base, outputs)
            found.setdefault(key, []).append((step, sample))
    for looks in found.values():
        yield Use(looks[0][0], tuple(sample for _, sample in looks))
