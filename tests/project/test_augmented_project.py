"""Augmentation in a whole project: trained, interrupted and gone on with, evaluated and predicted on rows as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isograd.cli import main
from isograd.project import river
from isograd.project.reading import load
from isograd.workbench import data, train
from isograd.workbench.train import weights

TOML = """\
task = "image-classification"
[data]
source = "builtin:digits"
[model]
channels = [4]
[train]
epochs = 2
batch_size = 256
[augment]
policy = "auto"
erase = 0.3
mixup = 0.2
cutmix = 0.5
[watch]
enabled = false
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "isograd.toml").write_text(TOML)
    return tmp_path


class Killed(BaseException):
    """What a test raises where a machine would die."""


def trained(folder: Path, job: river.Job, dies_after: int | None = None) -> train.Fitted:
    def batches(epoch: int, start: int):
        line = data.ahead(job.batches(epoch, start), 0 if dies_after is None else 2)  # which changes no bit
        for given, batch in enumerate(line):
            if dies_after is not None and (epoch - 1) * job.batches_per_epoch + start + given >= dies_after:
                raise Killed
            yield batch

    return train.fit(
        job.model,
        recipe=replace(job.recipe, checkpoint_seconds=0.0),
        batches=batches,
        batches_per_epoch=job.batches_per_epoch,
        loss=train.loss_of(job.task),
        validate=job.metrics,
        monitor=("log_loss", "min"),
        folder=folder,
        identity="same",
    )


def test_a_training_that_died_goes_on_with_the_very_pictures_it_would_have_seen(project: Path) -> None:
    whole = trained(project / "whole", river.begin(load(project)))
    for step in (1, 4, 7):
        folder = project / str(step)
        with pytest.raises(Killed):
            trained(folder, river.begin(load(project)), step)
        torch.rand(step)  # another process has other generators
        again = trained(folder, river.begin(load(project)))
        assert (again.sha256, again.last_sha256) == (whole.sha256, whole.last_sha256)


def test_only_training_batches_are_changed(project: Path) -> None:
    job = river.begin(load(project))
    (project / "isograd.toml").write_text(TOML[: TOML.index("[augment]")])
    plain = river.begin(load(project))
    assert job.augment is not None and plain.augment is None
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(job.prepared, part).inputs, getattr(plain.prepared, part).inputs)
    assert job.prepared.encoding == plain.prepared.encoding  # nothing of it travels with the model
    inputs, targets = next(iter(job.batches(1, 0)))
    bare, labels = next(iter(plain.batches(1, 0)))
    assert inputs.shape == bare.shape and not torch.equal(inputs, bare)
    assert targets.shape == (256, 10) and (targets.argmax(1) == labels).float().mean() > 0.3
    assert job.metrics(job.model) == plain.metrics(plain.model)


def test_the_whole_river_takes_it_and_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TOML.replace("enabled = false", "enabled = true").replace("epochs = 2", "epochs = 20").replace("= 256", "= 32")
    (project / "isograd.toml").write_text(text)
    assert main(["check", str(project)]) == 0
    assert "training rows are augmented: rotate 10, shift 0.1, zoom 0.1, erase 0.3" in capsys.readouterr().err
    assert main(["train", str(project)]) == 0
    assert "training rows are augmented" in capsys.readouterr().err
    assert main(["evaluate", str(project)]) == 0


def test_a_dry_run_says_what_is_asked_of_augmentation(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(project), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert 'augment.policy = "auto"' in said and "augment.erase = 0.3" in said and "augment.rotate = null" in said
    assert f"what suits the data; isograd data preview {project} shows it" in said


def test_batches_made_ahead_give_the_same_weights(tmp_path: Path) -> None:
    found = []
    for ahead in (0, 3):
        folder = tmp_path / str(ahead)
        folder.mkdir()
        text = f'task = "image-classification"\n[data]\nsource = "builtin:digits"\nahead = {ahead}\n'
        text += '[augment]\nrotate = 10.0\n[model]\nkind = "linear"\n[train]\nepochs = 2\n'
        (folder / "isograd.toml").write_text(text)
        run = river.run_training(load(folder))
        job, _ = river.of_run(run, folder)
        found.append(weights.weights_hash(job.model))
    assert found[0] == found[1]
