"""What a recurrent network needs to remember over many steps: gates, a shorter way back."""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.present import Present
from isograd.records.edit import Edit

GATED = ("LSTM", "GRU")
WINDOW = 32
"""Steps after which the gradient through time is cut, where it is cut: beyond, plain cells hand nothing on anyway."""


def candidates(case: Case, present: Present) -> Iterator[tuple[Edit, str]]:
    """For plain recurrent cells alone; gated ones have what they need."""
    cells = [node for node in case.anatomy.nodes if node.operation == "recurrent"]
    if not any(all(gate not in node.label for gate in GATED) for node in cells):
        return
    yield Edit("truncate", float(WINDOW)), "a gradient that explodes over many steps"
    yield Edit("cell", "lstm"), "gates carry the gradient over any number of steps"
    yield Edit("cell", "gru"), "gates carry the gradient over any number of steps"
