"""``isograd cure --explain``: the cause of a program or a project, with the trials on stderr and the answer on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from isograd.cli import show
from isograd.cli.calling import made_by
from isograd.cli.status import CANNOT_SAY, INTERRUPTED, NO, OK
from isograd.records.cause import Explanation

STATUS = {"healthy": OK, "cause": NO, "no signal": NO, "unknown": CANNOT_SAY, "interrupted": INTERRUPTED}
"""Exit status by answer."""


def explained(project: str, budget: str | None, *, as_json: bool = False) -> int:
    """Name the cause of what ``project`` (a folder, or module:function) makes; gives the exit status."""
    from isograd import api
    from isograd.project import reading, river

    by_function = ":" in project and not Path(project).exists()
    made = made_by(project) if by_function else river.program(reading.load(Path(project)))
    report = api.name_cause(**made, budget=_budget(budget), on_progress=_progress)
    found = report.cause
    assert found is not None
    show.say(report.to_json() if as_json else f"{report}\nNext: {_next(found, project)}")
    return INTERRUPTED if found.interrupted else STATUS[found.answer]


def _budget(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.strip().isdigit() else text


def _progress(spent: int, allowed: int, told: str) -> None:
    if sys.stderr.isatty():
        share = f"{spent:,} of {allowed:,} steps" if allowed < 1_000_000_000 else f"{spent:,} steps"
        print(f"\r\x1b[K{share}: {told[:60]}", end="", file=sys.stderr, flush=True)


def _next(found: Explanation, project: Any) -> str:
    if found.causes:
        return f"make the change, then isograd check {project}"
    if found.answer == "healthy":
        return "isograd.watch(model) around the training loop"
    return f"isograd cure --explain {project} --budget {2 * found.spent} for longer trials"
