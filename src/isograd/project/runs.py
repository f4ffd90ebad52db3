"""The folders of a project's runs: new, unfinished, finished; which one a command means, and whether it may go on."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isograd.errors import DamagedError, RequestError, did_you_mean
from isograd.files import append_line, read_lines, write_text
from isograd.records import codec
from isograd.records.anatomy import Settings
from isograd.records.run import Environment, Epoch, Run

if TYPE_CHECKING:
    from isograd.project.reading import Project

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's plain files; nothing is read before it is asked for."""

    path: Path

    @property
    def bundle(self) -> Path:
        """Where the bundle of this run goes."""
        return self.path / "bundle"

    @property
    def report_page(self) -> Path:
        """The HTML page of this run."""
        return self.path / "report.html"

    def run(self) -> Run:
        """``run.json``; raises ``DamagedError`` where it is not one."""
        return self.read(Run, "run.json")

    def read(self, kind: type[Record], name: str) -> Record:
        """The record in a file of this folder; raises ``DamagedError``."""
        try:
            return codec.loads(kind, (self.path / name).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DamagedError(f"{self.path / name} cannot be read: {error}") from error

    def find(self, kind: type[Record], name: str) -> Record | None:
        """The record in a file of this folder, or nothing where the file is not there."""
        return self.read(kind, name) if (self.path / name).exists() else None

    def write(self, record: object, name: str) -> None:
        """Write a record as a file of this folder, whole or not at all."""
        write_text(self.path / name, codec.dumps(record) + "\n")

    def epochs(self) -> tuple[Epoch, ...]:
        """``metrics.jsonl``: one record an epoch."""
        journal = self.path / "metrics.jsonl"
        return tuple(codec.loads(Epoch, line) for line in read_lines(journal)) if journal.exists() else ()

    def note(self, line: str) -> None:
        """Append one dated line to ``journal.log``: what happened to this run."""
        append_line(self.path / "journal.log", f"{now()} {line}")


def now() -> str:
    """The present moment in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def all_runs(project_folder: Path) -> list[RunFolder]:
    """Every run of a project, oldest first."""
    found = [RunFolder(file.parent) for file in (project_folder / "runs").glob("*/run.json")]
    return sorted(found, key=lambda folder: (_number(folder.path.name), folder.path.name))


def named(project_folder: Path, name: str | None) -> RunFolder:
    """The run called ``name``, or the latest; raises ``RequestError`` where there is none."""
    runs = all_runs(project_folder)
    if not runs:
        raise RequestError(f"{project_folder} has no runs yet", remedy=f"isograd train {project_folder}")
    if name is None:
        return runs[-1]
    for run in runs:
        if name in (run.path.name, run.run().id):
            return run
    names = [run.path.name for run in runs]
    raise RequestError(
        f"there is no run {name!r} in {project_folder}", met=f"runs: {', '.join(names)}", remedy=did_you_mean(name, names)
    )


def open_run(
    project: Project, *, data: str, environment: Environment, model: str, parameters: int, new: bool = False
) -> tuple[RunFolder, bool]:
    """The run that a command means, and whether it goes on with an unfinished one.

    An unfinished run of the unchanged project goes on; after a finished one, or with ``new``, a new one begins. An unfinished
    run of a project that has changed since raises ``RequestError`` with the difference.
    """
    runs = all_runs(project.folder)
    if runs and not new and runs[-1].run().status != "finished":
        _refuse_changes(runs[-1], project, data, environment)
        run = replace(runs[-1].run(), status="running")
        runs[-1].write(run, "run.json")
        runs[-1].note("goes on")
        return runs[-1], True
    number = max((_number(folder.path.name) for folder in runs), default=0) + 1
    folder = RunFolder(project.runs / f"{project.settings.name}-{number:03d}")
    run = Run(
        id=uuid.uuid4().hex[:12],
        name=folder.path.name,
        task=project.settings.task,
        model=model,
        status="running",
        started=now(),
        environment=environment,
        fingerprint=project.fingerprint(),
        data=data,
        parameters=parameters,
        settings=project.flat(),
    )
    write_text(folder.path / "project.toml", project.text)
    folder.write(run, "run.json")
    folder.note("begins")
    return folder, False


def _number(name: str) -> int:
    match = re.search(r"-(\d+)$", name)
    return int(match.group(1)) if match else 0


def _refuse_changes(folder: RunFolder, project: Project, data: str, environment: Environment) -> None:
    run = folder.run()
    changes = difference(run.settings, project.flat())
    if run.data != data:
        changes.append(f"the data: fingerprint {run.data[:12]} then, {data[:12]} now")
    for name, then, here in (
        ("device", run.environment.device, environment.device),
        ("threads", run.environment.threads, environment.threads),
    ):
        if then != here:
            changes.append(f"{name}: {then} then, {here} now")
    if changes:
        raise RequestError(
            f"the unfinished run {run.name} began with another project; it can only go on unchanged",
            where=str(folder.path),
            met="; ".join(changes),
            remedy="undo the change to go on with it, or begin a new run with --new",
        )


def difference(then: Settings, now_: Settings) -> list[str]:
    """What differs between two resolved settings, one line a key.

    >>> difference((("a", 1), ("b", 2)), (("a", 1), ("b", 3)))
    ['b: 2 then, 3 now']
    """
    old, new = dict(then), dict(now_)
    return [
        f"{name}: {old.get(name, 'absent')} then, {new.get(name, 'absent')} now"
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


@contextlib.contextmanager
def unless_it_never_began(folder: RunFolder) -> Iterator[None]:
    """Remove a run whose request turns out to be wrong before its first checkpoint: there is nothing in it to go on with."""
    try:
        yield
    except RequestError:
        if not any((folder.path / "checkpoints").glob("[0-9]*")):
            shutil.rmtree(folder.path, ignore_errors=True)
            with contextlib.suppress(OSError):  # other runs are there
                folder.path.parent.rmdir()
        raise


@contextlib.contextmanager
def alone(folder: RunFolder) -> Iterator[None]:
    """Hold a run for this process; raises ``RequestError`` where another process has it. Freed by the system at any death."""
    try:
        import fcntl
    except ImportError:  # where the system has no such locks, two processes on one run are the person's care
        yield
        return
    with open(folder.path / "lock", "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RequestError(
                f"another isograd (process {file.read().strip() or 'unknown'}) is working on {folder.path.name}",
                where=str(folder.path),
                remedy="wait for it, stop it, or begin another run with --new",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
