"""Edits on a person's own model: a changed copy, and what of the edits is not in a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from isograd.errors import ModelError
from isograd.frameworks.torch.describe import checked
from isograd.frameworks.torch.patient import TorchPatient
from isograd.records.edit import EDITS, Edit


def remodelled(model: Any, edits: Sequence[Edit]) -> tuple[Any, tuple[Edit, ...]]:
    """The model with the edits that concern it, and the edits that are not in it.

    A copy where something changes, the model itself where nothing does. Not in a model are edits of the loop, the optimizer,
    the data and the loss, and what ``forward`` calls as functions of torch: such an activation stays as it is written.
    Raises ``ModelError`` for what is no model or cannot be copied.

    >>> model, left = remodelled(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), [Edit("activation", "relu", before="sigmoid")])
    >>> type(model[1]).__name__, left
    ('ReLU', ())
    """
    models = checked(model, training=True)
    patient: TorchPatient | None = None
    left: list[Edit] = []
    for edit in edits:
        changed = None if EDITS[edit.kind].part not in ("model", "loss") else _with(patient or _patient_of(models), edit)
        if changed is None:
            left.append(edit)
        else:
            patient = changed
    if patient is None:
        return model, tuple(left)
    return patient.models if isinstance(model, tuple | list) else patient.models[0], tuple(left)


def _patient_of(models: tuple[nn.Module, ...]) -> TorchPatient:
    return TorchPatient.copy_of(models, None, None, None)


def _with(patient: TorchPatient, edit: Edit) -> TorchPatient | None:
    """The patient with the edit in its modules; None where it would be done in another manner of running them."""
    if edit.kind == "last":
        return _without_last(patient.copy(), edit)
    try:
        changed = patient.apply(edit)
    except ModelError:
        return None
    if edit.kind == "dropout":  # its modules carry it; what is called as a function does not
        return (
            changed
            if any(isinstance(m, nn.modules.dropout._DropoutNd) for one in changed.models for m in one.modules())
            else None
        )
    same_manner = changed.manner == patient.manner or (edit.kind == "activation" and _replaced(patient, changed))
    return changed if same_manner and changed.data == patient.data and changed.loop == patient.loop else None


def _replaced(before: TorchPatient, after: TorchPatient) -> bool:
    """Whether modules were exchanged."""
    kinds = ([type(module) for one in patient.models for module in one.modules()] for patient in (before, after))
    return next(kinds) != next(kinds)


def _without_last(twin: TorchPatient, edit: Edit) -> TorchPatient | None:
    """The last module of a chain left out, where it is the function that comes last."""
    chain = twin.models[-1]
    while isinstance(chain, nn.Sequential) and len(chain):
        name, end = list(chain.named_children())[-1]
        if isinstance(end, nn.Sequential):
            chain = end
            continue
        if type(end).__name__.lower() != str(edit.before).replace("_", ""):
            return None
        setattr(chain, name, nn.Identity())
        return twin
    return None
