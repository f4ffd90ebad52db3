"""What a batch is, and how a model and a loss are called with it.

``(inputs, targets)`` is a pair; a mapping goes to the model as keyword arguments, anything else as its one argument. Inputs
that are a tuple or list are the model's positional arguments, or its one argument where it takes no more; a mapping its keyword
arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isograd.errors import ModelError
from isograd.frameworks.torch.exceptions import raised
from isograd.frameworks.torch.places import tensors_in


def inputs_of(batch: Any) -> Any:
    """What the model takes: the first of a pair, or the batch itself."""
    return batch[0] if isinstance(batch, tuple | list) and len(batch) == 2 else batch


def targets_of(batch: Any) -> Any:
    """What the loss compares with: the second of a pair, or nothing."""
    return batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None


def call(model: nn.Module, inputs: Any) -> Any:
    """Call ``model``; raises ``ModelError`` naming shapes, types and devices where the batch does not fit."""
    _fits(model, inputs)
    try:
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple | list) and not _as_one(model, inputs) else model(inputs)
    except Exception as error:
        if exhausted(error):
            raise ModelError(
                "memory runs out in a pass of the model",
                where=type(model).__name__,
                met=f"{_met(inputs)}; {first_line(error)}",
                remedy="smaller batches",
            ) from error
        place, came = _refusing(model, error)
        raise ModelError(
            "the model does not take this batch",
            where=place,
            met=f"{_met(inputs)}{came}; {_said(error)}",
            remedy=_instead(inputs),
        ) from error


def _as_one(model: nn.Module, inputs: Sequence[Any]) -> bool:
    """Whether several inputs are one argument: the model takes a single one, a pair such as (users, items)."""
    if len(inputs) < 2:
        return False
    try:
        taken = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    return len(taken) == 1 and all(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in taken)


def exhausted(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on a device."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "out of memory" in said or "allocate memory" in said


def outputs_of(models: Sequence[nn.Module], inputs: Any) -> Any:
    """Call the models one after the other, each with what the last one gave."""
    for model in models:
        inputs = call(model, inputs)
    return inputs


def loss_of(loss: Any, outputs: Any, targets: Any) -> Tensor:
    """The loss as a scalar with a graph; without ``loss``, the model's own (its output, ``.loss``, or ``["loss"]``).

    Raises ``ModelError`` naming shapes where outputs and targets do not fit.
    """
    if loss is not None and not callable(loss):
        raise ModelError("the loss is not a function", met=type(loss).__name__, remedy="pass a function of outputs and targets")
    if isinstance(loss, type):
        raise ModelError("the loss is a class, not a function", met=loss.__name__, remedy=f"pass {loss.__name__}()")
    if loss is None:
        value = outputs["loss"] if isinstance(outputs, Mapping) and "loss" in outputs else getattr(outputs, "loss", outputs)
    else:
        try:
            value = loss(outputs, targets)
        except Exception as error:
            met = f"output {_met(outputs)}, targets {_met(targets)}; {_said(error)}"
            if exhausted(error):
                raise ModelError("memory runs out in the loss", met=met, remedy="smaller batches") from error
            raise ModelError(
                "the model's output does not fit the loss or the labels", met=met, remedy=_advice(outputs, targets)
            ) from error
    if loss is None and not (isinstance(value, Tensor) and value.numel() == 1):
        remedy = "loss=, a function of (outputs, targets) such as torch.nn.functional.cross_entropy"
        raise ModelError("there is no loss: none was given, and the model gives none", met=_met(value), remedy=remedy)
    if not isinstance(value, Tensor) or value.numel() != 1:
        if isinstance(value, int | float):
            raise ModelError(
                "the loss is a plain number, cut off from its graph",
                met=repr(value),
                remedy="no .item() or float() in the loss",
            )
        if isinstance(value, Tensor):
            remedy = "let the loss take the mean, such as reduction='mean'"
            raise ModelError("the loss is not one number", met=_met(value), remedy=remedy)
        given = f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list | dict) else type(value).__name__
        raise ModelError("the loss is not one number", met=given, remedy="return the loss alone")
    if not value.requires_grad:
        raise ModelError(
            "the loss has no graph: nothing can be learned from it", remedy="do not detach it, nor run under no_grad"
        )
    return value


def _refusing(model: nn.Module, error: Exception) -> tuple[str, str]:
    """The layer that refuses, with what it was made for, and what came to it."""
    fact = raised(error, (model,))
    kind = str(fact.get("module", "")) if fact is not None else ""
    if fact is None or not kind or not fact.where:
        return type(model).__name__, ""
    wants = fact.get("wants", "")
    came, trace = "", error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code.co_name == "forward" and isinstance(frame.f_locals.get("self"), nn.Module):
            held = [value for name, value in frame.f_locals.items() if name != "self" and isinstance(value, Tensor)]
            came = f"; to this layer came {_met(held[:1])}" if held else ""
    return f"{fact.where} ({kind}{f', {wants}' if wants else ''}) of {type(model).__name__}", came


def _fits(model: nn.Module, inputs: Any) -> None:
    first = next(model.parameters(), None)
    if first is None:
        return
    for tensor in tensors_in(inputs):
        if tensor.ndim and not tensor.shape[0]:
            raise ModelError("the batch is empty", met=_met(tensor), remedy="give a batch with at least one example")
        if tensor.device != first.device:
            raise ModelError(
                "the batch is on another device than the model",
                met=f"batch on {tensor.device}, model on {first.device}",
                remedy=f'inputs.to("{first.device}")',
            )
        mixed = torch.is_autocast_enabled(tensor.device.type)
        if tensor.is_floating_point() and first.is_floating_point() and tensor.dtype != first.dtype and not mixed:
            wanted = str(first.dtype)
            raise ModelError(
                "the batch has another dtype than the model",
                met=f"batch is {str(tensor.dtype).removeprefix('torch.')}, model is {wanted.removeprefix('torch.')}",
                remedy=f"inputs.to({wanted})",
            )


def _instead(inputs: Any) -> str:
    """What to give in place of inputs that hold no tensor."""
    if any(True for _ in tensors_in(inputs)):
        return ""
    if hasattr(inputs, "__array__"):
        return "torch.from_numpy(inputs), and the same of the targets"
    return (
        "one batch of it: next(iter(loader))" if hasattr(inputs, "__iter__") and not isinstance(inputs, str | Mapping) else ""
    )


def _advice(outputs: Any, targets: Any) -> str:
    if isinstance(outputs, Tensor) and isinstance(targets, Tensor) and not targets.is_floating_point() and targets.numel():
        classes, highest, lowest = outputs.shape[-1], int(targets.max()), int(targets.min())
        if outputs.ndim == 2 and (highest >= classes or lowest < 0):
            return f"labels run from {lowest} to {highest}: the last layer needs {highest + 1} outputs, it has {classes}"
    return "make the last layer's width and the labels' shape and dtype what the loss takes"


def _said(error: Exception) -> str:
    """What was raised, in one line: torch's errors by their text, others with their name, whose text may be a bare word."""
    if isinstance(error, RuntimeError | ValueError | TypeError | IndexError):
        return f"torch says: {first_line(error)}"
    return f"it raised {type(error).__name__}: {first_line(error)}"


def _met(something: Any) -> str:
    shown = [f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors_in(something)]
    return ", ".join(shown) or type(something).__name__


def first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
