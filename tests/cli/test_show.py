"""Lines of progress: what is shown, and what gives way where the terminal is narrow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isograd.cli.show import figures, progress_bar, progress_line
from isograd.workbench.train import Progress

NOW = Progress(
    "training", 3, 300, 10, 100, loss=0.25, metrics=(("accuracy", 0.9), ("f1", 0.8)), rows_per_second=61318.0, seconds_left=4.0
)


def test_a_line_of_progress_says_epoch_share_loss_metrics_speed_and_time_left() -> None:
    assert progress_line(NOW) == "epoch 3/300   10%  loss 0.25  accuracy 0.900  f1 0.800  61,318 rows/s  4.0 s left"


def test_what_matters_least_gives_way_first() -> None:
    assert figures(NOW, 60) == "loss 0.25  accuracy 0.900  61,318 rows/s  4.0 s left"
    assert figures(NOW, 45) == "loss 0.25  accuracy 0.900  4.0 s left"
    assert figures(NOW, 30) == "loss 0.25  4.0 s left"
    assert figures(NOW, 10) == "loss 0.25"
    assert figures(NOW, 3) == ""


def test_no_room_is_ever_overrun() -> None:
    assert all(len(figures(NOW, room)) <= room for room in range(100))


def test_every_epoch_has_its_line_in_a_pipe_however_short_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as update:
        for epoch in (1, 2, 3):
            known = (("accuracy", epoch - 1.0),) if epoch > 1 else ()
            update(replace(NOW, phase="validating", epoch=epoch, epochs=3, metrics=known))
        update(replace(NOW, phase="finished", epoch=3, epochs=3, metrics=(("accuracy", 3.0),)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert [f"accuracy {epoch}.000" in line for epoch, line in enumerate(lines, 1)] == [True] * 3
