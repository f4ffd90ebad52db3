"""A training's whole state as a folder of safetensors, JSON and a manifest, which is there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch

from isograd.files import new_folder, sweep, verify
from isograd.records import codec
from isograd.records.run import Epoch
from isograd.workbench.train.recipe import Recipe

KEEP = 2
_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True, slots=True)
class Best:
    """The epoch with the best validation so far; ``weights`` says which weights it was measured on, "raw" or "ema"."""

    epoch: int
    step: int
    value: float
    weights: str


@dataclass(frozen=True, slots=True)
class State:
    """Everything about a training that is no tensor, at the border between two steps.

    ``epoch`` counts from 1 and is the one being trained, ``position`` the batches of it that are done; ``loss_sum`` is over
    the ``rows`` of this epoch so far. ``optimizer`` holds the parameter groups and plain values of its state as JSON,
    ``first_aid`` what it must know to go on.
    """

    identity: str
    recipe: Recipe
    torch: str
    status: Literal["running", "finished"] = "running"
    epoch: int = 1
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rows: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    history: tuple[Epoch, ...] = ()
    best: Best | None = None
    optimizer: str = ""
    first_aid: str = ""


def save(root: Path, state: State, tensors: Mapping[str, Mapping[str, torch.Tensor]], optimizer: dict[str, Any]) -> None:
    """Write one checkpoint and let go of all but the last two.

    ``tensors`` are groups by name ("model", "ema", "best", "random"), ``optimizer`` an optimizer's ``state_dict``. Raises
    ``StorageError``; the older checkpoints are unharmed then.
    """
    inside, plain = _split(optimizer)
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, named in {**tensors, "optimizer": inside}.items()
        for name, tensor in named.items()
    }
    content = safetensors.torch.save(flat)
    with new_folder(root / str(state.step)) as aside:
        # A plain write, so that a full disk is an OSError with its reason, whatever library made the bytes.
        (aside / _TENSORS).write_bytes(content)
        (aside / _STATE).write_text(codec.dumps(replace(state, optimizer=plain)), "utf-8")
    for old in folders(root)[KEEP:]:
        _remove(old)


def folders(root: Path) -> list[Path]:
    """The checkpoints of a run, the newest first, damaged ones included."""
    if not root.is_dir():
        return []
    return sorted((folder for folder in root.iterdir() if folder.name.isdigit()), key=lambda folder: -int(folder.name))


def load(folder: Path) -> tuple[State, dict[str, dict[str, torch.Tensor]]]:
    """A checkpoint's state and its groups of tensors. Raises ``DamagedError`` where a byte is not as it was written."""
    verify(folder)
    state = codec.loads(State, (folder / _STATE).read_text("utf-8"))
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for full, tensor in safetensors.torch.load((folder / _TENSORS).read_bytes()).items():
        group, name = full.split("/", 1)
        groups.setdefault(group, {})[name] = tensor
    return state, groups


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint, so that it is out of the way but can still be looked at; gives its new place."""
    place = folder.with_name(f"damaged-{folder.name}")
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)
    return place


def optimizer_state(state: State, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The ``state_dict`` that ``save`` was given: values by parameter number, in the order of the numbers."""
    plain = json.loads(state.optimizer)
    groups = [{key: tuple(v) if key == "betas" else v for key, v in group.items()} for group in plain["param_groups"]]
    values: dict[int, dict[str, Any]] = {int(number): dict(entries) for number, entries in plain["state"].items()}
    for full, tensor in tensors.items():
        number, name = full.split("/", 1)
        values.setdefault(int(number), {})[name] = tensor
    return {"state": dict(sorted(values.items())), "param_groups": groups}


def _split(optimizer: dict[str, Any]) -> tuple[dict[str, torch.Tensor], str]:
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[int, dict[str, Any]] = {}
    for number, entries in optimizer["state"].items():
        plain[number] = {}
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}/{name}"] = value
            else:
                plain[number][name] = value
    return tensors, json.dumps({"state": plain, "param_groups": optimizer["param_groups"]})


def _remove(folder: Path) -> None:
    # First out of sight by one rename, so that a kill in the middle never leaves half a checkpoint under its name.
    folder.rename(folder.with_name(f".aside-{folder.name}"))
    sweep(folder.parent)
