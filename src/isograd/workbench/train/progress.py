"""What a training says while it runs, and what it was at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isograd.records.report import Report
from isograd.records.run import Epoch

Direction = Literal["max", "min"]
Phase = Literal["remark", "training", "validating", "finished", "stopped", "diverged"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is. ``step`` of ``steps`` counts optimizer steps of the whole run, ``epoch`` from 1.

    ``loss`` is the mean over the rows of this epoch so far, ``metrics`` those of the last validation, ``health`` one line of
    gradient health; ``remark`` is set where something has to be said (a damaged checkpoint, a resumption, an early stop).
    """

    phase: Phase
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None = None
    metrics: tuple[tuple[str, float], ...] = ()
    rows_per_second: float = 0.0
    seconds_left: float | None = None
    health: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training ended; the model it was given holds the best weights then (the present ones, where it was stopped).

    ``weights`` says which those are: "ema", "raw", or "" before the first validation. ``sha256`` is the hash of what the
    model holds, ``last_sha256`` of the weights after the last step. A diverged run names the epoch and the first step whose
    loss, or whose weights, were not finite.
    """

    status: Literal["finished", "stopped", "diverged"]
    epochs: tuple[Epoch, ...]
    steps: int
    seconds: float
    monitor: str
    best_epoch: int | None
    best_value: float | None
    weights: str
    sha256: str
    last_sha256: str
    diverged_at: int | None = None
    diverged_step: int | None = None
    report: Report | None = None
    remarks: tuple[str, ...] = ()
