"""Run a program plain or under a watch and write down what was said: the one way to look at a program of the grounds.

A program is a function that takes ``watch`` and gives its final skill. It enters ``watch(models, optimizers, steps=planned)``
once around its loop; what that is (nothing, isograd, a rival) it does not know.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import isograd

Watching = Callable[..., contextlib.AbstractContextManager[Any]]
Program = Callable[[Watching], float]
Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Look:
    """What a watch said of one run.

    ``alarms`` are the findings of severity "warning" and above in the final report and those that were given on the way and
    taken back (``resolved``); each has ``given``, the step in which a person heard of it, None where it was in the final report
    alone. ``first_alarm_step`` is the earliest of them. ``raised`` names the exception that ended the program, ``stopped``
    our own error that ended the watching, and ``share`` is the recorder's own figure of its cost.
    """

    skill: float | None
    raised: str | None
    steps: int
    alarms: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    first_alarm_step: int | None
    stopped: str | None
    share: float
    seconds: float


def unwatched(*_: Any, **__: Any) -> contextlib.AbstractContextManager[Any]:
    """The watch that watches nothing.

    >>> with unwatched("model", "optimizer", steps=3) as seen:
    ...     seen is None
    True
    """
    return contextlib.nullcontext()


def plain(program: Program) -> tuple[float | None, str | None]:
    """Final skill (None where it is no number) and the name of the exception that ended the run, if one did."""
    try:
        skill = float(program(unwatched))
    except Exception as error:  # noqa: BLE001 - faulty programs raise; that is their result
        return None, f"{type(error).__name__}: {error}"[:300]
    return (skill if math.isfinite(skill) else None), None


def look(program: Program, budget: float | None = 0.03) -> Look:
    """One run under ``isograd.watch``; what the program raises is part of the result."""
    given: list[tuple[int, Any]] = []
    watches: list[Any] = []

    def heard(finding: Any) -> None:
        given.append((watches[-1].meter.steps, finding))

    def watch(models: Any, optimizers: Any = None, *, steps: int | None = None) -> Any:
        extra: dict[str, Any] = {"on_finding": heard} if _TELLS else {}
        watches.append(isograd.watch(models, optimizers, steps=steps, budget=budget, **extra))
        return watches[-1]

    skill, raised, start = None, None, time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, _quiet():
        warnings.simplefilter("always")
        try:
            skill = float(program(watch))
        except Exception as error:  # noqa: BLE001 - as above
            raised = f"{type(error).__name__}: {error}"[:300]
    seconds = time.perf_counter() - start
    stopped = [str(one.message) for one in caught if str(one.message).startswith("isograd")]
    if not watches:
        return Look(skill, raised, 0, (), (), None, "the program entered no watch", 0.0, seconds)
    report, meter = watches[-1].report(), watches[-1].meter
    alarms = _alarms(report.findings, given)
    told = [alarm["given"] for alarm in alarms if alarm["given"] is not None]
    return Look(
        skill if skill is None or math.isfinite(skill) else None,
        raised,
        meter.steps,
        tuple(alarms),
        tuple(sorted({finding.disease for finding in report.findings if not finding.alarm})),
        min(told, default=None),
        stopped[0] if stopped else None,
        meter.share,
        seconds,
    )


def each(work: Callable[[Job], Done], jobs: Sequence[Job], workers: int = 1) -> Iterator[Done]:
    """What ``work`` makes of every job, in their order; progress goes to stderr. ``work`` and the jobs have to be picklable.

    >>> list(each(abs, [-1, 2]))
    [1, 2]
    """
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        results: Iterator[Done]
        if workers > 1:
            results = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers)).imap(work, jobs)
        else:
            results = map(work, jobs)
        for count, done in enumerate(results, 1):
            if sys.stderr.isatty() or count % 20 == 0 or count == len(jobs):
                spent = time.monotonic() - start
                left = spent / count * (len(jobs) - count) / 60
                print(f"{count}/{len(jobs)} done, {spent / 60:.1f} min, {left:.1f} min to go", file=sys.stderr, flush=True)
            yield done


class Journal:
    """Finished runs in a file of lines that is only appended to; a line that was cut off is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[tuple[str, str], dict[str, Any]] = {}
        text = path.read_text("utf-8") if path.exists() else ""
        for line in text.split("\n")[:-1]:
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                self._records[record["key"], record["fingerprint"]] = record

    def get(self, key: str, fingerprint: str) -> dict[str, Any] | None:
        """The run of that name, done with that version of its program."""
        return self._records.get((key, fingerprint))

    def add(self, record: dict[str, Any]) -> None:
        """Append one run; it has a ``key`` and a ``fingerprint``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._records[record["key"], record["fingerprint"]] = record
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _alarms(final: Any, given: list[tuple[int, Any]]) -> list[dict[str, Any]]:
    first: dict[tuple[str, str], int] = {}
    for step, finding in given:
        if finding.alarm:
            first.setdefault((finding.disease, finding.where), step)
    last = [finding for finding in final if finding.alarm]
    kept = {(finding.disease, finding.where) for finding in last}
    gone = {(f.disease, f.where): f for _, f in given if f.alarm and (f.disease, f.where) not in kept}
    return [_written(finding, first.get((finding.disease, finding.where)), resolved=False) for finding in last] + [
        _written(finding, first[key], resolved=True) for key, finding in gone.items()
    ]


def _written(finding: Any, given: int | None, *, resolved: bool) -> dict[str, Any]:
    record = asdict(finding)
    kept = ("disease", "severity", "confidence", "where", "layers", "source", "since", "summary", "cause")
    evidence = [{"signal": one["signal"], "value": one["value"], "bound": one["bound"]} for one in record["evidence"]]
    return {name: record[name] for name in kept} | {"given": given, "resolved": resolved, "evidence": evidence}


@contextlib.contextmanager
def _quiet() -> Any:
    """Our own errors come back as ``stopped``; their tracebacks are not for the terminal of a benchmark."""
    logger = logging.getLogger("isograd")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


_TELLS = "on_finding" in inspect.signature(isograd.watch).parameters
