"""The losses of one sampled step, and the facts that their calls show: axes of a softmax, shapes that were spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from isograd.frameworks.torch.heads import HEADS, Head, head_at, head_of, kind_of, made_by, mark, tag
from isograd.frameworks.torch.losses import given_to, left_out, sample_of
from isograd.frameworks.torch.places import persons_line
from isograd.frameworks.torch.written import Written, picked
from isograd.records.batch import LossSample
from isograd.records.fact import Fact

CALLS = 16
"""Calls of a loss that are looked at in a step, at most: micro-batches beyond are like those before."""

SEARCHED = 256
"""Operations between a backward pass and its losses that are looked through at most."""

SPREAD = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss", "soft_margin_loss")
"""Losses that spread two shapes against each other."""

CURVES = ("sigmoid", "tanh", "relu", "log", "exp", "log_sigmoid")
"""Functions above a softmax over one output that leave it the constant it is."""

ENTRYWISE = ("log", "add", "clamp", "clamp_min")
"""Functions between a softmax and a likelihood, an eps among them, that leave its axis what it is."""

ALIKE = 0.05
"""Relative difference up to which what is stepped is the loss that was heard, and little besides (a penalty)."""

_SIMPLE = ("Neg", "Mean", "Sum", "View", "Squeeze", "Clone")
_KEY = "isograd.loss"


@dataclass
class Calls:
    """Samples in the order of the calls. Nothing of the person's is kept: numbers at once, and a mark on the loss's graph."""

    arriving: Callable[[Callable[[Tensor], None]], Callable[[Tensor], None]]
    """Makes a hook of what takes a gradient."""
    samples: list[LossSample] = field(default_factory=list)
    facts: dict[tuple[str, str], Fact] = field(default_factory=dict)
    _layers: dict[int, str] = field(default_factory=dict)
    """By call with a graph: the layer whose output was judged."""
    _reached: set[int] = field(default_factory=set)
    _negated: set[int] = field(default_factory=set)
    _whole: bool = True
    _written: Written = field(default_factory=Written)

    def called(
        self,
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        result: Any,
        *,
        training: bool,
        module: nn.Module | None = None,
    ) -> None:
        """A loss function, or the module of one, has been called."""
        if len(self.samples) >= CALLS:
            return
        given = given_to(function, args, kwargs, module)
        output, target = given.get("input"), given.get("target")
        sample = sample_of(function, given, result, training=training, source=persons_line())
        self._keep(sample, result)
        if sample.floor is not None and isinstance(result, Tensor) and result.numel() > 1 and result.requires_grad:
            self._weigh(len(self.samples) - 1, given, result)
        if isinstance(output, Tensor):
            self._axis(head_of(output), sample)
            if training and isinstance(result, Tensor) and result.requires_grad:
                self._layers[len(self.samples) - 1] = made_by(output)
            if isinstance(target, Tensor) and function in SPREAD and output.shape != target.shape:
                self._spread(tuple(output.shape), tuple(target.shape), sample.source, picked=picked(output, target))
            if isinstance(target, Tensor) and (both := crossed(output, target)) is not None:
                settings = (("left", f"{both[0]}x{both[1]}"), ("right", f"{both[1]}x{both[0]}"))
                self.facts["targets_crossed", ""] = Fact("targets_crossed", "", sample.source, settings)

    def heard(self, name: str, args: Sequence[Any], output: Any, *, training: bool) -> None:
        """Another function outside of the models: a head, or a part of a loss written by hand."""
        if name in HEADS:
            tag(output, "", persons_line())
            return
        if len(self.samples) >= CALLS:
            return
        found = self._written.heard(name, args, output, training=training)
        if self._written.square is not None:
            made, wanted = self._written.square
            self._spread(made, wanted, persons_line(), picked=made == (*wanted, *wanted))
            self._written.square = None
        if found is not None:
            sample, (made, wanted) = found
            self._keep(sample, output)
            if (logs := self._written.logs) is not None:
                self._axis(head_at(logs), sample)
                self._written.logs = None
            if made != wanted and _is_square(made, wanted):
                self._spread(made, wanted, sample.source)

    def backward(self, root: Tensor) -> None:
        """A backward pass begins: the losses that it starts from are no evaluation."""
        reached, whole = marks(root.grad_fn, _KEY)
        if len(reached) == 1 and _turned(root.grad_fn):
            self._negated |= reached
        self._reached |= reached
        self._whole = self._whole and whole

    def known(self, root: Tensor) -> bool:
        """Whether a loss that was heard, whose best constant answer is known, is what ``root`` is, but for a factor."""
        node, value = root.grad_fn, abs(float(root.detach()))
        found = [sample for place, sample in enumerate(self.samples) if place in self._reached and sample.floor is not None]
        alike = any(abs(abs(sample.value or 0.0) - value) <= ALIKE * value for sample in found)
        return alike or (len(found) == 1 and _alone(node))

    def close(self, loss: float | None) -> tuple[LossSample, ...]:
        """The samples of the step; where none is known, the value of what was stepped."""
        samples = [
            dataclasses.replace(
                sample,
                training=place in self._reached or (sample.training and not self._told),
                negated=place in self._negated
                and not (sample.written and sample.function in ("binary_cross_entropy", "nll_loss")),
            )
            for place, sample in enumerate(self.samples)
        ]
        if loss is not None and not any(sample.training for sample in samples):
            samples.append(LossSample("", value=loss))
        return tuple(samples)

    def dropped(self) -> Iterator[Fact]:
        """The losses with a graph that no backward pass of the step began with, by the layer whose output they judge."""
        for place, layer in self._layers.items():
            if layer and self._told and place not in self._reached:
                sample = self.samples[place]
                yield Fact("loss_dropped", layer, sample.source, (("function", sample.function),))

    @property
    def _told(self) -> bool:
        """Whether the backward passes told of every loss whether it is stepped."""
        return bool(self._reached) and self._whole

    def _keep(self, sample: LossSample, result: Any) -> None:
        mark(result, _KEY, len(self.samples))
        self.samples.append(sample)

    def _weigh(self, place: int, given: Mapping[str, Any], result: Tensor) -> None:
        """Look how much each term of a loss counts when the backward pass has come to it; what is kept goes with the graph."""
        losses = result.detach()

        def reached(weights: Tensor) -> None:
            if weights.shape == losses.shape:
                self.samples[place] = left_out(self.samples[place], given, losses, weights.detach())

        result.register_hook(self.arriving(reached))  # type: ignore[no-untyped-call]

    def _spread(self, made: tuple[int, ...], wanted: tuple[int, ...], source: str | None, *, picked: bool = False) -> None:
        settings = (("left", "x".join(map(str, made))), ("right", "x".join(map(str, wanted))), ("picked", picked))
        self.facts["broadcast", ""] = Fact("broadcast", "", source, settings)

    def _axis(self, head: Head, sample: LossSample) -> None:
        """A softmax over the examples, or over an axis of one: of tables and images, where the axes have a meaning."""
        if head.axis is None or not head.functions or len(head.shape) not in (2, 4):
            return
        size = head.shape[head.axis]
        above = head.functions[: next(i for i, name in enumerate(head.functions) if "softmax" in name)]
        direct = head.shape == sample.output_shape and all(name in ENTRYWISE for name in above)
        square = (
            len(head.shape) == 2 and head.shape[0] == head.shape[1]
        )  # pairs of a contrast, either axis of which may be meant
        over_batch = direct and head.axis == 0 and size > 1 and head.shape[1] > 1 and not square
        if over_batch or (size == 1 and head.axis > 0 and all(name in CURVES for name in above)):
            settings = (("axis", head.axis), ("size", size))
            where, source = head.at
            self.facts["softmax_axis", where] = Fact("softmax_axis", where, source, settings)


def _is_square(made: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a column met a row of the same length: (N, 1) with (N,)."""
    column, row = (made, wanted) if len(made) == 2 else (wanted, made)
    return len(column) == 2 and len(row) == 1 and column == (row[0], 1) and row[0] > 1


def crossed(output: Tensor, target: Tensor) -> tuple[int, int] | None:
    """The two axes that a row of outputs was laid out of, where the row of targets was laid out of the same, swapped.

    >>> import torch
    >>> out, y = torch.zeros(5, 3, 7, requires_grad=True) + 0.0, torch.zeros(3, 5, dtype=torch.long)
    >>> crossed(out.reshape(15, 7), y.reshape(15)), crossed(out.transpose(0, 1).reshape(15, 7), y.reshape(15))
    ((5, 3), None)
    """
    node, base = output.grad_fn, target._base
    if node is None or base is None or base.ndim != 2 or target.ndim != 1 or base.numel() != len(target) or output.ndim != 2:
        return None
    if kind_of(node) not in ("View", "UnsafeView", "ReshapeAlias") or len(output) != len(target) or not base.is_contiguous():
        return None
    below = node.next_functions[0][0]
    if below is None or not getattr(below, "_input_metadata", None):
        return None
    shape = tuple(below._input_metadata[0].shape)
    swapped = shape[:2] == tuple(base.shape)[::-1] and shape[0] != shape[1] and min(shape[:2]) > 1
    return (shape[0], shape[1]) if len(shape) == 3 and shape[2] == output.shape[1] and swapped else None


def marks(node: Any, key: str) -> tuple[set[int], bool]:
    """The losses, by what was marked with ``key``, that a backward pass from ``node`` begins with; whether all was searched."""
    found: set[int] = set()
    seen: set[Any] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or not hasattr(node, "metadata"):
            continue
        if len(seen) >= SEARCHED:
            return found, False
        seen.add(node)
        number = node.metadata.get(key)
        if isinstance(number, int):
            found.add(number)
        else:
            waiting.extend(other for other, _ in node.next_functions)
    return found, True


def _alone(node: Any) -> bool:
    """Whether a backward pass begins with a loss that was heard, and with nothing else but factors."""
    for _ in range(SEARCHED):
        if node is None or isinstance(node.metadata.get(_KEY), int):
            return node is not None
        below = [other for other, _ in node.next_functions if other is not None]
        if len(below) != 1 or kind_of(node) not in (*_SIMPLE, "Mul", "Div"):
            return False
        node = below[0]
    return False


def _turned(node: Any) -> bool:
    """Whether a backward pass begins with minus a loss: a lone chain of sums, means and one turn of the sign above it."""
    turns = 0
    for _ in range(SEARCHED):
        below = [other for other, _ in node.next_functions if other is not None]
        kind = kind_of(node)
        if isinstance(node.metadata.get(_KEY), int):
            return turns % 2 == 1
        if len(below) != 1 or kind not in _SIMPLE:
            return False
        turns += kind == "Neg"
        node = below[0]
    return False
