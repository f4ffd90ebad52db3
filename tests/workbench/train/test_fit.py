"""A training does what the hand-written loop does, leaves things as they were, and says what it does."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_cases import (
    RECIPE,
    ROWS,
    Data,
    model_with_everything,
    rows,
    trained,
    validate,
)
from torch import nn
from torch.nn import functional as F

from isograd.errors import ModelError, RequestError
from isograd.workbench.train import Progress, weights_hash
from isograd.workbench.train import checkpoint as checkpoint_module


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
    assert said[0].seconds_left is None and said[1].seconds_left is not None  # the first step is no measure of the others
    assert said[-1].phase == "finished" and said[-1].loss is not None and said[-1].rows_per_second > 0
    training = [progress for progress in said if progress.phase == "training"]
    assert [progress.step for progress in training] == list(range(1, 13))
    assert training[-1].epoch == 3 and training[-1].steps == 12
    assert training[5].loss is not None and training[5].metrics[0][0] == "log_loss"
    assert said[-1].phase == "finished"
    quiet: list[Progress] = []
    trained(tmp_path / "quiet", dataclasses.replace(RECIPE, checkpoint_seconds=60), on_progress=quiet.append)
    assert sum(progress.phase == "training" for progress in quiet) < 6
