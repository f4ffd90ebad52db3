"""A watch as a person holds it: a recorder at work, its trace file, and what is wrong so far."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isograd import files
from isograd.aiding import Aiding
from isograd.errors import RequestError
from isograd.explaining import OnProgress, allowance, cause_of, examples, told_with, unlike
from isograd.health.case import Case
from isograd.health.diagnosis.exception import explained, in_a_line
from isograd.health.forecasting import last_look, of_watch
from isograd.health.habits import loop_of
from isograd.health.losses import stepped_alone
from isograd.health.raising import known
from isograd.live import Live, OnFinding
from isograd.ports import Recorder, Start
from isograd.records import codec
from isograd.records.aid import Action
from isograd.records.finding import Finding
from isograd.records.forecast import Basis, Forecast
from isograd.records.trace import Meter, Trace
from isograd.reporting import Report, report_of

_BLOCK_SECONDS = 2.0
"""How often a watch writes what it saw to its trace file: what a killed program loses at most."""

_BLOCK_SHARE = 0.01
"""The share of the time so far that it loses at most where that is more: so the file of a long run stays small."""


class Watch:
    """A recorder at work: use it as a context manager around the loop; ask it at any time."""

    def __init__(
        self,
        recorder: Recorder,
        path: Path | None,
        loss: str | None = None,
        on_finding: OnFinding | None = None,
        start: Start | None = None,
        aid: Aiding | None = None,
    ) -> None:
        self._recorder, self._start, self._aid = recorder, start, aid
        self._live, self._eager = Live(on_finding), on_finding is not None
        self._known: tuple[Trace, Report] | None = None
        self._foretold: tuple[Basis | None, Forecast | None] | None = None
        self._path = path
        self._loss = loss
        self._headed = False
        self._remarks: list[str] = []
        self._begun = self._written = time.monotonic()

    def __enter__(self) -> Self:
        if self._start is not None:
            self._start.keep()
            self._start.meet()
        self._recorder.on_step = self._looked
        if self._aid is not None:
            self._aid.attach(self._recorder.acted)
        self._recorder.attach()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What goes wrong here must not hide what went wrong in the loop, nor stop a training that went well.
        if self._aid is not None:
            self._aid.detach()
        self._recorder.detach(error)
        if self._start is not None:
            self._start.let_go()
        self._write(last=True)
        if self._eager:
            self._live.look(lambda: self.trace)
        if error is not None:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        """Add what is known of an exception to its traceback; the exception itself goes on as it is."""
        try:
            trace = self._recorder.trace()
            for step in trace.steps[-1:]:
                for fact in step.facts:
                    if fact.kind == "raised" and known(fact) and not getattr(error, "__notes__", None):
                        error.add_note(in_a_line(explained(fact, step.index)))
        except Exception as ours:  # noqa: BLE001 - what goes wrong here must not hide what went wrong in the loop
            self._remarks.append(f"the exception was not explained: {ours}")

    @property
    def actions(self) -> tuple[Action, ...]:
        """What first aid did so far, in order; nothing where ``act`` was not asked for."""
        return () if self._aid is None else self._aid.actions

    def state_dict(self) -> dict[str, Any]:
        """What first aid must know to go on exactly: part of a checkpoint, to be taken between two steps."""
        return {} if self._aid is None else self._aid.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave, when weights and optimizers have been loaded and before the next step.

        Raises ``DamagedError`` for what it did not give; without ``act`` there is nothing to go on with.
        """
        if self._aid is not None and state:
            self._aid.load_state_dict(state)

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
        trace = self.trace
        if self._known is None or not _same(self._known[0], trace):
            case = self._live.case(trace)
            findings = self._live.findings(case)
            remarks = (*self._remarks, *self._live.remarks)
            self._known = trace, report_of("watch", trace, remarks, case, findings, self._forecast(trace))
        return self._known[1]

    def _forecast(self, trace: Trace) -> Forecast | None:
        """The forecast of the last look at 2 %, 12 % and 25 % of the run, made once a look; again where it says "will fail"."""
        look, known = last_look(trace), self._foretold
        if known is None or known[0] != look or (known[1] is not None and known[1].answer == "will fail"):
            known = self._foretold = look, of_watch(trace)
        return known[1]

    def explain(
        self,
        batches: Any,
        loss: Any = None,
        *,
        held_out: Any = None,
        optimizer: Any = None,
        step: Any = None,
        score: Any = None,
        budget: int | str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Report:
        """Find the cause by experiment: replay the program from its start with one thing changed at a time, on copies.

        ``batches`` are gone through again (a list or a loader), ``loss`` takes (outputs, targets): left out, it is the one of
        torch's that the watch heard, and the report says which. A loop of another form gives ``step``, a function of (model,
        optimizer, batch), which gets tuples where there are several, and where outputs and targets fit no yardstick ``score``,
        a function of the model. ``held_out`` are batches to judge by; without them a fifth of the batches is set aside.
        ``budget`` is a number of steps or a time ("5min"): the larger of 2,000 steps and 5 % of the announced run where it is
        left out. Ctrl-C ends the search and keeps what was tried.

        Raises ``RequestError`` where the start was not kept, there is no batch or the budget is too small, ``ModelError`` where
        model, batches and loss do not fit.
        """
        if self._start is None:
            raise RequestError("the start of this run was not kept", remedy="isograd.watch(..., keep_start=True)")
        if not self.trace.ended:
            raise RequestError("the watch is still at work, and would watch the replays", remedy="explain after the with block")
        case, allowed = self._live.case(self.trace), allowance(budget, self.trace.planned_steps)
        loss, heard = (loss, ()) if loss is not None or step is not None else self._heard(case)
        given = examples(*(self._batches(one, loss, case) if step is None else one for one in (batches, held_out)))
        report = self.report()
        with told_with(report.findings):
            patient = self._start.patient(given.training, loss, loop_of(case), optimizer=optimizer, step=step, score=score)
            stood = -math.inf
            if score is not None:  # in units of the person's own, of which the trace knows nothing
                now = self._start.patient((), loss, loop_of(case), optimizer=optimizer, step=step, score=score, now=True)
                stood = now.judge(given.held).value
            found = cause_of(patient, given, case, report.findings, allowed, on_progress, stood=stood)
        with suppress(KeyboardInterrupt):  # what the search found is kept
            found = replace(found, remarks=(*unlike(patient, given, case), *found.remarks))
        found = replace(found, remarks=(*heard, *found.remarks))
        return Report(replace(report.record, cause=found))

    def _heard(self, case: Case) -> tuple[Any, tuple[str, ...]]:
        """The one loss that the watch heard, as a function, and what must be said of that."""
        one = stepped_alone(case)
        loss = None if one is None or self._start is None else self._start.loss_as_heard(one)
        if one is None or loss is None:
            return None, ()
        where = f" at {one.source}" if one.source else ""
        return loss, (f"loss= was left out: {one.function} ({one.reduction}) of outputs and targets, as heard{where}",)

    def _batches(self, given: Any, loss: Any, case: Case) -> Any:
        """What was given, as the program was seen to use it."""
        if given is None or self._start is None:
            return given
        first = next(((step, sample.where) for step, sample in case.inputs), None)
        inputs = [sample for step, sample in case.inputs if (step, sample.where) == first]
        compared = next((sample for _, sample in case.losses if sample.training and sample.function), None)
        return self._start.batches(given, loss, inputs, compared)

    def health_line(self) -> str:
        """One line for beside a progress bar."""
        from isograd.render import text

        return text.health_line(self.report().record)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole trace to a file that ``diagnose`` reads. Raises ``StorageError``; what was there before stays."""
        trace = self.trace
        lines = [codec.dumps(replace(trace, steps=())), *map(codec.dumps, trace.steps)]
        files.write_text(Path(path), "\n".join(lines) + "\n")

    def _looked(self, due: bool) -> None:
        """A step has been looked at; a diagnosis may be due."""
        if due:
            self._live.look(lambda: self.trace)
        now = time.monotonic()
        if self._path is not None and now - self._written >= max(_BLOCK_SECONDS, _BLOCK_SHARE * (now - self._begun)):
            self._write()

    def _write(self, *, last: bool = False) -> None:
        """Append what is new to the trace file; a disk that refuses costs the trace, never the training."""
        if self._path is None:
            return
        self._written = time.monotonic()
        lines = [codec.dumps(step) for step in self._recorder.take()]
        if lines and not self._headed:
            lines.insert(0, codec.dumps(replace(self.trace, steps=(), ended=False)))
        if last and (lines or self._headed):
            lines.append(codec.dumps(replace(self.trace, steps=())))
        try:
            if lines:
                files.append_line(self._path, "\n".join(lines))
                self._headed = True
        except Exception as error:  # noqa: BLE001 - whatever the disk does, the training goes on
            self._remarks.append(f"the trace file is incomplete from here on: {error}")
            self._path = None


def _same(one: Trace, other: Trace) -> bool:
    """Whether nothing came to a recording."""
    return (one.meter.steps, len(one.steps), one.ended) == (other.meter.steps, len(other.steps), other.ended)
