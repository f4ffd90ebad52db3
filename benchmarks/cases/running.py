"""Run a project or a function in a process of its own, and keep what it found, took and held.

Nothing here loads a framework: the largest memory of a child counts from that of its parent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from isograd.records import codec
from isograd.records.report import Report
from isograd.records.run import Evaluation, Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, with its interval where there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        between = "" if self.low is None or self.high is None else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.name} {self.value:.4f}{between}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was trained, its figure, what it took, and what it is held against.

    ``cpu_minutes`` are of all cores together, ``peak_mb`` is the largest resident memory, ``health`` the verdict on the
    gradients of the training, with its alarms.
    """

    what: str
    figure: Figure
    goal: str
    cpu_minutes: float
    minutes: float
    peak_mb: float
    health: str
    beside: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """What is left of a project that was run."""

    folder: Path
    figures: dict[str, Figure]
    cpu_minutes: float
    minutes: float
    peak_mb: float
    health: str

    def row(self, what: str, name: str, goal: str, beside: Sequence[Figure] = ()) -> Row:
        """The line of the table that shows the figure ``name``."""
        took = round(self.cpu_minutes, 2), round(self.minutes, 2), round(self.peak_mb)
        return Row(what, self.figures[name], goal, *took, self.health, tuple(beside))


def run(
    work: Path,
    example: str,
    *,
    name: str = "",
    change: Callable[[str], str] = str,
    script: str = "",
    arguments: tuple[str, ...] = (),
) -> Ran:
    """Copy an example into ``work``, change its file, make its data by ``script``, and run it; a finished run is not repeated.

    What was interrupted goes on; time and memory are of all the processes that it took.
    """
    folder = work / (name or example.replace("/", "-"))
    spent = folder / "spent.jsonl"
    text = change((EXAMPLES / example / "isograd.toml").read_text("utf-8"))
    if not (folder / "isograd.toml").exists() or (folder / "isograd.toml").read_text("utf-8") != text:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("runs", "cache", "__pycache__"))
        (folder / "isograd.toml").write_text(text, "utf-8")
    if script and not spent.exists():
        subprocess.run([sys.executable, str(folder / script), *arguments, str(folder)], check=True)
    if not (folder / "done").exists():
        code, *took = measured([sys.executable, "-m", "isograd", "run", str(folder)])
        with spent.open("a", encoding="utf-8") as file:
            file.write(json.dumps(took) + "\n")
        if code not in (0, 1, 3):  # 1: a goal was missed, 3: nobody can say; the table does
            raise SystemExit(f"isograd run {folder} ended with {code}")
        (folder / "done").touch()
    return found(folder)


def found(folder: Path) -> Ran:
    """What the latest run of a project found."""
    latest, evaluation = latest_of(folder), evaluation_of(folder)
    figures = {metric.name: Figure(metric.name, metric.value, metric.low, metric.high) for metric in evaluation.metrics}
    took = [json.loads(line) for line in (folder / "spent.jsonl").read_text("utf-8").splitlines()]
    seconds = codec.loads(Run, (latest / "run.json").read_text("utf-8")).seconds
    cpu, peak = sum(cpu for cpu, _ in took), max(peak for _, peak in took)
    return Ran(folder, figures, cpu / 60, seconds / 60, peak, health_of(latest / "report.json"))


def latest_of(folder: Path) -> Path:
    """The folder of a project's latest run."""
    return max((folder / "runs").glob("*-[0-9][0-9][0-9]"), key=lambda place: place.name)


def evaluation_of(folder: Path) -> Evaluation:
    """What the latest run of a project found on its test part."""
    return codec.loads(Evaluation, (latest_of(folder) / "evaluation.json").read_text("utf-8"))


def told(*command: str | Path) -> tuple[Figure, ...]:
    """The figures that a script prints as one JSON object."""
    made = subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True)
    return tuple(Figure(name, value) for name, value in json.loads(made.stdout).items())


def foretold(folder: Path) -> str:
    """The first sentence of `isograd check`, before the first step of a training."""
    made = subprocess.run([sys.executable, "-m", "isograd", "check", str(folder)], check=False, capture_output=True, text=True)
    return " ".join(made.stdout.split("  ")[0].split())


def health_of(report: Path) -> str:
    """The verdict on a training: "healthy", or its alarms."""
    alarms = [finding for finding in codec.loads(Report, report.read_text("utf-8")).findings if finding.alarm]
    return ", ".join(f"{finding.disease} ({finding.severity})" for finding in alarms) or "healthy"


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """What a function gives in a fresh process, so that its memory is not that of the benchmark."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measured(command: list[str]) -> tuple[int, float, float]:
    """Exit status, CPU seconds and largest memory in MB of a process."""
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale


def mean_interval(name: str, values: Sequence[float]) -> Figure:
    """The mean over seeds with Student's 95 % interval.

    >>> print(mean_interval("gain", [0.01, 0.02, 0.03]))
    gain 0.0200 (-0.005 to 0.045)
    """
    import numpy as np
    from scipy.stats import t

    mean, half = float(np.mean(values)), float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return Figure(name, mean, mean - half, mean + half)
