"""What was seen of a training: a header, and one ``Step`` for every step that was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation, InputSample, LossSample, Replay
from isograd.records.fact import Fact
from isograd.records.moments import Gram, Moments, Pairs, Units

EVERY = 4
"""One look in so many goes deeper, however close the looks are."""
GROWTH = 1.5
"""And so does every look by which the number of steps has grown so much since the last deep one."""


def deep(look: int, step: int, last: int) -> bool:
    """Whether a look takes what is dear as well: gradients through time, ``Gram``, attention.

    ``look`` counts the looks from 1, ``step`` is the step it falls on, ``last`` the step of the last deep look (0: none yet).
    The first three are deep, and the gaps between the others grow with the length of the run, to at most three looks.

    >>> deep_steps = [0]
    >>> for step in range(1, 20):
    ...     deep_steps += [step] * deep(step, step, deep_steps[-1])
    >>> deep_steps[1:]
    [1, 2, 3, 4, 6, 8, 12, 16]
    """
    return look % EVERY == 0 or step >= GROWTH * last


@dataclass(frozen=True, slots=True)
class Attention:
    """How one attention spreads over its keys, over at most a few examples and all heads; sums, merged with ``+``.

    ``entropy`` is the sum over the rows (one a query and head) of the entropy of their weights in units of ``log(keys)``, so
    that 1 is uniform and 0 looks at one key; ``lowest`` the mean over the queries of the head that is lowest; ``logit`` the
    largest magnitude of a logit (scaled, before masks); ``rows`` how many rows.

    >>> (Attention(2, 1.0, 0.5, 3.0) + Attention(2, 2.0, 1.0, 1.0)).mean
    0.75
    """

    rows: int
    entropy: float
    lowest: float
    logit: float

    def __add__(self, other: Attention) -> Attention:
        return Attention(
            self.rows + other.rows,
            self.entropy + other.entropy,
            min(self.lowest, other.lowest),
            max(self.logit, other.logit),
        )

    @property
    def mean(self) -> float:
        """Mean normalised entropy, in [0, 1]."""
        return self.entropy / self.rows if self.rows else 1.0


@dataclass(frozen=True, slots=True)
class LayerSample:
    """One node's output and the gradient of the loss with respect to it, in one call of one step.

    ``gradient`` is on the scale of the loss as the program reduces it (a mean over N examples makes it 1/N as large), unscaled
    where mixed precision scales it. ``examples`` is the length of the batch axis. ``through_time`` has one ``Moments`` a
    time step for a recurrent layer: the gradient of the loss with respect to its hidden state there, over a few sequences. Of
    stacked layers it is the first, which reads the inputs; both directions of a bidirectional one count at the position that
    they read. ``gram`` has the inner products of the outputs of a few examples, ``attention`` how an attention spreads. These
    three are taken on ``deep`` looks only.
    """

    where: str
    call: int = 0
    examples: int = 0
    activation: Moments | None = None
    gradient: Moments | None = None
    units: Units | None = None
    through_time: tuple[Moments, ...] = ()
    gram: Gram | None = None
    attention: Attention | None = None


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

    ``evaluations`` are those since the step before (of the last step: also those after it, as their ``after`` says).
    ``replays`` tell of a loss that nobody knows what other answers would have got.
    Only sampled steps have ``layers``, ``parameters``, ``inputs``, ``losses`` and ``facts``. ``loss`` is the value whose
    gradient was stepped, unscaled; where a closure evaluated it several times, the first.
    """

    index: int
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norms: tuple[float | None, ...] = ()
    layers: tuple[LayerSample, ...] = ()
    parameters: tuple[ParameterSample, ...] = ()
    inputs: tuple[InputSample, ...] = ()
    losses: tuple[LossSample, ...] = ()
    facts: tuple[Fact, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    replays: tuple[Replay, ...] = ()

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
    """A whole recording. ``parameters`` names what ``Step.gradient_norms`` lists; ``planned_steps`` is the announced length.

    ``ended`` says whether the watch has been left: nothing more will come.
    """

    anatomy: Anatomy
    parameters: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    planned_steps: int | None = None
    meter: Meter = Meter()
    ended: bool = False

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All evaluations that were heard, in order.

        >>> Trace(Anatomy("torch", (), ()), steps=(Step(3, evaluations=(Evaluation(2),)), Step(4))).evaluations[0].after
        2
        """
        return tuple(evaluation for step in self.steps for evaluation in step.evaluations)
