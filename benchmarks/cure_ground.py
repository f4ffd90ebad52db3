"""A program of the grounds of faults that begins again from a seed: run once while it is written down, replayed from there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from cause import FEW, Replay, shuffled, watched
from cause_tape import Writer, batches_and_loss, judged_by
from faults.settings import Program, Settings
from isograd.errors import ModelError
from isograd.frameworks.torch.births import TorchBirths
from isograd.frameworks.torch.places import tensors_in
from isograd.frameworks.torch.preparing import rebatched
from isograd.health.case import case_of
from isograd.health.habits import loop_of


class Ground(TorchBirths):
    """What a cure asks of a program; ``LookupError`` for one that never begins or cannot be written down."""

    def __init__(self, program: Program, settings: Settings) -> None:
        super().__init__(lambda: None, None, lambda parameters: None)
        self.program, self.settings = program, settings
        watch = watched(program, settings)
        if watch is None:
            raise LookupError("it raises before its loop")
        self.loop = loop_of(case_of(watch.trace))
        self.taped: dict[int, tuple[Any, Any, Replay, Writer]] = {}

    def tape(self, seed: int) -> tuple[Any, Any, Replay, Writer]:
        """Batches, loss, the start and what was judged, of one seed."""
        if seed not in self.taped:
            while len(self.taped) > 1:
                self.taped.pop(next(one for one in self.taped if one != 0), None)
            replay, writer = self.written(self.settings, seed)
            batches, loss = batches_and_loss(writer)
            if len(batches) < FEW:
                raise LookupError("it raises in its first steps")
            self.taped[seed] = self.whole(batches, seed), loss, replay, writer
        return self.taped[seed]

    def written(self, settings: Settings, seed: int) -> tuple[Replay, Writer]:
        """A run that is written down; ``LookupError`` where it never begins."""
        writers: list[Writer] = []
        replay = Replay(writers)
        with judged_by(writers), contextlib.suppress(Exception):
            self.program.train(shuffled(settings), seed, replay)
        if not writers:
            raise LookupError((*replay.refused, "it raises before its loop")[0])
        for handle in writers[-1].handles:
            handle.remove()
        return replay, writers[-1]

    def whole(self, batches: list[Any], seed: int) -> list[Any]:
        """What the loader of a person holds: where batches are smaller than the twin's, the examples of as many of its steps.

        A run of single examples goes through a few hundred of them, and a trial with larger batches would have no others.
        """
        own, usual = (getattr(one, "batch", 0) for one in (self.settings, self.program.settings))
        if own >= usual:
            return batches
        with contextlib.suppress(LookupError, ModelError):
            _, writer = self.written(dataclasses.replace(self.settings, batch=usual), seed)
            more = rebatched(batches_and_loss(writer)[0], own, mixed=False)
            return more if len(more) > len(batches) else batches
        return batches

    @property
    def steps(self) -> int:
        """The length of the run that the program announces."""
        return self.tape(0)[2].steps

    def validation(self) -> list[Any] | None:
        """What the program itself is judged by, where it was seen; None where it was asked in parts, of which one was kept."""
        writer = self.tape(0)[3]
        lengths = {len(next(tensors_in(one), ())) for one in (writer.judged, writer.evaluated)}
        return [(writer.evaluated, writer.judged)] if len(lengths) == 1 and 0 not in lengths else None

    def check(self) -> tuple[bool, bool, tuple[str, ...]]:
        """The grounds are as they should be."""
        return True, False, ()

    def born(self, seed: int, batches: Sequence[Any]) -> Any:
        """The program at its start."""
        _, loss, replay, _ = self.tape(seed)
        made = replay.start.patient(batches, loss, self.loop, optimizer=replay.optimizer)
        return dataclasses.replace(made, seed=seed)
