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
    """

    where: str
    activation_rms: float | None
    log_gradient: float | None
    spread: float | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Expectations:
    """Every node's expectation in the order of execution, and what they amount to.

    ``slope`` is the foretold backward slope in nats a layer (positive: vanishes towards the input), ``depth_scale`` the
    number of layers over which the gradient falls to 1/e, infinite at the edge of chaos.
    """

    nodes: tuple[Expectation, ...] = ()
    slope: float | None = None
    depth_scale: float | None = None
    unknown: tuple[str, ...] = ()

    def at(self, where: str) -> Expectation | None:
        """The expectation at ``where``, or nothing."""
        return next((node for node in self.nodes if node.where == where), None)
