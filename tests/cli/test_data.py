"""`isograd data clean`: proposes, takes and records steps; the data and the rest of the project file stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isograd.cli import main
from isograd.project.reading import load

TOML = """\
# what this is for
task = "classification"

[data]   # the shop
source = "t.csv"   # exported by hand
target = "y"

[model]
hidden = [4]   # small
[train]
epochs = 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    rows = [f"{i * 37 % 101},{'ab'[i % 2]},1994" for i in range(100)]
    rows += [f"{i},a,1994" for i in (0, 2, 4)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,year", *rows, "90000,a,1994"]) + "\n")
    (tmp_path / "isograd.toml").write_text(TOML)
    return tmp_path


def test_it_proposes_what_an_inspection_names_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "clean", str(project)]) == 0
    said = capsys.readouterr().out
    assert "--fix drop_column:year" in said and "--fix clip_outliers:x" in said
    assert (project / "isograd.toml").read_text() == TOML


def test_steps_are_written_into_the_project_file_and_nothing_else_changes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (project / "t.csv").read_bytes()
    assert main(["data", "clean", str(project), "--fix", "drop_column:year", "--fix", "clip_outliers:x"]) == 0
    said = capsys.readouterr().out
    assert "cleaned by drop_column:year: 104 rows touched" in said and "cleaned by clip_outliers:x: 1 rows touched" in said
    line = 'clean = ["drop_column:year", "clip_outliers:x"]\n'
    assert (project / "isograd.toml").read_text() == TOML.replace("by hand\n", f"by hand\n{line}")
    assert (project / "t.csv").read_bytes() == data
    assert main(["data", "clean", str(project), "--fix", "clip_outliers:x", "--fix", "drop_duplicates"]) == 0
    assert load(project).settings.data.clean == ["drop_column:year", "clip_outliers:x", "drop_duplicates"]
    assert (project / "isograd.toml").read_text().count("clean =") == 1
    assert main(["data", "inspect", str(project)]) == 0
    assert main(["train", str(project)]) == 0
    assert "cleaned by clip_outliers:x" in capsys.readouterr().err


def test_a_list_over_several_lines_is_replaced_whole(project: Path) -> None:
    text = TOML.replace('target = "y"', 'clean = [\n  "drop_duplicates",\n]\n# about the target\ntarget = "y"')
    (project / "isograd.toml").write_text(text)
    assert main(["data", "clean", str(project), "--fix", "drop_column:year"]) == 0
    written = (project / "isograd.toml").read_text()
    assert 'clean = ["drop_duplicates", "drop_column:year"]\n# about the target\ntarget' in written


def test_a_dry_run_writes_nothing_and_json_is_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "clean", str(project), "--fix", "drop_column:year", "--dry-run", "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)["cleaned"]
    assert done["clean"] == ["drop_column:year"] and "104 rows" in done["touched"][0]
    assert (project / "isograd.toml").read_text() == TOML
    assert main(["data", "clean", "--steps"]) == 0
    assert "derive:column=..." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fix", "said"),
    [
        ("drop_colum:year", 'did you mean "drop_column"?'),
        ("drop_column:yeer", "the table has no column 'yeer'"),
        ("derive:z=open(x)", "may not hold open(x)"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_and_nothing_is_written(
    project: Path, fix: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "clean", str(project), "--fix", fix]) == 2
    assert said in capsys.readouterr().err
    assert (project / "isograd.toml").read_text() == TOML


def test_a_step_in_the_file_that_is_none_is_told_with_its_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "isograd.toml").write_text(TOML.replace('target = "y"', 'target = "y"\nclean = ["drop_duplicats"]'))
    assert main(["check", str(project)]) == 2
    told = capsys.readouterr().err
    assert "there is no step 'drop_duplicats'" in told and "line 7" in told and "drop_duplicates" in told


def test_rows_that_cannot_be_read_are_left_out_by_a_fix_of_its_own(project: Path) -> None:
    with (project / "t.csv").open("a") as file:
        file.write("1,a,1994,surplus\n")
    assert main(["data", "inspect", str(project)]) == 1
    assert main(["data", "clean", str(project), "--fix", "skip_corrupt"]) == 0
    assert load(project).settings.data.skip_corrupt


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    assert main(["data", "clean", str(tmp_path), "--fix", "drop_duplicates"]) == 2


def test_what_is_no_project_yet_is_told_the_file_that_makes_it_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i % 17},{i * 7 % 13},{'yes' if (i % 17) + (i * 7 % 13) + i % 5 > 16 else 'no'}" for i in range(120)]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "t.csv").write_text("\n".join(["a,b,y", *rows]) + "\n", "utf-8")
    assert main(["data", "inspect", "notes/t.csv", "--target", "y"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "Next: isograd check notes"
    text = said.split("notes/isograd.toml:\n\n")[1].split("\nNext:")[0]
    (tmp_path / "notes" / "isograd.toml").write_text(text, "utf-8")
    assert main(["check", "notes"]) in (0, 3)
