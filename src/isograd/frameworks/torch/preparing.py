"""Batches as an edit leaves them: scaled, mixed, cut to another size, always the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from isograd.errors import ModelError
from isograd.frameworks.torch.batches import inputs_of, targets_of
from isograd.frameworks.torch.places import tensors_in

POOLED = 65_536
"""Examples that are mixed or cut anew at most; more than a search replays."""

Affine = tuple[Tensor, Tensor]
"""What is subtracted and what is divided by."""


@dataclass(frozen=True, slots=True)
class Data:
    """What is done to the batches before a step; the plain one does nothing.

    ``inputs`` and ``targets`` are shift and scale of each floating-point tensor, in order; ``mixed``: the examples of all
    batches in another order; ``size``: so many examples a batch; ``wide``: floating-point inputs become of this type;
    ``skipped``: places of batches, counted from 1, that are left out.
    """

    inputs: tuple[Affine, ...] = ()
    targets: tuple[Affine, ...] = ()
    mixed: bool = False
    size: int | None = None
    wide: torch.dtype | None = None
    skipped: frozenset[int] = frozenset()

    def but(self, **changes: Any) -> Data:
        """The same with some things different."""
        return replace(self, **changes)

    def prepared(self, batches: Sequence[Any]) -> list[Any]:
        """The batches with everything done to them. Raises ``ModelError`` where they cannot be taken apart."""
        done = [self.scaled(batch) for place, batch in enumerate(batches, 1) if place not in self.skipped]
        if batches and not done:
            raise ModelError("every batch is left out", met=f"{len(batches)} batches")
        return rebatched(done, self.size, mixed=self.mixed) if self.mixed or self.size is not None else done

    def scaled(self, batch: Any) -> Any:
        """A batch with scaled inputs and targets, in its order."""
        if self.wide is not None:
            batch = mapped(batch, lambda tensor: tensor.to(self.wide) if tensor.is_floating_point() else tensor)
        if not self.inputs and not self.targets:
            return batch
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            return _affine(batch, self.inputs)
        return _affine(batch[0], self.inputs), _affine(batch[1], self.targets)


def standard(batches: Sequence[Any], *, targets: bool) -> tuple[Affine, ...]:
    """Mean and deviation of each floating-point tensor over the batches: by column of a table, as one number of anything else.

    What is not finite does not count; a deviation of zero becomes one. Raises ``ModelError`` where there is nothing to scale.
    """
    parts = [
        [t for t in tensors_in(targets_of(batch) if targets else inputs_of(batch)) if t.is_floating_point()]
        for batch in batches
    ]
    if not parts or not parts[0]:
        raise ModelError(f"the {'targets' if targets else 'inputs'} hold no numbers that could be scaled")
    return tuple(_statistics([part[place] for part in parts]) for place in range(len(parts[0])))


def _statistics(tensors: Sequence[Tensor]) -> Affine:
    table = tensors[0].ndim == 2
    flat = torch.cat([t.detach().reshape(-1, t.shape[1] if table else 1).double() for t in tensors])
    flat = torch.where(torch.isfinite(flat), flat, torch.nan)
    mean = flat.nanmean(0)
    deviation = (flat - mean).square().nanmean(0).sqrt()
    mean, deviation = torch.nan_to_num(mean), torch.nan_to_num(deviation)
    deviation = torch.where(deviation > 1e-12 * mean.abs(), deviation, 1.0)
    return (mean, deviation) if table else (mean[0], deviation[0])


def _affine(something: Any, by: tuple[Affine, ...]) -> Any:
    if not by:
        return something
    left = list(by)

    def done(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or not left:
            return tensor
        shift, scale = left.pop(0)
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        moved = (tensor.to(wide) - shift.to(tensor.device, wide)) / scale.to(tensor.device, wide)
        return torch.nan_to_num(moved, 0.0, 0.0, 0.0).to(tensor.dtype)

    return mapped(something, done)


def apart(batches: Sequence[Any]) -> None:
    """Raise ``ModelError`` where it is not known which axis of the batches are the examples, or these differ in shape."""
    if any(length_of(batch) is None for batch in batches):
        raise ModelError(
            "the examples of these batches cannot be told apart", remedy="batches whose tensors have the examples as first axis"
        )
    shapes = [[tuple(tensor.shape[1:]) for tensor in tensors_in(batch)] for batch in batches]
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        pair = next(((one, two) for one, two in zip(shapes[0], other, strict=False) if one != two), (shapes[0], other))
        raise ModelError(
            "examples of one batch do not fit into another: each is padded to a length of its own",
            met=f"{pair[0]} and {pair[1]} an example",
            remedy="batches of one length",
        )


def rebatched(batches: Sequence[Any], size: int | None, *, mixed: bool) -> list[Any]:
    """The examples of all batches in batches of ``size`` (as before: None), mixed by a fixed seed where asked for."""
    apart(batches)
    kept, count = [], 0
    for batch in batches:
        if count < POOLED:
            kept.append(batch)
            count += length_of(batch) or 0
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)) if mixed else torch.arange(count)
    columns = [list(tensors_in(batch)) for batch in kept]
    pooled = [torch.cat([column[place] for column in columns]) for place in range(len(columns[0]))]
    width = min(size or length_of(batches[0]) or count, count)
    made = []
    for start in range(0, count - width + 1, width):
        chosen = order[start : start + width]
        filling = [tensor[chosen.to(tensor.device)] for tensor in pooled]
        made.append(mapped(kept[0], _taking(filling)))
    return made


def _taking(tensors: list[Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda _: tensors.pop(0)


def mapped(something: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting of tuples, lists and mappings with every tensor replaced, in the order of ``tensors_in``."""
    if isinstance(something, Tensor):
        return function(something)
    if isinstance(something, tuple | list):
        return (
            [mapped(item, function) for item in something]
            if isinstance(something, list)
            else tuple(mapped(item, function) for item in something)
        )
    if isinstance(something, dict):
        return {key: mapped(item, function) for key, item in something.items()}
    return something


def length_of(batch: Any) -> int | None:
    """The common length of the first axis; None where there is none."""
    lengths = {len(tensor) if tensor.ndim else -1 for tensor in tensors_in(batch)}
    return lengths.pop() if len(lengths) == 1 and -1 not in lengths else None


def places_of(value: object) -> frozenset[int]:
    """The places of batches, counted from 1, that an edit names.

    >>> sorted(places_of("17, 18")), sorted(places_of(3.0))
    ([17, 18], [3])
    """
    try:
        places = frozenset(int(float(part)) for part in str(value).split(","))
    except ValueError:
        raise ModelError(f"skip_batch takes places counted from 1, such as 17 or '17, 18', not {value!r}") from None
    if any(place < 1 for place in places):
        raise ModelError("places of batches are counted from 1", met=str(value))
    return places
