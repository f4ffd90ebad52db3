"""First aid in a running training: judge each step as it is made, log what is done, and go on from a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from isograd.errors import DamagedError
from isograd.health.first_aid import follow, judge
from isograd.health.rollback import shelter
from isograd.health.treating import attend, heeded
from isograd.ports import Guard
from isograd.records import codec
from isograd.records.aid import Action, AidState, Kind, Ranges, Reading

MOST = 100
"""Actions in a run where no number is given: more is no accident, and the run needs another cure."""


class Aiding:
    """Decides for a guard, and remembers."""

    def __init__(self, guard: Guard, most: int) -> None:
        self._guard, self._state = guard, AidState(most)
        self._told: Callable[[Action], None] | None = None

    @property
    def actions(self) -> tuple[Action, ...]:
        """What was done so far, in order."""
        return self._state.actions

    def attach(self, told: Callable[[Action], None]) -> None:
        """Begin; ``told`` hears of each action."""
        self._told = told
        self._guard.attach(self._decide)

    def detach(self) -> None:
        """The loop is over."""
        self._state = replace(self._state, pending=self._guard.pending)
        self._guard.detach()
        self._told = None

    def state_dict(self) -> dict[str, Any]:
        """All that it knows between two steps: text and plain values, and tensors while a treatment may have to be undone."""
        pending = self._state.pending if self._told is None else self._guard.pending
        kept = self._guard.kept()
        state = codec.dumps(replace(self._state, pending=pending))
        return {"state": state, "plain": kept.get("plain", {}), "tensors": kept.get("tensors", {})}

    def load_state_dict(self, given: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave; raises ``DamagedError`` for anything else."""
        text, tensors = given.get("state"), given.get("tensors", {})
        if not isinstance(text, str) or not isinstance(tensors, dict):
            raise DamagedError("this is not what state_dict() of a watch gave")
        state = codec.loads(AidState, text)
        self._state = replace(state, most=self._state.most)
        self._guard.pending, self._guard.lowered, self._guard.clip = state.pending, state.course.lowered, state.course.clip
        self._guard.keep({"tensors": tensors, "plain": given.get("plain", {})} if tensors else {})
        if len(state.optimizers) == 1:
            self._guard.heed(heeded(state.course, state.optimizers[0]))
        if state.over:
            self._guard.end()

    def _decide(self, place: int, reading: Reading, take_back: Callable[[], None]) -> None:
        """Judge a step; where a window ends, look at how the training goes."""
        state = self._state
        every = (*state.optimizers, *[Ranges()] * (place + 1 - len(state.optimizers)))
        verdict = judge(every[place], reading)
        ranges = follow(every[place], reading, verdict)
        self._state = replace(state, optimizers=(*every[:place], ranges, *every[place + 1 :]))
        if verdict.reason is not None:
            if not verdict.accept:
                take_back()
            kind: Kind = "accepted" if verdict.accept else "rejected"
            self._act(Action(ranges.taken, kind, verdict.reason, verdict.value, verdict.bound, verdict.what, place))
        if len(self._state.optimizers) == 1 and not self._state.over:  # the losses of several have no common course
            before = self._state.course
            course, ranges, gone = shelter(before, ranges, reading, verdict, self._guard.treat)
            if any(action.kind in ("back", "forth") for action in gone):
                self._guard.settle("back", undo=True)
            if before.refuge is not None and course.refuge is None:
                self._guard.settle("back", undo=False)
            course, actions = attend(course, ranges, self._guard.treat)
            if any(action.kind in ("tried", "undone") and action.what != "rate" for action in actions):
                ranges = replace(ranges, moves=())  # other updates are to be expected from here on
            self._state = replace(self._state, course=course, optimizers=(ranges,))
            for action in (*gone, *actions):
                if action.kind in ("kept", "undone"):
                    self._guard.settle(action.what, undo=action.kind == "undone")
                self._act(action)
            self._guard.heed(heeded(course, ranges))

    def _act(self, action: Action) -> None:
        self._tell(action)
        if len(self._state.actions) >= self._state.most:
            self._tell(Action(action.step, "ended", "limit", bound=float(self._state.most), optimizer=action.optimizer))
            self._state = replace(self._state, over=True)
            self._guard.end()

    def _tell(self, action: Action) -> None:
        self._state = replace(self._state, actions=(*self._state.actions, action))
        logging.getLogger("isograd").warning("first aid: %s", action.text)
        if self._told is not None:
            self._told(action)
