"""What one call of a loss was given: sums of outputs and targets, hits, agreement, and the loss of the best constant answer."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isograd.frameworks.torch.floors import CLASSES, ENTRIES, every, floor_of, labels_of, least_of_shares, wide
from isograd.frameworks.torch.heads import head_of
from isograd.frameworks.torch.sums import moments, pairs_of_all, values_of
from isograd.records.batch import REACH, LossSample
from isograd.records.moments import Pairs

ROWS = 32
"""Examples or positions of a very wide output that are looked at, at least."""

KINDS = 64
"""Different whole numbers that a regression's targets may have to be counted like classes, at most."""

UNHEARD = -100
"""Stands for a label that the loss leaves out; torch's own number for that."""

INDEXED = ("cross_entropy", "nll_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOGARITHMIC = ("nll_loss", "kl_div")
"""Losses that take logarithms of probabilities."""

Table = tuple[Tensor, Tensor]
"""Outputs and targets of the examples or positions that are looked at."""


@cache
def names_of(function: str) -> tuple[str, ...]:
    """The names of a loss function's arguments.

    >>> names_of("mse_loss")[:2]
    ('input', 'target')
    """
    return tuple(inspect.signature(getattr(F, function)).parameters) if hasattr(F, function) else ()


def given_to(function: str, args: Sequence[Any], kwargs: Mapping[str, Any], module: nn.Module | None = None) -> dict[str, Any]:
    """The arguments by name; those of a loss module are its attributes."""
    given = dict(zip(names_of(function), args, strict=False)) | dict(kwargs)
    if module is not None:
        own = (
            "weight",
            "ignore_index",
            "reduction",
            "label_smoothing",
            "pos_weight",
            "beta",
            "delta",
            "log_target",
            "full",
            "margin",
        )
        given |= {name: getattr(module, name) for name in own if hasattr(module, name)}
    return given


def plain_call(function: str, given: Mapping[str, Any]) -> bool:
    """Whether no option but the reduction was given.

    >>> plain_call("cross_entropy", {"reduction": "sum"}), plain_call("cross_entropy", {"ignore_index": 0})
    (True, False)
    """
    return all(
        (value := given.get(name, usual)) is usual or (isinstance(value, float | int) and value == usual)
        for name, usual in _options_of(function).items()
    )


@cache
def _options_of(function: str) -> dict[str, Any]:
    """What else than outputs, targets and the reduction a loss function takes, with what it has where nothing is given."""
    parameters = inspect.signature(getattr(F, function)).parameters if hasattr(F, function) else {}
    own = ("input", "target", "reduction", "reduce", "size_average")
    return {name: one.default for name, one in parameters.items() if name not in own}


def reduction_of(given: Mapping[str, Any]) -> str:
    """How the terms become one number; torch's two old arguments are understood."""
    if given.get("reduce") is False:
        return "none"
    if given.get("size_average") is not None or given.get("reduce") is not None:
        return "sum" if given.get("size_average") is False else "mean"
    return str(given.get("reduction", "mean"))


def sample_of(function: str, given: Mapping[str, Any], result: Any, *, training: bool, source: str | None) -> LossSample:
    """Everything about one call that the record asks for; a loss of three or more tensors has value and floor alone."""
    reduction = reduction_of(given)
    output, target = given.get("input"), given.get("target")
    value = _value(result, given)
    if not isinstance(output, Tensor):
        judged = "input1" in given and isinstance(target, Tensor) and is_plain(target)
        floor = floor_of(function, given, reduction) if judged else None
        shape = () if floor is None or target is None else tuple(target.shape)
        return LossSample(function, training, reduction, source=source, value=value, floor=floor, target_shape=shape)
    if values_of(output) is None or not is_plain(output):
        return LossSample(function, training, reduction, source=source, value=value)
    head = head_of(output)
    outputs = _some(output.detach())
    found: dict[str, Any] = {"output": moments(outputs), "output_range": _range(outputs)}
    if isinstance(target, Tensor) and is_plain(target):
        targets = _some(target.detach())
        numbers = targets if targets.is_floating_point() else wide(targets)
        found |= {"target": moments(numbers), "target_range": _range(targets), "target_shape": tuple(target.shape)}
        found |= {"target_dtype": _dtype(target), "floor": floor_of(function, given, reduction)}
        found |= _fit(function, output.detach(), target.detach(), int(given.get("ignore_index", -100)))
        if function in BINARY and not found.get("classes"):
            found["least"] = least_of_shares(given, reduction)
        if function in REGRESSION and head.functions:
            found |= _missed(wide(targets), REACH.get(head.functions[0], head.bounds))
    weight = given.get("weight") if function in INDEXED else None
    if isinstance(weight, Tensor) and weight.numel() <= CLASSES:
        found["weights"] = tuple(wide(weight.detach()).tolist())
    positive, counts = given.get("pos_weight"), found.get("classes", ())
    rarer = function in BINARY and len(counts) == 2 and counts[1] < counts[0]
    if rarer and isinstance(positive, Tensor) and positive.numel() == 1 and float(positive) < 1.0:
        found["weights"] = 1.0, float(positive)  # what evens the classes out is an ordinary setting, and changes no measure
    return LossSample(
        function,
        training,
        reduction,
        source=source,
        head=head.functions,
        head_source=head.source,
        head_where=head.where,
        base=head.base,
        bounds=head.bounds,
        plain=plain_call(function, given),
        value=value,
        output_shape=tuple(output.shape),
        output_dtype=_dtype(output),
        **found,
    )


def left_out(sample: LossSample, given: Mapping[str, Any], losses: Tensor, weights: Tensor) -> LossSample:
    """The sample of a call whose terms the program weighs itself, less those that count nothing: no gradient reaches them.

    Where these are one class and no other target is of it (padding), or the others are one class, the labels alone say which
    count; where they stand at one end of every row, or in the same places, the lengths do. Else they may have been chosen by
    their losses (hard examples): their value is told, and nothing compared.
    """
    heard = weights != 0
    both_ways = bool((weights > 0).any()) and bool((weights < 0).any())  # a policy's advantages: no weights of a mean
    if both_ways or bool(heard.all()) or not bool(heard.any()):
        return sample
    value = float((wide(losses[heard]) * wide(weights[heard])).sum() / wide(weights).sum())
    target = given.get("target")
    if sample.function in INDEXED and isinstance(target, Tensor) and target.shape == losses.shape:
        padding, others = (torch.unique(some) for some in (target[~heard], target[heard]))
        apart = min(len(padding), len(others)) == 1 and not bool(torch.isin(padding, others).any())
        if apart or _by_place(heard):
            without = {**given, "target": torch.where(heard, target, UNHEARD), "ignore_index": UNHEARD}
            found = sample_of(sample.function, without, losses, training=sample.training, source=sample.source)
            return dataclasses.replace(found, value=value)
    output = given.get("input")
    if sample.function in REGRESSION and isinstance(target, Tensor) and isinstance(output, Tensor) and _by_place(heard):
        alone = {**given, "input": output.detach().expand_as(losses)[heard], "target": target.expand_as(losses)[heard]}
        found = sample_of(sample.function, alone, losses[heard], training=sample.training, source=sample.source)
        compared = {name: getattr(found, name) for name in ("floor", "output", "target", "agreement")}
        return dataclasses.replace(sample, value=value, **compared)
    unsure: dict[str, Any] = {"floor": None, "classes": (), "answers": (), "hits": -1, "agreement": None, "least": 0.0}
    return dataclasses.replace(sample, value=value, **unsure)


def _by_place(heard: Tensor) -> bool:
    """Whether what counts begins or ends each row, or stands in the same places of all; a choice by size would do neither.

    >>> _by_place(torch.tensor([[1, 1, 0], [1, 0, 0]]) > 0), _by_place(torch.tensor([[1, 0, 1], [0, 1, 1]]) > 0)
    (True, False)
    """
    if heard.ndim != 2:
        return False
    early, later = heard[:, :-1], heard[:, 1:]
    same = len(heard) > 1 and bool((heard == heard[:1]).all())
    return same or not bool((later & ~early).any()) or not bool((early & ~later).any())


def _value(result: Any, given: Mapping[str, Any]) -> float | None:
    if not isinstance(result, Tensor) or values_of(result) is None or not is_plain(result):
        return None
    if result.numel() == 1:
        return float(result.detach())
    target, ignored = given.get("target"), given.get("ignore_index")
    if isinstance(target, Tensor) and ignored is not None and not target.is_floating_point():
        heard = int((target != ignored).sum())
        return float(wide(result.detach()).sum()) / heard if heard else None
    return float(result.detach().mean())


def is_plain(tensor: Tensor) -> bool:
    """Whether its entries are numbers here: inside ``vmap`` there are none, of a distributed tensor every rank has to ask."""
    if hasattr(tensor, "_local_tensor") or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return False
    return tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_complex() and tensor.numel() > 0


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(tensor: Tensor) -> Tensor:
    """All entries of a small tensor, some rows of a large one."""
    if tensor.numel() <= ENTRIES or tensor.ndim == 0:
        return tensor
    wide = tensor.numel() // len(tensor)
    rows = tensor[:: every(len(tensor), max(1, ENTRIES // wide))]
    return rows if rows.numel() <= 4 * ENTRIES else rows.reshape(-1)[:: every(rows.numel(), ENTRIES)]


def _range(tensor: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(tensor.float() if tensor.dtype in (torch.bool, torch.float16) else tensor)
    return float(low), float(high)


def _fit(function: str, output: Tensor, target: Tensor, ignored: int) -> dict[str, Any]:
    """Classes, answers, hits, rows and agreement, as far as the loss has them."""
    if function in INDEXED:
        return _classified(output, target, ignored, logarithmic=function in LOGARITHMIC)
    if function in BINARY:
        return _binary(output, target, logits=function == BINARY[1])
    found: dict[str, Any] = {"agreement": _agreement(output, target)}
    if function in LOGARITHMIC and output.ndim > 1:
        found["rows"] = _sums(wide(_some(output)).exp())
    return found | _counted(_some(output), _some(target))


def positions(output: Tensor, target: Tensor) -> Table:
    """Outputs (rows, classes) and targets (rows) or (rows, classes), of some rows where there are many."""
    if output.ndim == 1:
        return output[None], target[None]
    classes = output.shape[1]
    keep = max(ROWS, ENTRIES // max(1, classes))
    if output.ndim == 2:
        stride = every(len(output), keep)
        return output[::stride], target[::stride]
    places = math.prod(output.shape[2:])
    examples = every(len(output), keep)
    along = every(places, max(1, keep // -(-len(output) // examples)))
    rows = output[::examples].flatten(2)[:, :, ::along].movedim(1, -1).reshape(-1, classes)
    if target.shape == output.shape:
        return rows, target[::examples].flatten(2)[:, :, ::along].movedim(1, -1).reshape(-1, classes)
    return rows, target[::examples].flatten(1)[:, ::along].reshape(-1)


def _classified(output: Tensor, target: Tensor, ignored: int, *, logarithmic: bool) -> dict[str, Any]:
    classes = output.shape[0] if output.ndim == 1 else output.shape[1]
    if target.numel() * classes != output.numel() and target.shape != output.shape:
        return {}
    rows, labels = positions(output, target)
    found: dict[str, Any] = {"rows": _sums(wide(rows).exp() if logarithmic else rows)}
    if labels.is_floating_point():
        if labels.ndim != 2:
            return found
        labels = labels.argmax(1)
    kept = labels_of(labels, ignored, classes)
    if classes > CLASSES or kept is None:
        return found
    answers = rows.argmax(1)
    return found | _counts(answers if len(kept) == len(answers) else answers[labels != ignored], kept, classes)


def _counts(answers: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    return {
        "classes": tuple(torch.bincount(labels, minlength=classes).tolist()),
        "answers": tuple(torch.bincount(answers, minlength=classes).tolist()),
        "hits": int((answers == labels).sum()),
    }


def _binary(output: Tensor, target: Tensor, *, logits: bool) -> dict[str, Any]:
    if output.shape != target.shape:
        return {}
    outputs, targets = _some(output), _some(target).to(output.dtype)
    found: dict[str, Any] = {"agreement": _agreement(output.sigmoid() if logits else output, target)}
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        found["rows"] = _sums(outputs)
    counted = _counted(outputs, targets)
    if counted.get("answers"):
        return found | counted
    if bool(((targets == 0) | (targets == 1)).all()):
        answers = outputs > (0.0 if logits else 0.5)
        found |= _counts(answers.reshape(-1).long(), targets.reshape(-1).long(), 2)
    return found


def _counted(outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """One-hot targets as classes; whole numbers of a single column as counts without answers."""
    if outputs.ndim == 2 and 1 < outputs.shape[1] <= CLASSES and outputs.shape == targets.shape:
        low, high = _range(targets)
        if (
            low == 0.0
            and high == 1.0
            and bool(((targets == 1).sum(1) == 1).all())
            and int((targets != 0).sum()) == len(targets)
        ):
            return _counts(outputs.argmax(1), targets.argmax(1), outputs.shape[1])
    elif targets.numel() == len(targets) and outputs.numel() == len(outputs):
        low, high = _range(targets)
        if low >= 0.0 and 1.0 <= high < KINDS and bool((targets == targets.round()).all()):
            return {"classes": tuple(torch.bincount(targets.reshape(-1).long()).tolist())}
    return {}


def _missed(targets: Tensor, reach: tuple[float, float]) -> dict[str, float]:
    """Targets beyond the reach of a function, by more than rounding, and what that costs at least."""
    away = targets - targets.clamp(*reach)
    variance = float(targets.var(correction=0))
    slack = 1e-5 * float(targets.abs().max())
    if not variance > 0.0:
        return {}
    return {"beyond": float(wide(away.abs() > slack).mean()), "shortfall": float(away.square().mean()) / variance}


def _sums(rows: Tensor) -> tuple[float, float]:
    return _range(rows.sum(1) if rows.ndim == 2 else rows.reshape(len(rows), -1).sum(1))


def _agreement(output: Tensor, target: Tensor) -> Pairs | None:
    """Outputs with targets, each column less its mean over the examples; (N, 1) with (N,) example by example."""
    if output.shape != target.shape:
        if output.numel() != target.numel():
            return None
        output, target = output.reshape(-1), target.reshape(-1)
    sides = []
    for side in (_some(output), _some(target)):
        numbers = wide(side)
        sides.append((numbers - numbers.mean(0) if numbers.ndim and len(numbers) > 1 else numbers - numbers.mean()).reshape(-1))
    return _pairs(*sides)


def _pairs(left: Tensor, right: Tensor) -> Pairs | None:
    """As ``sums.pairs_of_all`` for one pair in float64, in half the operations."""
    most = [max(-float(low), float(high)) for low, high in (torch.aminmax(left), torch.aminmax(right))]
    if not all(value == 0.0 or 1e-100 < value < 1e100 for value in most):
        return pairs_of_all([left], [right])[0]
    products = (float(torch.dot(left, right)), float(torch.dot(left, left)), float(torch.dot(right, right)))
    return Pairs.from_sums(left.numel(), *products, *most)
