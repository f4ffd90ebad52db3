"""Everything that a diagnosis may look at, in one frozen record: what the network is, what was foretold, measured and seen."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isograd.health import signals, theory
from isograd.records.anatomy import Anatomy
from isograd.records.batch import InputSample, LossSample
from isograd.records.expectation import Expectations
from isograd.records.fact import Fact
from isograd.records.reading import Reading, Readings
from isograd.records.trace import Step, Trace

Table = Mapping[str, Mapping[str, Sequence[Reading]]]
"""Readings by signal and place, in the order of the steps."""

DEFAULT_STEPS = 10_000
"""Length assumed of a run that did not say how long it will be."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Case:
    """One network, and all that is known of its training so far.

    ``rows`` are ``readings`` by signal and place. ``steps`` are the steps that were looked at; ``taken`` is how many steps the
    training made, looked at or not; ``planned`` how many it announced, None where it did not; ``ended``: no more will come.
    """

    anatomy: Anatomy
    expectations: Expectations = Expectations()
    readings: Readings = Readings()
    rows: Table = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    taken: int = 0
    planned: int | None = None
    ended: bool = False

    def series(self, signal: str, where: str = "") -> Sequence[Reading]:
        """The readings of one signal at one place, in the order of the steps; empty where there are none."""
        return at(self.rows, signal, where)

    def facts(self, kind: str) -> tuple[tuple[int, Fact], ...]:
        """The facts of one kind, each with the step in which it was seen."""
        return tuple((step.index, fact) for step in self.steps for fact in step.facts if fact.kind == kind)

    @property
    def losses(self) -> tuple[tuple[int, LossSample], ...]:
        """The calls of the loss that were looked at, each with its step."""
        return tuple((step.index, sample) for step in self.steps for sample in step.losses)

    @property
    def inputs(self) -> tuple[tuple[int, InputSample], ...]:
        """The inputs that were looked at, each with its step."""
        return tuple((step.index, sample) for step in self.steps for sample in step.inputs)

    @property
    def sampled(self) -> tuple[Step, ...]:
        """The steps that were looked at closely."""
        return tuple(step for step in self.steps if step.sampled)


def case_of(trace: Trace, readings: Readings | None = None, expectations: Expectations | None = None) -> Case:
    """The case of a recording; ``readings`` and ``expectations`` where they were measured and foretold already.

    >>> case_of(Trace(Anatomy("torch", (), ()))).taken
    0
    """
    readings = signals.measure(trace) if readings is None else readings
    whole = (step.index for step in trace.steps if not any(fact.kind == "raised" for fact in step.facts))
    taken = max(whole, default=0)
    return Case(
        trace.anatomy,
        theory.foretell(trace.anatomy, inputs=_inputs(trace)) if expectations is None else expectations,
        readings,
        table(readings),
        trace.steps,
        max(taken, trace.meter.steps),
        trace.planned_steps,
        trace.ended,
    )


def table(readings: Readings) -> Table:
    """Readings by signal and place.

    >>> table(Readings((Reading("loss", "", 1, 2.0),)))["loss"][""][0].value
    2.0
    """
    found: dict[str, dict[str, list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for reading in readings.values:
        found[reading.signal][reading.where].append(reading)
    return {signal: dict(places) for signal, places in found.items()}


def at(rows: Table, signal: str, where: str = "") -> Sequence[Reading]:
    """The readings of one signal at one place; empty where there are none."""
    return rows.get(signal, {}).get(where, ())


def late(series: Sequence[Reading]) -> list[float]:
    """The values of the later half of a series: what holds now, not what was at birth.

    >>> late([Reading("loss", "", step, float(step)) for step in (1, 2, 3)])
    [2.0, 3.0]
    """
    return [reading.value for reading in series[len(series) // 2 :]]


def middle(series: Sequence[Reading]) -> float | None:
    """Median of the late values; nothing where there is none."""
    values = late(series)
    return statistics.median(values) if values else None


def planned(rows: Table) -> int:
    """The announced length of the run, or ``DEFAULT_STEPS``."""
    told = at(rows, "planned_steps")
    return int(told[-1].value) if told else DEFAULT_STEPS


def _inputs(trace: Trace) -> tuple[InputSample, ...]:
    first = next((step for step in trace.steps if step.inputs), None)
    return first.inputs if first is not None else ()
