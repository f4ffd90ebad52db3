"""Losses written by hand: known by their graph, where it leaves no doubt which loss it is."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from isograd.frameworks.torch.floors import wide
from isograd.frameworks.torch.heads import head_at, kind_of
from isograd.frameworks.torch.likelihoods import likelihood
from isograd.frameworks.torch.losses import sample_of
from isograd.frameworks.torch.places import persons_line
from isograd.records.batch import LossSample

WRITTEN = frozenset({"sub", "rsub", "log", "mul", "mean", "sum"})
"""The functions that such a loss is made of, by name."""

EPS = 0.02
"""Part of a likelihood that an eps in its logarithm may make."""
DIFFERENCES = 4
"""Differences of a step that are looked at, at most: most are no loss."""

Shape = tuple[int, ...]
Found = tuple[LossSample, tuple[Shape, Shape]]
"""A loss, with the shapes of its output and its target."""

_KEY, _SQUARE = "isograd.written", "isograd.square"


@dataclass(frozen=True, slots=True)
class _Difference:
    """What a difference would be as a squared and as an absolute error, and the means of its squares and magnitudes."""

    squared: LossSample
    absolute: LossSample
    mean_square: float
    mean_magnitude: float
    shapes: tuple[Shape, Shape]


def picked(made: Tensor, wanted: Tensor) -> bool:
    """Whether the same columns were taken of all rows, one for each example, where one of each row was meant.

    >>> import torch
    >>> q, a = torch.zeros(5, 3, requires_grad=True) * 1.0, torch.tensor([0, 2, 1, 1, 0])
    >>> picked(q[:, a], torch.zeros(5)), picked(q[torch.arange(5), a], torch.zeros(5))
    (True, False)
    """
    rows = wanted.numel()
    square = tuple(made.shape) == (rows, rows) and wanted.ndim == 1 and rows > 1
    return square and made.grad_fn is not None and kind_of(made.grad_fn) == "Index"


@dataclass
class Written:
    """The parts of one step, by a number that is written on their node of the graph.

    Known are the mean or sum of a difference one side of which needs no gradient, of its square or magnitude, and binary
    cross-entropy as ``-(y * log(p) + (1 - y) * log(1 - p)).mean()``, an eps in the logarithms or none, and the
    likelihood of classes (``likelihoods``).
    """

    square: tuple[Shape, Shape] | None = None
    """Shapes of the last difference in which a layer's column met a row, whatever the loss makes of it; taken by ``Calls``."""
    logs: Any = None
    """The node of what the last likelihood was picked of; taken by ``Calls``."""
    _differences: list[_Difference] = field(default_factory=list)
    _tensors: list[weakref.ref[Tensor]] = field(default_factory=list)
    _done: set[int] = field(default_factory=set)

    def heard(self, name: str, args: Sequence[Any], output: Any, *, training: bool) -> Found | None:
        """The loss that this call completes, with the shapes of output and target; or nothing."""
        node = output.grad_fn if isinstance(output, Tensor) else None
        if node is None:
            return None
        if name in ("sub", "rsub"):
            self._difference(args, output, node, training)
        elif name == "log":
            self._mark(node, args[0])
        elif name == "mul" and len(args) > 1:
            self._product_of_rows(args, output, node)
            for side, other in ((args[0], args[1]), (args[1], args[0])):
                if isinstance(side, Tensor) and side.grad_fn is not None and kind_of(side.grad_fn) == "Log":
                    if isinstance(other, Tensor) and not other.requires_grad:
                        self._mark(node, other)
                    break
        elif name in ("mean", "sum") and output.ndim == 0:
            below = node.next_functions[0][0] if kind_of(node) in ("Mean", "Sum") else None
            self.square = getattr(below, "metadata", {}).get(_SQUARE, self.square)
            return self._completed(output, node, training)
        return None

    def _mark(self, node: Any, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and len(self._tensors) < 4 * DIFFERENCES:
            node.metadata[_KEY] = len(self._tensors)
            self._tensors.append(weakref.ref(tensor))

    def _product_of_rows(self, args: Sequence[Any], output: Tensor, node: Any) -> None:
        """A column that meets a row of the same length: what one example pays times what another is worth."""
        sides = [side for side in args[:2] if isinstance(side, Tensor)]
        if len(sides) != 2 or sides[0].requires_grad == sides[1].requires_grad or output.ndim != 2:
            return
        made, given = sides if sides[0].requires_grad else sides[::-1]
        shapes = tuple(made.shape), tuple(given.shape)
        rows = max(made.numel(), given.numel())
        meant = made.grad_fn is None or kind_of(made.grad_fn) in ("Unsqueeze", "AccumulateGrad")
        if rows > 1 and sorted(shapes, key=len) == [(rows,), (rows, 1)] and not meant:
            node.metadata[_SQUARE] = shapes

    def _difference(self, args: Sequence[Any], output: Tensor, node: Any, training: bool) -> None:
        if len(args) < 2 or len(self._differences) >= DIFFERENCES or output is args[0] or output.ndim == 0:
            return
        sides = [side for side in args[:2] if isinstance(side, Tensor) and side.is_floating_point() and side.ndim]
        if len(sides) != 2 or sides[0].requires_grad == sides[1].requires_grad:
            return
        made, wanted = sides if sides[0].requires_grad else sides[::-1]
        if kind_of(made.grad_fn or node) == "AccumulateGrad" or made.grad_fn is None:
            return  # a penalty on a parameter
        rows = len(made)
        if made.shape == (rows, 1) and wanted.shape == (rows,) and rows > 1 and kind_of(made.grad_fn) != "Unsqueeze":
            self.square = tuple(made.shape), tuple(wanted.shape)  # unsqueezed, it would be a table of pairs on purpose
        elif picked(made, wanted):
            self.square = tuple(made.shape), tuple(wanted.shape)
        given = {"input": made, "target": wanted}
        squared, absolute = (
            dataclasses.replace(sample_of(function, given, None, training=training, source=None), written=True)
            for function in ("mse_loss", "l1_loss")
        )
        away = wide(output.detach())
        found = _Difference(
            squared, absolute, float(away.square().mean()), float(away.abs().mean()), (tuple(made.shape), tuple(wanted.shape))
        )
        node.metadata[_KEY] = len(self._differences)
        self._differences.append(found)

    def _completed(self, output: Tensor, node: Any, training: bool) -> Found | None:
        for _ in range(4):  # sums over some axes and means over others
            if node is None or kind_of(node) not in ("Mean", "Sum", "Neg"):
                break
            node = node.next_functions[0][0]
        if node is None:
            return None
        kind, below = kind_of(node), [other for other, _ in node.next_functions]
        if kind == "Pow" and float(getattr(node, "_saved_exponent", 0.0)) == 2.0:
            return self._error(below[0], float(output.detach()), squared=True)
        if kind == "Mul" and len(below) == 2 and None not in below and _number(below[0], "Sub") == _number(below[1], "Sub"):
            return self._error(below[0], float(output.detach()), squared=True)
        if kind == "Abs":
            return self._error(below[0], float(output.detach()), squared=False)
        if _number(node, "Sub") is not None or _number(node, "Rsub") is not None:
            found = self._error(node, float(output.detach()), squared=True)
            return found and (dataclasses.replace(found[0], function="difference", floor=None, reduction="mean"), found[1])
        if kind in ("Add", "Sub") and len(below) == 2 and None not in below:
            return self._binary(below, output, training)
        return self._classes(node, abs(float(output.detach())), training)

    def _classes(self, node: Any, value: float, training: bool) -> Found | None:
        found = likelihood(node)
        if found is None:
            return None
        given = {"input": found[0], "target": found[1]}
        sample = sample_of("nll_loss", given, None, training=training, source=persons_line())
        mean = -float(found[0].gather(1, found[1].unsqueeze(1)).mean())
        terms = len(found[1])
        factor = value / mean if mean > 0.0 and math.isfinite(value) else 1.0
        if (
            sample.floor is None
            or min(abs(factor - 1.0), abs(factor / terms - 1.0), abs(factor * sample.output_shape[1] - 1.0)) > EPS
        ):
            return None
        self.logs, head = found[2], head_at(found[2]).functions
        return dataclasses.replace(
            sample,
            head=("log", *head) if head[:1] == ("softmax",) else head,  # picked first, and its logarithm taken then
            value=value,
            floor=sample.floor * factor,
            reduction="mean" if abs(factor - 1.0) <= EPS else "sum",
            written=True,
        ), (tuple(found[1].shape), tuple(found[1].shape))

    def _error(self, node: Any, value: float, *, squared: bool) -> Found | None:
        number = _number(node, "Sub") if node is not None else None
        number = number if number is not None or node is None else _number(node, "Rsub")
        if number is None or number >= len(self._differences) or number in self._done:
            return None
        self._done.add(number)
        known = self._differences[number]
        sample, mean = (known.squared, known.mean_square) if squared else (known.absolute, known.mean_magnitude)
        factor = (
            abs(value) / mean if mean > 0.0 and math.isfinite(value) else 1.0
        )  # a sum has as many terms as the mean divides by
        floor = None if sample.floor is None else sample.floor * factor
        reduction = "mean" if abs(factor - 1.0) < 1e-3 else "sum"
        return dataclasses.replace(sample, value=value, floor=floor, reduction=reduction, source=persons_line()), known.shapes

    def _binary(self, below: list[Any], output: Tensor, training: bool) -> Found | None:
        parts = [self._product(node) for node in below]
        plain = [part for part in parts if part is not None and not part[2]]
        turned = [part for part in parts if part is not None and part[2]]
        if len(plain) != 1 or len(turned) != 1 or plain[0][3] is not turned[0][3]:
            return None
        target, made = plain[0][0], plain[0][1]
        if target is None or made is None or target.shape != made.shape:
            return None
        sample = sample_of(
            "binary_cross_entropy", {"input": made, "target": target}, None, training=training, source=persons_line()
        )
        value = abs(float(output.detach()))
        return dataclasses.replace(sample, value=value, written=True), (tuple(made.shape), tuple(target.shape))

    def _product(self, node: Any) -> tuple[Tensor | None, Tensor | None, bool, Any] | None:
        """Target, probabilities, whether these are one less the probabilities, and their node: of y * log(p)."""
        if kind_of(node) == "Neg":
            node = node.next_functions[0][0]
        target = self._tensor(node, "Mul") if node is not None else None
        log = next((other for other, _ in node.next_functions if other is not None and kind_of(other) == "Log"), None)
        if log is None:
            return None
        under = _shifted(log.next_functions[0][0])
        turned = under is not None and kind_of(under) == "Rsub"
        return target, self._tensor(log, "Log"), turned, _shifted(under.next_functions[0][0]) if turned else under

    def _tensor(self, node: Any, kind: str) -> Tensor | None:
        number = _number(node, kind)
        return self._tensors[number]() if number is not None and number < len(self._tensors) else None


def _shifted(node: Any) -> Any:
    """What a number was added to: the eps of log(p + eps)."""
    if node is not None and kind_of(node) == "Add" and len(node.next_functions) == 2:
        below = [other for other, _ in node.next_functions if other is not None]
        return below[0] if len(below) == 1 else node
    return node


def _number(node: Any, kind: str) -> int | None:
    found = node.metadata.get(_KEY) if kind_of(node) == kind else None
    return found if isinstance(found, int) else None
