"""Batches as people hand them over (arrays, a data set, a whole table, three in one), in the form that the program used."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from isograd.frameworks.torch.batches import outputs_of
from isograd.frameworks.torch.places import tensors_in, unwrapped
from isograd.frameworks.torch.preparing import mapped
from isograd.frameworks.torch.state import same_random_streams
from isograd.records.batch import InputSample, LossSample

USUAL = 32
"""Examples in a batch where none was seen."""


def batches_of(
    given: Any, models: Sequence[nn.Module], loss: Any, inputs: Sequence[InputSample] = (), compared: LossSample | None = None
) -> Any:
    """What was given as batches that can be gone through: ``inputs`` and ``compared`` are what the program was seen to use.

    Arrays become tensors, a data set is loaded, a whole table (X, y) is cut into batches of the size seen, a batch of three or
    more is what the model takes and, last, the targets; tensors of another type or shape than the program used, with as many
    numbers an example, are brought to it. What is not known here stays as it is.

    >>> import numpy as np
    >>> table = np.zeros((70, 3)), np.zeros(70, int)
    >>> [tuple(x.shape) for x, y in batches_of(table, [nn.Linear(3, 2)], nn.functional.cross_entropy)]
    [(32, 3), (32, 3), (6, 3)]
    """
    size = inputs[0].shape[0] if inputs and inputs[0].shape else USUAL
    if isinstance(given, Dataset) and not isinstance(given, IterableDataset):
        given = DataLoader(given, batch_size=size)
    elif _is_whole(given):
        given = list(_cut(tuple(_tensors(given)), size, seen=bool(inputs)))
    if isinstance(given, Tensor) or _is_array(given):
        given = list(_cut((_tensors(given),), size, seen=bool(inputs)))
    if not isinstance(given, Iterable):
        return given
    return _brought(given, models, loss, list(inputs), compared)


def _is_whole(given: Any) -> bool:
    return (
        isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(one, Tensor) or _is_array(one) for one in given)
    )


def _is_array(something: Any) -> bool:
    """Whether it is a NumPy array, or a table that can be one."""
    return not isinstance(something, Tensor) and hasattr(something, "shape") and hasattr(something, "__array__")


def _tensors(something: Any) -> Any:
    """The same nesting with tensors of torch's usual types in the place of arrays."""
    if _is_array(something):
        made = torch.as_tensor(something.__array__())
        return made.to(torch.get_default_dtype()) if made.is_floating_point() else made
    if isinstance(something, tuple | list):
        items = [_tensors(item) for item in something]
        return items if isinstance(something, list) else tuple(items)
    if isinstance(something, dict):
        return {key: _tensors(item) for key, item in something.items()}
    return something


def _cut(whole: tuple[Any, ...], size: int, *, seen: bool) -> Iterator[Any]:
    """Batches of ``size``; one that was seen whole stays whole, and so does what no batch was seen of unless it is long."""
    count = len(whole[0])
    if size >= count or any(len(one) != count for one in whole) or (not seen and count <= USUAL):
        yield whole if len(whole) > 1 else whole[0]
        return
    for start in range(0, count, size):
        part = tuple(one[start : start + size] for one in whole)
        yield part if len(part) > 1 else part[0]


def _brought(
    given: Iterable[Any], models: Sequence[nn.Module], loss: Any, inputs: list[InputSample], compared: LossSample | None
) -> Iterator[Any]:
    split: Callable[[Any], Any] | None = None
    for one in given:
        batch = _tensors(one)
        if split is None:
            split = _splitting(batch, models, loss)
        batch = split(batch)
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            yield _alike(batch, inputs)
            continue
        made = _alike(batch[0], inputs)
        yield made, made if batch[1] is batch[0] else _target(batch[1], compared)


def _splitting(batch: Any, models: Sequence[nn.Module], loss: Any) -> Callable[[Any], Any]:
    """How a batch is parted into what the model takes and what the loss compares with."""
    if isinstance(batch, Tensor) and loss is not None and _copies(models, loss, batch):
        return lambda one: (one, one)
    if not isinstance(batch, tuple | list) or not models:
        return lambda one: one
    if len(batch) == 1:
        return (lambda one: (one[0], one[0])) if _copies(models, loss, batch[0]) else (lambda one: one[0])
    if loss is None:  # a model that gives its own loss takes the targets as well
        own = len(batch) == 2 and _binds(models[0], batch)
        return (lambda one: (tuple(one), None)) if own else (lambda one: one)
    if len(batch) > 2 and _binds(models[0], batch[:-1]):
        return lambda one: (tuple(one[:-1]) if len(one) > 2 else one[0], one[-1])
    return lambda one: one


def _binds(model: nn.Module, given: Sequence[Any]) -> bool:
    try:
        inspect.signature(unwrapped(model).forward).bind(*given)
    except (TypeError, ValueError):
        return False
    return True


def _copies(models: Sequence[nn.Module], loss: Any, batch: Any) -> bool:
    """Whether the loss compares the outputs with the inputs: it takes these, and nothing else."""
    try:
        with same_random_streams(), torch.no_grad():
            twins = [copy.deepcopy(unwrapped(model)).eval() for model in models]
            outputs = outputs_of(twins, batch)
    except Exception:  # noqa: BLE001 - the trial itself says what does not fit
        return False
    for targets, wanted in ((None, False), (batch, True)):
        try:
            taken = isinstance(loss(outputs, targets), Tensor)
        except Exception:  # noqa: BLE001 - that it raises is the answer
            taken = False
        if taken is not wanted:
            return False
    return True


def _alike(something: Any, seen: list[InputSample]) -> Any:
    """Inputs of the type and shape that the program used, as far as numbers an example agree."""
    left = list(seen)
    if not left or len(left) < sum(1 for _ in tensors_in(something)):
        return something

    def brought(tensor: Tensor) -> Tensor:
        sample = left.pop(0)
        tensor = _of_type(tensor, sample.dtype)
        same = tensor.ndim and tensor.shape[1:].numel() == math.prod(sample.shape[1:])
        return tensor.reshape(len(tensor), *sample.shape[1:]) if same else tensor

    return mapped(something, brought)


def _target(targets: Any, compared: LossSample | None) -> Any:
    """Targets of the type that the program used; their shape is the loss's own affair."""
    if compared is None or not isinstance(targets, Tensor) or not targets.ndim:
        return targets
    same = targets.shape[1:].numel() == math.prod(compared.target_shape[1:])
    return _of_type(targets, compared.target_dtype) if same and compared.target_shape else targets


def _of_type(tensor: Tensor, name: str) -> Tensor:
    kind = getattr(torch, name, None)
    able = isinstance(kind, torch.dtype) and (kind.is_floating_point or not tensor.is_floating_point())
    return tensor.to(kind) if able and tensor.dtype != kind else tensor
