"""Cases of sequences: a table whose best answer is known, and the adding problem for four recurrent networks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from cases.running import Figure, Row, foretold, run, told

CELLS = {
    "rnn": 'kind = "rnn"',
    "rnn, identity": 'kind = "rnn"\ninitialisation = "identity"',
    "gru": 'kind = "gru"',
    "lstm": 'kind = "lstm"',
}


def memory(work: Path) -> list[Row]:
    """An LSTM on series of 25 numbers, beside the best possible answer to the same series."""
    ran = run(work, "memory", script="series.py", arguments=("draw",))
    beside = told(ran.folder / "series.py", "best", str(ran.folder))
    row = ran.row("lstm", "accuracy", "error within 10 % of the best possible", beside)
    accuracy = row.figure
    assert accuracy.low is not None and accuracy.high is not None
    return [replace(row, figure=Figure("error", 1 - accuracy.value, 1 - accuracy.high, 1 - accuracy.low))]


def adding(work: Path) -> list[Row]:
    """200 steps: which network solves it, and what `isograd check` says of each before the first step."""
    rows = []
    for name, lines in CELLS.items():

        def change(text: str, lines: str = lines) -> str:
            return "".join(lines + "\n" if line.startswith("kind = ") else line for line in text.splitlines(keepends=True))

        ran = run(work, "adding", name=f"adding-{name.replace(', ', '-')}", change=change, script="draw_sums.py")
        goal = "fails" if name == "rnn" else "r2 above 0.9"
        row = ran.row(f"{name}; foretold: {foretold(ran.folder)}", "r2", goal, [ran.figures["rmse"]])
        rows.append(replace(row, beside=(*row.beside, Figure("rmse of who always says 1", math.sqrt(1 / 6)))))
    return rows
