"""Inspect a project's data, or any source that is named: what it is asked with, and the page that is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from isograd.errors import RequestError
from isograd.files import write_text
from isograd.project.reading import FILE_NAME, Project, load
from isograd.records.inspection import Inspection
from isograd.render import html
from isograd.workbench import data


def source_of(project: Project) -> data.Source:
    """The source that a project names, with all that is said of it."""
    table = project.settings.data
    return data.Source(
        table.source,
        project.folder,
        target=table.target,
        query=table.query,
        files=table.files,
        label_pattern=table.label_pattern,
        image_size=table.image_size,
        memory=table.memory,
        sequence=table.sequence,
        time=table.time,
    )


def is_project(where: str) -> bool:
    """Whether a word names a project: a folder with a project file, or the file."""
    return Path(where).name == FILE_NAME or (Path(where) / FILE_NAME).is_file()


def project_for(found: Inspection, where: str, **given: str | None) -> tuple[Path, str] | None:
    """The folder and the first lines of a project for a source that was inspected; None where no column is the target yet.

    ``given`` is what was said of the source beside its place, by the keys of [data].

    >>> folder, text = project_for(Inspection("t.csv", "table", 9, "", "y", classes=("no", "yes")), "notes/t.csv", target="y")
    >>> str(folder), text.splitlines()
    ('notes', ['task = "classification"', '', '[data]', 'source = "t.csv"', 'target = "y"'])
    """
    if found.holds == "table" and found.target is None:
        return None
    others = [column for column in found.columns if column.name != found.target]
    texts = bool(others) and all(column.kind == "text" for column in others)
    of_table = ("text-classification" if texts else "classification") if found.classes else "regression"
    task = {"pictures": "image-classification", "recordings": "sound-classification"}.get(found.holds, of_table)
    named = "://" not in where and not where.startswith("builtin:") and bool(Path(where).name)
    target = {"target": found.target} if found.holds == "table" else {}
    lines = {"source": Path(where).name if named else where, **given, **target}
    said = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in lines.items() if value is not None)
    return Path(where).parent if named else Path(), f'task = "{task}"\n\n[data]\n{said}'


def inspect_source(
    where: str,
    *,
    target: str | None = None,
    query: str | None = None,
    files: str | None = None,
    label_pattern: str | None = None,
    page: Path | None = None,
) -> Inspection:
    """The inspection of a project (a folder with an isograd.toml, or the file) or of a source; ``page`` is written where named.

    What is said here comes before what the project says. Raises ``RequestError`` where ``page`` exists, and ``DataError``.
    """
    if page is not None and page.exists():
        raise RequestError(f"{page} exists already and is not overwritten", where=str(page), remedy="--page another.html")
    said = {"target": target, "query": query, "files": files, "label_pattern": label_pattern}
    given = {name: value for name, value in said.items() if value is not None}
    if is_project(where):
        project = load(Path(where))
        source = replace(source_of(project), **given)  # type: ignore[arg-type]
        table = project.settings.data
        found = data.inspect(source, task=project.settings.task, drop=table.drop, clean=table.clean)
    else:
        found = data.inspect(data.Source(where, Path(), **given))  # type: ignore[arg-type]
    if page is not None:
        write_text(page, html.inspection_page(found))
    return found
