"""The case studies in examples/ run small: their files are read, their networks learn on a part of the data, and answer."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from isograd.project import river
from isograd.project.reading import load, parse

ROOT = Path(__file__).resolve().parents[1]
CASES = {"sentences": ("rt-polarity.csv", 0.6), "census": ("adult.csv", 0.8)}


@pytest.mark.parametrize("name", CASES)
def test_the_file_of_a_case_study_is_right(name: str) -> None:
    assert load(ROOT / "examples" / name).settings.name == name


@pytest.mark.parametrize("name", CASES)
def test_a_case_study_learns_from_a_part_of_its_rows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, least = CASES[name]
    data = Path(os.environ.get("ISOGRAD_DATA", "")) / source
    if not os.environ.get("ISOGRAD_DATA") or not data.is_file():
        pytest.skip("the data of the case studies is not here")
    with data.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    with (tmp_path / source).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows[:: len(rows) // 2500]])
    monkeypatch.setenv("ISOGRAD_DATA", str(tmp_path))
    text = (ROOT / "examples" / name / "isograd.toml").read_text("utf-8")
    project = parse(text, tmp_path / "isograd.toml")
    (tmp_path / "isograd.toml").write_text(text, "utf-8")
    assert river.run_training(project).run().status == "finished"
    _, judged = river.evaluate_run(tmp_path)
    assert judged.metrics[0].value > least
