"""Sequences are changed as asked: their ends, their gaps and their words stay what they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isograd.errors import RequestError
from isograd.records.schema import ColumnEncoding, Encoding, SequenceEncoding
from isograd.workbench.data.augment.augmenting import Augment
from isograd.workbench.data.augment.plan import AugmentPlan, Settled
from isograd.workbench.data.augment.steps import spread_of

NUMBER = ColumnEncoding("pulse", "number", mean=10.0, std=2.0, indicator=True)
WORD = ColumnEncoding("state", "category", values=("low", "up"))
STEPS, ROWS = 8, 64
KEYS = np.arange(ROWS)


def encoding(*, ragged: bool, each: bool = False) -> Encoding:
    return Encoding("sequence", "y", columns=(NUMBER, WORD), sequence=SequenceEncoding(STEPS, ragged, each), classes=("a", "b"))


def sequences(*, ragged: bool) -> torch.Tensor:
    """Each step of sequence i holds i + its place; the word alternates; every fifth step is a gap; lengths are 3 to 8."""
    rows, place = torch.arange(ROWS)[:, None], torch.arange(STEPS)[None]
    gap = (place + rows) % 5 == 0
    number = torch.where(gap, 0.0, (rows + place) / 10.0)
    parts = [number, gap.float(), (place % 2 == 0).expand(ROWS, -1).float(), (place % 2 == 1).expand(ROWS, -1).float()]
    x = torch.stack(parts, dim=2)
    if not ragged:
        return x
    exists = (place < 3 + rows % 6).float()[:, :, None]
    return torch.cat([x, torch.ones_like(exists)], dim=2) * exists


def changed(x: torch.Tensor, *, ragged: bool, epoch: int = 1, keys: np.ndarray = KEYS, **asked: float) -> torch.Tensor:
    how = encoding(ragged=ragged)
    return Augment(Settled(**asked), how, 0, spread_of(x, how)).changed(x[keys], epoch, keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("ragged", [False, True])
def test_noise_moves_numbers_alone_and_leaves_gaps_and_what_is_not_there(ragged: bool) -> None:
    x = sequences(ragged=ragged)
    made = changed(x, ragged=ragged, jitter=0.1)
    known = (x[:, :, 1] == 0) & (x[:, :, -1] > 0 if ragged else torch.ones(ROWS, STEPS, dtype=torch.bool))
    assert torch.equal(made[:, :, 1:], x[:, :, 1:]) and torch.equal(made[~known], x[~known])
    noise = (made - x)[:, :, 0][known]
    there = x[:, :, -1] > 0.5 if ragged else torch.ones(ROWS, STEPS, dtype=torch.bool)
    deviation = x[:, :, 0][there].std(correction=0)
    assert bool((noise != 0).all()) and 0.08 < float(noise.std() / deviation) < 0.12


@pytest.mark.parametrize("ragged", [False, True])
def test_a_sequence_is_made_larger_or_smaller_as_a_whole_on_its_natural_scale(ragged: bool) -> None:
    x = sequences(ragged=ragged)
    made = changed(x, ragged=ragged, scale=0.2)
    assert torch.equal(made[:, :, 1:], x[:, :, 1:])
    for before, after in zip(x, made, strict=True):
        known = (before[:, 1] == 0) & (before[:, -1] > 0 if ragged else torch.ones(STEPS, dtype=torch.bool))
        ratio = (after[known, 0] * 2 + 10) / (before[known, 0] * 2 + 10)
        assert float(ratio.std(correction=0)) < 1e-5 and 0.8 <= float(ratio[0]) <= 1.2


def test_a_piece_of_a_ragged_sequence_begins_at_the_first_step_and_ends_sooner() -> None:
    x = sequences(ragged=True)
    made = changed(x, ragged=True, crop_steps=0.5)
    shorter = 0
    for before, after in zip(x, made, strict=True):
        whole, left = int(before[:, -1].sum()), int(after[:, -1].sum())
        assert left >= whole / 2 and not after[left:].any()
        start = next(at for at in range(whole) if torch.equal(before[at : at + left], after[:left]))
        assert start + left <= whole
        shorter += left < whole
    assert shorter > ROWS / 3


def test_a_piece_of_an_even_sequence_is_drawn_out_to_the_same_length_in_order() -> None:
    x = sequences(ragged=False)
    x[:, :, 0] = torch.arange(STEPS)  # its place, so that the order can be read off
    made = changed(x, ragged=False, crop_steps=0.5)
    assert made.shape == x.shape
    steps = made[:, :, 0]
    assert bool((steps.diff(dim=1) >= 0).all()) and bool((steps[:, -1] - steps[:, 0] >= STEPS / 2 - 1).all())
    assert len({tuple(row.tolist()) for row in steps}) > 3


def test_what_becomes_of_a_row_is_a_function_of_seed_epoch_and_row() -> None:
    x = sequences(ragged=True)
    asked = {"jitter": 0.1, "scale": 0.1, "crop_steps": 0.3}
    every = changed(x, ragged=True, **asked)
    alone = changed(x, ragged=True, keys=np.array([7, 3]), **asked)
    assert torch.equal(every[[7, 3]], alone) and not torch.equal(every, changed(x, ragged=True, epoch=2, **asked))


def test_auto_is_a_little_noise_and_a_piece_needs_one_answer() -> None:
    assert AugmentPlan("auto").settled(encoding(ragged=True)).said == "jitter 0.05"
    with pytest.raises(RequestError, match="here every step has one"):
        AugmentPlan(crop_steps=0.2).settled(encoding(ragged=True, each=True))
    words = Encoding("sequence", "y", columns=(WORD,), sequence=SequenceEncoding(STEPS))
    with pytest.raises(RequestError, match="scale needs a column of numbers"):
        AugmentPlan(scale=0.2).settled(words)
