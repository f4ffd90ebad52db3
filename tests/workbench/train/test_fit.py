"""A training does what the hand-written loop does, goes on to the last bit after any interruption, and ends clearly."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isograd.errors import ModelError, RequestError, StorageError
from isograd.records import codec
from isograd.records.run import Epoch
from isograd.workbench.train import Fitted, Progress, Recipe, fit, load_best, weights_hash
from isograd.workbench.train import checkpoint as checkpoint_module

ROWS, BATCH, PER_EPOCH = 50, 16, 4
RECIPE = Recipe(epochs=3, batch_size=BATCH, watch=False, threads=1, device="cpu", learning_rate=0.01, checkpoint_seconds=0)


class Killed(BaseException):
    """What a test raises where a machine would die."""


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(ROWS, 6, generator=generator)
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()


def model_with_everything() -> nn.Module:
    """Dropout draws from the generator, batch norm has buffers, one buffer is not persistent, one weight is tied."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 12), nn.Linear(12, 2))
    model.register_buffer("seen", torch.zeros(3), persistent=False)
    model[1].register_module("tied", model[4])
    return model


class Data:
    """Batches by counter; dies just before the batch number ``dies_at`` of the whole run."""

    def __init__(self, dies_at: int | None = None, death: type[BaseException] = Killed) -> None:
        self.dies_at, self.death, self.given = dies_at, death, 0

    def __call__(self, epoch: int, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        inputs, targets = rows()
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))
        for position in range(start, PER_EPOCH):
            if (epoch - 1) * PER_EPOCH + position == self.dies_at:
                raise self.death
            chosen = order[position * BATCH : (position + 1) * BATCH]
            self.given += 1
            yield inputs[chosen], targets[chosen]


def validate(model: nn.Module) -> tuple[tuple[str, float], ...]:
    training = model.training
    model.eval()
    inputs, targets = rows()
    with torch.no_grad():
        loss = F.cross_entropy(model(inputs), targets).item()
    model.train(training)
    return (("log_loss", loss),)


def trained(folder: Path, recipe: Recipe = RECIPE, data: Any = None, model: nn.Module | None = None, **changes: Any) -> Fitted:
    arguments: dict[str, Any] = {
        "recipe": recipe,
        "batches": data or Data(),
        "batches_per_epoch": PER_EPOCH,
        "loss": F.cross_entropy,
        "validate": validate,
        "monitor": ("log_loss", "min"),
        "folder": folder,
        "identity": "project",
    }
    return fit(model if model is not None else model_with_everything(), **{**arguments, **changes})


def without_times(epochs: tuple[Epoch, ...]) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0, rows_per_second=0) for epoch in epochs]


def journal(folder: Path) -> tuple[Epoch, ...]:
    return tuple(codec.loads(Epoch, line) for line in (folder / "metrics.jsonl").read_text().splitlines())


def test_the_loop_gives_the_bits_of_a_hand_written_one(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", schedule="constant", weight_decay=0.0, epochs=2)
    ours = model_with_everything()
    fitted = trained(tmp_path, recipe, model=ours)

    by_hand = model_with_everything()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.01, momentum=0.9, fused=True)
    torch.manual_seed(recipe.seed)
    mean_losses = []
    for epoch in (1, 2):
        total = 0.0
        by_hand.train()
        for inputs, targets in Data()(epoch, 0):
            optimizer.zero_grad()
            loss = F.cross_entropy(by_hand(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
        mean_losses.append(total / ROWS)
    assert fitted.last_sha256 == weights_hash(by_hand)
    assert [epoch.loss for epoch in fitted.epochs] == mean_losses  # the last batch of 2 rows counts as 2 rows


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


def test_the_best_of_an_average_is_the_average(tmp_path: Path) -> None:
    hashes = []

    def judged(model: nn.Module) -> tuple[tuple[str, float], ...]:
        hashes.append(weights_hash(model))
        return validate(model)

    model = model_with_everything()
    fitted = trained(tmp_path, dataclasses.replace(RECIPE, ema=0.9), model=model, validate=judged)
    assert fitted.weights == "ema" and fitted.epochs[0].weights == "ema"
    assert fitted.best_epoch is not None and fitted.sha256 == hashes[fitted.best_epoch - 1]
    assert fitted.sha256 != fitted.last_sha256


def test_an_average_of_decay_zero_is_the_weights_themselves(tmp_path: Path) -> None:
    plain, averaged = trained(tmp_path / "plain"), trained(tmp_path / "ema", dataclasses.replace(RECIPE, ema=0.0))
    assert [epoch.metrics for epoch in plain.epochs] == [epoch.metrics for epoch in averaged.epochs]


def test_a_loss_that_is_not_finite_ends_the_run_at_its_exact_step(tmp_path: Path) -> None:
    def poisoned(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        poisoned.calls += 1  # type: ignore[attr-defined]
        loss = F.cross_entropy(outputs, targets)
        return loss * float("nan") if poisoned.calls == 6 else loss  # type: ignore[attr-defined]

    poisoned.calls = 0  # type: ignore[attr-defined]
    model = model_with_everything()
    fitted = trained(tmp_path, dataclasses.replace(RECIPE, checkpoint_seconds=60), model=model, loss=poisoned)
    assert (fitted.status, fitted.diverged_at, fitted.diverged_step) == ("diverged", 2, 6)
    assert fitted.best_epoch == 1 and all(tensor.isfinite().all() for tensor in model.parameters())
    assert [folder.name for folder in checkpoint_module.folders(tmp_path / "checkpoints")] == ["4"]


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path: Path) -> None:
    fitted = trained(tmp_path, dataclasses.replace(RECIPE, learning_rate=1e38, optimizer="sgd", schedule="constant"))
    assert fitted.status == "diverged"
    for folder in checkpoint_module.folders(tmp_path / "checkpoints"):
        assert all(tensor.isfinite().all() for tensor in checkpoint_module.load(folder)[1]["model"].values())


def test_clipping_bounds_the_length_of_every_step(tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        RECIPE,
        epochs=1,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        learning_rate=1.0,
        clip_norm=1e-3,
    )
    model = nn.Linear(6, 2)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trained(tmp_path, recipe, model=model, batches_per_epoch=1, data=lambda epoch, start: [rows()])
    moved = torch.stack([(now - then).square().sum() for now, then in zip(model.parameters(), before, strict=True)]).sum()
    assert moved.item() ** 0.5 == pytest.approx(1e-3, rel=1e-3)


def test_a_plateau_lowers_the_learning_rate_from_the_next_epoch_on(tmp_path: Path) -> None:
    values = iter([0.5, 0.6, 0.4, 0.7, 0.8])
    recipe = dataclasses.replace(RECIPE, epochs=5, schedule="plateau", plateau_patience=1, plateau_factor=0.1)
    fitted = trained(tmp_path, recipe, validate=lambda model: (("log_loss", next(values)),))
    assert [epoch.learning_rate for epoch in fitted.epochs] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4])


def test_early_stopping_waits_as_long_as_it_was_told_and_says_so(tmp_path: Path) -> None:
    values = iter([0.5, 0.4, 0.45, 0.41, 0.3])
    recipe = dataclasses.replace(RECIPE, epochs=5, patience=2)
    fitted = trained(tmp_path, recipe, validate=lambda model: (("log_loss", next(values)),))
    assert (fitted.status, len(fitted.epochs), fitted.best_epoch) == ("finished", 4, 2)
    assert "has not become better for 2 epochs" in fitted.remarks[-1]


def test_ctrl_c_between_two_steps_saves_and_the_next_run_goes_on(tmp_path: Path) -> None:
    rare = dataclasses.replace(RECIPE, checkpoint_seconds=60)
    whole = trained(tmp_path / "whole", rare)
    stopped = trained(tmp_path / "run", rare, Data(dies_at=5, death=KeyboardInterrupt))
    assert (stopped.status, stopped.steps) == ("stopped", 5)
    assert trained(tmp_path / "run", rare).last_sha256 == whole.last_sha256


def test_the_signal_of_ctrl_c_waits_for_the_end_of_the_step(tmp_path: Path) -> None:
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


def test_training_gives_the_generators_and_the_threads_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = model_with_everything()
    torch.manual_seed(11), random.seed(11), np.random.seed(11)
    expected = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(11), random.seed(11), np.random.seed(11)
    threads = torch.get_num_threads()
    trained(tmp_path, model=model)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]


def test_batches_that_do_not_add_up_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="had 4 batches and 5 were promised"):
        trained(tmp_path, batches_per_epoch=5)
    with pytest.raises(RequestError, match="no metric 'accuracy'"):
        trained(tmp_path / "other", monitor=("accuracy", "max"))


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        (nn.Linear(6, 1), lambda x, y: (x, y), "Target 1 is out of bounds"),
        (nn.Linear(5, 2), lambda x, y: (x, y), "cannot be multiplied"),
        (nn.Linear(6, 2), lambda x, y: (x.double(), y), "inputs (16, 6) float64 on cpu"),
        (nn.Linear(6, 2), lambda x, y: (x, y.float()), "targets (16,) float32 on cpu"),
        (nn.Linear(6, 2), lambda x, y: (x, y[:3]), "targets (3,) int64 on cpu"),
    ],
)
def test_a_batch_that_does_not_fit_the_model_is_one_clear_message(
    tmp_path: Path, model: nn.Module, change: Any, said: str
) -> None:
    def odd(epoch: int, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return (change(*batch) for batch in Data()(epoch, start))

    with pytest.raises(ModelError, match="step 1 failed") as error:
        trained(tmp_path, data=odd, model=model)
    assert said in str(error.value)
    assert not checkpoint_module.folders(tmp_path / "checkpoints")


def test_watching_changes_no_bit_and_gives_a_report_and_a_line_of_health(tmp_path: Path) -> None:
    said: list[Progress] = []
    fitted = trained(tmp_path / "watched", dataclasses.replace(RECIPE, watch=True), on_progress=said.append)
    assert fitted.last_sha256 == trained(tmp_path / "unwatched").last_sha256
    assert fitted.remarks == () and fitted.report is not None
    assert fitted.report.origin == "watch" and fitted.report.steps == 12
    assert any(progress.health for progress in said)
    assert (tmp_path / "watched" / "trace.jsonl").stat().st_size > 0


def test_watching_that_fails_is_said_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import isograd.api

    def broken(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(isograd.api, "watch", broken)
    fitted = trained(tmp_path, dataclasses.replace(RECIPE, watch=True))
    assert fitted.status == "finished" and fitted.report is None
    assert fitted.remarks == ("the gradients are no longer watched: ZeroDivisionError: a fault of ours",)
    assert fitted.last_sha256 == trained(tmp_path / "unwatched").last_sha256


def test_progress_tells_where_it_is_and_comes_by_time(tmp_path: Path) -> None:
    said: list[Progress] = []
    trained(tmp_path, on_progress=said.append)  # with checkpoints after every step, every step is told
    training = [progress for progress in said if progress.phase == "training"]
    assert [progress.step for progress in training] == list(range(1, 13))
    assert training[-1].epoch == 3 and training[-1].steps == 12
    assert training[5].loss is not None and training[5].metrics[0][0] == "log_loss"
    assert said[-1].phase == "finished"
    quiet: list[Progress] = []
    trained(tmp_path / "quiet", dataclasses.replace(RECIPE, checkpoint_seconds=60), on_progress=quiet.append)
    assert sum(progress.phase == "training" for progress in quiet) < 6


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    trained(tmp_path)
    for folder in checkpoint_module.folders(tmp_path / "checkpoints"):
        assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]
        assert json.loads((folder / "state.json").read_text())["format"] == "isograd.State"
