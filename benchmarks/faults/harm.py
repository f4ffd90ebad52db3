"""Which faults do harm: five seeds of every case beside five of its healthy twin, and a rule that was fixed beforehand."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from faults.grounds import OPERATORS, PROGRAMS, Case, candidates
from faults.losses import UnknownLossError
from faults.settings import Program, Side, unwatched

SEEDS = 5
FIRST = 2
"""Seeds that every case gets; the others only where these do not say that it is harmless."""
HARMLESS = 0.025
"""A mean loss of skill over the first seeds below this, half of the least that counts, ends the case: harmless."""
LEAST, STRONG = 0.05, 0.3
GOOD = 0.5
"""Skill that a healthy program reaches with every seed, or the build stops: there is nothing to compare with."""
DEVIATIONS = 2.0
HEALTHY = "healthy"

LOG = Path(__file__).resolve().parents[2] / ".benchmarks" / "faults_runs.jsonl"


@dataclass(frozen=True)
class Run:
    """One finished training: its skill (0 where it raised), and the exception's first line where it did.

    ``entered``: it came as far as its loop. What raises before that no watch can see, and it is no case.
    """

    key: str
    seed: int
    print: str
    skill: float
    seconds: float
    raised: str | None = None
    entered: bool = True


@dataclass(frozen=True)
class Verdict:
    """What became of a case: ``harm`` is "strong", "moderate" or "none"."""

    key: str
    program: str
    operator: str
    strength: str
    side: str
    family: str
    kind: str
    harm: str
    skills: tuple[float, ...]
    twin: float
    drop: float
    deviation: float


def twin(program: Program) -> Case:
    """The healthy program, as a case with no fault in it."""
    healthy = next(iter(OPERATORS.values()))
    return Case(program, healthy, HEALTHY, program.settings)


def key_of(case: Case) -> str:
    """The name of a case; of a twin, the program's name and "healthy"."""
    return f"{case.program.name}:{HEALTHY}" if case.strength == HEALTHY else case.key


def fingerprint(program: Program, settings: Any) -> str:
    """A short hash of the settings and of the program's file: a finished run counts only while both mean the same."""
    file = inspect.getsourcefile(program.train)
    return hashlib.sha256(f"{settings!r}\n{_meaning(file or '')}".encode()).hexdigest()[:12]


@functools.cache
def _meaning(file: str) -> str:
    """The program without its comments and its layout."""
    return ast.dump(ast.parse(Path(file).read_text("utf-8")))


def train(name: str, settings: Any, seed: int, key: str) -> Run:
    """One training, unwatched; an exception is an outcome like any other."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    program, began, raised, entered = PROGRAMS[name], time.process_time(), None, list[int]()

    def watch(models: Any, optimizers: Any, *, steps: int) -> AbstractContextManager[Any]:
        entered.append(steps)
        return unwatched(models, optimizers, steps=steps)

    try:
        skill = program.train(settings, seed, watch)
    except UnknownLossError:
        raise
    except Exception as error:  # noqa: BLE001 - which exception a fault raises is what is asked
        skill, raised = 0.0, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
    seconds = round(time.process_time() - began, 3)
    return Run(key, seed, fingerprint(program, settings), round(skill, 4), seconds, raised, bool(entered))


def _star(task: tuple[str, Any, int, str]) -> Run:
    return train(*task)


def finished() -> dict[tuple[str, int], Run]:
    """The runs of the log, by case and seed; a last line that was cut off is left out."""
    found = {}
    if LOG.exists():
        for line in LOG.read_text("utf-8").splitlines():
            try:
                run = Run(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue
            found[run.key, run.seed] = run
    return found


def run_missing(cases: Iterable[Case], seeds: Iterable[int], workers: int, title: str) -> dict[tuple[str, int], Run]:
    """Run what the log lacks, append each as it ends, and give all runs."""
    done, seeds = finished(), tuple(seeds)
    tasks = []
    for case in cases:
        now = fingerprint(case.program, case.settings)
        for seed in seeds:
            old = done.get((key_of(case), seed))
            if old is None or old.print != now:
                tasks.append((case.program.name, case.settings, seed, key_of(case)))
    if not tasks:
        return done
    tasks.sort(key=lambda task: (hashlib.sha256(task[3].encode()).digest(), task[2]))  # what is done so far is a fair sample
    LOG.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    with get_context("spawn").Pool(workers) as pool, LOG.open("a", encoding="utf-8") as log:
        for count, run in enumerate(pool.imap_unordered(_star, tasks), 1):
            log.write(json.dumps(asdict(run)) + "\n")
            log.flush()
            done[run.key, run.seed] = run
            if count % 20 == 0 or count == len(tasks):
                left = (time.monotonic() - began) / count * (len(tasks) - count)
                print(
                    f"\r{title}: {count} of {len(tasks)} runs, {left / 60:.1f} min left ", end="", file=sys.stderr, flush=True
                )
    print(file=sys.stderr)
    return done


def verify(side: Side, workers: int) -> list[Verdict]:
    """Every candidate of a side beside its twin, the harmless ones given up early."""
    cases = candidates(side)
    twins = {case.program.name: twin(case.program) for case in cases}
    runs = run_missing(twins.values(), range(SEEDS), workers, f"{side}, healthy")
    sick = [run for run in runs.values() if run.key.endswith(f":{HEALTHY}") and (run.raised or run.skill < GOOD)]
    if sick:
        raise SystemExit(f"a healthy program is not healthy: {sick[0]}")
    runs = run_missing(cases, range(FIRST), workers, f"{side}, first {FIRST} seeds")
    open_cases = [case for case in cases if _mean_drop(case, runs) >= HARMLESS]
    runs = run_missing(open_cases, range(FIRST, SEEDS), workers, f"{side}, other seeds")
    going_on = {case.key for case in open_cases}
    return [judge(case, runs, SEEDS if case.key in going_on else FIRST) for case in cases]


def verdicts_so_far(side: Side) -> list[Verdict]:
    """The verdicts that the log already allows; trains nothing."""
    runs, verdicts = finished(), []
    for case in candidates(side):
        now = fingerprint(case.program, case.settings)
        seeds = [seed for seed in range(SEEDS) if (run := runs.get((case.key, seed))) is not None and run.print == now]
        known = all((f"{case.program.name}:{HEALTHY}", seed) in runs for seed in range(SEEDS))
        if known and len(seeds) == SEEDS:
            verdicts.append(judge(case, runs, SEEDS))
        elif known and seeds[:FIRST] == list(range(FIRST)) and _mean_drop(case, runs) < HARMLESS:
            verdicts.append(judge(case, runs, FIRST))
    return verdicts


def _mean_drop(case: Case, runs: dict[tuple[str, int], Run]) -> float:
    healthy = f"{case.program.name}:{HEALTHY}"
    return statistics.fmean(runs[healthy, seed].skill - runs[case.key, seed].skill for seed in range(FIRST))


def judge(case: Case, runs: dict[tuple[str, int], Run], seeds: int) -> Verdict:
    """The rule on the runs of one case."""
    healthy = [runs[f"{case.program.name}:{HEALTHY}", seed].skill for seed in range(SEEDS)]
    own = [runs[case.key, seed] for seed in range(seeds)]
    skills = tuple(run.skill for run in own)
    drop, deviation = statistics.fmean(healthy) - statistics.fmean(skills), pooled(healthy, skills)
    harm = severity(drop, deviation) if seeds == SEEDS and all(run.entered for run in own) else "none"
    raises = sum(run.raised is not None for run in own) > seeds / 2
    return Verdict(
        case.key,
        case.program.name,
        case.operator.name,
        case.strength,
        case.program.side,
        case.operator.family,
        "raises" if raises else "fails",
        harm,
        skills,
        round(statistics.fmean(healthy), 4),
        round(drop, 4),
        round(deviation, 4),
    )


def pooled(first: Sequence[float], second: Sequence[float]) -> float:
    """Standard deviation over seeds, pooled over the twin's and the fault's: the root of the mean of the two variances.

    >>> pooled([0.0, 2.0], [5.0, 5.0])
    1.0
    """
    return math.sqrt((statistics.variance(first) + statistics.variance(second)) / 2)


def severity(drop: float, deviation: float) -> str:
    """The rule: harmful where the loss of mean skill is above max(.05, 2 deviations), strong above .3.

    >>> severity(0.4, 0.1), severity(0.1, 0.01), severity(0.1, 0.1)
    ('strong', 'moderate', 'none')
    """
    if drop <= max(LEAST, DEVIATIONS * deviation):
        return "none"
    return "strong" if drop > STRONG else "moderate"


def record(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain dictionaries, the program's and the operator's in the order of the lists."""
    return [asdict(verdict) for verdict in verdicts]
