"""The case of spoken digits: new takes of speakers that are known, and speakers that are not."""

from __future__ import annotations

from pathlib import Path

from cases.baselines import linear
from cases.running import Row, mean_interval, run

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def spoken(work: Path) -> list[Row]:
    """The same network by two splits: (a) takes 0 to 4 of everybody, (b) everything that one speaker said."""
    takes = run(work, "spoken", script="arrange_takes.py")
    rows = [takes.row("(a) new takes", "accuracy", "0.975", [linear(takes.folder)])]
    for speaker in SPEAKERS:

        def change(text: str, speaker: str = speaker) -> str:
            return text.replace('"takes"', f'"no-{speaker}"', 1)

        ran = run(work, "spoken", name=f"spoken-no-{speaker}", change=change, script="arrange_takes.py")
        rows.append(ran.row(f"(b) {speaker} unheard", "accuracy", "", [linear(ran.folder)]))
    over = mean_interval("mean over speakers", [row.figure.value for row in rows[1:]])
    rows[1:] = [Row(row.what, row.figure, "0.80 over all", *_took(row), (over, *row.beside)) for row in rows[1:]]
    return rows


def _took(row: Row) -> tuple[float, float, float, str]:
    return row.cpu_minutes, row.minutes, row.peak_mb, row.health
