"""Show what a project's network will see: the record, and the page that is written."""

from __future__ import annotations

from pathlib import Path

from isograd.errors import RequestError
from isograd.files import write_text
from isograd.project.reading import Project, load
from isograd.project.river import begin
from isograd.records.preview import Preview
from isograd.render import html
from isograd.workbench.data.augment.preview import preview as look

__all__ = ["load", "preview", "write_preview"]

_OURS = '<meta name="generator" content="isograd'


def preview(project: Project, rows: int) -> Preview:
    """Some training rows as they are and as training will see them; raises what ``begin`` raises."""
    job = begin(project)
    return look(job.prepared, job.augment, seed=project.settings.seed, looks=rows)


def write_preview(project: Project, page: Path | None, rows: int) -> tuple[Path, Preview]:
    """Write the page, ``preview.html`` in the project's folder where none is named; gives its place and what it shows.

    An older page of isograd's own is written anew. Raises ``RequestError`` where something else is in the way.
    """
    place = page or project.folder / "preview.html"
    if place.exists() and (page is not None or _OURS not in place.read_text("utf-8", errors="replace")[:2000]):
        raise RequestError(f"{place} exists already and is not overwritten", where=str(place), remedy="--page another.html")
    found = preview(project, rows)
    write_text(place, html.preview_page(found))
    return place, found
