"""Laws of the sums that a tensor leaves behind."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.records.moments import Gram, Moments, Pairs, Units, exponent_of

finite = st.floats(allow_nan=False, allow_infinity=False)
tame = st.one_of(st.just(0.0), st.floats(min_value=1e-30, max_value=1e30), st.floats(min_value=-1e30, max_value=-1e-30))
anything = st.one_of(st.just(0.0), st.floats())
ULP = 4 * sys.float_info.epsilon


def close(a, b, magnitudes):
    """Within 4 units in the last place of the sum of magnitudes."""
    return abs(a - b) <= ULP * magnitudes


def scale(*values):
    return exponent_of(max((abs(v) for v in values), default=0.0))


def same(a: Moments, b: Moments, values):
    assert (a.count, a.largest, a.zeros, a.nans, a.infs) == (b.count, b.largest, b.zeros, b.nans, b.infs)
    good = [v for v in values if math.isfinite(v)]
    scaled = [math.ldexp(v, -scale(*good)) for v in good]
    assert close(a.scaled_total, b.scaled_total, sum(map(abs, scaled)))
    assert close(a.scaled_squares, b.scaled_squares, sum(v * v for v in scaled))


@given(st.lists(anything), st.lists(anything))
def test_moments_of_two_parts_add_up_to_the_moments_of_the_whole(left, right):
    same(Moments.of(left) + Moments.of(right), Moments.of(left + right), left + right)


@given(st.lists(anything), st.lists(anything))
def test_moments_commute_exactly(left, right):
    assert Moments.of(left) + Moments.of(right) == Moments.of(right) + Moments.of(left)


@given(st.lists(anything), st.lists(anything), st.lists(anything))
def test_moments_associate(a, b, c):
    x, y, z = map(Moments.of, (a, b, c))
    same((x + y) + z, x + (y + z), a + b + c)


@given(st.lists(anything))
def test_nothing_added_changes_nothing(values):
    assert Moments.of(values) + Moments() == Moments.of(values) == Moments() + Moments.of(values)


@given(st.lists(tame, min_size=1, max_size=40))
def test_moments_are_what_numpy_says(values):
    m, x = Moments.of(values), np.array(values)
    assert m.rms == pytest.approx(np.sqrt(np.mean(x**2)), rel=1e-12)
    assert m.norm == pytest.approx(np.linalg.norm(x), rel=1e-12)
    assert m.total == pytest.approx(x.sum(), abs=1e-14 * np.abs(x).sum())
    assert m.largest == np.abs(x).max()
    assert m.zeros == (x == 0).sum()


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-30, 1.0, 1e30, 1e200, 1e300])
def test_squares_neither_underflow_nor_overflow(size):
    m = Moments.of([3 * size, 4 * size]) + Moments.of([0.0, 0.0])
    assert m.norm == pytest.approx(5 * size, rel=1e-15)
    assert m.rms == pytest.approx(2.5 * size, rel=1e-15)
    assert m.std == pytest.approx(size * math.sqrt(25 / 4 - (7 / 4) ** 2), rel=1e-14)


def test_a_huge_part_does_not_swallow_the_count_of_a_tiny_one():
    m = Moments.of([1e-200, 0.0]) + Moments.of([1e200])
    assert (m.count, m.zeros, m.largest) == (3, 1, 1e200)
    assert m.norm == 1e200


@given(st.lists(finite, max_size=20))
def test_nan_and_infinity_are_counted_and_never_spread(values):
    m = Moments.of([*values, math.nan, math.inf, -math.inf])
    assert m == Moments.of(values) + Moments(nans=1, infs=2)
    assert m.nonfinite == 3 and m.entries == len(values) + 3
    assert not math.isnan(m.total)


def test_what_is_empty_has_no_mean():
    assert math.isnan(Moments().rms) and math.isnan(Moments().mean) and math.isnan(Moments().std)
    assert math.isnan(Moments().zero_fraction) and Moments().norm == 0.0


@given(st.lists(tame, min_size=1, max_size=20))
def test_plain_sums_of_a_door_give_the_same_moments(values):
    x = np.array(values)
    largest = float(np.abs(x).max())
    e = exponent_of(largest)
    y = np.ldexp(x, -e)
    found = Moments.from_sums(len(x), float(y.sum()), float(y @ y), largest, zeros=int((x == 0).sum()), exponent=e)
    same(found, Moments.of(values), values * 20)


rows = st.lists(st.tuples(anything, anything))


@given(rows, rows)
def test_pairs_of_two_parts_add_up_and_commute(a, b):
    parts, whole = of(a) + of(b), of(a + b)
    assert (parts.count, parts.skipped) == (whole.count, whole.skipped)
    assert (parts.left_largest, parts.right_largest) == (whole.left_largest, whole.right_largest)
    good = [(x, y) for x, y in a + b if math.isfinite(x) and math.isfinite(y)]
    i, j = scale(*(x for x, _ in good)), scale(*(y for _, y in good))
    scaled = [(math.ldexp(x, -i), math.ldexp(y, -j)) for x, y in good]
    assert close(parts.scaled_dot, whole.scaled_dot, sum(abs(x * y) for x, y in scaled))
    assert close(parts.scaled_left, whole.scaled_left, sum(x * x for x, _ in scaled))
    assert close(parts.scaled_right, whole.scaled_right, sum(y * y for _, y in scaled))
    assert of(a) + of(b) == of(b) + of(a)
    assert of(a) + Pairs() == of(a) == Pairs() + of(a)


def of(found):
    return Pairs.of([x for x, _ in found], [y for _, y in found])


@given(st.lists(st.tuples(tame, tame), min_size=1, max_size=20))
def test_pairs_are_what_numpy_says(found):
    x, y = np.array(found).T
    p = of(found)
    assert p.dot == pytest.approx(float(x @ y), abs=1e-13 * float(np.abs(x) @ np.abs(y)))
    if x.any() and y.any():
        assert p.ratio == pytest.approx(np.linalg.norm(x) / np.linalg.norm(y), rel=1e-12)
        assert -1.0 <= p.cosine <= 1.0
        assert Pairs.from_sums(len(x), float(x @ y), float(x @ x), float(y @ y), abs(x).max(), abs(y).max()).ratio == (
            pytest.approx(p.ratio, rel=1e-12)
        )


def test_a_zero_side_has_no_direction_and_an_infinite_or_no_ratio():
    assert math.isnan(Pairs.of([0.0], [1.0]).cosine) and Pairs.of([0.0], [1.0]).ratio == 0.0
    assert Pairs.of([1.0], [0.0]).ratio == math.inf
    assert math.isnan(Pairs.of([0.0], [0.0]).ratio)


def test_pairs_at_extreme_scales_keep_their_ratio():
    assert Pairs.of([1e-200], [1e100]).ratio == pytest.approx(1e-300, rel=1e-14)
    assert Pairs.of([1e-300], [2e-300]).cosine == pytest.approx(1.0)


counts = st.integers(0, 1000)


@st.composite
def units(draw, width=3):
    seen = draw(counts)
    some = st.lists(st.integers(0, seen), min_size=width, max_size=width).map(tuple)
    return draw(st.one_of(st.just(Units()), st.builds(Units, st.just(seen), some, some)))


@given(units(), units(), units())
def test_units_are_a_commutative_monoid_and_exact(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Units() == a


def test_units_of_layers_with_other_widths_do_not_add():
    with pytest.raises(ValueError, match="argument"):
        Units(1, (1,), (0,)) + Units(1, (1, 1), (0, 0))


def test_a_unit_is_dead_where_it_never_fired_and_stuck_where_it_was_always_pinned():
    assert Units(3, (0, 1, 3), (3, 0, 2)).dead == (0,)
    assert Units(3, (0, 1, 3), (3, 0, 2)).stuck == (0,)
    assert Units(0, (0,), (0,)).dead == () == Units(0, (0,), (0,)).stuck


grams = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4).map(lambda v: Gram(2, tuple(v)))


@given(grams, grams)
def test_grams_commute_and_have_a_neutral_element(a, b):
    assert a + b == b + a
    assert a + Gram() == a == Gram() + a


def test_a_gram_holds_at_most_64_examples_and_all_products():
    with pytest.raises(ValueError, match="64"):
        Gram(65, (0.0,) * 65**2)
    with pytest.raises(ValueError, match="64"):
        Gram(2, (1.0,))
