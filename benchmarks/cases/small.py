"""Cases of seconds: a line from first principles, and a folder of few pictures."""

from __future__ import annotations

from pathlib import Path

from cases.running import Figure, Row, run, told


def line(work: Path) -> list[Row]:
    """A line, 3 x + U(0, 1), beside the noise, least squares, and the gradient that is written out by hand."""
    ran = run(work, "line", script="draw_line.py")
    beside = told(ran.folder / "by_hand.py", ran.folder)
    return [ran.row("linear", "rmse", "mean squared error within 5 % of 1/12", beside)]


def folder(work: Path) -> list[Row]:
    """2,000 pictures in class folders, rotated, shifted, sheared and zoomed."""
    ran = run(work, "folder", script="write_folder.py")
    return [
        ran.row("cnn, augmented", "accuracy", "above 0.9234", [Figure("to beat", 0.9234)]),
        ran.row("cnn, augmented", "log_loss", "below 0.3714", [Figure("to beat", 0.3714)]),
    ]
