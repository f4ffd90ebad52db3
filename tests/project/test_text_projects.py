"""A project that classifies texts: from two lines of settings to answers, with every family, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isograd.cli import main
from isograd.errors import DataError, ProjectError
from isograd.project import river
from isograd.project.reading import load, parse
from isograd.workbench.models import TOKENS

GOOD, BAD = ("a fine", "the loveliest", "one splendid"), ("a dull", "the poorest", "one tedious")


def reviews(folder: Path, rows: int = 120, *, kind: str = "auto", more: str = "") -> Path:
    lines = []
    for row in range(rows):
        label, words = ("pos", GOOD) if row % 2 else ("neg", BAD)
        filler = " and a word" * (row % 5)
        lines.append(f'"{words[row // 2 % 3]} film, the {row}th of this year{filler}",{label},{row % 10}')
    (folder / "films.csv").write_text("review,label,stars\n" + "\n".join(lines) + "\n", "utf-8")
    (folder / "isograd.toml").write_text(
        f'name = "films"\ntask = "text-classification"\n[data]\nsource = "films.csv"\n[model]\nkind = "{kind}"\n{more}', "utf-8"
    )
    return folder


def test_a_bag_tells_good_films_from_bad_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = reviews(tmp_path, more="[train]\nepochs = 30\n")
    assert main(["run", str(folder)]) == 0
    said = capsys.readouterr()
    assert "accuracy 1" in said.out and "columns not looked at" in said.err and "stars" in said.err
    (folder / "new.txt").write_text("one splendid film", "utf-8")
    bundle = str(folder / "runs" / "films-001" / "bundle")
    assert main(["predict", bundle, str(folder / "new.txt"), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["predictions"]
    assert answer["label"] == "pos"


@pytest.mark.parametrize("kind", [*TOKENS, "mlp", "linear"])
def test_every_family_trains_judges_and_answers_the_same_from_its_bundle(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reviews(tmp_path, kind=kind, more="[train]\nepochs = 12\n")
    run = river.run_training(load(folder))
    _, judged = river.evaluate_run(folder)
    _, bundle = river.export_run(folder)
    assert judged.rows == 24 and 0 <= judged.metrics[0].value <= 1 and bundle.max_difference < 1e-4
    report = (run.path / "report.json").read_text("utf-8")
    assert '"critical"' not in report and '"warning"' not in report
    assert main(["predict", str(run.bundle), str(folder / "films.csv")]) == 0
    assert capsys.readouterr().out.count("films.csv") == 120


def test_a_run_that_was_stopped_goes_on_to_the_very_weights_it_would_have_had(tmp_path: Path) -> None:
    hashes = []
    for name, stop_at in (("whole", None), ("cut", 3)):
        (tmp_path / name).mkdir()
        project = load(
            reviews(tmp_path / name, 60, kind="gru", more="[train]\nepochs = 2\nbatch_size = 8\ncheckpoint_seconds = 1e-9\n")
        )
        if stop_at:
            interrupt_at(project, stop_at)
        run = river.run_training(project)
        hashes.append(run.epochs()[-1].metrics)
    assert hashes[0] == hashes[1]


def interrupt_at(project: river.Project, step: int) -> None:
    from isograd.workbench import train

    def pressed(progress: train.Progress) -> None:
        if progress.phase == "training" and progress.step >= step:
            raise KeyboardInterrupt

    assert river.run_training(project, on_progress=pressed).run().status == "stopped"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('task = "classification"\n[data]\nsource = "x.csv"\n[model]\nkind = "lstm"\n', "lstm is not for classification"),
        ('task = "text-classification"\n[data]\nsource = "x.csv"\n[model]\nkind = "cnn"\n', "for text-classification: mlp"),
        (
            'task = "text-classification"\n[data]\nsource = "x"\n[encoding]\ntext = "bag"\n[model]\nkind = "gru"\n',
            'text = "ids", or leave it out',
        ),
        ('task = "text-classification"\n[data]\nsource = "x"\n[model]\nkind = "gru"\nngrams = 2\n', 'no option "ngrams"'),
    ],
)
def test_a_family_that_does_not_fit_the_task_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        parse(text, Path("isograd.toml"))
    assert said in str(caught.value) and "line " in str(caught.value)


def test_what_a_family_wants_is_filled_in_and_what_is_written_stays() -> None:
    head = 'task = "text-classification"\n[data]\nsource = "x.csv"\n'
    filled = parse(head, Path("isograd.toml")).settings
    assert (filled.model.kind, filled.encoding.text, filled.encoding.vocabulary) == ("bag", "ids", 20_000)
    written = parse(head + "[train]\nepochs = 30\n[encoding]\nvocabulary = 2000\n", Path("isograd.toml")).settings
    assert (written.train.epochs, written.encoding.vocabulary) == (30, 2000)
    assert written.train.learning_rate == filled.train.learning_rate != 1e-3


def test_a_dry_run_shows_the_options_that_were_left_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dry-run", str(reviews(tmp_path, kind="lstm", more="units = 7\n"))]) == 0
    said = capsys.readouterr().out
    assert (
        "model.width = 64" in said
        and "model.units = 7" in said
        and 'model.pool = "max"' in said
        and "train.clip_norm = 1.0" in said
    )


def test_a_table_without_a_text_or_with_two_says_what_to_do(tmp_path: Path) -> None:
    reviews(tmp_path)
    rows = (tmp_path / "films.csv").read_text("utf-8").splitlines()
    (tmp_path / "films.csv").write_text("\n".join(row.split('",')[-1].removeprefix("review,") for row in rows), "utf-8")
    with pytest.raises(DataError, match="no column holds texts"):
        river.begin(load(tmp_path))
    twice = [f"{rows[0]},more", *(f"{row},a remark on row {number}" for number, row in enumerate(rows[1:]))]
    (tmp_path / "films.csv").write_text("\n".join(twice), "utf-8")
    with pytest.raises(DataError, match="several columns hold texts") as caught:
        river.begin(load(tmp_path))
    assert 'drop = ["more"]' in str(caught.value)
