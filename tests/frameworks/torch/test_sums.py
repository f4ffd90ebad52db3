"""The fast sums agree with the obvious ones on scales, types, layouts and shapes that break naive sums."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isograd.frameworks.torch import sums
from isograd.records.moments import Moments, Pairs

SCALES = (1e-45, 1e-40, 1e-38, 1e-30, 1e-19, 1e-15, 1e-7, 1.0, 1e7, 1e15, 1e19, 1e30, 3e38)


def agree(fast: Moments, tensor: torch.Tensor, tolerance: float) -> None:
    obvious = Moments.of(tensor.detach().double().reshape(-1).tolist())
    assert (fast.count, fast.zeros, fast.nans, fast.infs) == (obvious.count, obvious.zeros, obvious.nans, obvious.infs)
    assert fast.largest == obvious.largest
    assert fast.scaled_total == pytest.approx(obvious.scaled_total, abs=tolerance * max(1, obvious.count))
    assert fast.scaled_squares == pytest.approx(obvious.scaled_squares, rel=1e3 * tolerance, abs=1e-300)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", [1, 2, 1000, sums.PIECE + 17])
def test_float32_at_any_scale(scale, count):
    tensor = (torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64).clamp(-1, 1) * scale).float()
    agree(sums.moments(tensor), tensor, 1e-7)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e-100, 1.0, 1e100, 1e200, 1e308])
def test_float64_at_any_scale(scale):
    tensor = torch.linspace(-1, 1, 501, dtype=torch.float64) * scale
    agree(sums.moments(tensor), tensor, 1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_neither_overflow_nor_round_their_sums(dtype):
    tensor = torch.full((5000,), 300.0, dtype=dtype)  # the squares overflow float16, the sum of ones stops at 256 in bfloat16
    agree(sums.moments(tensor), tensor, 1e-7)
    assert sums.moments(tensor).total == 5000 * 300.0


def test_a_deviation_far_below_the_mean_is_not_lost():
    tensor = 100.0 + 1e-3 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    assert sums.moments(tensor).std == pytest.approx(float(tensor.double().std(correction=0)), rel=1e-3)


def test_nan_and_infinity_are_counted_and_do_not_spread():
    tensor = torch.tensor([1.0, math.nan, -2.0, math.inf, 0.0, -math.inf])
    agree(sums.moments(tensor), tensor, 1e-7)
    assert sums.moments(tensor).nans == 1 and sums.moments(tensor).infs == 2
    assert sums.moments(torch.full((3,), math.nan)) == Moments(nans=3)


def test_shapes_and_layouts():
    base = torch.arange(24.0).reshape(2, 3, 4)
    for tensor in (
        base.transpose(0, 2),
        base[:, ::2],
        base.expand(5, 2, 3, 4),
        base.to(memory_format=torch.contiguous_format)[0, 0],
    ):
        agree(sums.moments(tensor), tensor, 1e-7)
    assert sums.moments(torch.empty(0, 3)) == Moments()
    agree(sums.moments(torch.tensor(-2.5)), torch.tensor(-2.5), 1e-7)


def test_sparse_tensors_are_summed_with_their_duplicates_added_first():
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 0, 2]]), torch.tensor([1.0, 2.0, 4.0]), (4,), check_invariants=False)
    assert (sums.moments(sparse).count, sums.moments(sparse).largest, sums.moments(sparse).total) == (2, 4.0, 7.0)


def test_complex_tensors_are_their_parts_and_others_have_no_moments():
    found = sums.moments(torch.tensor([3 + 4j], dtype=torch.complex64))
    assert (found.count, found.norm) == (2, 5.0)
    nothing = (torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool), torch.ones(2, device="meta"), None, "text")
    assert [sums.moments(thing) for thing in nothing] == [None] * 5


def test_a_tensor_inside_vmap_is_left_alone():
    seen = []
    torch.func.vmap(lambda row: (seen.append(sums.moments(row)), row)[1])(torch.ones(2, 2))
    assert seen == [None]


floats = st.floats(width=32, allow_subnormal=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(floats, min_size=4, max_size=4), min_size=1, max_size=6))
def test_many_at_once_is_the_same_as_one_by_one(rows):
    tensors = [torch.tensor(row) for row in rows]
    for fast, tensor in zip(sums.moments_of_all(tensors), tensors, strict=True):
        agree(fast, tensor, 1e-7)


def test_many_of_mixed_shapes_types_and_nothings():
    tensors = [
        torch.ones(3),
        None,
        torch.ones(2, 2),
        torch.full((3,), 2.0),
        torch.ones(3, dtype=torch.float64),
        torch.ones(2).int(),
    ]
    found = sums.moments_of_all(tensors)
    assert [of and of.total for of in found] == [3.0, None, 4.0, 6.0, 3.0, None]


def test_stacks_are_cut_so_that_many_tensors_take_little_memory():
    tensors = [torch.full((1000,), float(i)) for i in range(600)]
    assert [of.total for of in sums.moments_of_all(tensors)] == [1000.0 * i for i in range(600)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=20))
def test_pairs_agree_with_the_obvious_way(entries):
    left, right = (torch.tensor(side) for side in zip(*entries, strict=True))
    fast, obvious = sums.pairs_of_all([left], [right])[0], Pairs.of(left.tolist(), right.tolist())
    assert (fast.count, fast.skipped, fast.left_largest, fast.right_largest) == (
        obvious.count,
        obvious.skipped,
        obvious.left_largest,
        obvious.right_largest,
    )
    assert fast.scaled_dot == pytest.approx(obvious.scaled_dot, abs=1e-5)
    assert fast.scaled_left == pytest.approx(obvious.scaled_left, rel=1e-5)
    assert fast.scaled_right == pytest.approx(obvious.scaled_right, rel=1e-5)


@pytest.mark.parametrize("count", [3, sums.PIECE + 5])
def test_an_update_of_a_hundred_billionth_of_the_weight_is_seen(count):
    weight = torch.ones(count)
    pairs = sums.pairs_of_all([weight * 1e-25], [weight])[0]
    assert pairs.ratio == pytest.approx(1e-25, rel=1e-4, abs=0) and pairs.cosine == pytest.approx(1.0, rel=1e-4)


def test_units_count_what_fired_and_what_was_pinned():
    output = torch.tensor([[0.999, -0.5, 0.0], [0.995, 0.5, 0.0], [-0.999, 0.5, 0.0]])
    moments, units = sums.moments_and_units(output, -1, lambda y: y.abs() > 0.99)
    assert (units.seen, units.fired, units.pinned) == (3, (2, 2, 0), (3, 0, 0))
    assert units.dead == (2,) and units.stuck == (0,) and moments.zeros == 3


def test_channels_are_counted_over_examples_and_positions():
    output = torch.zeros(5, 3, 4, 4)
    output[:, 1] = 1.0
    output[0, 2, 0, 0] = 1.0
    _, units = sums.moments_and_units(output, 1, None)
    assert (units.seen, units.fired) == (80, (0, 80, 1))


def test_units_over_several_pieces_and_with_nan():
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(300, 500, generator=generator).relu()
    moments, units = sums.moments_and_units(output, 1, None)
    assert np.array_equal(units.fired, (output > 0).sum(0).numpy())
    agree(moments, output, 1e-7)
    output[7, 3] = math.nan
    assert sums.moments_and_units(output, 1, None)[1].fired[3] == int((output[:, 3] > 0).sum())


def test_moments_of_a_scaled_gradient_are_unscaled():
    tensor = torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    agree(sums.scaled(sums.moments(tensor * 3000.0), 1 / 3000.0), tensor * 3000.0 * (1 / 3000.0), 1e-14)
