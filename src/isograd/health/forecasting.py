"""Foretell from what a check or a watch has seen: which signs are known, and the forecast that they give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.health import risk, signs
from isograd.health.case import DEFAULT_STEPS, Case, case_of
from isograd.health.diagnosis.recurrent import short_memory
from isograd.records.finding import Finding
from isograd.records.forecast import DOUBTS, Basis, Forecast
from isograd.records.probe import Probe
from isograd.records.trace import Trace

FEWEST = 16
"""Examples in the smallest batch of the grounds that the risk was fitted on. Below it the signs weigh right only where the
length of the run is told: 131 random programs of 4 to 60 rows in batches of 1 to 14, AUC 0.82 told and 0.62 at
``DEFAULT_STEPS``, where of those given more than 0.75 only 0.66 fail (dev/LOG.md, 2026-11-22)."""
BROKEN = 0.99
"""How sure a run is to fail whose losses are no numbers any more."""
_BASES: tuple[Basis, ...] = ("look 2 %", "look 12 %", "look 25 %")


def of_check(
    case: Case,
    probe: Probe | None = None,
    base_rate: float = risk.BASE_RATE,
    reach: float | None = None,
    findings: Sequence[Finding] = (),
) -> Forecast | None:
    """What a check can tell: by theory alone where no step was tried, by the first step, or by the thin probe as well.

    ``reach`` is how many of the first step the run adds up to, where its learning rates are known; else its planned steps.
    Nothing is told ``beyond`` the grounds. With an alarm among the ``findings``, or a remark of ``DOUBTS``, the answer is not
    "will train": the grounds that the risk was fitted on had inputs of one scale and programs without a slip.

    >>> from isograd.records.anatomy import Anatomy
    >>> of_check(Case(Anatomy("torch", (), ()))) is None
    True
    """
    planned = case.planned or DEFAULT_STEPS
    whole = planned if reach is None else reach
    known = dict(signs.of_theory(case.anatomy, case.expectations, whole))
    if not case.sampled or beyond(case, reach) is not None:
        return None
    known |= signs.of_step(case, probe, whole)
    basis: Basis = "step"
    if probe is not None and probe.thin is not None:
        known |= signs.of_probe(probe, signs.floor_of(case), planned)
        basis = "probe"
    told = risk.forecast(known, basis, base_rate=base_rate, look_again=risk.next_look(case.planned))
    if told is not None and case.planned is None and reach is None:
        told = replace(told, assumed=DEFAULT_STEPS)
    told = _failed(told, case)
    doubted = short_memory(case) or any(one.alarm or one.disease in DOUBTS for one in findings)
    if told is not None and told.answer == "will train" and doubted:
        return replace(told, answer="uncertain")  # of a short memory the data say whether what stands early matters
    return told


def beyond(case: Case, reach: float | None = None) -> str | None:
    """Why a check does not tell how likely the run is to fail, in words; None where it does.

    >>> from isograd.records.anatomy import Anatomy
    >>> beyond(Case(Anatomy("torch", (), ()))) is None
    True
    """
    examples = max((layer.examples for step in case.steps for layer in step.layers), default=0)
    if case.planned is not None or reach is not None or not 0 < examples < FEWEST:
        return None
    many = "1 example" if examples == 1 else f"{examples} examples"
    return (
        f"how likely this run is to fail is not told: with batches as small as {many} that hangs on how long it is; "
        "steps= tells the check"
    )


def last_look(trace: Trace) -> Basis | None:
    """The last of the looks at 2 %, 12 % and 25 % of the run that it has come to; nothing when it is over.

    >>> from isograd.records.anatomy import Anatomy
    >>> from isograd.records.trace import Meter
    >>> last_look(Trace(Anatomy("torch", (), ()), planned_steps=100, meter=Meter(steps=20)))
    'look 12 %'
    """
    planned = trace.planned_steps
    if planned is None or trace.ended:
        return None
    reached = (
        basis for share, basis in zip(risk.LOOKS, _BASES, strict=True) if risk.look_at(share, planned) <= trace.meter.steps
    )
    return max(reached, key=_BASES.index, default=None)


def of_watch(trace: Trace, base_rate: float = risk.BASE_RATE) -> Forecast | None:
    """What the run up to its last look tells; it stays the same until the next, but where losses are numbers again.

    >>> from isograd.records.anatomy import Anatomy
    >>> of_watch(Trace(Anatomy("torch", (), ()))) is None
    True
    """
    planned, basis = trace.planned_steps, last_look(trace)
    if planned is None or basis is None:
        return None
    step = risk.look_at(risk.LOOKS[_BASES.index(basis)], planned)
    case = case_of(signs.until(trace, step))
    known = {**signs.of_theory(case.anatomy, case.expectations, planned), **signs.of_looks(case)}
    told = risk.forecast(known, basis, base_rate=base_rate, look_again=risk.next_look(planned, step))
    since = any(one.loss is not None and math.isfinite(one.loss) for one in trace.steps if one.index > step)
    return told if since else _failed(told, case)


def _failed(told: Forecast | None, case: Case) -> Forecast | None:
    """The same, or that it will fail where its losses are no numbers any more."""
    if told is None or not broken(case):
        return told
    return replace(told, probability=max(told.probability, BROKEN), answer="will fail")


def broken(case: Case) -> bool:
    """Whether the last two losses were no numbers: one alone is skipped by a scaler, weights that are none never come back.

    So a number that comes after them says that they were batches alone, left out by the loop or by a scaler.
    """
    last = [reading.value for reading in case.series("loss")][-2:]
    return len(last) == 2 and not any(map(math.isfinite, last))
