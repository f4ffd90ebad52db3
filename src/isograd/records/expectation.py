"""What theory foretells of a network from its anatomy alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is foretold at one node.

    ``activation_rms`` is the root mean square of its output (inputs of unit variance unless a batch was measured).
    ``log_gradient`` is the natural logarithm of the rms gradient of its output, relative to that of the last node (0 there).
    ``spread`` is one standard deviation of ``log_gradient``, in nats, from finite width. ``known`` is False from the first
    operation on that theory has no map for.

    ``signal_spread`` is one standard deviation of the log of ``activation_rms``. ``correlation`` is that of two examples in one
    unit, in [-1, 1]. ``dead`` is the expected share of units that fire for no example of the batch (of those activations that
    can die), ``time_slope`` what a step back in time costs the gradient of a recurrent layer, in nats.
    """

    where: str
    activation_rms: float | None
    log_gradient: float | None
    spread: float | None = None
    known: bool = True
    signal_spread: float | None = None
    correlation: float | None = None
    dead: float | None = None
    time_slope: float | None = None


@dataclass(frozen=True, slots=True)
class Expectations:
    """Every node's expectation in the order of execution, and what they amount to.

    ``slope`` is the foretold backward slope in nats a layer (positive: vanishes towards the input), ``depth_scale`` the
    number of layers over which the gradient falls to 1/e, infinite at the edge of chaos. ``drift`` is the decimal logarithm of
    how far one step of the optimizer moves an output, in units of the gradient there (adaptive ones: in units of the output).
    """

    nodes: tuple[Expectation, ...] = ()
    slope: float | None = None
    depth_scale: float | None = None
    unknown: tuple[str, ...] = ()
    drift: float | None = None

    def at(self, where: str) -> Expectation | None:
        """The expectation at ``where``, or nothing."""
        return next((node for node in self.nodes if node.where == where), None)
