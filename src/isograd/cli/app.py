"""The commands: each parses its arguments, calls one function of the project and shows what it gives."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from isograd import __version__
from isograd.cli import show
from isograd.cli.calling import called
from isograd.cli.commands import command_of, debugging
from isograd.cli.data import app as data_app
from isograd.cli.status import CANNOT_SAY, INTERRUPTED, NO, OK
from isograd.errors import RequestError
from isograd.render.wording import duration

app = typer.Typer(
    name="isograd",
    help="From raw data to a deployed model, with every gradient watched.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
command = command_of(app)
app.add_typer(data_app, name="data")

Project = Annotated[Path, typer.Argument(help="a folder with an isograd.toml, or the file itself")]
Deep = Annotated[
    bool, typer.Option("--deep", help="try some tens of small steps as well, for the price of some 50 steps of the run")
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document instead of text")]
Name = Annotated[str | None, typer.Option("--run", help="the name or id of a run; the latest where it is left out")]
New = Annotated[bool, typer.Option("--new", help="begin a new run, even where one is unfinished")]
SkipCorrupt = Annotated[bool, typer.Option("--skip-corrupt", help="leave unreadable files and rows out, and list them")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show the resolved settings and the steps, and stop")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of a failure")] = False,
) -> None:
    """From raw data to a deployed model, with every gradient watched."""
    debugging["on"] = debug
    if version:
        show.say(f"isograd {__version__}")
        raise typer.Exit(OK)


@command
def demo(
    folder: Annotated[Path, typer.Option(help="where its two projects are written")] = Path("isograd-demo"),
) -> int:
    """The whole river on a bundled data set, in about a minute."""
    from isograd.cli.demo import act_one, act_two, closing
    from isograd.project.demo import write_projects

    digits, sigmoid = write_projects(folder)
    bundle, samples = act_one(digits)
    act_two(sigmoid)
    closing(digits, bundle, samples)
    return OK


@command
def doctor(as_json: Json = False) -> int:
    """What this machine has, and a proof that it works."""
    from isograd.cli.doctor import examine

    checks = examine()
    if as_json:
        show.listing("doctor", [asdict(check) for check in checks])
    else:
        for check in checks:
            show.say(check.line())
        show.say(
            "Next: isograd demo"
            if all(check.fine or check.optional for check in checks)
            else "Mend what is marked, then: isograd doctor"
        )
    return OK if all(check.fine or check.optional for check in checks) else NO


@command
def check(
    project: Annotated[str, typer.Argument(help="a project, or module:function")] = ".",
    deep: Deep = False,
    skip_corrupt: SkipCorrupt = False,
    as_json: Json = False,
) -> int:
    """Preflight: will this train? Nothing is written."""
    from isograd import api
    from isograd.project import reading, river

    where = Path(project)
    if ":" in project and not where.exists():
        made = called(project)
        report = api.check(*made, deep=deep) if isinstance(made, tuple) else api.check(made)
        after = "isograd.watch(model) around the training loop"
    else:
        report = river.check(reading.load(where, skip_corrupt=skip_corrupt), deep=deep, remark=show.tell)
        after = (
            f"isograd train {project}"
            if report.healthy
            else f"isograd cure {project}   tries the repairs and proves which one works"
        )
    show.say(report.to_json() if as_json else f"{report}\nNext: {after}")
    fails = report.forecast is not None and report.forecast.answer == "will fail"
    return OK if report.healthy and not fails else NO


@command
def cure(
    project: Annotated[str, typer.Argument(help="a project, or module:function")] = ".",
    explain: Annotated[bool, typer.Option("--explain", help="name the cause by experiment; prove nothing")] = False,
    budget: Annotated[str | None, typer.Option("--budget", help='"5min", steps (5000) or "20 runs", the usual')] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", help="module:function that gives batches to judge by")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="write a proven change into the file; a backup stays")] = False,
    new: Annotated[bool, typer.Option("--new", help="begin with fresh weights, even where a run is unfinished")] = False,
    processes: Annotated[int | None, typer.Option("--processes", min=1, help="trials at a time; usual: one a core")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Find the smallest change that makes it train, and prove it; goes on where it was interrupted."""
    from isograd.cli.cure import cured, explained
    from isograd.errors import RequestError

    if explain:
        options = {"--write": write, "--dry-run": dry_run, "--validation": validation, "--new": new}
        beside = [name for name, given in options.items() if given]
        if beside:
            raise RequestError(f"--explain names the cause and goes without {beside[0]}", remedy="leave --explain out")
        return explained(project, budget, as_json=as_json)
    return cured(project, budget, validation, write=write, dry_run=dry_run, new=new, processes=processes, as_json=as_json)


@command
def train(
    project: Project = Path(),
    new: New = False,
    skip_corrupt: SkipCorrupt = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Train, or go on with an unfinished run."""
    from isograd.project import reading, river

    loaded = reading.load(project, skip_corrupt=skip_corrupt)
    if dry_run:
        return _dry_run(loaded, ["train"], as_json)
    with show.progress_bar(quiet=as_json) as bar:
        folder = river.run_training(loaded, new=new, on_progress=bar)
    run = folder.run()
    if as_json:
        show.document(run)
    elif run.status == "stopped":
        show.say(f"{run.name} stopped in epoch {run.epochs + 1}; isograd train {project} goes on from there")
    else:
        name, value = run.best_metric or ("", 0.0)
        show.say(
            f"{run.name}: {run.epochs} epochs in {duration(run.seconds)}; best {name} {value:.4g} on validation "
            f"in epoch {run.best_epoch}\nreport  {folder.report_page}\nNext: isograd evaluate {project}"
        )
    return INTERRUPTED if run.status == "stopped" else OK


def _dry_run(project: Any, steps: list[str], as_json: bool) -> int:
    from isograd.project.reading import flatten
    from isograd.project.sizing import foreseen
    from isograd.workbench.models import checked

    model = project.settings.model
    given = model.model_extra or {}
    known = given if ":" in model.kind else checked(model.kind, given)
    options = {f"model.{name}": value for name, value in known.items()}
    settings = {**dict(flatten(options)), **dict(project.flat())}
    suited = foreseen(project)
    if as_json:
        show.listing("plan", [{"settings": settings, "steps": steps, "suited": suited}])
    else:
        for name, value in settings.items():
            # Lists and what is not set are JSON text already; a word is shown with the quotes it needs in the file.
            plain = isinstance(value, str) and (value.startswith("[") or value == "null")
            show.say(f"{name} = {value if plain else json.dumps(value, ensure_ascii=False)}")
        if settings["augment.policy"] == "auto":
            show.say(f"augment.* = null: what suits the data; isograd data preview {project.path.parent} shows it")
        for line in suited:
            show.say(line)
        show.say(f"steps: {', '.join(steps)}; nothing was written")
    return OK


@command
def evaluate(
    project: Project = Path(),
    run: Name = None,
    part: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    as_json: Json = False,
) -> int:
    """Figures with intervals on data that training never saw."""
    from isograd.project import river
    from isograd.project.goals import check_goals, verdicts
    from isograd.project.reading import load

    if part not in ("train", "validation", "test"):
        raise RequestError(f"there is no part {part!r}", remedy="--part train, validation or test")
    loaded = load(project)
    check_goals(loaded)
    folder, result = river.evaluate_run(loaded.folder, run, part)
    goals = verdicts(loaded, result) if part == "test" else ()
    if as_json:
        show.document(result)
    else:
        from isograd.cli.words import evaluation_lines

        show.say("\n".join(evaluation_lines(result, goals)))
        show.say(f"report  {folder.report_page}\nNext: isograd export {project}")
    return _goal_status(goals)


def _goal_status(goals: tuple[tuple[str, float, str], ...]) -> int:
    verdicts = {verdict for _, _, verdict in goals}
    return NO if "not met" in verdicts else CANNOT_SAY if "undecided" in verdicts else OK


@command
def export(
    project: Project = Path(),
    run: Name = None,
    to: Annotated[Path | None, typer.Option(help="the bundle's folder; in the run's folder where it is left out")] = None,
    as_json: Json = False,
) -> int:
    """Put the best weights, the preprocessing and a model card into one folder."""
    from isograd.project import river
    from isograd.project.reading import load

    target, bundle = river.export_run(load(project).folder, run, to)
    if as_json:
        show.document(bundle)
    else:
        show.say(
            f"bundle  {target}: {len(bundle.files)} files; ONNX and torch differ by at most {bundle.max_difference:.1e} on "
            f"{bundle.compared_rows} rows\nNext: isograd predict {target} FILE..."
        )
    return OK


@command
def run(
    project: Project = Path(),
    new: New = False,
    skip_corrupt: SkipCorrupt = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Check, train, evaluate, export and report, in order; goes on where it was interrupted."""
    from isograd.cli.words import evaluation_lines
    from isograd.project import reading, river
    from isograd.project.goals import verdicts

    loaded = reading.load(project, skip_corrupt=skip_corrupt)
    if dry_run:
        return _dry_run(loaded, ["check", "train", "evaluate", "export"], as_json)
    report = river.check(loaded)
    if not as_json:
        show.say(str(report))
    with show.progress_bar(quiet=as_json) as bar:
        folder = river.run_training(loaded, new=new, on_progress=bar)
    if folder.run().status == "stopped":
        show.tell(f"stopped; isograd run {project} goes on from there")
        return INTERRUPTED
    _, result = river.evaluate_run(loaded.folder, folder.path.name)
    target, _ = river.export_run(loaded.folder, folder.path.name)
    goals = verdicts(loaded, result)
    if as_json:
        show.document(result)
    else:
        show.say("\n".join(evaluation_lines(result, goals)))
        show.say(f"report  {folder.report_page}\nbundle  {target}\nNext: isograd predict {target} FILE...")
    return _goal_status(goals)


@command
def predict(
    bundle: Annotated[Path, typer.Argument(help="a bundle's folder")],
    inputs: Annotated[list[str], typer.Argument(help="pictures, folders or tables, as in training")],
    skip_corrupt: SkipCorrupt = False,
    memory: Annotated[int, typer.Option(min=64, help="MiB that reading may take; larger input is read in pieces")] = 1024,
    as_json: Json = False,
) -> int:
    """Use a bundle from the command line; every file of it is checked against its hash first."""
    from isograd.cli.words import answer_line
    from isograd.project.predicting import predictions

    found = predictions(bundle, inputs, skip_corrupt=skip_corrupt, memory=memory, remark=show.tell)

    def answers() -> Iterator[list[dict[str, Any]]]:
        for some, skipped in found:
            if some:
                yield some
            for item in skipped:
                show.tell(f"left out: {item.name}: {item.reason}")

    if as_json:
        show.listing("predictions", itertools.chain.from_iterable(answers()))
    else:
        for some in answers():
            show.say("\n".join(map(answer_line, some)))
    return OK


@command
def report(project: Project = Path(), run: Name = None, as_json: Json = False) -> int:
    """Write a run's page again and say where it is."""
    from isograd.project import river
    from isograd.project.reading import load
    from isograd.project.runs import named

    folder = named(load(project).folder, run)
    path = river.write_report(folder)
    if as_json:
        show.listing("report", [{"run": folder.path.name, "path": str(path)}])
    else:
        show.say(f"report  {path}\nNext: open it in a browser, or isograd export {project}")
    return OK


@command
def runs(project: Project = Path(), as_json: Json = False) -> int:
    """List the runs of a project."""
    from isograd.cli.words import run_lines
    from isograd.project.runs import all_runs
    from isograd.records.codec import to_document

    found = [folder.run() for folder in all_runs(project if project.is_dir() else project.parent)]
    if as_json:
        show.listing("runs", [to_document(record) for record in found])
    elif found:
        show.say("\n".join(run_lines(found)))
        show.say(f"Next: isograd report {project} --run {found[-1].name}")
    else:
        show.say(f"no runs yet\nNext: isograd train {project}")
    return OK


@command
def schema() -> int:
    """Print the JSON Schema of isograd.toml."""
    from isograd.project.settings import json_schema
    from isograd.workbench.models import OPTIONS

    show.say(json.dumps(json_schema(OPTIONS), indent=2))
    return OK
