"""The first loss against what ignorance costs: a remark, and an alarm where it never recovers."""

import dataclasses
import math

import pytest
from lessons import classes, numbers, training

from isograd.health.diagnosis import initial_loss
from isograd.records.moments import Moments


def found(case):
    return list(initial_loss.diagnose(case))


@pytest.mark.parametrize("recovers", [True, False])
def test_a_first_loss_of_thirty_is_far_too_sure(recovers):
    def sample(t):
        return classes(t, value=30.0 if t < 10 else 0.3 if recovers else 4.0, right=0.9 if recovers else None)

    (finding,) = found(training(sample))
    assert finding.alarm != recovers and "began at 30" in finding.summary


def test_log_c_at_the_start_is_as_it_should_be():
    assert found(training(classes)) == []


def test_numbers_are_left_to_the_targets():
    assert found(training(lambda t: numbers(t, mean=100.0, outputs=0.0))) == []


def test_log_two_over_rare_positives_is_what_everybody_is_born_with():
    """One in a hundred: the best constant answer costs 0.056, and outputs of zero 0.69, twelve times as much."""

    def sample(t):
        rare = classes(t, value=math.log(2) if t < 10 else 0.05, right=0.99)
        return dataclasses.replace(rare, function="binary_cross_entropy", floor=0.056, output_shape=(64, 1))

    assert found(training(sample)) == []


@pytest.mark.parametrize(("times", "late", "alarms"), [(5.0, 20.0, [True]), (5.0, 0.1, [False]), (2.0, 20.0, [])])
def test_numbers_whose_first_outputs_spread_far_wider_than_the_targets_are_told_and_an_alarm_if_they_stay_there(
    times, late, alarms
):
    def sample(t):
        told = numbers(t)
        wide = Moments.of([times * told.target.std, -times * told.target.std])
        return dataclasses.replace(told, output=wide, value=(20.0 if t < 10 else late) * told.target.std**2)

    assert [one.alarm for one in found(training(sample))] == alarms
