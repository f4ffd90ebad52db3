"""A training goes on to the last bit after any interruption, and what it left on disk is whole or refused."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_cases import (
    PER_EPOCH,
    RECIPE,
    Data,
    Killed,
    journal,
    model_with_everything,
    trained,
    validate,
    without_times,
)
from torch import nn
from torch.nn import functional as F

from isograd.errors import ModelError, RequestError, StorageError
from isograd.workbench.train import Progress, load_best, weights_hash
from isograd.workbench.train import checkpoint as checkpoint_module

KINDS = {
    "adamw with EMA": {"ema": 0.9},
    "sgd with nesterov, one cycle, clipping": {"optimizer": "sgd", "nesterov": True, "schedule": "one_cycle", "clip_norm": 0.5},
    "rmsprop, plateau": {"optimizer": "rmsprop", "schedule": "plateau", "plateau_patience": 1, "learning_rate": 0.05},
    "adagrad, bfloat16": {"optimizer": "adagrad", "precision": "bfloat16"},
    "adam, constant, patience": {"optimizer": "adam", "schedule": "constant", "patience": 1, "learning_rate": 0.1},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0},
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_a_run_that_died_at_any_step_ends_with_the_bits_of_one_that_did_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = dataclasses.replace(RECIPE, **changes)
    whole = trained(tmp_path / "whole", recipe)
    for step in range(whole.steps):
        folder = tmp_path / str(step)
        with pytest.raises(Killed):
            trained(folder, recipe, Data(dies_at=step))
        torch.rand(step + 1), random.random(), np.random.rand()  # another process has other generators
        data = Data()
        again = trained(folder, recipe, data)
        assert data.given == whole.steps - step  # nothing was trained twice, and nothing left out
        assert (again.sha256, again.last_sha256) == (whole.sha256, whole.last_sha256)
        assert without_times(again.epochs) == without_times(whole.epochs)
        assert without_times(journal(folder)) == without_times(whole.epochs)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adagrad"])
def test_moments_lie_in_memory_as_the_weights_do_that_they_belong_to(tmp_path: Path, optimizer: str) -> None:
    def network() -> nn.Module:  # a fused step goes through both without a look at strides
        torch.manual_seed(5)
        kernels = nn.Conv2d(2, 4, (1, 3), padding=(0, 1)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return nn.Sequential(nn.Unflatten(1, (2, 1, 3)), kernels, nn.Flatten(), nn.Linear(12, 2))

    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, ema=0.9)
    whole = trained(tmp_path / "whole", recipe, model=network())
    with pytest.raises(Killed):
        trained(tmp_path / "cut", recipe, Data(dies_at=5), model=network())
    assert trained(tmp_path / "cut", recipe, model=network()).last_sha256 == whole.last_sha256


def test_a_checkpoint_by_time_alone_repeats_the_steps_since_and_changes_no_bit(tmp_path: Path) -> None:
    rare = dataclasses.replace(RECIPE, checkpoint_seconds=3600, ema=0.5)
    whole = trained(tmp_path / "whole", rare)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", rare, Data(dies_at=PER_EPOCH * 2 + 1))
    assert trained(tmp_path / "killed", rare).last_sha256 == whole.last_sha256
    assert without_times(journal(tmp_path / "killed")) == without_times(whole.epochs)


def test_a_death_in_validation_neither_loses_nor_doubles_a_line(tmp_path: Path) -> None:
    calls = []

    def dies_once(model: nn.Module) -> tuple[tuple[str, float], ...]:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return validate(model)

    with pytest.raises(Killed):
        trained(tmp_path, validate=dies_once)
    assert [epoch.epoch for epoch in trained(tmp_path, validate=dies_once).epochs] == [1, 2, 3]
    assert [epoch.epoch for epoch in journal(tmp_path)] == [1, 2, 3]


def test_lines_that_were_written_after_the_checkpoint_come_again_once(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, data=Data(dies_at=PER_EPOCH * 2))
    line = (tmp_path / "metrics.jsonl").read_text().splitlines()[-1]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(line.replace('"epoch":2', '"epoch":3') + "\n" + line[:20])  # one epoch too many, and a torn line
    trained(tmp_path)
    assert [epoch.epoch for epoch in journal(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("harm", ["flip", "truncate", "lose"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path: Path, harm: str) -> None:
    whole = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "run", data=Data(dies_at=7))
    newest = checkpoint_module.folders(tmp_path / "run" / "checkpoints")[0]
    file = newest / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    file.write_bytes(content[: len(content) // 3] if harm == "truncate" else content)
    if harm == "lose":
        file.unlink()
    said: list[Progress] = []
    again = trained(tmp_path / "run", on_progress=said.append)
    assert again.last_sha256 == whole.last_sha256
    assert any("checkpoint 7 is damaged" in remark for remark in again.remarks)
    assert any("checkpoint 7 is damaged" in progress.remark for progress in said)
    assert "checkpoint 7 is damaged" in (tmp_path / "run" / "journal.log").read_text()
    assert any("goes on after step 6" in remark for remark in again.remarks)


def test_where_no_checkpoint_is_good_it_begins_again_and_says_so(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "run", data=Data(dies_at=7))
    for folder in checkpoint_module.folders(tmp_path / "run" / "checkpoints"):
        (folder / "state.json").write_text("{}")
    again = trained(tmp_path / "run")
    assert again.last_sha256 == whole.last_sha256
    assert any("begins again" in remark for remark in again.remarks)


def test_the_checkpoints_of_another_project_or_recipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, data=Data(dies_at=3))
    with pytest.raises(RequestError, match="another project"):
        trained(tmp_path, identity="another")
    with pytest.raises(RequestError, match="other settings"):
        trained(tmp_path, dataclasses.replace(RECIPE, learning_rate=0.02))
    trained(tmp_path, dataclasses.replace(RECIPE, checkpoint_seconds=60))  # how often it saves touches no weight


def test_another_model_with_the_same_identity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, data=Data(dies_at=3))
    with pytest.raises(ModelError, match="another model"):
        trained(tmp_path, model=nn.Linear(6, 2))


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first = trained(tmp_path)
    data = Data()
    again = trained(tmp_path, data=data)
    assert data.given == 0
    assert (again.status, again.sha256, again.last_sha256) == ("finished", first.sha256, first.last_sha256)
    assert again.epochs == first.epochs


def test_the_last_two_checkpoints_are_kept_and_hold_the_best_weights(tmp_path: Path) -> None:
    values = iter([0.5, 0.1, 0.3])
    model = model_with_everything()
    hashes = []

    def judged(model: nn.Module) -> tuple[tuple[str, float], ...]:
        hashes.append(weights_hash(model))
        return (("log_loss", next(values)),)

    fitted = trained(tmp_path, model=model, validate=judged)
    assert [folder.name for folder in checkpoint_module.folders(tmp_path / "checkpoints")] == ["12", "11"]
    assert fitted.best_epoch == 2 and fitted.sha256 == hashes[1] == weights_hash(model)
    other = model_with_everything()
    assert load_best(tmp_path, other) == "raw"
    assert weights_hash(other) == hashes[1]


def test_ctrl_c_between_two_steps_saves_and_the_next_run_goes_on(tmp_path: Path) -> None:
    rare = dataclasses.replace(RECIPE, checkpoint_seconds=60)
    whole = trained(tmp_path / "whole", rare)
    stopped = trained(tmp_path / "run", rare, Data(dies_at=5, death=KeyboardInterrupt))
    assert (stopped.status, stopped.steps) == ("stopped", 5)
    assert trained(tmp_path / "run", rare).last_sha256 == whole.last_sha256


def test_the_signal_of_ctrl_c_waits_for_the_end_of_the_step(tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored

    def pressed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        pressed.calls += 1  # type: ignore[attr-defined]
        if pressed.calls == 6:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGINT)
        return F.cross_entropy(outputs, targets)

    pressed.calls = 0  # type: ignore[attr-defined]
    rare = dataclasses.replace(RECIPE, checkpoint_seconds=60)
    stopped = trained(tmp_path, rare, loss=pressed)
    assert (stopped.status, stopped.steps) == ("stopped", 6)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trained(tmp_path, rare).last_sha256 == trained(tmp_path / "whole", rare).last_sha256


def test_an_interrupt_within_a_step_leaves_the_last_checkpoint_as_the_truth(tmp_path: Path) -> None:
    def torn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        torn.calls += 1  # type: ignore[attr-defined]
        if torn.calls == 6:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, targets)

    torn.calls = 0  # type: ignore[attr-defined]
    assert trained(tmp_path, loss=torn).status == "stopped"
    assert checkpoint_module.folders(tmp_path / "checkpoints")[0].name == "5"
    assert trained(tmp_path).last_sha256 == trained(tmp_path / "whole").last_sha256


def test_a_full_disk_stops_the_run_with_a_message_and_the_older_checkpoint_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        if self.parent.parent.name == "checkpoints" and len(checkpoint_module.folders(self.parent.parent)) == 2:
            with self.open("wb") as file:
                file.write(content[:100])
            raise OSError(28, "No space left on device")
        return original(self, content)

    original = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        trained(tmp_path)
    monkeypatch.undo()
    assert [folder.name for folder in checkpoint_module.folders(tmp_path / "checkpoints")] == ["2", "1"]
    assert not list((tmp_path / "checkpoints").glob(".aside*"))
    assert trained(tmp_path).last_sha256 == trained(tmp_path / "whole").last_sha256


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    trained(tmp_path)
    for folder in checkpoint_module.folders(tmp_path / "checkpoints"):
        assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]
        assert json.loads((folder / "state.json").read_text())["format"] == "isograd.State"
