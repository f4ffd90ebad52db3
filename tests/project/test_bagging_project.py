"""Balanced bagging in a whole project: bags with classes alike, better answers for the rare one, predicted as one model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from imblearn.ensemble import BalancedBaggingClassifier  # type: ignore[import-untyped]
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from isograd.cli import main
from isograd.project import river
from isograd.project.reading import load
from isograd.workbench import data

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
TOML = """\
task = "{task}"
[data]
source = "t.csv"
target = "y"
sampling = "bagging"
bags = 4
[model]
hidden = [8]
[train]
epochs = {epochs}
batch_size = 16
learning_rate = 0.03
{train}
[evaluate]
resamples = 100
{more}
"""


def rows_of(count: int, seed: int) -> tuple[Floats, Flags]:
    draw = np.random.default_rng(seed)
    rare = np.arange(count) % 10 == 0
    return draw.normal(size=(count, 2)) + np.where(rare, 1.2, 0.0)[:, None], rare


def project(folder: Path, *, task: str = "classification", epochs: int = 6, train: str = "", more: str = "") -> Path:
    x, rare = rows_of(1500, 0)
    lines = [f"{a:.4f},{b:.4f},{'yes' if label else 'no'}" for (a, b), label in zip(x, rare, strict=True)]
    (folder / "t.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    (folder / "isograd.toml").write_text(TOML.format(task=task, epochs=epochs, train=train, more=more))
    return folder


def test_every_bag_is_balanced_and_the_same_in_every_epoch_in_another_order(tmp_path: Path) -> None:
    job = river.begin(load(project(tmp_path)))
    sampling = job.sampling
    assert sampling is not None and sampling.bags == 4
    labels, rows = job.prepared.train.targets.numpy(), len(job.prepared.train)
    rare = int(labels.sum())
    one, two = sampling.keys(1), sampling.keys(2)
    assert len(one) == sampling.length == 4 * 2 * rare and one.tolist() != two.tolist()
    bags = [one[number::4] % rows for number in range(4)]
    for number, bag in enumerate(bags):
        assert np.bincount(labels[bag]).tolist() == [rare, rare]
        assert sorted(bag) == sorted(two[number::4] % rows)
        assert len(np.unique(bag[labels[bag] == 1])) < rare  # with replacement
    assert len({tuple(sorted(bag)) for bag in bags}) == 4
    assert all(len(targets) % 4 == 0 for _, targets in job.batches(1, 0))
    assert len(next(iter(job.batches(1, 0)))[1]) == 64
    cut, whole = list(job.batches(3, 2)), list(job.batches(3, 0))[2:]
    assert all(torch.equal(x, y) for a, b in zip(cut, whole, strict=True) for x, y in zip(a, b, strict=True))


def test_it_is_trained_exported_and_predicted_and_is_as_good_as_imbalanced_learns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(project(tmp_path))]) == 0
    assert main(["train", str(tmp_path)]) == 0
    report = json.loads(next(tmp_path.glob("runs/*/report.json")).read_text())["record"]
    assert [finding["disease"] for finding in report["findings"] if finding["severity"] != "note"] == []
    assert main(["evaluate", str(tmp_path)]) == 0
    assert main(["export", str(tmp_path)]) == 0
    x, rare = rows_of(3000, 1)
    (tmp_path / "new.csv").write_text("\n".join(["a,b", *(f"{a:.4f},{b:.4f}" for a, b in x)]) + "\n")
    capsys.readouterr()
    assert main(["predict", str(next(tmp_path.glob("runs/*/bundle"))), str(tmp_path / "new.csv"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["predictions"]
    answers = np.array([one["label"] == "yes" for one in said])
    theirs = BalancedBaggingClassifier(LogisticRegression(), n_estimators=4, random_state=0).fit(*rows_of(1500, 0)).predict(x)

    def balanced(found: Flags) -> float:
        return float((found[rare].mean() + (~found[~rare]).mean()) / 2)

    assert balanced(answers) > 0.75 and balanced(answers) > balanced(theirs.astype(bool)) - 0.03


def test_what_does_not_go_with_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(project(tmp_path, more="[augment]\nmixup = 0.2\n"))]) == 2
    assert "mixing takes rows of another bag" in capsys.readouterr().err
    assert main(["train", str(project(tmp_path, train='class_weights = "balanced"'))]) == 2
    assert "two ways to the same" in capsys.readouterr().err
    text = (tmp_path / "t.csv").read_text().replace("yes", "1.5").replace("no", "0.25")
    project(tmp_path, task="regression")
    (tmp_path / "t.csv").write_text(text)
    assert main(["train", str(tmp_path)]) == 2
    assert "needs classes" in capsys.readouterr().err


def test_rows_of_a_bag_are_drawn_evenly() -> None:
    members = (np.arange(100), np.arange(100, 110))
    sampling = data.Sampling("bagging", 0, 110, members, bags=400)
    keys = sampling.keys(1) % 110
    counts = np.bincount(keys, minlength=110)
    assert counts[:100].sum() == counts[100:].sum() == 4000
    assert abs(counts[:100] - 40).max() < 5 * 40**0.5 and abs(counts[100:] - 400).max() < 5 * 400**0.5
