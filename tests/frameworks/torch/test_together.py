"""Small tensors summed together: the same as one by one, also where numbers are extreme or not finite."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isograd.frameworks.torch.sums import moments, moments_of_all, pairs_of_all
from isograd.frameworks.torch.together import SMALL, is_small
from isograd.records.moments import Moments, Pairs

NUMBERS = st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=20)


@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_many_small_tensors_have_the_moments_that_each_has_alone(rows):
    together = moments_of_all([torch.tensor(row, dtype=torch.float32) for row in rows])
    for row, found in zip(rows, together, strict=True):
        expected = Moments.of(row)
        assert (found.count, found.zeros, found.nans, found.infs, found.largest) == (
            (expected.count, expected.zeros, expected.nans, expected.infs, expected.largest)
        )
        assert found.norm == pytest.approx(expected.norm, rel=1e-6) and found.rms == pytest.approx(
            expected.rms, rel=1e-6, nan_ok=True
        )


@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_many_small_pairs_are_the_pairs_that_each_is_alone(rows):
    lefts = [torch.tensor(row, dtype=torch.float32) for row in rows]
    rights = [left.flip(0) for left in lefts]
    for row, found in zip(rows, pairs_of_all(lefts, rights), strict=True):
        expected = Pairs.of(row, row[::-1])
        assert (found.count, found.skipped) == (expected.count, expected.skipped)
        assert found.ratio == pytest.approx(expected.ratio, rel=1e-6, nan_ok=True)
        assert found.cosine == pytest.approx(expected.cosine, abs=1e-6, nan_ok=True)


def test_squares_that_vanish_in_float32_do_not():
    found, _ = moments_of_all([torch.full((3,), 1e-30), torch.ones(2)])
    assert found.norm == pytest.approx(math.sqrt(3) * 1e-30)


def test_large_tensors_other_types_and_single_ones_go_their_own_way():
    assert is_small(torch.ones(SMALL)) and not is_small(torch.ones(SMALL + 1)) and not is_small(torch.ones(2).double())
    mixed = [torch.ones(2).double(), torch.ones(3), torch.ones(SMALL + 1), torch.ones(4), torch.ones(0)]
    assert moments_of_all(mixed) == [moments(one) for one in mixed]
