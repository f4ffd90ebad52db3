"""Rare classes in a whole project: sampled or weighted in training, a threshold chosen on validation and kept in the bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from isograd.cli import main
from isograd.project import river
from isograd.project.reading import load
from isograd.records import codec
from isograd.records.run import Evaluation

TOML = """\
task = "classification"
[data]
source = "t.csv"
target = "y"
{data}
[model]
hidden = [8]
[train]
epochs = 8
batch_size = 32
learning_rate = 0.03
{train}
[evaluate]
resamples = 100
{evaluate}
"""


def project(folder: Path, data: str = "", train: str = "", evaluate: str = "") -> Path:
    """One row in ten is rare, and its two numbers lie a little apart from the others'."""
    draw = np.random.default_rng(0)
    rare = np.arange(1500) % 10 == 0
    a, b = draw.normal(size=(2, 1500)) + np.where(rare, 1.2, 0.0)
    lines = [f"{x:.4f},{y:.4f},{'yes' if label else 'no'}" for x, y, label in zip(a, b, rare, strict=True)]
    (folder / "t.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    (folder / "isograd.toml").write_text(TOML.format(data=data, train=train, evaluate=evaluate))
    return folder


def figures(folder: Path) -> dict[str, float]:
    found = codec.loads(Evaluation, next(folder.glob("runs/*/evaluation.json")).read_text())
    return {name: recall for name, _, recall, _, _ in found.per_class}


def run(folder: Path) -> dict[str, float]:
    assert main(["train", str(folder)]) == 0
    assert main(["evaluate", str(folder)]) == 0
    return figures(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return run(project(tmp_path_factory.mktemp("plain")))


@pytest.mark.parametrize(
    "how",
    [
        {"data": 'sampling = "over"'},
        {"data": 'sampling = "smote"'},
        {"train": 'class_weights = "balanced"\nloss = "focal"'},
        {"evaluate": 'threshold = "recall"'},
    ],
    ids=str,
)
def test_each_way_finds_more_of_the_rare_class_than_doing_nothing(
    how: dict[str, str], plain: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    helped = run(project(tmp_path, **how))
    assert helped["yes"] > plain["yes"] + 0.15
    said = capsys.readouterr().err
    assert ("an epoch sees" in said) is ("data" in how)


@pytest.mark.parametrize("how", ['sampling = "smote"'])
def test_a_check_of_such_a_training_raises_no_alarm(how: str, tmp_path: Path) -> None:
    assert main(["check", str(project(tmp_path, data=how))]) == 0


@pytest.mark.parametrize("how", ['class_weights = "balanced"', 'loss = "focal"'])
def test_a_check_and_a_watch_of_such_a_loss_raise_no_alarm(how: str, tmp_path: Path) -> None:
    assert main(["check", str(project(tmp_path, train=how))]) == 0
    assert main(["train", str(tmp_path)]) == 0
    report = json.loads(next(tmp_path.glob("runs/*/report.json")).read_text())["record"]
    assert [finding["disease"] for finding in report["findings"] if finding["severity"] != "note"] == []


def test_the_threshold_travels_with_the_bundle_and_prediction_uses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path, evaluate='threshold = "f1"')
    assert main(["train", str(tmp_path)]) == 0
    assert main(["evaluate", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert main(["export", str(tmp_path)]) == 0
    bundle = next(tmp_path.glob("runs/*/bundle"))
    threshold = json.loads((bundle / "preprocess.json").read_text())["record"]["threshold"]
    assert 0 < threshold < 0.5
    assert f"yes is called above a probability of {threshold:.3g}, chosen on validation" in said
    assert f"A row is called `yes` where its probability is above {threshold:.4g}" in (bundle / "card.md").read_text()
    capsys.readouterr()
    assert main(["predict", str(bundle), str(tmp_path / "t.csv"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    assert len(answers) == 1500
    for answer in answers:
        assert (answer["label"] == "yes") is (answer["probabilities"]["yes"] > threshold)
    assert any(answer["label"] == "yes" and answer["probabilities"]["yes"] < 0.5 for answer in answers)


def test_a_smote_epoch_is_the_same_whenever_it_is_dealt(tmp_path: Path) -> None:
    job = river.begin(load(project(tmp_path, data='sampling = "smote"')))
    assert job.batches_per_epoch == len(list(job.batches(1, 0)))
    first, again = list(job.batches(2, 3)), list(river.begin(load(tmp_path)).batches(2, 0))[3:]
    assert all((x == y).all() for one, other in zip(first, again, strict=True) for x, y in zip(one, other, strict=True))
    labels = np.concatenate([targets.numpy() for _, targets in job.batches(1, 0)])
    assert np.bincount(labels)[0] == np.bincount(labels)[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"data": 'sampling = "over"', "train": 'class_weights = "balanced"'}, "two ways to the same"),
        ({"data": 'sampling = "ovr"'}, 'did you mean "over"?'),
        ({"train": 'loss = "focal"\nfocal_gamma = -1.0'}, "greater than or equal to 0"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(
    text: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(project(tmp_path, **text))]) == 2
    assert said in capsys.readouterr().err


def test_a_regression_and_many_classes_are_told_what_they_cannot_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path, data='sampling = "over"', train='loss = "focal"', evaluate='threshold = "f1"')
    text = (tmp_path / "isograd.toml").read_text()
    (tmp_path / "isograd.toml").write_text(text.replace('"classification"', '"regression"').replace('"y"', '"a"'))
    assert main(["train", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("needs classes, and this is a regression") == 3
    digits = 'task = "image-classification"\n[data]\nsource = "builtin:digits"\nsampling = "smote"\n'
    (tmp_path / "isograd.toml").write_text(digits)
    assert main(["train", str(tmp_path)]) == 2
    assert 'sampling = "over", which repeats rows' in capsys.readouterr().err
    (tmp_path / "isograd.toml").write_text(digits.replace('sampling = "smote"', "") + '[evaluate]\nthreshold = "f1"\n')
    assert main(["train", str(tmp_path)]) == 2
    assert "a threshold is for two classes" in capsys.readouterr().err
