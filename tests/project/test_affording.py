"""A budget of time holds some epochs, a memory some rows: said before anything is trained, and kept when a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from isograd.cli import main
from isograd.errors import ModelError, ProjectError
from isograd.project import affording, river
from isograd.project.reading import load
from isograd.records.run import Afforded
from isograd.workbench import models, train


def digits(folder: Path, more: str) -> Path:
    head = 'task = "image-classification"\nthreads = 1\n[data]\nsource = "builtin:digits"\n[model]\nkind = "linear"\n'
    (folder / "isograd.toml").write_text(f"{head}[train]\n{more}", "utf-8")
    return folder


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "step_seconds", lambda *given: 1.0)


def test_as_many_epochs_are_made_as_a_budget_holds(tmp_path: Path, slow: None) -> None:
    said: list[str] = []
    folder = digits(tmp_path, 'budget = "2min"\nepochs = 30\n')
    run = river.run_training(load(folder), on_progress=lambda progress: said.append(progress.remark))
    assert run.run().epochs == 5 and run.read(Afforded, "budget.json").epochs == 5  # 19 steps of a second, and a tenth
    assert any("5 of 30 epochs in 2min" in text for text in said)


def test_a_budget_never_adds_epochs(tmp_path: Path) -> None:
    assert river.run_training(load(digits(tmp_path, 'budget = "1 hour"\nepochs = 2\n'))).run().epochs == 2


def test_a_run_that_goes_on_keeps_the_epochs_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "step_seconds", lambda *given: 1.0)
    project = load(digits(tmp_path, 'budget = "1min"\nepochs = 30\ncheckpoint_seconds = 1e-9\n'))

    def pressed(progress: train.Progress) -> None:
        if progress.phase == "training" and progress.step >= 3:
            raise KeyboardInterrupt

    assert river.run_training(project, on_progress=pressed).run().status == "stopped"
    monkeypatch.setattr(train, "step_seconds", lambda *given: 1e-3)
    run = river.run_training(project).run()
    assert run.status == "finished" and run.epochs == 2


def test_a_budget_too_small_for_one_epoch_is_told_before_training_with_the_estimate(
    tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = digits(tmp_path, 'budget = "10s"\n')
    assert main(["train", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "a budget of 10s is too small for one epoch, which takes about" in said and "19 steps" in said
    assert not list(folder.glob("runs/*"))


def test_a_budget_that_is_no_time_is_told_with_its_line(tmp_path: Path) -> None:
    for written in ('budget = "5 apples"\n', 'budget = "20 runs"\n'):
        with pytest.raises(ProjectError, match=r"train\.budget: .*time") as caught:
            load(digits(tmp_path, written))
        assert "line 8" in str(caught.value)


def test_too_little_memory_is_told_with_the_batch_size_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = digits(tmp_path, "batch_size = 1024\n")
    job = river.begin(load(folder))
    need = train.memory_of(job.model, job.prepared.train.inputs[:4], job.recipe)
    monkeypatch.setattr(train, "memory_here", lambda device: need.of(100))
    for command in ("check", "train"):
        assert main([command, str(folder)]) == 2
        assert "batch_size = 64 under [train] fits" in capsys.readouterr().err
    monkeypatch.setattr(train, "memory_here", lambda device: need.fixed - 1)
    with pytest.raises(ModelError, match="a smaller network"):
        affording.refuse_too_large(job)
    monkeypatch.setattr(train, "memory_here", lambda device: None)
    affording.refuse_too_large(job)


def test_a_network_larger_than_the_memory_is_told_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = digits(tmp_path, "epochs = 1\n")
    text = (folder / "isograd.toml").read_text("utf-8")
    (folder / "isograd.toml").write_text(text.replace('"linear"', '"mlp"\nhidden = [65536, 65536]'), "utf-8")
    monkeypatch.setattr(train, "memory_here", lambda device: 2**33)
    monkeypatch.setattr(models, "build", lambda *given, **more: pytest.fail("it was made"))
    assert main(["train", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "the weights of this network and their gradients alone take 32 GiB of memory" in said and "8 GiB are free" in said
