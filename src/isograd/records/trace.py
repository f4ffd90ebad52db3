"""What was seen of a training: a header, and one ``Step`` for every step that was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from isograd.records.anatomy import Anatomy
from isograd.records.moments import Moments, Pairs, Units


@dataclass(frozen=True, slots=True)
class LayerSample:
    """One node's output and the gradient of the loss with respect to it, in one call of one step.

    ``gradient`` is on the scale of the loss as the program reduces it (a mean over N examples makes it 1/N as large), unscaled
    where mixed precision scales it. ``examples`` is the length of the batch axis. ``through_time`` has one ``Moments`` a
    time step for a recurrent layer: the gradient of the loss with respect to its hidden state there.
    """

    where: str
    call: int = 0
    examples: int = 0
    activation: Moments | None = None
    gradient: Moments | None = None
    units: Units | None = None
    through_time: tuple[Moments, ...] = ()


@dataclass(frozen=True, slots=True)
class ParameterSample:
    """One parameter around one step: its value before, its gradient as the optimizer got it, its real update.

    ``motion`` pairs update (left) with weight (right), ``turn`` this gradient (left) with the one of the last sampled step.
    A large tensor's update may be sampled on some rows: ``motion`` speaks of the same rows on both sides.
    """

    name: str
    weight: Moments
    gradient: Moments | None = None
    update: Moments | None = None
    motion: Pairs | None = None
    turn: Pairs | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, counted from 1. ``gradient_norms`` follows ``Trace.parameters``; None: no gradient came.

    Only sampled steps have ``layers`` and ``parameters``. ``events`` are plain facts, such as "loss is not finite".
    """

    index: int
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norms: tuple[float | None, ...] = ()
    layers: tuple[LayerSample, ...] = ()
    parameters: tuple[ParameterSample, ...] = ()
    inputs: tuple[Moments, ...] = ()
    events: tuple[str, ...] = ()

    @property
    def sampled(self) -> bool:
        """Whether layers or parameters were measured here."""
        return bool(self.layers or self.parameters)


@dataclass(frozen=True, slots=True)
class Meter:
    """What the watching cost: own and total thread seconds of the steps, and how many were looked at how closely."""

    own_seconds: float = 0.0
    total_seconds: float = 0.0
    steps: int = 0
    sampled: int = 0
    normed: int = 0

    @property
    def share(self) -> float:
        """Own time over the time of the rest, 0 where nothing ran."""
        rest = self.total_seconds - self.own_seconds
        return self.own_seconds / rest if rest > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole recording. ``parameters`` names what ``Step.gradient_norms`` lists; ``planned_steps`` is the announced length."""

    anatomy: Anatomy
    parameters: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    planned_steps: int | None = None
    meter: Meter = Meter()
