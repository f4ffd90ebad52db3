"""The commands for data: inspect a source, take named steps to clean it, and show what the network will see."""

from __future__ import annotations

import shlex
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
    from isograd.project.inspecting import inspect_source, is_project, project_for
    from isograd.render.inspection import inspection_text

    found = inspect_source(path, target=target, query=query, files=files, label_pattern=label_pattern, page=page)
    if as_json:
        show.document(found)
    else:
        show.say(inspection_text(found))
        if page is not None:
            show.say(f"page  {page}")
        fix = next((doubt.fix for doubt in found.doubts if doubt.fix), None)
        made = None
        if not is_project(path):
            made = project_for(found, path, target=target, query=query, files=files, label_pattern=label_pattern)
            if made is None:
                show.say(f"Next: isograd data inspect {path} --target COLUMN   looks at what is to be foretold, too")
                return NO if found.alarms else OK
            show.say(f"\nA project that learns from it, {made[0] / 'isograd.toml'}:\n\n{made[1]}")
        project = path if made is None else made[0]
        mend = f"isograd data clean {project} --fix {shlex.quote(fix or '')}"
        show.say(f"Next: {mend if found.alarms and fix else f'isograd check {project}'}")
    return NO if found.alarms else OK


@command
def clean(
    project: Annotated[Path, typer.Argument(help="a folder with an isograd.toml, or the file itself")] = Path(),
    fix: Annotated[list[str] | None, typer.Option(help="a step, such as drop_duplicates or clip_outliers:age")] = None,
    steps: Annotated[bool, typer.Option("--steps", help="list all steps, and stop")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what the steps touch, and write nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")] = False,
) -> int:
    """Take named steps of cleaning, and write them into the project file; without one, propose some. Data is never changed."""
    from isograd.project import cleaning
    from isograd.project.reading import load
    from isograd.workbench.data import STEPS

    if steps:
        how = {"": "", "column": ":column", "argument": ":column=..."}
        known = [{"step": name + how[step.takes], "help": step.help} for name, step in STEPS.items()]
        if as_json:
            show.listing("steps", known)
        else:
            for one in known:
                show.say(f"{one['step']:<24} {one['help']}")
        return OK
    if not fix:
        proposed = cleaning.proposals(load(project))
        if as_json:
            show.listing("proposals", list(proposed))
        elif proposed:
            show.say("\n".join(f"--fix {shlex.quote(one)}" for one in proposed))
            show.say(f"Next: isograd data clean {project} --fix {shlex.quote(proposed[0])}   (isograd data inspect says why)")
        else:
            show.say(f"nothing to clean\nNext: isograd check {project}")
        return OK
    done = cleaning.clean(project, fix, write=not dry_run)
    if as_json:
        show.listing(
            "cleaned", [{"clean": done.steps, "touched": done.touched, "left": [d.summary for d in done.after.alarms]}]
        )
        return OK
    show.say("\n".join(done.touched))
    for doubt in done.after.alarms:
        show.say(f"still: {doubt.summary}")
    show.say(f"{'would write' if dry_run else 'wrote'}  {done.path}\nNext: isograd data inspect {project}")
    return OK


@command
def preview(
    project: Annotated[Path, typer.Argument(help="a folder with an isograd.toml, or the file itself")] = Path(),
    page: Annotated[
        Path | None, typer.Option(help="the page to write; preview.html in the project where it is left out")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=200, help="rows that are shown at most")] = 24,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="leave unreadable files and rows out")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document instead of writing a page")] = False,
) -> int:
    """Write a page with what the network will see: training rows as they are beside what augmentation makes of them."""
    from isograd.project import previewing

    loaded = previewing.load(project, skip_corrupt=skip_corrupt)
    if as_json:
        show.document(previewing.preview(loaded, rows))
        return OK
    place, found = previewing.write_preview(loaded, page, rows)
    show.say(f"{len(found.looks)} of {found.rows:,} training rows; changed by: {found.done or 'nothing'}")
    for warning in found.warnings:
        show.say(f"look closer: {warning}")
    show.say(f"page  {place}\nNext: isograd check {project}")
    return OK
