"""Find the newest good checkpoint of a run, say loudly what is damaged, and put everything back as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from isograd.errors import DamagedError, RequestError
from isograd.files import sweep, write_text
from isograd.records import codec
from isograd.workbench.train import checkpoint, weights
from isograd.workbench.train.checkpoint import State
from isograd.workbench.train.recipe import Recipe

Tensors = dict[str, dict[str, torch.Tensor]]


def newest(root: Path, notice: Callable[[str], None]) -> tuple[State, Tensors] | None:
    """The newest checkpoint whose bytes are those that were written; ``notice`` hears of every damaged one."""
    for folder in checkpoint.folders(root):
        try:
            return checkpoint.load(folder)
        except DamagedError as error:
            notice(f"checkpoint {folder.name} is damaged and is not used: {error.faults[0].what}")
            checkpoint.set_aside(folder)
    return None


def start(root: Path, identity: str, recipe: Recipe, notice: Callable[[str], None]) -> tuple[State, Tensors]:
    """Where a training begins: at the newest good checkpoint, or at step 0.

    Raises ``RequestError`` where the checkpoints there are those of another project or recipe.
    """
    sweep(root)
    had_some = bool(checkpoint.folders(root))
    found = newest(root, notice)
    if found is None:
        if had_some:
            notice("no checkpoint is good: the training begins again at its first step")
        return State(identity=identity, recipe=recipe, torch=torch.__version__), {}
    state, tensors = found
    if state.identity != identity or _bits(state.recipe) != _bits(recipe):
        raise RequestError(
            "the checkpoints there were written by another project or with other settings",
            where=str(root),
            remedy="use another folder, or go on with the project as it was",
        )
    if state.torch != torch.__version__:
        notice(f"the run began with torch {state.torch} and goes on with {torch.__version__}: last digits may differ")
    if state.status == "running":
        notice(f"goes on after step {state.step}, in epoch {state.epoch}")
    return replace(state, recipe=recipe), tensors


def rewrite_metrics(journal: Path, state: State) -> None:
    """Make ``metrics.jsonl`` say what the checkpoint knows: epochs that were trained after it come again."""
    lines = "".join(codec.dumps(epoch) + "\n" for epoch in state.history)
    if not journal.exists() or journal.read_text("utf-8", errors="replace") != lines:
        write_text(journal, lines)


def best_of(state: State, tensors: Tensors) -> dict[str, torch.Tensor]:
    """The best weights that a checkpoint holds; empty before the first validation."""
    if state.best is None:
        return {}
    if "best" in tensors:
        return tensors["best"]
    return tensors["ema" if state.best.weights == "ema" else "model"]


def load_best(folder: Path, model: nn.Module) -> str:
    """Load the best weights of the run in ``folder`` into ``model``; gives which they are, "raw" or "ema".

    Raises ``RequestError`` where no epoch was validated yet, ``DamagedError`` where no checkpoint is good.
    """
    damaged: list[str] = []
    root = folder / "checkpoints"
    if not checkpoint.folders(root):
        raise RequestError(f"{folder} has no checkpoint yet", remedy="train first")
    found = newest(root, damaged.append)
    if found is None:
        raise DamagedError(damaged[0], where=str(root), remedy="train again: the data and the project are unharmed")
    state, tensors = found
    if state.best is None:
        raise RequestError(f"{folder} was stopped before its first epoch was validated", remedy="go on with its training")
    weights.load(model, best_of(state, tensors))
    return state.best.weights


def unfinished(folder: Path, identity: str, model: nn.Module) -> State | None:
    """Load where the training in ``folder`` stands into ``model``; gives its state. Nothing in the folder is touched.

    The newest good checkpoint counts, also while the training goes on elsewhere. None where there is none after a step, where
    it finished, or where ``identity`` is another: the project or its data was changed since.
    """
    for place in checkpoint.folders(folder / "checkpoints"):
        try:
            state, tensors = checkpoint.load(place)
        except (DamagedError, OSError):  # or gone in this moment: a training keeps the last two
            continue
        if state.status == "finished" or state.identity != identity or not state.step:
            return None
        weights.load(model, tensors["model"])
        return state
    return None


def _bits(recipe: Recipe) -> Recipe:
    """The recipe without what does not touch a weight."""
    return replace(recipe, checkpoint_seconds=0.0, watch=recipe.first_aid, watch_budget=1.0)
