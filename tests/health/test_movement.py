"""How far layers have moved: paths that are told from a few looks."""

import pytest

from isograd.health.movement import path_of
from isograd.records.reading import Reading


def readings(values):
    return [Reading("turning_ratio", "w", step, value) for step, value in values.items()]


def sums(rates):
    found = [0.0]
    for rate in rates:
        found.append(found[-1] + rate)
    return found


def test_a_constant_step_adds_up():
    assert path_of(readings({1: 0.01, 2: 0.01, 50: 0.01}), 100) == pytest.approx(1.0)
    assert path_of(readings({1: 0.01, 2: 0.01, 50: 0.01}), 100, sums([0.1] * 100)) == pytest.approx(1.0)


def test_a_schedule_between_two_looks_is_followed():
    # looks at the small rates of both ends; the rate in between is ten times as high
    rates = [0.1, *[1.0] * 98, 0.1]
    assert path_of(readings({1: 0.01, 100: 0.01}), 100, sums(rates)) == pytest.approx(0.02 + 98 * 0.1)


def test_a_look_at_a_rate_of_zero_says_nothing_of_the_others():
    assert path_of(readings({1: 0.0, 2: 0.01}), 101, sums([0.0, *[0.1] * 100])) == pytest.approx(1.0)


def test_a_layer_that_starts_at_zero_moves_at_most_once_a_step():
    assert path_of(readings({1: float("inf"), 2: 0.01}), 2) == pytest.approx(1.01)
