"""A network that a person's own function makes, found by ``module:function`` and tried on two rows before it is used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isograd.errors import ModelError, did_you_mean


def made_by(
    place: str,
    base: Path | None,
    inputs: tuple[int, ...],
    outputs: int,
    options: Mapping[str, Any],
    rows: torch.Tensor | None,
    answers: tuple[int, ...] = (),
) -> nn.Module:
    """What ``module:function`` makes of (inputs, outputs, **options); ``rows`` are real inputs that it must answer.

    ``answers`` is the shape of the answer for a row; (``outputs``,) where it is left out.

    Raises ``ModelError``, with the person's own line where there is one: nothing of that name, a function that raises, no
    ``nn.Module``, or outputs of another shape than (rows, ``outputs``).
    """
    function = _function(place, base)
    try:
        model = function(inputs, outputs, **options)
    except Exception as error:
        raise _raised(f"{place} raised", place, error) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{place} gives no nn.Module", where=place, met=type(model).__name__)
    if rows is not None and len(rows):
        _try(model, place, rows[:2], answers or (outputs,))
    return model


def _function(place: str, base: Path | None) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found = _module(module, place, base)
    if not callable(getattr(found, name, None)):
        known = [key for key, value in vars(found).items() if callable(value) and key[0] != "_"]
        raise ModelError(f"{module} has no function {name!r}", where=place, remedy=did_you_mean(name, known))
    function: Callable[..., Any] = getattr(found, name)
    return function


def _module(module: str, place: str, base: Path | None) -> Any:
    """The project's own file of that name, read anew so that two projects may each have a model.py; else what is installed."""
    file = base / (module.replace(".", "/") + ".py") if base is not None else None
    try:
        if file is None or not file.is_file():
            return importlib.import_module(module)
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None and spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(base))  # for what lies beside it
        try:
            spec.loader.exec_module(found)
        finally:
            sys.path.remove(str(base))
    except Exception as error:
        raise _raised(f"{module} cannot be imported", place, error) from error
    return found


def _try(model: nn.Module, place: str, rows: torch.Tensor, answers: tuple[int, ...]) -> None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            found = model(rows)
    except Exception as error:
        raise _raised(
            f"the network of {place} does not take two rows of shape {tuple(rows.shape[1:])}", place, error
        ) from error
    model.train(training)
    shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if shape != (len(rows), *answers):
        raise ModelError(
            f"the network of {place} must give a tensor (rows, {', '.join(map(str, answers))})",
            where=place,
            met=f"for two rows it gives {shape}",
        )


def _raised(what: str, place: str, error: Exception) -> ModelError:
    """The error with the last line of the person's own that was running."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if "site-packages" not in frame.filename and "importlib" not in frame.filename]
    where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else place
    return ModelError(
        f"{what}: {type(error).__name__}: {error}", where=where, remedy="it is called as function(inputs, outputs, **options)"
    )
