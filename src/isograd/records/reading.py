"""A signal's value at one place and step: what diagnosis works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """One number with a name: ``signal`` is the name of the function in ``health.signals`` that took it.

    ``where`` is a node path, a parameter name, or "" for the whole network; ``step`` counts from 1, and so does ``time_step``
    where the number is of one step of a sequence.
    """

    signal: str
    where: str
    step: int
    value: float
    time_step: int | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of a trace, by step and in the order of the layers; ``order`` lists the layers from input to output."""

    values: tuple[Reading, ...] = ()
    order: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()

    def of(self, signal: str, where: str | None = None, step: int | None = None) -> tuple[Reading, ...]:
        """The readings of one signal, at one place or step where these are given.

        >>> r = Readings((Reading("loss", "", 1, 2.0), Reading("loss", "", 2, 1.0)))
        >>> [reading.value for reading in r.of("loss", step=2)]
        [1.0]
        """
        return tuple(
            reading
            for reading in self.values
            if reading.signal == signal and (where is None or reading.where == where) and (step is None or reading.step == step)
        )
