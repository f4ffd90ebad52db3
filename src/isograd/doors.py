"""The door a model goes through: the framework it belongs to, and what that framework's folder makes for a call."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

from isograd.errors import ModelError, RequestError
from isograd.ports import Patient, Recorder


def door_of(model: Any) -> str:
    """The framework a model belongs to, by what is loaded already; a framework the caller has not is never imported."""
    models = several(model)
    if not models:
        raise ModelError("there is no model", remedy="give a module, or a tuple of modules")
    torch = sys.modules.get("torch")
    if torch is not None and all(isinstance(one, torch.nn.Module) for one in models):
        return "torch"
    reference = sys.modules.get("isograd.frameworks.reference.network")
    if reference is not None and all(isinstance(one, reference.Network) for one in models):
        return "reference"
    known = torch.nn.Module if torch is not None else ()
    odd = next(one for one in models if not isinstance(one, known))
    raise ModelError(
        f"a model is a torch.nn.Module or a tuple of them, not {type(odd).__module__}.{type(odd).__qualname__}",
        remedy="pass the model itself, not its class, its parameters or its output",
    )


def several(given: Any) -> tuple[Any, ...]:
    """One model or optimizer, or several, as a tuple.

    >>> several([1, 2]), several(1)
    ((1, 2), (1,))
    """
    return tuple(given) if isinstance(given, tuple | list) else (given,)


def part(door: str, name: str) -> Any:
    """A module of a door, loaded now."""
    return importlib.import_module(f"isograd.frameworks.{door}.{name}")


def patient_of(door: str, model: Any, batch: Any, loss: Any, optimizer: Any) -> Patient:
    """The program as its door copies it."""
    module = part(door, "patient")
    kind = module.TorchPatient if door == "torch" else module.ReferencePatient
    patient: Patient = kind.copy_of(model, batch, loss, optimizer)
    return patient


def stepping(door: str, patient: Any, model: Any, step: Any) -> Any:
    """The patient with a step of the person's own, which must work on whatever model it is given."""
    if door != "torch":
        raise RequestError("step= is for torch models", remedy="give the loss instead")
    part(door, "stepping").check_step(step, several(model))
    return replace(patient, step=step)


def recorder_of(
    door: str, models: tuple[Any, ...], optimizers: tuple[Any, ...] | None, budget: float | None, steps: int | None
) -> Recorder:
    """A recorder of the door, not yet attached."""
    if door == "reference":
        raise ModelError(
            "a reference network has no loop of its own to watch", remedy="use isograd.check, or observe() of its patient"
        )
    recorder: Recorder = part(door, "recorder").TorchRecorder(models, optimizers, budget=budget, planned_steps=steps)
    return recorder
