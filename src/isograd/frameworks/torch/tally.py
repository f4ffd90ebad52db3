"""Count up an evaluation, batch by batch: loss, right answers, and what the best constant answer to all targets would cost.

Cheaper than a look at a training loss: a few sums a batch. On another device than the host they stay there until the evaluation
is over, so that no batch waits for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isograd.frameworks.torch.floors import CLASSES, ENTRIES, every, floor_of, labels_of, wide
from isograd.frameworks.torch.losses import BINARY, INDEXED, is_plain, positions, reduction_of
from isograd.records.batch import Evaluation, LossSample

KINDS = 256
"""Classes that are counted where answers are compared with labels and nothing says how many there are."""
COLUMNS = 64
"""Columns of the targets that are summed one by one; of wider ones so many spread evenly."""

_USUAL = frozenset({torch.float32, torch.float64, torch.int64})

Counts = Tensor | NDArray[Any]

Number = float | Tensor
"""A number, or a tensor of one entry on a device that is not to be waited for."""


@dataclass(slots=True)
class Part:
    """The numbers of one call of a loss.

    ``loss`` is the sum over ``terms``, ``floors`` the sum of the constant's loss over the same, where it is known for the batch
    alone. ``counts`` are the targets by class, ``sums`` (2, columns) those of the targets and of their squares over ``rows``.
    """

    examples: int
    terms: int = 0
    loss: Number | None = None
    floors: float | None = None
    hits: Number = -1
    answers: int = 0
    counts: Counts | None = None
    sums: Counts | None = None
    rows: int = 0


def part_of(function: str, given: Mapping[str, Any], result: Any) -> Part | None:
    """What one call of a loss tells; nothing where its output is no tensor of numbers."""
    output, target = given.get("input"), given.get("target")
    if not isinstance(output, Tensor) or not is_plain(output):
        return None
    output = output.detach()
    part = Part(len(output) if output.ndim else 1, terms=output.numel())
    if isinstance(target, Tensor) and is_plain(target):
        target = target.detach()
        if function in INDEXED:
            part.terms //= max(1, output.shape[0] if output.ndim == 1 else output.shape[1])
            _classified(part, output, target, given)
        elif output.shape == target.shape and given.get("weight") is None and given.get("pos_weight") is None:
            _measured(part, function, output, target, given)
    if isinstance(result, Tensor) and is_plain(result):
        result = result.detach()
        summed = reduction_of(given) == "sum" or result.numel() > 1
        total = result.sum() if result.numel() > 1 else result.reshape(())
        part.loss = _kept(total) if summed else _kept(total) * part.terms
    return part


def part_of_sample(sample: LossSample) -> Part:
    """What a look at a loss tells that turned out to be one of an evaluation."""
    examples = sample.output_shape[0] if sample.output_shape else 1
    summed = sample.reduction == "sum"
    terms = 1 if summed else examples
    part = Part(examples, examples)
    if sample.value is not None:
        part.loss = sample.value * terms
    if sample.floor is not None:
        part.floors = sample.floor * terms
    if sample.hits >= 0:
        part.hits, part.answers = sample.hits, sum(sample.classes)
        part.counts = torch.tensor(sample.classes)
    return part


def _kept(number: Tensor) -> Number:
    return float(number) if number.is_cpu else number.double()


def _classified(part: Part, output: Tensor, target: Tensor, given: Mapping[str, Any]) -> None:
    classes = output.shape[0] if output.ndim == 1 else output.shape[1]
    if target.is_floating_point() or target.numel() * classes != output.numel():
        return
    ignored = int(given.get("ignore_index", -100))
    weighted = given.get("weight") is not None or bool(given.get("label_smoothing"))
    if ignored < 0 and not weighted and classes <= CLASSES and _counted(part, output, target):
        return
    rows, labels = positions(output, target)
    kept = labels_of(labels, ignored, classes)
    if kept is None:
        return
    part.terms = target.numel() if len(kept) == len(labels) else int((target != ignored).sum())
    answers = rows.argmax(1)
    answers = answers if len(kept) == len(answers) else answers[labels != ignored]
    part.hits, part.answers = _kept((answers == kept).sum()), len(kept)
    if classes <= CLASSES:
        part.counts = torch.bincount(kept, minlength=classes)
        if weighted:
            floor = floor_of("cross_entropy", given, "mean")
            part.floors = None if floor is None else floor * part.terms


def counted(labels: Tensor) -> Counts | None:
    """Labels by class, where they are few and in the host's memory; all of one length, so that batches can be added."""
    found = _in_host(labels.detach())
    if found is None or not found.size or found.min() < 0 or found.max() >= KINDS:
        return None
    return np.bincount(found.reshape(-1), minlength=KINDS)


def _in_host(tensor: Tensor) -> NDArray[Any] | None:
    """A small tensor in the host's memory as an array, whose operations cost a third; nothing for another."""
    usual = tensor.is_cpu and tensor.dtype in _USUAL and tensor.numel() <= ENTRIES
    found: NDArray[Any] | None = tensor.numpy() if usual else None
    return found


def _counted(part: Part, output: Tensor, target: Tensor) -> bool:
    """The usual case of ``_classified``, quickly; whether it was one."""
    rows, labels = (_in_host(output), _in_host(target)) if output.ndim == 2 else (None, None)
    if rows is None or labels is None or not labels.size or labels.min() < 0:
        return False
    counts = np.bincount(labels, minlength=rows.shape[1])
    if len(counts) > rows.shape[1]:
        return False
    part.terms = part.answers = labels.size
    part.hits, part.counts = float(np.count_nonzero(rows.argmax(1) == labels)), counts
    return True


def _measured(part: Part, function: str, output: Tensor, target: Tensor, given: Mapping[str, Any]) -> None:
    if function not in ("mse_loss", *BINARY):
        floor = floor_of(function, given, "mean")
        part.floors = None if floor is None else floor * part.terms
        return
    table: Any = target.reshape(len(target), -1) if target.ndim else target.reshape(1, 1)
    known = _in_host(table)
    if known is not None and known.shape[1] <= COLUMNS and known.dtype.kind == "f":
        numbers = known.astype(np.float64)
        part.sums, part.rows = np.stack((numbers.sum(0), np.square(numbers).sum(0))), len(numbers)
        made = _in_host(output) if function in BINARY else None
        if made is not None and bool(((known == 0.0) | (known == 1.0)).all()):
            said = made.reshape(known.shape) > (0.0 if function == BINARY[1] else 0.5)
            part.hits, part.answers = float(np.count_nonzero(said == (known > 0.5))), known.size
        return
    table = wide(table[:, :: every(table.shape[1], COLUMNS)] if table.shape[1] > COLUMNS else table)
    if table.numel() > ENTRIES:
        table = table[:: every(len(table), ENTRIES // COLUMNS)]
    part.sums, part.rows = torch.stack((table.sum(0), table.square().sum(0))), len(table)
    if function in BINARY and target.numel() <= ENTRIES and bool(((target == 0) | (target == 1)).all()):
        yes = output > (0.0 if function == BINARY[1] else 0.5)
        part.hits, part.answers = _kept((yes == (target > 0.5)).sum()), target.numel()


class Tally:
    """One loss at one place, over the batches of one evaluation."""

    def __init__(self, function: str, source: str | None, loader: int) -> None:
        self.function, self.source, self.loader = function, source, loader
        self.gradients = False
        """Whether the losses had a graph."""
        self.batches = 0
        self._sum = Part(0)

    def add(self, part: Part) -> None:
        """One more batch."""
        known, first = self._sum, not self.batches
        self.batches += 1
        known.examples += part.examples
        known.terms += part.terms
        known.loss = part.loss if first else None if known.loss is None or part.loss is None else known.loss + part.loss
        known.floors = _both(known.floors, part.floors, first=first)
        known.hits = part.hits if first else known.hits + part.hits if part.answers and known.answers else known.hits
        known.answers += part.answers
        known.rows += part.rows
        known.counts = _joined(known.counts, part.counts, first=first)
        known.sums = _joined(known.sums, part.sums, first=first)

    def record(self, after: int, *, whole: bool) -> Evaluation:
        """The evaluation so far."""
        known = self._sum
        loss = None if known.loss is None or not known.terms else float(known.loss) / known.terms
        counts = () if known.counts is None else tuple(known.counts.tolist())
        if not self.function:  # counted up to a length of ours
            counts = counts[: max((i + 1 for i, count in enumerate(counts) if count), default=0)]
        # Targets of two classes are worth counting where they are two.
        if self.function in BINARY and known.sums is not None and known.sums.shape[1] == 1:
            yes = float(known.sums[0, 0])
            counts = (known.rows - round(yes), round(yes))
        return Evaluation(
            after,
            self.function,
            self.source,
            self.loader,
            self.gradients,
            whole,
            self.batches,
            known.examples,
            loss,
            self._floor(counts),
            counts,
            known.answers,
            round(float(known.hits)) if known.answers else -1,
        )

    def _floor(self, counts: tuple[int, ...]) -> float | None:
        known = self._sum
        if known.floors is not None:
            return known.floors / known.terms if known.terms else None
        if self.function in INDEXED:
            return entropy(counts)
        if known.sums is None or not known.rows:
            return None
        mean, square = torch.as_tensor(known.sums) / known.rows
        if self.function == "mse_loss":
            return float((square - mean.square()).clamp(min=0.0).mean())
        if float(mean.min()) < 0.0 or float(mean.max()) > 1.0:
            return None
        return -float((torch.special.xlogy(mean, mean) + torch.special.xlogy(1.0 - mean, 1.0 - mean)).mean())


def entropy(counts: tuple[int, ...]) -> float | None:
    """Of the frequencies of some classes, in nats: the cross-entropy of the best constant answer.

    >>> round(entropy((5, 5, 0)), 4)
    0.6931
    """
    total = sum(counts)
    if not total:
        return None
    return max(0.0, math.log(total) - math.fsum(count * math.log(count) for count in counts if count) / total)


def _both(one: float | None, other: float | None, *, first: bool) -> float | None:
    return other if first else None if one is None or other is None else one + other


def _joined(one: Counts | None, other: Counts | None, *, first: bool) -> Counts | None:
    if first:
        return other
    if one is None or other is None or tuple(one.shape) != tuple(other.shape):
        return None
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return torch.as_tensor(one) + torch.as_tensor(other)
    return one + other
