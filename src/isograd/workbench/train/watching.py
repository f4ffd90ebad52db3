"""Gradient health beside a training: whatever goes wrong with the watching, the training goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isograd.records.report import Report
from isograd.workbench.train.recipe import Recipe

_SHARE = 0.005  # of the time that may go into the line of health: reading it diagnoses all that was seen


class Watching:
    """A guarded ``isograd.watch``: silent and useless after its first failure, which it remarks once."""

    def __init__(self, remark: Callable[[str], None]) -> None:
        self._remark = remark
        self._watch: Any = None
        self._line = ""
        self._due = 0.0

    def begin(
        self, model: nn.Module, optimizer: Any, loss: Any, steps: int, recipe: Recipe, trace: Path, known: str, kept: Any
    ) -> None:
        """Attach to the model and the optimizer; what is seen is appended to ``trace``, a recording a session.

        ``known`` and ``kept`` are what the checkpoint has of ``first_aid``.
        """

        def attach() -> None:
            from isograd.api import watch

            act = True if recipe.first_aid else None
            opened = watch(
                model, optimizer, loss=loss, steps=steps, budget=recipe.watch_budget, trace=trace, keep_start=False, act=act
            )
            if known:
                opened.load_state_dict({**json.loads(known), "tensors": kept})
            opened.__enter__()
            self._watch = opened

        self._guarded(attach)

    def first_aid(self) -> tuple[str, dict[str, torch.Tensor]]:
        """What first aid must know to go on from here: JSON, "" where none is given, and tensors."""
        found: list[dict[str, Any]] = []
        if self._watch is not None:
            self._guarded(lambda: found.append(self._watch.state_dict()))
        if not found or not found[0]:
            return "", {}
        tensors = found[0].pop("tensors")
        return json.dumps(found[0]), tensors

    def took_back(self, step: int) -> bool:
        """Whether first aid took back the training's step ``step``."""
        actions = () if self._watch is None else self._watch.actions
        return any(action.kind == "rejected" and action.step == step for action in reversed(actions))

    def line(self) -> str:
        """One line of gradient health, refreshed as often as a small share of the time allows."""
        if self._watch is not None and time.perf_counter() >= self._due:
            self._guarded(self._refresh)
        return self._line

    def end(self) -> Report | None:
        """Detach and give the report; None where nothing was watched."""
        reports: list[Report] = []

        def finish() -> None:
            self._watch.__exit__(None, None, None)
            reports.append(self._watch.report().record)

        if self._watch is not None:
            self._guarded(finish)
        self._watch = None
        return reports[0] if reports else None

    def _refresh(self) -> None:
        started = time.perf_counter()
        self._line = self._watch.health_line()
        now = time.perf_counter()
        self._due = now + max(0.5, (now - started) / _SHARE)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - our watching never stops anybody's training
            self._watch = None
            self._remark(f"the gradients are no longer watched: {type(error).__name__}: {error}")
