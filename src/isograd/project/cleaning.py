"""Take steps of cleaning on a project's data, say what each touches, and write them into its project file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isograd.errors import ProjectError
from isograd.files import write_text
from isograd.project.inspecting import source_of
from isograd.project.reading import Project, key_lines, load, parse
from isograd.records.inspection import Inspection
from isograd.workbench import data

SKIP = "skip_corrupt"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was done: the steps of the file now, the new ones, what all of them touched, and what is doubtful after them."""

    path: Path
    steps: tuple[str, ...]
    added: tuple[str, ...]
    after: Inspection
    text: str

    @property
    def touched(self) -> tuple[str, ...]:
        """What each step touched, in words."""
        return tuple(remark for remark in self.after.remarks if remark.startswith("cleaned by "))


def proposals(project: Project) -> tuple[str, ...]:
    """The fixes that an inspection of the project's data names, worst first, without those that the file has already."""
    table = project.settings.data
    found = data.inspect(source_of(project), task=project.settings.task, drop=table.drop, clean=table.clean)
    known = {*table.clean, *([SKIP] if table.skip_corrupt else [])}
    return tuple(dict.fromkeys(doubt.fix for doubt in found.doubts if doubt.fix is not None and doubt.fix not in known))


def clean(where: Path, fixes: Sequence[str], *, write: bool = True) -> Cleaned:
    """Add steps to a project's own, take all of them on its data, and write them into its file (unless ``write`` is off).

    The data itself is never changed. Nothing is written where a step does not fit. Raises ``ProjectError`` and ``DataError``.
    """
    project = load(where)
    table = project.settings.data
    added = tuple(fix for fix in dict.fromkeys(fixes) if fix not in table.clean and fix != SKIP)
    for step in added:
        data.parse_step(step)
    steps = (*table.clean, *added)
    text = with_key(project.text, "clean", json.dumps(steps, ensure_ascii=False)) if added else project.text
    if SKIP in fixes and not table.skip_corrupt:
        text = with_key(text, SKIP, "true")
    changed = parse(text, project.path)
    if tuple(changed.settings.data.clean) != steps:
        raise ProjectError(
            f"{project.path.name} cannot be edited safely", where=str(project.path), remedy=f"clean = {json.dumps(steps)}"
        )
    after = data.inspect(source_of(changed), task=changed.settings.task, drop=table.drop, clean=steps)
    if write and text != project.text:
        write_text(project.path, text)
    return Cleaned(project.path, steps, added, after, text)


def with_key(text: str, key: str, value: str) -> str:
    r"""A project file with one key of its data table set; every other line, comments too, stays as it is.

    >>> with_key('[data]\nsource = "a.csv"  # mine\n[model]\n', "clean", '["drop_duplicates"]')
    '[data]\nsource = "a.csv"  # mine\nclean = ["drop_duplicates"]\n[model]\n'
    """
    lines = text.splitlines()
    places = key_lines(text)
    here = places.get(("data", key))
    if here is None:
        after = places.get(("data", "source"), places.get(("data",), 0))
        if not after or not re.match(r"\s*(source\s*=|\[\s*data\s*\])", lines[after - 1]):
            raise ProjectError("the project file has no [data] table that can be added to", remedy=f"{key} = {value}")
        return _joined([*lines[:after], f"{key} = {value}", *lines[after:]])
    later = [line for line in places.values() if line > here]
    end = min(later, default=len(lines) + 1) - 1
    while end > here and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return _joined([*lines[: here - 1], f"{key} = {value}", *lines[end:]])


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
