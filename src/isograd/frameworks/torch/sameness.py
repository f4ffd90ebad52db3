"""Whether a step was given the batch of the last look again, and whether many more examples are at hand."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from isograd.frameworks.torch.floors import every
from isograd.frameworks.torch.places import is_persons, tensors_in
from isograd.records.batch import InputSample, LossSample
from isograd.records.fact import Fact

FARTHEST = 32
"""Frames of the program that are looked through at most."""

MANY = 8
"""Times the batch that a table has to be long: the whole data may lie beside the part that is trained on at once."""
GLIMPSE = 4_096
"""Numbers of a batch by which the passes of a step are told apart."""
CELLS = 2**22
"""Numbers of a table beyond which it is not looked through."""

Inputs = Mapping[tuple[str, int], InputSample]


class Sameness:
    """Remembers the sums of the last looked-at batch: two batches with the same sums in every digit are one."""

    def __init__(self) -> None:
        self._inputs: Inputs = {}
        self._first: Tensor | None = None
        self._various = False
        self._targets: object = None
        self._examples: int | None = None

    def begin(self) -> None:
        """A step begins."""
        self._first, self._various = None, False

    def look(self, inputs: Inputs, arguments: Any = ()) -> None:
        """A pass: do all of a step bring the same? And once, where these came before: look for more in the loop's frames."""
        batch = next(tensors_in(tuple(arguments)), None)
        if self._first is None:
            self._first = None if batch is None else _glimpse(batch).clone()
        else:
            self._various = self._various or batch is None or not _equal(self._first, _glimpse(batch))
        if self._examples is None and inputs and inputs == self._inputs:
            first = next(iter(inputs.values()))
            self._examples = examples_for(first.shape[0], batch) if first.shape else 0

    def close(self, inputs: Inputs, losses: tuple[LossSample, ...]) -> Iterator[Fact]:
        """The fact, where inputs and targets are those of the last look."""
        targets = next((sample.target for sample in losses if sample.training), None)
        if not inputs or inputs != self._inputs or targets != self._targets:
            self._inputs, self._targets = dict(inputs), targets
            return
        dataset = (("dataset", self._examples),) if self._examples else ()
        yield Fact("same_batch", settings=(*dataset, *((("various", True),) if self._various else ())))


def _glimpse(batch: Tensor) -> Tensor:
    """Some of its numbers; those that are there of a sparse one."""
    dense = batch.detach()._values() if batch.layout == torch.sparse_coo else batch.detach()
    return dense.flatten()[:: every(dense.numel(), GLIMPSE)] if dense.layout == torch.strided else dense.new_zeros(0)


def _equal(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.device) == (other.dtype, other.device) and torch.equal(one, other)


def examples_for(size: int, batch: Tensor | None = None) -> int:
    """Examples at hand in a variable of the person's running functions for a batch of this size; 0: none found.

    Those behind a ``DataLoader`` of this batch size, or in a table ``MANY`` times as long that holds the examples of ``batch``.
    """
    frame: FrameType | None = sys._getframe(1)
    seen: set[int] = set()
    most = 0
    for _ in range(FARTHEST):
        if frame is None:
            break
        if is_persons(frame) and "site-packages" not in frame.f_code.co_filename:
            for value in (
                *variables_of(frame).values(),
                *(frame.f_globals.values() if id(frame.f_globals) not in seen else ()),
            ):
                most = max(most, _examples(value, size), 0 if batch is None else _rows(value, batch))
            seen.add(id(frame.f_globals))
        frame = frame.f_back
    return most


def _examples(value: Any, batch: int) -> int:
    if not issubclass(type(value), DataLoader) or value.batch_size != batch:
        return 0
    try:
        count = len(value.dataset)
    except Exception:  # noqa: BLE001  a dataset without a length, or with one of the person's own that fails
        return 0
    return count if count > batch else 0


def _rows(value: Any, batch: Tensor) -> int:
    """The length of a table of examples that holds the first and the last of a batch."""
    if type(value) is not Tensor or value.ndim < 2 or value.shape[1:] != batch.shape[1:] or value.dtype != batch.dtype:
        return 0
    if len(value) < MANY * len(batch) or not len(batch) or value.device != batch.device or value.numel() > CELLS:
        return 0
    ends = ((value == batch[end]).flatten(1).all(1).any() for end in (0, -1))
    return len(value) if all(bool(there) for there in ends) else 0


def variables_of(frame: FrameType) -> dict[str, Any]:
    """A function's variables by name; none where it is the frame of a module, whose variables are global."""
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return {}
    variables = frame.f_locals
    values = dict(variables)
    # Before Python 3.13 this is a copy that the frame keeps, and with it the person's tensors. It is emptied, unless the
    # person holds it too (it is what locals() gives): three are the frame's, ours, and that of the question itself.
    if sys.version_info < (3, 13) and sys.getrefcount(variables) <= 3:
        variables.clear()
    return values
