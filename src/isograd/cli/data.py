"""The commands for data: inspect a source, and take named steps to clean it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isograd.cli import show
from isograd.cli.commands import command_of
from isograd.cli.status import NO, OK

app = typer.Typer(help="Look at data and clean it, before any training does.", no_args_is_help=True, rich_markup_mode=None)
command = command_of(app)


@command
def inspect(
    path: Annotated[str, typer.Argument(help="a project, or a source: a file, a folder, the URL of a database")] = ".",
    target: Annotated[str | None, typer.Option(help="the column to foretell")] = None,
    query: Annotated[str | None, typer.Option(help="the SQL query whose rows are the table")] = None,
    files: Annotated[str | None, typer.Option(help="the column that names the picture files")] = None,
    label_pattern: Annotated[str | None, typer.Option(help='how names tell their label: "{label}_{speaker}_{take}"')] = None,
    page: Annotated[Path | None, typer.Option(help="write an HTML page with pictures of what was found")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")] = False,
) -> int:
    """Say what is wrong with data before any training does; nothing is changed."""
    from isograd.project.inspecting import inspect_source
    from isograd.render.inspection import inspection_text

    found = inspect_source(path, target=target, query=query, files=files, label_pattern=label_pattern, page=page)
    if as_json:
        show.document(found)
    else:
        show.say(inspection_text(found))
        if page is not None:
            show.say(f"page  {page}")
        fix = next((doubt.fix for doubt in found.doubts if doubt.fix), None)
        show.say(f"Next: isograd check {path}" if not found.alarms or fix is None else f"Next: mend it, such as by {fix}")
    return NO if found.alarms else OK
