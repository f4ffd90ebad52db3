"""How many harmful faults a watch notices, names and places, how soon, and what it says of the healthy twins.

    python benchmarks/detection.py [--side calibration|held-out|fresh] [--limit N] [--operator NAME] [--program NAME]
        [--no-twins]

Every kept case of benchmarks/results/faults_cases.json runs once more (seed 0) under ``isograd.watch`` with its default budget,
every healthy twin with five seeds. An alarm is a finding of severity "warning" or above in the final report. The held-out side
is for one run at the end, when nothing is tuned any more. Writes benchmarks/results/detection_<side>.json where nothing was
left out, else a file under .benchmarks/.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

from common import RESULTS, machine, table, write
from faults import expected, harm
from faults.grounds import OPERATORS, PROGRAMS
from faults.settings import Program
from looking import Look, look

TWIN_SEEDS = 5
WINDOW = 10
RISEN, FALLEN = 1.5, 0.9
"""The loss itself shows that something is wrong once it is not finite, once the median of ten stands 1.5 times as high as at
the start, or where after half of the planned steps it has not fallen to 0.9 times."""


@dataclass(frozen=True)
class Found:
    """What a watch said of one case: ``right`` and ``placed`` look at all alarms, ``first_right`` and ``first_placed`` at the
    one that a person reads first. ``wrong_since`` is the first step at which the fault acts, ``shown`` the step at which the
    loss alone shows that something is wrong. ``refused``: the watch itself would not begin, and said why. ``drop`` is how much
    skill this run itself has lost: a fault that does harm on the average may spare one seed.
    """

    key: str
    program: str
    operator: str
    family: str
    kind: str
    harm: str
    drop: float
    alarm: bool
    critical: bool
    refused: bool
    right: bool
    heading: bool
    first_right: bool
    placed: bool
    first_placed: bool
    wrong_since: int
    first_alarm_step: int | None
    shown: int | None
    steps: int
    diseases: tuple[str, ...]
    look: dict[str, Any]


class Eyes:
    """Passes a watch on and remembers what it was given."""

    def __init__(self, watch: Callable[..., Any]) -> None:
        self._watch = watch
        self.models: tuple[Any, ...] = ()
        self.optimizers: tuple[Any, ...] = ()
        self.watching: Any = None
        self.planned = 0

    def __call__(self, models: Any, optimizers: Any, *, steps: int) -> Any:
        """The watch itself."""
        self.models = tuple(models) if isinstance(models, tuple | list) else (models,)
        self.optimizers = tuple(optimizers) if isinstance(optimizers, tuple | list) else (optimizers,)
        self.planned = steps
        self.watching = self._watch(models, optimizers, steps=steps)
        return self.watching


def seen(program: Program, settings: Any, seed: int, budget: float | None = 0.03) -> tuple[Look, Eyes]:
    """One run under a watch, and what the watch was given."""
    eyes: list[Eyes] = []

    def run(watch: Callable[..., Any]) -> float:
        eyes.append(Eyes(watch))
        return program.train(settings, seed, eyes[-1])

    return look(run, budget), eyes[-1]


def detect(case: dict[str, Any]) -> Found:
    """Run one kept case under a watch, and judge what was said."""
    import torch

    torch.set_num_threads(1)
    program, operator = PROGRAMS[case["program"]], OPERATORS[case["operator"]]
    settings = operator.settings(program, case["strength"])
    if settings is None:
        raise SystemExit(f"{case['key']} is no case any more: run benchmarks/faults/build.py")
    said, eyes = seen(program, settings, 0)
    wanted = expected.of(operator.name, operator.family)
    alarms = [alarm for alarm in said.alarms if not alarm["resolved"]]
    right = [expected.disease_is_right(wanted, alarm["disease"]) for alarm in alarms]
    placed = [place_is_right(wanted.places, alarm, eyes) for alarm in alarms]
    return Found(
        case["key"],
        program.name,
        operator.name,
        operator.family,
        case["kind"],
        case["harm"],
        round(case["twin"] - (said.skill or 0.0), 4),
        bool(alarms) or refused(said, eyes),
        any(alarm["severity"] == "critical" for alarm in alarms),
        refused(said, eyes),
        any(right),
        any(expected.heading_is_right(wanted, alarm["disease"]) for alarm in alarms),
        right[:1] == [True],
        any(placed),
        placed[:1] == [True],
        settings.since,
        said.first_alarm_step,
        shown_by_loss(_losses(eyes), eyes.planned),
        said.steps,
        tuple(dict.fromkeys(alarm["disease"] for alarm in alarms)),
        asdict(said),
    )


def refused(said: Look, eyes: Eyes) -> bool:
    """Whether the watch would not begin and said so: its optimizer holds none of the model's parameters, say."""
    return eyes.watching is None and (said.raised or "").startswith("ModelError")


def healthy(task: tuple[str, int]) -> dict[str, Any]:
    """A healthy twin under a watch: every alarm is false."""
    import torch

    torch.set_num_threads(1)
    name, seed = task
    said, _ = seen(PROGRAMS[name], PROGRAMS[name].settings, seed)
    return {"program": name, "seed": seed, **asdict(said)}


def place_is_right(places: Iterable[str], alarm: dict[str, Any], eyes: Eyes) -> bool:
    """Whether a finding says that it is where the fault is: in words, or by a module of the kind, above or below it."""
    listed = [layer for layer in alarm["layers"] if layer]  # "" is the model itself, which may have parameters of its own
    named = [where for where in (alarm["where"], *listed[:1]) if where]
    for place in places:
        if place in ("data", "loss", "optimizer", "loop"):
            if place in named:
                return True
        elif any(_kin(where, path) for where in named for path in _paths(place, eyes)):
            return True
    return False


def _kin(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _paths(place: str, eyes: Eyes) -> list[str]:
    """Module paths that a place stands for; of several models each has its number before them, as in findings."""
    import torch

    held = {id(p) for optimizer in eyes.optimizers for group in optimizer.param_groups for p in group["params"]}
    paths = []
    for number, model in enumerate(eyes.models):
        weighted = [path for path, module in model.named_modules() if path and list(module.parameters(recurse=False))]
        if place == "any layer":
            found = [path for path, _ in model.named_modules() if path]
        elif place == "generator":
            found = [path for path, _ in model.named_modules() if path] if number == 0 else []
        elif place == "hidden":
            found = ["blocks"]
        elif place == "first":
            found = weighted[:1]
        elif place == "last":
            names = [path for path, _ in model.named_modules() if path]
            found = names[names.index(weighted[-1]) :] if weighted else []
        elif place == "recurrent":
            found = [path for path, module in model.named_modules() if isinstance(module, torch.nn.RNNBase)]
        else:  # starved
            found = [
                path
                for path in weighted
                if any(
                    id(parameter) not in held or not parameter.requires_grad or parameter.grad is None
                    for parameter in model.get_submodule(path).parameters(recurse=False)
                )
            ]
        paths += [f"{number}.{path}" if len(eyes.models) > 1 else path for path in found]
    return paths


def _losses(eyes: Eyes) -> list[tuple[int, float]]:
    if eyes.watching is None:
        return []
    return [(step.index, step.loss) for step in eyes.watching.trace.steps if step.loss is not None]


def shown_by_loss(losses: Sequence[tuple[int, float]], planned: int) -> int | None:
    """The first step at which a person who looks at nothing but the loss sees that it goes wrong; None: never.

    >>> shown_by_loss([(step, 1.0) for step in range(1, 101)], 100)
    50
    >>> shown_by_loss([(step, 1.0 / step) for step in range(1, 101)], 100) is None
    True
    """
    if not losses:
        return None
    start = statistics.median(value for _, value in losses[:WINDOW])
    for position, (step, value) in enumerate(losses):
        if not math.isfinite(value):
            return step
        if position < WINDOW:
            continue
        middle = statistics.median(value for _, value in losses[position - WINDOW + 1 : position + 1])
        if middle > start + (RISEN - 1.0) * abs(start):
            return step
        if step >= planned / 2 and middle > start - (1.0 - FALLEN) * abs(start):
            return step
    return None


def share(found: Sequence[Found], name: str) -> str:
    """How many have it, of how many."""
    return f"{sum(bool(getattr(one, name)) for one in found)}/{len(found)}"


COLUMNS = ("alarm", "right", "first_right", "placed", "first_placed", "heading")


def tables(found: Sequence[Found]) -> str:
    """Counts by family, operator and program, and in all."""
    parts = []
    for by in ("family", "operator", "program", "harm", "kind"):
        groups: dict[str, list[Found]] = defaultdict(list)
        for one in found:
            groups[getattr(one, by)].append(one)
        rows = [(name, *(share(group, column) for column in COLUMNS)) for name, group in sorted(groups.items())]
        if by == "kind":
            rows.append(("all", *(share(found, column) for column in COLUMNS)))
        parts.append(table(rows, (by, *COLUMNS)))
    return "\n\n".join(parts)


def summary(found: Sequence[Found], twins: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures: shares over all harmful cases, delay, what was found before the loss shows it, and false alarms."""
    alarmed, harmed = [one for one in found if one.alarm], [one for one in found if one.drop > harm.LEAST]
    timed = [one for one in alarmed if one.first_alarm_step is not None]
    delays = [max(0, (one.first_alarm_step or 0) - one.wrong_since) for one in timed]
    before = [one for one in timed if one.shown is None or (one.first_alarm_step or 0) < one.shown]
    false = [run for run in twins if any(not alarm["resolved"] for alarm in run["alarms"])]
    ever = [run for run in twins if run["alarms"]]
    return {
        "cases": len(found),
        **{name: round(sum(bool(getattr(one, name)) for one in found) / max(1, len(found)), 4) for name in COLUMNS},
        "harmed_in_this_run": len(harmed),
        "alarm_where_harmed_in_this_run": round(sum(one.alarm for one in harmed) / max(1, len(harmed)), 4),
        "missed": {one.key: one.drop for one in found if not one.alarm},
        "median_delay_steps": statistics.median(delays) if delays else None,
        "timed": len(timed),
        "before_the_loss_shows_it": round(len(before) / len(timed), 4) if timed else None,
        "twins": len(twins),
        "twins_with_a_false_alarm": len(false),
        "twins_with_one_that_was_taken_back": len(ever) - len(false),
        "false_alarms": [(run["program"], run["seed"], [alarm["disease"] for alarm in run["alarms"]]) for run in ever],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("calibration", "held-out", "fresh"), default="calibration")
    parser.add_argument("--limit", type=int, help="so many cases alone, spread over the list")
    parser.add_argument("--operator", help="cases of operators whose name holds this")
    parser.add_argument("--program", help="cases of this program alone")
    parser.add_argument("--no-twins", action="store_true", help="leave the healthy twins out")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    path = RESULTS / "faults_cases.json"
    side = json.loads(path.read_text("utf-8"))["result"][options.side]
    cases = [case for case in side["cases"] if (options.operator or "") in case["operator"]]
    cases = [case for case in cases if options.program in (None, case["program"])]
    if options.limit and options.limit < len(cases):
        cases = [cases[position * len(cases) // options.limit] for position in range(options.limit)]
    names = [name for name in side["twins"] if options.program in (None, name) and not options.no_twins]
    warnings.simplefilter("ignore")
    with get_context("spawn").Pool(options.workers) as pool:
        found = list(_told(pool.imap(detect, cases), len(cases), "faults"))
        tasks = [(name, seed) for name in names for seed in range(TWIN_SEEDS)]
        twins = list(_told(pool.imap(healthy, tasks), len(tasks), "healthy twins"))
    figures = summary(found, twins)
    result = {"figures": figures, "cases": [asdict(one) for one in found], "twins": twins}
    if len(cases) == len(side["cases"]) and len(names) == len(side["twins"]):
        where = write(f"detection_{options.side}", result)
    else:
        harm.LOG.parent.mkdir(exist_ok=True)
        where = harm.LOG.with_name(f"detection_{options.side}_part.json")
        where.write_text(json.dumps({"machine": machine(), "result": result}, indent=1) + "\n", encoding="utf-8")
    print(tables(found))
    print(json.dumps(figures, indent=1))
    print(where, file=sys.stderr)


def _told(results: Iterable[Any], total: int, title: str) -> Iterable[Any]:
    for count, one in enumerate(results, 1):
        if count % 10 == 0 or count == total:
            print(f"\r{title}: {count} of {total} ", end="", file=sys.stderr, flush=True)
        yield one
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
