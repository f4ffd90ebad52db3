"""Gradient health beside a training: whatever goes wrong with the watching, the training goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        self, model: nn.Module, optimizer: Any, loss: Any, steps: int, recipe: Recipe, trace: Path, first_aid: str
    ) -> None:
        """Attach to the model and the optimizer; what is seen is appended to ``trace``, a recording a session.

        ``first_aid`` is what the checkpoint knows of it, "" at the start of a training.
        """

        def attach() -> None:
            from isograd.api import watch

            act = True if recipe.first_aid else None
            opened = watch(
                model, optimizer, loss=loss, steps=steps, budget=recipe.watch_budget, trace=trace, keep_start=False, act=act
            )
            if first_aid:
                opened.load_state_dict(json.loads(first_aid))
            opened.__enter__()
            self._watch = opened

        self._guarded(attach)

    def first_aid(self) -> str:
        """What first aid must know to go on from here, as JSON; "" where none is given."""
        found: list[str] = []

        def ask() -> None:
            state = self._watch.state_dict()
            found.append(json.dumps(state) if state else "")

        if self._watch is not None:
            self._guarded(ask)
        return found[0] if found else ""

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
