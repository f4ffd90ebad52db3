"""A look before training: theory of the architecture, two real steps on a copy, and the forecast they give."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from isograd.doors import door_of, part, patient_of, stepping
from isograd.health.case import DEFAULT_STEPS, case_of
from isograd.health.diagnosis import diagnose
from isograd.health.forecasting import beyond, of_check
from isograd.health.risk import BASE_RATE
from isograd.records.loop import Loop
from isograd.records.trace import Meter, Trace
from isograd.reporting import Report, report_of

_LOOKS = 2
"""Real steps of a check: the second shows what a layer that starts at zero, or a rate that warms up, does next."""


def checked(
    model: Any,
    batch: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    *,
    step: Any = None,
    steps: int | None = None,
    deep: bool = False,
    base_rate: float = BASE_RATE,
    loop: Loop | None = None,
) -> Report:
    """What ``api.check`` says; ``loop`` holds the habits of a loop that is known, so that its first steps are those of the run.

    Raises ``ModelError`` where the model, the batch and the loss do not fit, ``RequestError`` for anything else that is wrong.
    """
    began = time.perf_counter()
    door = door_of(model)
    remarks: list[str] = []
    probe = None
    needed = (("batch", batch), ("loss", loss if step is None else step), ("optimizer", optimizer))
    missing = [name for name, given in needed if given is None]
    if missing and (missing != ["optimizer"] or door == "reference" or step is not None):
        anatomy = part(door, "describe").describe(model, batch, loss, optimizer)
        trace = Trace(anatomy, planned_steps=steps)
        remarks.append(f"theory alone: no step was tried without {', '.join(missing)}")
    else:
        patient = patient_of(door, model, batch, loss, optimizer)
        if step is not None:
            patient = stepping(door, patient, model, step)
        if loop is not None:
            known: Any = patient
            patient = replace(known, loop=loop)
        looks = _LOOKS if optimizer is not None else 1
        trace = replace(patient.observe([batch] * looks, looks), planned_steps=steps)
        if optimizer is None:
            remarks.append("one forward and backward pass was measured, and no update: no optimizer was given")
        elif door == "torch":
            probe, trace = part(door, "probing").tried(patient, trace, steps or DEFAULT_STEPS, deep=deep, remarks=remarks)
    if not trace.anatomy.traced:
        remarks.append("the order of the layers was taken from their registration; with a batch it is seen")
    seconds = time.perf_counter() - began
    meter = Meter(seconds, seconds, len(trace.steps), sum(step.sampled for step in trace.steps))
    case = case_of(replace(trace, meter=meter))
    reach = None if loop is None else loop.reach(steps or DEFAULT_STEPS)
    findings = diagnose(case)
    forecast = of_check(case, probe, base_rate, reach, findings)
    if optimizer is not None and (reason := beyond(case, reach)) is not None:
        remarks.append(reason)
    return report_of("check", replace(trace, meter=meter), remarks, case, findings, forecast)
