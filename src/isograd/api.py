"""Check, watch, diagnose: the one place where a framework and the heart meet."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isograd import files
from isograd.errors import DamagedError, ModelError, RequestError
from isograd.health import coverage
from isograd.health.case import case_of
from isograd.health.diagnosis import diagnose as diagnose_case
from isograd.ports import Patient, Recorder
from isograd.records import codec
from isograd.records import report as records
from isograd.records.finding import Finding
from isograd.records.trace import Meter, Step, Trace

__all__ = ["Report", "Watch", "check", "diagnose", "watch"]

_LOOKS = 2
"""Real steps of a check: the second shows what a layer that starts at zero, or a rate that warms up, does next."""

_BLOCK_SECONDS = 2.0
"""How often a watch writes what it saw to its trace file: what a killed program loses at most."""


class Report:
    """What was found, as a person holds it: the record, and the ways to show it.

    >>> from isograd.records.anatomy import Anatomy
    >>> report = Report(records.Report("check", Anatomy("torch", (), ())))
    >>> report.healthy, report.findings
    (True, ())
    """

    def __init__(self, record: records.Report) -> None:
        self.record = record

    @property
    def healthy(self) -> bool:
        """Whether no finding is an alarm."""
        return self.record.healthy

    @property
    def risk(self) -> float | None:
        """Calibrated probability that the training fails; None where it was not estimated."""
        return self.record.risk

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the worst first; those of severity "note" are remarks and no alarms."""
        return self.record.findings

    def to_json(self) -> str:
        """The record as one line of JSON that names its format and version."""
        return codec.dumps(self.record)

    def to_html(self) -> str:
        """One self-contained page."""
        from isograd.render import html

        return html.report_page(self.record)

    def figure(self) -> Any:
        """A matplotlib figure of the gradients by layer and step."""
        from isograd.render import figure

        return figure.figure(self.record)

    def __str__(self) -> str:
        from isograd.render import text

        return text.report(self.record)

    def __repr__(self) -> str:
        alarms = sum(finding.alarm for finding in self.findings)
        return f"<isograd {self.record.origin} report: {'healthy' if self.healthy else f'{alarms} alarms'}>"


def check(model: Any, batch: Any = None, loss: Any = None, optimizer: Any = None, *, steps: int | None = None) -> Report:
    """Say before training whether the gradients will reach every layer; costs at most three steps.

    Theory speaks from the architecture and the weights alone. With a batch, a loss and an optimizer, two real steps on a copy
    bear it out; without the optimizer one forward and backward pass does, and nothing is said of updates. Model, optimizer,
    buffers, modes and random numbers stay as they are, to the bit. ``model`` is a module or a tuple of them, ``batch`` is
    ``(inputs, targets)``, ``loss`` takes ``(outputs, targets)``; ``steps`` is the planned length of the run, 10,000 where it
    is not told.

    Raises ``ModelError`` where the model, the batch and the loss do not fit, ``RequestError`` for anything else that is wrong.

    >>> import numpy as np
    >>> from isograd.frameworks.reference.network import Linear, Network, Sgd
    >>> network = Network((Linear.drawn("a", 4, 4, seed=1), Linear.drawn("b", 4, 2, seed=2)))
    >>> check(network, (np.ones((8, 4)), np.zeros((8, 2))), "squared_error", Sgd(0.1)).healthy
    True
    """
    _positive("steps", steps)
    began = time.perf_counter()
    door = _door(model)
    remarks: list[str] = []
    if batch is None or loss is None or (optimizer is None and door == "reference"):
        missing = [name for name, given in (("batch", batch), ("loss", loss), ("optimizer", optimizer)) if given is None]
        anatomy = _module(door, "describe").describe(model, batch, loss, optimizer)
        trace = Trace(anatomy, planned_steps=steps)
        remarks.append(f"theory alone: no step was tried without {', '.join(missing)}")
    else:
        patient = _patient(door, model, batch, loss, optimizer)
        looks = _LOOKS if optimizer is not None else 1
        trace = replace(patient.observe([batch] * looks, looks), planned_steps=steps)
        if optimizer is None:
            remarks.append("one forward and backward pass was measured, and no update: no optimizer was given")
    if not trace.anatomy.traced:
        remarks.append("the order of the layers was taken from their registration; with a batch it is seen")
    seconds = time.perf_counter() - began
    meter = Meter(seconds, seconds, len(trace.steps), sum(step.sampled for step in trace.steps))
    return _report("check", replace(trace, meter=meter), remarks)


def watch(
    model: Any,
    optimizer: Any = None,
    *,
    loss: Any = None,
    steps: int | None = None,
    budget: float | None = 0.03,
    trace: str | PathLike[str] | None = None,
) -> Watch:
    """Watch a training loop that stays as it is, for at most ``budget`` of its time.

    ``model`` and ``optimizer`` are one or several; optimizers are found by the parameters they hold where they are not given.
    ``steps`` is the planned length of the run; ``budget=None`` measures everything at every step. ``trace`` names a file that
    what was seen is appended to, in blocks, so that a killed program leaves a readable trace behind.

    Raises ``RequestError`` for a budget or a number of steps that makes no sense, ``ModelError`` for what is no model.

    >>> import torch
    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer) as watching:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         model(torch.ones(8, 4)).square().mean().backward()
    ...         optimizer.step()
    >>> watching.meter.steps, watching.report().healthy
    (3, True)
    """
    _positive("steps", steps)
    if budget is not None and not 0.0 < budget <= 1.0:
        raise RequestError(
            f"budget is a share of the step time in (0, 1], not {budget}", remedy="budget=0.03, or None for no limit"
        )
    door = _door(model)
    if loss is not None and not callable(loss) and not isinstance(loss, str):
        raise RequestError(f"loss is a function of outputs and targets, not {type(loss).__name__}")
    models = tuple(model) if isinstance(model, tuple | list) else (model,)
    optimizers = None if optimizer is None else tuple(optimizer) if isinstance(optimizer, tuple | list) else (optimizer,)
    recorder = _recorder(door, models, optimizers, budget, steps)
    name = loss if isinstance(loss, str) or loss is None else getattr(loss, "__name__", type(loss).__name__)
    return Watch(recorder, None if trace is None else Path(trace), name)


def diagnose(trace: Trace | str | PathLike[str]) -> Report:
    """Diagnose a recording, or the file of one; needs no model, no GPU and no framework.

    A last line that was cut off while it was written is left out, with a remark. Raises ``RequestError`` where there is no such
    file, ``DamagedError`` where it is not a trace or was written by a newer isograd.

    >>> from isograd.records.anatomy import Anatomy
    >>> diagnose(Trace(Anatomy("torch", (), ()))).healthy
    True
    """
    if isinstance(trace, Trace):
        return _report("diagnose", trace, [])
    found, remarks = _read_trace(Path(trace))
    return _report("diagnose", found, remarks)


class Watch:
    """A recorder at work: use it as a context manager around the loop; ask it at any time."""

    def __init__(self, recorder: Recorder, path: Path | None, loss: str | None = None) -> None:
        self._recorder = recorder
        self._path = path
        self._loss = loss
        self._headed = False
        self._remarks: list[str] = []
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._recorder.on_step = self._maybe_write
        self._recorder.attach()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What goes wrong here must not hide what went wrong in the loop, nor stop a training that went well.
        self._recorder.detach()
        self._write()

    @property
    def trace(self) -> Trace:
        """All that was seen so far."""
        trace = self._recorder.trace()
        return trace if self._loss is None else replace(trace, anatomy=replace(trace.anatomy, loss=self._loss))

    @property
    def meter(self) -> Meter:
        """What the watching cost so far."""
        return self.trace.meter

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong so far."""
        return self.report().findings

    def report(self) -> Report:
        """Everything so far: findings, what theory foretold and what was measured."""
        return _report("watch", self.trace, self._remarks)

    def health_line(self) -> str:
        """One line for beside a progress bar."""
        from isograd.render import text

        return text.health_line(self.report().record)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole trace to a file that ``diagnose`` reads. Raises ``StorageError``; what was there before stays."""
        trace = self.trace
        lines = [codec.dumps(replace(trace, steps=())), *map(codec.dumps, trace.steps)]
        files.write_text(Path(path), "\n".join(lines) + "\n")

    def _maybe_write(self) -> None:
        if time.monotonic() - self._written >= _BLOCK_SECONDS:
            self._write()

    def _write(self) -> None:
        """Append what is new to the trace file; a disk that refuses costs the trace, never the training."""
        if self._path is None:
            return
        self._written = time.monotonic()
        lines = [codec.dumps(step) for step in self._recorder.take()]
        if lines and not self._headed:
            lines.insert(0, codec.dumps(replace(self.trace, steps=())))
        try:
            if lines:
                files.append_line(self._path, "\n".join(lines))
                self._headed = True
        except Exception as error:  # noqa: BLE001 - whatever the disk does, the training goes on
            self._remarks.append(f"the trace file is incomplete from here on: {error}")
            self._path = None


def _report(origin: records.Origin, trace: Trace, remarks: Sequence[str]) -> Report:
    case = case_of(trace)
    findings = diagnose_case(case)
    unseen = () if origin == "check" else coverage.remarks(trace)
    return Report(
        records.Report(
            origin,
            trace.anatomy,
            findings,
            case.expectations,
            case.readings,
            case.taken,
            trace.planned_steps,
            trace.meter,
            remarks=(*unseen, *remarks),
        )
    )


def _door(model: Any) -> str:
    """The framework a model belongs to, by what is loaded already; a framework the caller has not is never imported."""
    models = tuple(model) if isinstance(model, tuple | list) else (model,)
    if not models:
        raise ModelError("there is no model", remedy="give a module, or a tuple of modules")
    torch = sys.modules.get("torch")
    if torch is not None and all(isinstance(one, torch.nn.Module) for one in models):
        return "torch"
    reference = sys.modules.get("isograd.frameworks.reference.network")
    if reference is not None and all(isinstance(one, reference.Network) for one in models):
        return "reference"
    odd = models[0]
    raise ModelError(
        f"a model is a torch.nn.Module or a tuple of them, not {type(odd).__module__}.{type(odd).__qualname__}",
        remedy="pass the model itself, not its class, its parameters or its output",
    )


def _module(door: str, name: str) -> Any:
    return importlib.import_module(f"isograd.frameworks.{door}.{name}")


def _patient(door: str, model: Any, batch: Any, loss: Any, optimizer: Any) -> Patient:
    module = _module(door, "patient")
    kind = module.TorchPatient if door == "torch" else module.ReferencePatient
    patient: Patient = kind.copy_of(model, batch, loss, optimizer)
    return patient


def _recorder(
    door: str, models: tuple[Any, ...], optimizers: tuple[Any, ...] | None, budget: float | None, steps: int | None
) -> Recorder:
    if door == "reference":
        raise ModelError(
            "a reference network has no loop of its own to watch", remedy="use isograd.check, or observe() of its patient"
        )
    recorder: Recorder = _module(door, "recorder").TorchRecorder(models, optimizers, budget=budget, planned_steps=steps)
    return recorder


def _positive(name: str, value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise RequestError(f"{name} is a whole number of at least 1, not {value!r}")


def _read_trace(path: Path) -> tuple[Trace, list[str]]:
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise RequestError(f"cannot read the trace {path}: {error.strerror or error}", where=str(path)) from error
    remarks = []
    lines = text.split("\n")
    if lines.pop():
        remarks.append("the last line was cut off while it was written and is left out")
    header: Trace | None = None
    steps: list[Step] = []
    recordings = 0
    for number, line in enumerate(lines, 1):
        with _line_of(path, number):
            if line.startswith('{"format":"isograd.Trace"'):
                header, steps, recordings = codec.loads(Trace, line), [], recordings + 1
            elif header is None:
                raise DamagedError("this is not a trace: it does not begin with the header of one")
            else:
                steps.append(codec.loads(Step, line))
    if header is None:
        raise DamagedError(f"{path} is not a trace: it is empty or was cut off in its first line", where=str(path))
    if recordings > 1:
        remarks.append(f"the file holds {recordings} recordings, one after the other; this is the last")
    return replace(header, steps=tuple(steps)), remarks


@contextlib.contextmanager
def _line_of(path: Path, number: int) -> Any:
    try:
        yield
    except DamagedError as error:
        fault = error.faults[0]
        raise DamagedError(f"{path}: {fault.what}", where=f"{path}, line {number}", remedy=fault.remedy) from error
