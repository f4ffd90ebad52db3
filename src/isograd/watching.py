"""A watch as a person holds it: a recorder at work, its trace file, and what is wrong so far."""

from __future__ import annotations

import time
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from isograd import files
from isograd.health.diagnosis.exception import explained, in_a_line
from isograd.health.raising import known
from isograd.ports import Recorder
from isograd.records import codec
from isograd.records.finding import Finding
from isograd.records.trace import Meter, Trace
from isograd.reporting import Report, report_of

_BLOCK_SECONDS = 2.0
"""How often a watch writes what it saw to its trace file: what a killed program loses at most."""


class Watch:
    """A recorder at work: use it as a context manager around the loop; ask it at any time."""

    def __init__(self, recorder: Recorder, path: Path | None, loss: str | None = None) -> None:
        self._recorder = recorder
        self._path = path
        self._loss = loss
        self._headed = False
        self._remarks: list[str] = []
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._recorder.on_step = self._maybe_write
        self._recorder.attach()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What goes wrong here must not hide what went wrong in the loop, nor stop a training that went well.
        self._recorder.detach(error)
        self._write()
        if error is not None:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        """Add what is known of an exception to its traceback; the exception itself goes on as it is."""
        try:
            trace = self._recorder.trace()
            for step in trace.steps[-1:]:
                for fact in step.facts:
                    if fact.kind == "raised" and known(fact) and not getattr(error, "__notes__", None):
                        error.add_note(in_a_line(explained(fact, step.index)))
        except Exception as ours:  # noqa: BLE001 - what goes wrong here must not hide what went wrong in the loop
            self._remarks.append(f"the exception was not explained: {ours}")

    @property
    def trace(self) -> Trace:
        """All that was seen so far."""
        trace = self._recorder.trace()
        return trace if self._loss is None else replace(trace, anatomy=replace(trace.anatomy, loss=self._loss))

    @property
    def meter(self) -> Meter:
        """What the watching cost so far."""
        return self.trace.meter

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong so far."""
        return self.report().findings

    def report(self) -> Report:
        """Everything so far: findings, what theory foretold and what was measured."""
        return report_of("watch", self.trace, self._remarks)

    def health_line(self) -> str:
        """One line for beside a progress bar."""
        from isograd.render import text

        return text.health_line(self.report().record)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole trace to a file that ``diagnose`` reads. Raises ``StorageError``; what was there before stays."""
        trace = self.trace
        lines = [codec.dumps(replace(trace, steps=())), *map(codec.dumps, trace.steps)]
        files.write_text(Path(path), "\n".join(lines) + "\n")

    def _maybe_write(self, due: bool) -> None:
        if time.monotonic() - self._written >= _BLOCK_SECONDS:
            self._write()

    def _write(self) -> None:
        """Append what is new to the trace file; a disk that refuses costs the trace, never the training."""
        if self._path is None:
            return
        self._written = time.monotonic()
        lines = [codec.dumps(step) for step in self._recorder.take()]
        if lines and not self._headed:
            lines.insert(0, codec.dumps(replace(self.trace, steps=())))
        try:
            if lines:
                files.append_line(self._path, "\n".join(lines))
                self._headed = True
        except Exception as error:  # noqa: BLE001 - whatever the disk does, the training goes on
            self._remarks.append(f"the trace file is incomplete from here on: {error}")
            self._path = None
