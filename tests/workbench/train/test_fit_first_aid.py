"""A training with first aid survives a poisoned batch, and goes on to the last bit wherever it was interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fit_cases import PER_EPOCH, RECIPE, Data, Killed, trained, without_times

from isograd.errors import RequestError
from isograd.workbench.train import Recipe

EPOCHS, NAN, LARGE = 10, 25, 32
AIDED = dataclasses.replace(RECIPE, epochs=EPOCHS, watch=True, first_aid=True, ema=0.9)


class Poisoned(Data):
    """A batch of NaN and one a thousandfold, always at the same steps."""

    def __call__(self, epoch: int, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for position, (inputs, targets) in enumerate(super().__call__(epoch, start), start):
            step = (epoch - 1) * PER_EPOCH + position
            factor = {NAN: float("nan"), LARGE: 1000.0}.get(step, 1.0)
            yield inputs * factor, targets


def test_a_poisoned_batch_ends_a_training_without_first_aid_and_not_one_with_it(tmp_path: Path) -> None:
    bare = trained(tmp_path / "bare", dataclasses.replace(AIDED, first_aid=False), Poisoned())
    assert bare.status == "diverged" and bare.diverged_step == NAN + 1
    aided = trained(tmp_path / "aided", AIDED, Poisoned())
    assert aided.status == "finished" and aided.steps == EPOCHS * PER_EPOCH
    assert all(epoch.loss < 10.0 for epoch in aided.epochs)
    assert aided.report is not None
    assert [finding.since for finding in aided.report.findings if finding.disease == "first_aid"] == [NAN + 1]
    assert not any("no longer watched" in remark for remark in aided.remarks)


def test_a_run_that_died_at_any_step_ends_with_the_bits_of_one_that_did_not(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", AIDED, Poisoned())
    for step in (1, 9, 11, 24, 25, 26, 31, 32, 33, 39):
        folder = tmp_path / str(step)
        with pytest.raises(Killed):
            trained(folder, AIDED, Poisoned(dies_at=step))
        again = trained(folder, AIDED, Poisoned())
        assert (again.sha256, again.last_sha256) == (whole.sha256, whole.last_sha256)
        assert [epoch.loss for epoch in without_times(again.epochs)] == [epoch.loss for epoch in without_times(whole.epochs)]


def test_first_aid_needs_the_watch_and_says_so() -> None:
    with pytest.raises(RequestError, match="first aid is given by the watch"):
        Recipe(watch=False, first_aid=True)
