"""A person's own table at the command line: what it needs, what it gets told, and what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from isograd.cli import main

TOML = """\
task = "classification"
[data]
source = "t.csv"
target = "y"
[model]
hidden = [8]
norm = "batch"
[train]
epochs = 1
batch_size = 60
"""


def table(folder: Path, rows: int = 93, *, toml: str = TOML, more: str = "") -> str:
    lines = [f"{i * 1.37:.4f},{'ab'[i % 2]}" for i in range(rows)]
    (folder / "t.csv").write_text("x,y\n" + "\n".join(lines) + f"\n{more}", "utf-8")
    (folder / "isograd.toml").write_text(toml, "utf-8")
    return str(folder)


def test_a_last_batch_of_one_row_trains_with_batch_normalisation(tmp_path: Path) -> None:
    assert main(["train", table(tmp_path)]) == 0  # 61 training rows: 60 and 1


def test_batches_of_one_row_and_batch_normalisation_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", table(tmp_path, toml=TOML.replace("60", "1"))]) == 2
    assert "at least two rows in a batch" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
