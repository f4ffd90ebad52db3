"""What a training works on while it runs, and what every part of the loop does with it: speak, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from isograd.workbench.train import checkpoint, weights
from isograd.workbench.train.checkpoint import State
from isograd.workbench.train.losses import Loss
from isograd.workbench.train.machine import random_states
from isograd.workbench.train.progress import Direction, Phase, Progress
from isograd.workbench.train.watching import Watching

Batches = Callable[[int, int], Iterable[tuple[torch.Tensor, torch.Tensor]]]
Validate = Callable[[nn.Module], tuple[tuple[str, float], ...]]

_SAVING_SHARE = 0.05  # of the time that the checkpoints at the ends of short epochs may take


class DivergedError(Exception):
    """The loss, or a weight, of ``step`` is not finite."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


@dataclass(slots=True)
class Pace:
    """When this session last spoke and saved, in seconds of ``time.perf_counter``, and what the last saving took."""

    began: float
    first_step: int
    ticked: float
    saved: float
    saving: float = 0.0
    saved_step: int = -1
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """What a training works on; ``best`` holds the best weights so far, ``remark`` says what has to be said."""

    model: nn.Module
    averaged: nn.Module | None
    optimizer: torch.optim.Optimizer
    batches: Batches
    per_epoch: int
    loss: Loss
    validate: Validate
    monitor: tuple[str, Direction]
    folder: Path
    on_progress: Callable[[Progress], None] | None
    watching: Watching
    pace: Pace
    remark: Callable[[str], None]
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def judged(self) -> nn.Module:
        """The model that is validated and kept: the average, where there is one."""
        return self.model if self.averaged is None else self.averaged

    @property
    def kind(self) -> str:
        """What ``judged`` holds: "ema" or "raw"."""
        return "raw" if self.averaged is None else "ema"


def save_if_due(live: Live, state: State, *, at_once: bool) -> None:
    """At the end of an epoch: save, unless epochs are so short that saving would take a noticeable share of the time."""
    least = min(state.recipe.checkpoint_seconds, live.pace.saving / _SAVING_SHARE)
    if at_once or time.perf_counter() - live.pace.saved >= least:
        save(live, state)


def save(live: Live, state: State) -> None:
    """Write a checkpoint. Raises ``DivergedError`` instead where a weight is not finite, ``StorageError`` where it cannot."""
    if not all(bool(tensor.isfinite().all()) for tensor in live.model.parameters()):
        raise DivergedError(state.step)
    began = time.perf_counter()
    groups: dict[str, Mapping[str, torch.Tensor]] = {
        "model": weights.tensors_of(live.model),
        "random": random_states(state.recipe.device),
    }
    if live.averaged is not None:
        groups["ema"] = weights.tensors_of(live.averaged)
    if state.best is not None and not (state.best.step == state.step and state.best.weights == live.kind):
        groups["best"] = live.best
    known, kept = live.watching.first_aid()
    state = replace(state, first_aid=known)
    if kept:
        groups["first_aid"] = kept
    checkpoint.save(live.folder / "checkpoints", state, groups, live.optimizer.state_dict())
    live.pace.saved, live.pace.saved_step = time.perf_counter(), state.step
    live.pace.saving = live.pace.saved - began


def say(live: Live, state: State, phase: Phase) -> None:
    """Tell the person where the training is."""
    if live.on_progress is None:
        return
    steps = state.recipe.epochs * live.per_epoch
    taken = state.step - live.pace.first_step
    elapsed = time.perf_counter() - live.pace.began
    last = state.history[-1] if state.history and not state.rows else None  # between two epochs
    pace = state.rows / state.epoch_seconds if state.epoch_seconds else 0.0
    live.on_progress(
        Progress(
            phase=phase,
            epoch=state.epoch,
            epochs=state.recipe.epochs,
            step=state.step,
            steps=steps,
            loss=last.loss if last else state.loss_sum / state.rows if state.rows else None,
            metrics=state.history[-1].metrics if state.history else (),
            rows_per_second=last.rows_per_second if last else pace,
            seconds_left=(steps - state.step) * elapsed / taken if taken else None,
            health=live.watching.line(),
        )
    )
