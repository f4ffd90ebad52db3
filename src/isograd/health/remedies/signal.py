"""What keeps a signal on its way: an activation that passes it, clipping, normalisation, residual paths, another optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.hypotheses import DEEP, usual_norms
from isograd.health.present import Present
from isograd.health.remedies.rates import to_adam
from isograd.health.remedies.weights import RELU_LIKE
from isograd.records.edit import Edit


def candidates(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """The smallest first."""
    activation = present.word("activation")
    if activation and activation not in RELU_LIKE:
        yield Edit("activation", "relu", before=activation), "its slope is 1 wherever it is not 0"
        if present.depth > DEEP and activation != "tanh":
            yield Edit("activation", "tanh", before=activation), "with orthogonal weights it keeps a signal over any depth"
    elif activation == "relu" and present.depth > 1:
        yield Edit("activation", "leaky_relu", before=activation), "its units cannot die"
    adam = to_adam(present)
    if adam is not None and present.word("optimizer"):
        yield adam, "its steps depend neither on the size of the gradient nor on their number"
    if present.loop.clip_norm is None:
        yield Edit("clip_norm", 1.0), "no step is led by one batch"
    if any(node.operation == "attention" for node in case.anatomy.nodes):
        yield Edit("norm_first"), "the gradient has a path that no normalisation shrinks"
    if present.depth > 2:
        for kind in usual_norms(present):
            yield Edit("normalisation", kind), "the scale of every layer is 1"
        yield Edit("residual"), "the gradient has a path of slope 1"
