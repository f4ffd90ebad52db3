"""Two public tools on the same programs as isograd: what they flag of trainings that go well, and of harmful faults.

    python benchmarks/rivals.py --side calibration --limit 40

torchmortem 0.1.1 and traintools 0.6.2 are installed into a virtual environment of their own, ``.benchmarks/rivals``, which
borrows torch from the one that runs this. Each is used as its README says, at its defaults, and the loops stay as they are:
what a person would write into the loop is done from an optimizer's step hooks and around ``backward``.

What counts as an alarm, by each tool's own scale: torchmortem, a finding of severity WARNING or CRITICAL in the report at the
end; traintools, a report of its gradient or batch monitor that is not ``ok``, in any step ("any") or in a tenth of the steps at
least ("tenth"), or a layer that its plasticity probe calls critical ("monitors" leaves the probe out); isograd, a finding of
severity "warning" or above. ``broken`` are runs that end in an exception under the tool and not without it, ``changed`` those
whose final skill is another one, ``failed`` those in which the tool's own call raised (which the harness catches).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import sysconfig
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from common import RESULTS, table, write
from false_alarms import bound, healthy_runs
from healthy.catalogue import SIDES, Run
from looking import Program, look, plain

HOME = Path(__file__).resolve().parents[1]
PLACE = HOME / ".benchmarks" / "rivals"
WHEELS = ("torchmortem==0.1.1", "traintools==0.6.2")
TOOLS = ("torchmortem", "traintools", "isograd")


class Torchmortem:
    """``with Autopsy(model, optimizer=optimizer) as autopsy``, and ``autopsy.step(loss=...)`` after every optimizer's step."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        from torchmortem import Autopsy  # type: ignore[import-not-found]

        self._autopsy = Autopsy(model, optimizer=optimizer)
        self._autopsy.attach()

    def before(self, inputs: Any) -> None:
        """Nothing is asked for between ``backward`` and the step."""

    def after(self, loss: float | None) -> None:
        """After a step."""
        self._autopsy.step(**({} if loss is None else {"loss": loss}))

    def close(self) -> dict[str, list[str]]:
        """Which kinds of finding there were, by severity."""
        self._autopsy.detach()
        found: dict[str, list[str]] = {"any": [], "critical": []}
        for finding in self._autopsy.get_report().findings:
            if finding.severity.name in ("WARNING", "CRITICAL"):
                found["any"].append(f"{finding.detector}: {finding.title}")
            if finding.severity.name == "CRITICAL":
                found["critical"].append(finding.detector)
        return found


class Traintools:
    """The quick start: batches and gradients inspected in every step, the plasticity probe every 200, no validation loss."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        from traintools import BatchInspector, GradientHealthMonitor  # type: ignore[import-not-found]
        from traintools.callbacks.pytorch import TraintoolsTracker  # type: ignore[import-not-found]

        self._model, self._optimizer = model, optimizer
        self._tracker = TraintoolsTracker(model, None, earlyguard=False, verbose=False)
        self._batches, self._gradients = BatchInspector(), GradientHealthMonitor()
        self._steps = 0
        self._warned: Counter[str] = Counter()

    def before(self, inputs: Any) -> None:
        """After ``backward``, before the step."""
        rate = self._optimizer.param_groups[0]["lr"]
        warned = list(self._gradients.inspect(self._model, step=self._steps, lr=float(rate)).warnings)
        if inputs is not None:
            warned += self._batches.inspect(inputs, step=self._steps).warnings
        for kind in {_kind(warning) for warning in warned}:
            self._warned[kind] += 1
        self._warned["steps"] += bool(warned)

    def after(self, loss: float | None) -> None:
        """After a step."""
        self._tracker.step(step=self._steps)
        self._steps += 1

    def close(self) -> dict[str, list[str]]:
        """What was warned of in any step, in a tenth of the steps, and by the probe."""
        plastic = ["plasticity" for result in self._tracker.plasticity_history.results if result.critical_layers]
        kinds = [kind for kind in self._warned if kind != "steps"] if self._warned["steps"] else []
        often = kinds if self._warned["steps"] >= 0.1 * max(1, self._steps) else []
        return {"any": kinds + plastic, "tenth": often + plastic, "monitors": kinds, "critical": plastic}


def _kind(warning: str) -> str:
    """A warning without names and numbers.

    >>> _kind("0.weight gradient appears vanished (norm=0)")
    'gradient appears vanished'
    """
    known = (
        "non-finite",
        "gradient appears vanished",
        "gradient is very large",
        "update/weight ratio is high",
        "update/weight ratio is tiny",
        "no gradients found",
        "constant",
        "abs max",
        "empty",
    )
    return next((kind for kind in known if kind in warning), warning[:40])


@contextlib.contextmanager
def held(tool: Callable[..., Any], models: Any, optimizers: Any, told: dict[str, Any]) -> Iterator[None]:
    """The tool on a loop that stays as it is: from step hooks, a hook before the model runs, and around ``backward``."""
    model = torch.nn.ModuleList(models) if isinstance(models, tuple | list) else models
    last = optimizers[-1] if isinstance(optimizers, tuple | list) else optimizers
    seen: dict[str, Any] = {"loss": None, "inputs": None}
    rival = tool(model, last)
    original: Any = torch.Tensor.backward

    def backward(loss: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if loss.numel() == 1:
            seen["loss"] = float(loss.detach())
        return original(loss, *args, **kwargs)

    def entering(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        seen["inputs"] = args

    def safely(call: Callable[[Any], None], name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            try:
                call(seen[name])
            except Exception as error:  # noqa: BLE001 - a tool's own failure is counted, in its favour not as an alarm
                told.setdefault("failed", f"{type(error).__name__}: {error}"[:200])

        return hook

    roots = list(models) if isinstance(models, tuple | list) else [models]
    handles: list[RemovableHandle] = [root.register_forward_pre_hook(entering) for root in roots]
    handles += [last.register_step_pre_hook(safely(rival.before, "inputs"))]
    handles += [last.register_step_post_hook(safely(rival.after, "loss"))]
    torch.Tensor.backward = backward  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.Tensor.backward = original  # type: ignore[method-assign]
        for handle in handles:
            handle.remove()
        told |= rival.close()


def under(name: str, program: Program) -> dict[str, Any]:
    """One program under one tool: the alarms by rule, the final skill, what was raised, seconds."""
    start, told = time.process_time(), dict[str, Any]()
    if name == "isograd":
        seen = look(program)
        alarms = [alarm["disease"] for alarm in seen.alarms]
        critical = [alarm["disease"] for alarm in seen.alarms if alarm["severity"] == "critical"]
        told = {"any": alarms, "critical": critical, "skill": seen.skill, "raised": seen.raised}
    else:
        tool = {"torchmortem": Torchmortem, "traintools": Traintools}[name]

        def watch(models: Any, optimizers: Any = None, *, steps: int | None = None) -> Any:
            return held(tool, models, optimizers, told)

        try:
            told["skill"], told["raised"] = float(program(watch)), None
        except Exception as error:  # noqa: BLE001 - faulty programs raise; that is their result
            told["skill"], told["raised"] = None, f"{type(error).__name__}: {error}"[:200]
    return told | {"seconds": time.process_time() - start}


def programs(side: str, limit: int) -> Iterator[tuple[str, str, Callable[[], Program]]]:
    """Kind ("healthy" or "faulty"), name, and a maker of the program: as many of each kind, spread over the programs."""
    for run, _ in healthy_runs(side)[:limit]:
        yield "healthy", run.key, lambda run=run: _healthy(run)  # type: ignore[misc]
    path = RESULTS / "faults_cases.json"
    if not path.exists():
        print("results/faults_cases.json is not there: python benchmarks/faults/build.py makes it", file=sys.stderr)
        return
    from faults.grounds import OPERATORS, PROGRAMS

    cases = json.loads(path.read_text("utf-8"))["result"].get(side, {"cases": []})["cases"]
    for case in cases[:: max(1, len(cases) // limit)][:limit]:
        program, operator = PROGRAMS[case["program"]], OPERATORS[case["operator"]]
        settings = operator.settings(program, case["strength"])
        if settings is not None:
            yield "faulty", case["key"], lambda p=program, s=settings: lambda watch: p.train(s, 0, watch)  # type: ignore[misc]


def _healthy(run: Run) -> Program:
    return run.program(run.draw())


def compared(side: str, limit: int) -> None:
    """Inside the environment of the rivals: every program plain and under each tool, a line of JSON each."""
    torch.set_num_threads(1)
    for kind, name, make in programs(side, limit):
        start = time.process_time()
        skill, raised = plain(make())
        seconds = time.process_time() - start
        found = {tool: under(tool, make()) for tool in TOOLS}
        record = {"kind": kind, "name": name, "skill": skill, "raised": raised, "seconds": seconds, "tools": found}
        print(json.dumps(record), flush=True)


def made() -> Path:
    """The rivals' environment, made where it is missing; gives its Python."""
    python = PLACE / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (PLACE / "ready").exists():
        venv.create(PLACE, with_pip=True, clear=True)
        packages = subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        (Path(packages) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *WHEELS], check=True)
        (PLACE / "ready").touch()
    return python


def summary(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By kind of program, tool and rule: how many were flagged, and the rate with its 95 % bound."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("healthy", "faulty"):
        own = [record for record in records if record["kind"] == kind]
        for tool in TOOLS:
            for rule in ("any", "tenth", "monitors", "critical"):
                runs = [record["tools"][tool] for record in own if rule in record["tools"][tool]]
                if not runs:
                    continue
                flagged = sum(bool(run[rule]) for run in runs)
                pairs = [(record, record["tools"][tool]) for record in own]
                found[f"{kind}, {tool}, {rule}"] = {
                    "runs": len(own),
                    "flagged": flagged,
                    "rate": flagged / len(runs),
                    "bound_95": bound(flagged, len(runs)),
                    "broken": sum(bool(run["raised"]) and not record["raised"] for record, run in pairs),
                    "failed": sum("failed" in run for _, run in pairs),
                    "changed": sum(run["skill"] != record["skill"] for record, run in pairs if not run["raised"]),
                    "cost": sum(run["seconds"] for _, run in pairs) / max(1e-9, sum(record["seconds"] for record in own)),
                    "kinds": dict(Counter(kind for run in runs for kind in set(run[rule])).most_common(8)),
                }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES, default="calibration")
    parser.add_argument("--limit", type=int, default=40, help="at most this many programs of each kind")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print and write no file")
    options = parser.parse_args()
    if options.inside:
        compared(options.side, options.limit)
        return
    command = [str(made()), __file__, "--inside", "--side", options.side, "--limit", str(options.limit)]
    records: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith('{"kind"'):
                records.append(json.loads(line))
                print(f"{len(records)} programs done", file=sys.stderr, flush=True)
    if process.returncode:
        raise SystemExit(f"the comparison ended with {process.returncode}")
    found = summary(records)
    if not options.dry:
        write("rivals", {"side": options.side, "summary": found, "runs": records})
    columns = ("runs", "flagged", "rate", "bound_95", "broken", "failed", "changed", "cost")
    print(table([(name, *(row[column] for column in columns)) for name, row in found.items()], ("", *columns)))


if __name__ == "__main__":
    main()
