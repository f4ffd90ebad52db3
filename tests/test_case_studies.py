"""The case studies in examples/ run small: their files are read, their networks learn on a part of the data, and answer."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from isograd.project import river
from isograd.project.reading import load, parse

ROOT = Path(__file__).resolve().parents[1]
CASES = {"sentences": ("rt-polarity.csv", 0.6), "census": ("adult.csv", 0.8)}
FILES = sorted(path.parent for path in (ROOT / "examples").glob("**/isograd.toml"))


@pytest.mark.parametrize("folder", FILES, ids=lambda folder: folder.relative_to(ROOT / "examples").as_posix())
def test_the_file_of_a_case_study_is_right(folder: Path) -> None:
    assert load(folder).settings.name == "-".join(folder.relative_to(ROOT / "examples").parts)


def script(path: str) -> ModuleType:
    """A script of an example as a module."""
    place = ROOT / "examples" / path
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given(source: str) -> None:
    """Skip, saying so, where a data set is not here."""
    if not os.environ.get("ISOGRAD_DATA") or not (Path(os.environ["ISOGRAD_DATA"]) / source).exists():
        pytest.skip(f"ISOGRAD_DATA does not name a folder with {source}")


def figures(name: str, folder: Path, epochs: int) -> dict[str, float]:
    """A case study trained for fewer epochs, in another folder, by one thread: two wait for each other on a busy machine."""
    text = "threads = 1\n" + (ROOT / "examples" / name / "isograd.toml").read_text("utf-8")
    text = re.sub(r"(?m)^epochs = .*\n", "", text)
    text = (
        text.replace("[train]\n", f"[train]\nepochs = {epochs}\n")
        if "[train]" in text
        else f"{text}\n[train]\nepochs = {epochs}\n"
    )
    (folder / "isograd.toml").write_text(text, "utf-8")
    assert river.run_training(load(folder)).run().status == "finished"
    return {metric.name: metric.value for metric in river.evaluate_run(folder)[1].metrics}


def test_the_line_is_that_of_least_squares_and_its_gradient_that_of_the_hand_written_pass(tmp_path: Path) -> None:
    script("line/draw_line.py").main(tmp_path, rows=4000)
    figures("line", tmp_path, 15)
    found = script("line/by_hand.py").main(tmp_path)
    assert found["slope"] == pytest.approx(found["slope by least squares"], abs=0.02)
    assert found["intercept"] == pytest.approx(found["intercept by least squares"], abs=0.01)
    assert found["mean squared error on the test part"] == pytest.approx(found["of least squares"], rel=0.01)
    assert found["gradient, by hand against autograd"] < 1e-12


def test_a_folder_of_few_pictures_is_learned(tmp_path: Path) -> None:
    given("mnist-5k")
    script("folder/write_folder.py").main(tmp_path, share=0.4)
    assert figures("folder", tmp_path, 6)["accuracy"] > 0.7


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


def test_the_best_answer_to_the_series_is_wrong_as_often_as_theory_says_and_the_network_is_no_better(tmp_path: Path) -> None:
    script("memory/series.py").draw(tmp_path, count=1500)
    accuracy = figures("memory", tmp_path, 2)["accuracy"]
    found = script("memory/series.py").best(tmp_path)
    assert found["error of the best possible answer"] == pytest.approx(0.11, abs=0.04)
    assert found["error of logistic regression"] > 0.4
    assert 1 - accuracy > found["error of the best possible answer"]


def test_the_sums_are_of_the_two_marked_numbers_and_a_short_row_of_them_is_learned(tmp_path: Path) -> None:
    script("adding/draw_sums.py").main(tmp_path, steps=8, train=3000, test=300)
    with np.load(tmp_path / "sums.npz") as arrays:
        x, y = arrays["x_test"], arrays["y_test"]
    assert (x[:, :4, 1].sum(axis=1) == 1).all() and (x[:, 4:, 1].sum(axis=1) == 1).all()
    assert y == pytest.approx(np.where(x[:, :, 1] == 1, x[:, :, 0], 0).sum(axis=1))
    assert float(y.var()) == pytest.approx(1 / 6, abs=0.03)
    assert figures("adding", tmp_path, 6)["r2"] > 0.5


def test_a_table_of_depths_is_made_once_and_foretells_what_sigmoids_come_to(tmp_path: Path) -> None:
    (tmp_path / "isograd.toml").write_bytes((ROOT / "examples" / "depths" / "isograd.toml").read_bytes())
    made = script("depths/depths.py")
    made.ACTIVATIONS, made.OPTIMIZERS = ("sigmoid", "relu"), {"momentum": ('optimizer = "sgd"', (0.1,))}
    cells = made.main(tmp_path, steps=80, depths=(5,))
    assert cells["sigmoid 5"]["slope"] > 1 > cells["relu 5"]["slope"]
    assert cells["sigmoid 5"]["accuracy"] < 0.5 < cells["relu 5"]["accuracy"]
    before = (tmp_path / "depths.json").read_bytes()
    assert "svg" in (tmp_path / "depths.svg").read_text("utf-8")
    assert made.main(tmp_path, steps=1, depths=(5,)) == cells and (tmp_path / "depths.json").read_bytes() == before


def test_a_spoken_digit_is_learned_from_some_takes(tmp_path: Path) -> None:
    given("fsdd")
    script("spoken/arrange_takes.py").main(tmp_path, every=6)
    tested = {path.stem.split("_")[1] for path in (tmp_path / "no-theo" / "test").iterdir()}
    assert tested == {"theo"} and "theo" not in {path.stem.split("_")[1] for path in (tmp_path / "no-theo" / "train").iterdir()}
    assert all(int(path.stem.split("_")[2]) < 5 for path in (tmp_path / "takes" / "test").iterdir())
    assert figures("spoken", tmp_path, 8)["accuracy"] > 0.4


def test_photos_of_four_kinds_are_copied_and_their_plain_deep_network_is_foretold_to_fail(tmp_path: Path) -> None:
    given("cifar10-subset")
    script("photos/few/copy_few.py").main(tmp_path, every=20)
    kinds = sorted(place.name for place in (tmp_path / "photos" / "train").iterdir())
    assert kinds == ["automobile", "deer", "frog", "ship"]
    assert len(list((tmp_path / "photos" / "train" / "frog").iterdir())) == 50
    project = load(ROOT / "examples" / "photos" / "few")
    (tmp_path / "isograd.toml").write_text(f"threads = 1\n{project.text}", "utf-8")
    report = river.check(load(tmp_path))
    assert any(finding.alarm and finding.disease == "vanishing" for finding in report.record.findings)
    cured = project.text.replace('norm = "none"', 'norm = "batch"').replace('initialisation = "torch"', 'initialisation = "he"')
    (tmp_path / "isograd.toml").write_text(f"threads = 1\n{cured}", "utf-8")
    assert not any(finding.alarm for finding in river.check(load(tmp_path)).record.findings)


def test_the_gradient_of_the_last_word_reaches_further_back_through_orthogonal_weights_and_through_gates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGRAD_DATA", str(tmp_path))
    (tmp_path / "imdb").mkdir()
    words = np.random.default_rng(0).integers(0, 50, size=(120, 60))
    lines = [f'"{" ".join(f"w{word}" for word in row)}",{"good" if row[-1] < 25 else "bad"},1' for row in words]
    for part in ("train", "test"):
        (tmp_path / "imdb" / f"{part}.csv").write_text("text,label,rating\n" + "\n".join(lines) + "\n", "utf-8")
    text = (ROOT / "examples" / "films" / "last" / "isograd.toml").read_text("utf-8")
    (tmp_path / "isograd.toml").write_text(text.replace("length = 200", "length = 60"), "utf-8")
    found = script("films/reach.py").main(tmp_path, epochs=1)
    drawn, orthogonal, gated = (found[name]["before"] for name in ("rnn, as torch draws it", "rnn", "lstm"))
    assert drawn["reach"] < 20 and "nothing earlier than about" in drawn["said"][0]
    assert orthogonal["reach"] == gated["reach"] == 59 and not gated["said"]
    assert len(found["gru"]["after"]["gradient"]) == len(found["gru"]["after"]["steps"]) == 60
    assert "svg" in (tmp_path / "reach.svg").read_text("utf-8")
