"""Texts of about one length share a batch, every text comes once an epoch, and the order is that of (seed, epoch)."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isograd.workbench.data import Rows, batches, batches_per_epoch
from isograd.workbench.data.bucketing import lengths_of, trimmed


def texts(lengths: list[int], longest: int = 40) -> Rows:
    ids = torch.zeros(len(lengths), longest, dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = row + 1
    return Rows(ids, torch.arange(len(lengths)), tuple(map(str, range(len(lengths)))))


def padding(rows: Rows, *, shuffled: bool) -> int:
    found = batches(rows, seed=0, epoch=1, batch_size=8, shuffle=shuffled)
    return sum(int((inputs == 0).sum()) for inputs, _ in found)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=90), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_every_text_comes_once_and_a_cut_epoch_goes_on_with_the_batches_it_would_have_had(lengths, size, epoch, start):
    rows = texts(lengths)
    whole = [(x, y.tolist()) for x, y in batches(rows, seed=3, epoch=epoch, batch_size=size)]
    assert sorted(number for _, numbers in whole for number in numbers) == list(range(len(lengths)))
    assert len(whole) == batches_per_epoch(len(lengths), size)
    rest = [y.tolist() for _, y in batches(rows, seed=3, epoch=epoch, batch_size=size, start=start)]
    assert rest == [numbers for _, numbers in whole[start:]]
    for inputs, numbers in whole:
        assert all((inputs[i] != 0).sum() == lengths[number] for i, number in enumerate(numbers))


def test_batches_hold_less_padding_than_the_order_of_the_source_would():
    draw = torch.Generator().manual_seed(0)
    rows = texts(torch.randint(1, 41, (400,), generator=draw).tolist())
    assert 4 * padding(rows, shuffled=True) < padding(rows, shuffled=False)


def test_the_short_do_not_always_come_first():
    rows = texts([1 + number % 40 for number in range(800)])
    lengths = [inputs.shape[1] for inputs, _ in batches(rows, seed=0, epoch=1, batch_size=8)]
    assert lengths != sorted(lengths)
    assert lengths != [inputs.shape[1] for inputs, _ in batches(rows, seed=0, epoch=2, batch_size=8)]


def test_a_hole_in_a_text_is_no_end_and_an_empty_text_keeps_a_column():
    assert lengths_of(torch.tensor([[1, 0, 2, 0], [0, 0, 0, 0]])).tolist() == [3, 0]
    assert trimmed(torch.zeros(2, 5, dtype=torch.int64)).shape == (2, 1)


def test_quantities_keep_their_order_and_their_width():
    rows = Rows(torch.zeros(9, 7), torch.arange(9), tuple("abcdefghi"))
    assert all(inputs.shape[1] == 7 for inputs, _ in batches(rows, seed=0, epoch=1, batch_size=2))
