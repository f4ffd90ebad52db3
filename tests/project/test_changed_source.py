"""A source that has changed since an unfinished run began: the run is not gone on with, and it is said how to go on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from isograd.cli import main
from isograd.project.runs import all_runs

TOML = """\
task = "classification"
[data]
source = "sqlite:///$SHOP.db"
query = "select x, y from shop order by rowid"
target = "y"
[model]
hidden = [4]
[train]
epochs = 1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP", "shop")
    (tmp_path / "isograd.toml").write_text(TOML)
    execute(tmp_path, "create table shop (x real, y text)")
    for row in range(60):
        execute(tmp_path, f"insert into shop values ({row * 1.37 % 7}, '{'ab'[row % 2]}')")
    return tmp_path


def execute(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute(statement)
    connection.close()


def interrupted(folder: Path) -> None:
    (run,) = all_runs(folder)
    path = run.path / "run.json"
    path.write_text(path.read_text().replace('"finished"', '"running"', 1))


def test_a_query_whose_answer_has_changed_is_not_gone_on_with(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(project)]) == 0
    interrupted(project)
    assert main(["train", str(project)]) == 0  # nothing has changed
    interrupted(project)
    capsys.readouterr()
    execute(project, "update shop set x = 99 where rowid = 7")
    assert main(["train", str(project)]) == 2
    told = capsys.readouterr().err
    assert "the data: fingerprint" in told and "--new" in told
    assert main(["evaluate", str(project)]) == 2
    assert "has changed since it was trained" in capsys.readouterr().err
    assert main(["train", str(project), "--new"]) == 0
    assert len(all_runs(project)) == 2
