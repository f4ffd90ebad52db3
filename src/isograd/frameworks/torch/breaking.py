"""Where a number that is not finite came from, asked once at the moment it is heard: the batch, the weights, or the pass.

By the next look the weights are ruined and the batch is gone; while the backward pass of the broken loss begins, all of it is
there. The batch is found among the variables of the program's running functions; no tensor is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from isograd.frameworks.torch.losses import is_plain
from isograd.frameworks.torch.places import is_persons, persons_line, places_of, tensors_in
from isograd.frameworks.torch.sameness import variables_of
from isograd.records.anatomy import Scalar
from isograd.records.fact import Fact
from isograd.records.trace import Step

FARTHEST = 32
"""Frames of the program that are looked through at most."""
TABLE = 2**20
"""Rows of a table that is looked through where the batch itself is no variable."""
NESTED = 64
"""Tensors of one variable that are looked at at most."""
Frames = Iterable[Mapping[str, Any]]
"""The variables of running functions, innermost first."""


def broken(models: Sequence[nn.Module], looks: Sequence[Step]) -> Fact:
    """The fact of a loss that is not finite, in the backward pass that begins with it.

    ``looks`` are the steps that were looked at before: how long a batch is, so that a whole table is not taken for one.
    """
    shapes = {sample.shape for step in looks for sample in step.inputs if sample.shape}
    longest = max((shape[0] for shape in shapes), default=0)
    found = stained(_running(), longest)
    if found:
        return Fact("loss_broke", "data", persons_line(), (("of", "batch"), *found.items()))
    for place in places_of(models):
        values = getattr(place.parameter, "_local_tensor", place.parameter).detach()
        if values.layout == torch.strided and values.numel() and not bool(torch.isfinite(values).all()):
            settings = (("of", "weights"), ("parameter", place.name))
            return Fact("loss_broke", place.layer, persons_line(), settings)
    if longest and not _at_hand(_running(), shapes):  # it was never a variable, as in model(x[rows])
        found = stained(_running(), TABLE)
        return Fact("loss_broke", "data" if found else "", persons_line(), (("of", "table"), *found.items()))
    return Fact("loss_broke", "", persons_line(), (("of", "pass"),))


def _at_hand(frames: Frames, shapes: Collection[tuple[int, ...]]) -> bool:
    """Whether a variable may be the batch: its shape is one that the model was given."""
    tensors = (tensor for variables in frames for value in list(variables.values()) for tensor in tensors_in(value))
    return any(tuple(tensor.shape) in shapes and not tensor.requires_grad for tensor in tensors)


def stained(frames: Frames, longest: int = 0) -> dict[str, Scalar]:
    """The first variable that holds NaN or infinity in a tensor that may be a batch, and how many; nothing where none does.

    A batch has no graph, is of a floating-point type, has an axis of examples, and of them at most ``longest`` (0: who knows).
    Minus infinity is what masks are made of.

    >>> stained([{"size": 3, "mask": torch.full((2, 2), -torch.inf), "x": torch.tensor([[1.0, torch.nan], [0.0, torch.nan]])}])
    {'name': 'x', 'count': 2, 'rows': 2, 'column': 1}
    """
    for variables in frames:
        for name, value in list(variables.items()):
            for tensor, _ in zip(tensors_in(value), range(NESTED), strict=False):
                if not _may_be_batch(tensor, longest):
                    continue
                bad = torch.isnan(tensor) | torch.isposinf(tensor)
                count = int(bad.sum())
                if count:
                    return {"name": name, "count": count, **_where(bad)}
    return {}


def _where(bad: Tensor) -> dict[str, Scalar]:
    rows = bad.reshape(len(bad), -1)
    found: dict[str, Scalar] = {"rows": int(rows.any(1).sum())}
    columns = rows.any(0).nonzero().reshape(-1)
    return found | ({"column": int(columns[0])} if bad.ndim == 2 and bad.shape[1] > 1 and len(columns) == 1 else {})


def _may_be_batch(tensor: Tensor, longest: int) -> bool:
    if isinstance(tensor, nn.Parameter) or tensor.requires_grad or not tensor.is_floating_point() or not tensor.ndim:
        return False
    return is_plain(tensor) and (not longest or len(tensor) <= longest)


def _running() -> Iterator[Mapping[str, Any]]:
    """The variables of the program's running functions."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(FARTHEST):
        if frame is None:
            return
        if is_persons(frame):
            yield variables_of(frame) or dict(frame.f_globals)
        frame = frame.f_back
