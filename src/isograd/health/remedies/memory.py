r"""What a recurrent network needs to remember over many steps: gates, a shorter way back.

A gate that forgets with the bias b keeps :math:`\sigma(b)` of the state, and of the gradient, a step: after T steps 1 / e is
left where :math:`T \log(1 / \sigma(b)) = 1`, which is b = log T for long T. A cell of the usual bias (0 or 1) forgets within
1.4 or 3 steps, whatever its gates might learn, as what lies further back gives them no gradient.
Sources: Tallec & Ollivier 2018, arXiv:1804.11188, section 2.2 (biases between 0 and log T, for memories of all lengths);
Jozefowicz et al. 2015 (a bias of 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.health.present import Present
from isograd.records.edit import Edit

GATED = ("LSTM", "GRU")
WINDOW = 32
"""Steps after which the gradient through time is cut, where it is cut: beyond, plain cells hand nothing on anyway."""


def candidates(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """A gate that keeps; for plain cells gates, and a gradient that is cut; of all that reads sequences the other axis."""
    cells = [node for node in case.anatomy.nodes if node.operation == "recurrent"]
    if cells:
        if present.number("fading_steps"):
            yield _bias(present), "a cell that remembers for as long as its sequences are"
        yield Edit("forget_bias", 1.0), "a cell that remembers at first"
    if any(all(gate not in node.label for gate in GATED) for node in cells):
        yield Edit("truncate", float(WINDOW)), "a gradient that explodes over many steps"
        yield Edit("cell", "lstm"), "gates carry the gradient over any number of steps"
        yield Edit("cell", "gru"), "gates carry the gradient over any number of steps"
    if any(node.operation in ("recurrent", "attention") for node in case.anatomy.nodes):
        for first, other in (("batch", "time"), ("time", "batch")):  # the one that it takes now does not fit
            yield Edit("axes", first, before=other), "it may go along the examples instead of the time"


def lasting(edits: Sequence[Edit], present: Present) -> tuple[Edit, ...]:
    """Of the ``edits`` that can be made the gates, with a bias that keeps over the whole sequence; nothing where no gradient
    was seen to fade over its steps.

    >>> present = Present("recurrent", 2, 16.0, numbers=(("fading_steps", 60.0),))
    >>> [edit.value for edit in lasting([Edit("cell", "gru"), Edit("cell", "lstm")], present)]
    ['gru', 4.1]
    """
    able = [edit for edit in edits if edit.kind in ("cell", "forget_bias")]
    if not able or not present.number("fading_steps"):
        return ()
    cell = tuple(edit for edit in able if edit.kind == "cell")[:1]
    return (*cell, _bias(present))


def _bias(present: Present) -> Edit:
    return Edit("forget_bias", round(math.log(present.number("fading_steps") or 1.0), 1))
