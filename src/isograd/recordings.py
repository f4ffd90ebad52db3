"""Read the file of a recording: its header, its steps, and what is to be said of how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from isograd.errors import DamagedError, RequestError
from isograd.records import codec
from isograd.records.trace import Step, Trace

_OURS = 'give a file that isograd.watch(..., trace="trace.jsonl") wrote'
_WHOLE = "take that line out, and what was recorded before and after it is read; or record the run again"


def read_trace(path: Path) -> tuple[Trace, list[str]]:
    """A trace, and remarks on it. Raises ``RequestError`` without a file, ``DamagedError`` for no trace or a newer one."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise RequestError(f"cannot read the trace {path}: {error.strerror or error}", where=str(path)) from error
    remarks = []
    lines = text.split("\n")
    if lines.pop():
        remarks.append("the last line was cut off while it was written and is left out")
    header: Trace | None = None
    steps: list[Step] = []
    recordings = 0
    for number, line in enumerate(lines, 1):
        with _line_of(path, number):
            if line.startswith('{"format":"isograd.Trace"'):
                found = codec.loads(Trace, line)
                if found.ended and header is not None and not header.ended:  # the end of the same recording
                    header = found
                else:
                    header, steps, recordings = found, [], recordings + 1
            elif header is None:
                raise DamagedError("this is not a trace: it does not begin with the header of one", remedy=_OURS)
            else:
                steps.append(codec.loads(Step, line))
    if header is None:
        raise DamagedError(
            f"{path} is not a trace: it is empty or was cut off in its first line", where=str(path), remedy=_OURS
        )
    if recordings > 1:
        remarks.append(f"the file holds {recordings} recordings, one after the other; this is the last")
    return replace(header, steps=tuple(steps)), remarks


@contextlib.contextmanager
def _line_of(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        fault = error.faults[0]
        raise DamagedError(f"{path}: {fault.what}", where=f"{path}, line {number}", remedy=fault.remedy or _WHOLE) from error
