"""Axes hold their data, ticks are round and few, thinning loses no spike."""

import math

from hypothesis import given
from hypothesis import strategies as st

from isograd.render.axes import evenly, fit, thin

finite = st.floats(allow_nan=False, allow_infinity=False)
any_float = st.floats()


@given(st.lists(any_float, min_size=1, max_size=30))
def test_every_value_that_can_be_drawn_lies_inside_its_axis(values):
    axis = fit(values)
    for value in values:
        if axis.holds(value):
            assert -1e-6 <= axis.place(value) <= 1 + 1e-6


@given(st.lists(any_float, max_size=30), st.booleans())
def test_ticks_are_few_in_order_and_inside(values, log):
    axis = fit(values, log=log)
    assert len(axis.ticks) <= 12
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert all(-0.01 <= axis.place(tick) <= 1.01 for tick in axis.ticks)
    assert all(axis.label(tick) for tick in axis.ticks)


def test_an_axis_of_epochs_begins_with_the_first_and_has_whole_ticks():
    assert fit([1.0, 20.0], log=False, whole=True).ticks == (1, 5, 10, 15, 20)
    assert fit([1.0, 2.0], log=False, whole=True).ticks == (1, 2)
    assert fit([1.0], log=False, whole=True).ticks == (1,)


def test_eighteen_decades_are_labelled_with_powers_of_ten():
    axis = fit([1e-18, 1.0])
    assert axis.log
    assert [axis.label(tick) for tick in axis.ticks] == ["1e-16", "1e-12", "1e-8", "1e-4", "1"]


def test_a_range_below_fifty_fold_is_linear_and_one_with_a_zero_too():
    assert not fit([1.0, 49.0]).log
    assert not fit([0.0, 1e9]).log
    assert fit([1.0, 50.0]).log


def test_ticks_of_one_axis_have_the_same_number_of_decimals():
    axis = fit([0.62, 0.99])
    assert [axis.label(tick) for tick in axis.ticks] == ["0.7", "0.8", "0.9", "1.0"]


@given(st.lists(finite, min_size=1, max_size=3000), st.integers(10, 500))
def test_thinning_keeps_first_last_highest_and_lowest_within_the_limit(heights, limit):
    points = [(float(i), height) for i, height in enumerate(heights)]
    kept = thin(points, limit)
    assert len(kept) <= limit or len(kept) == len(points)
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert list(kept) == sorted(set(kept), key=lambda point: point[0])
    assert max(y for _, y in kept) == max(heights) and min(y for _, y in kept) == min(heights)


def test_thinning_keeps_the_one_value_that_is_not_finite():
    points = [(float(i), math.nan if i == 777 else 1.0) for i in range(5000)]
    assert [x for x, y in thin(points, 100) if math.isnan(y)] == [777.0]


@given(st.integers(0, 2000), st.integers(2, 100))
def test_evenly_gives_different_positions_with_both_ends(amount, limit):
    chosen = evenly(amount, limit)
    assert len(chosen) == min(amount, limit)
    assert list(chosen) == sorted(set(chosen))
    assert not amount or (chosen[0] == 0 and chosen[-1] == amount - 1)
