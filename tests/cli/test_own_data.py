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


def test_a_run_that_went_wrong_before_its_first_checkpoint_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isograd.workbench import train

    folder = table(tmp_path)
    monkeypatch.setattr(train, "loss_of", lambda task, **_: lambda outputs, targets: outputs.sum() + targets.reshape(2, 99))
    assert main(["train", folder]) == 2
    assert not (tmp_path / "runs").exists()


def test_what_was_imputed_and_left_out_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = table(tmp_path, more=",a\n1,b,2\n")
    assert main(["check", folder]) == 2
    assert "--skip-corrupt" in capsys.readouterr().err
    for command, answer in ((["check"], 1), (["train"], 0), (["train", "--json"], 0)):  # one step is no training
        assert main([*command, folder, "--skip-corrupt"]) == answer
        out, error = capsys.readouterr()
        assert "column 'x' lacks 1 values; they became the training mean" in error
        assert "left out: line 96: 3 cells where the header has 2" in error
        assert "left out" not in out


def test_a_run_that_skipped_rows_is_evaluated_on_the_same_rows(tmp_path: Path) -> None:
    folder = table(tmp_path, more="1,b,2\n")
    assert main(["train", folder, "--skip-corrupt"]) == 0
    assert main(["evaluate", folder]) == 0


def test_a_misspelt_goal_is_told_by_evaluate_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = table(tmp_path)
    assert main(["train", folder]) == 0
    table(tmp_path, toml=TOML + "[goals]\nacuracy = 0.5\n")
    assert main(["evaluate", folder]) == 2
    assert 'did you mean "accuracy"?' in capsys.readouterr().err


def test_a_dry_run_shows_lists_and_words_as_the_file_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dry-run", table(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "model.hidden = [8]" in shown and 'model.norm = "batch"' in shown and "train.clip_norm = null" in shown


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('split = "time"', 'column = "date"'),
        ('split = "given"', 'split = "stratified"'),
        ('split = "group"\ncolumn = "z"', "column: the table has no column 'z'"),
        ("image_size = [3]", "image_size: two whole numbers above 0 are needed"),
        ("image_size = [0, 4]", "image_size: two whole numbers above 0 are needed"),
    ],
)
def test_a_message_names_keys_that_the_project_file_has(
    tmp_path: Path, key: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", table(tmp_path, toml=TOML.replace("[model]", f"{key}\n[model]"))]) == 2
    error = capsys.readouterr().err
    assert said in error and "kind =" not in error


def test_a_cell_that_is_too_long_is_called_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", table(tmp_path, more="1," + "b" * 200_000 + "\n")]) == 2
    assert "a cell has more than 131,072 characters" in capsys.readouterr().err
