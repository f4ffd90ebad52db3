"""Skill, hit rate and spread have the values that thought gives them, and are silent where nothing is known."""

import math

import pytest

from isograd.health import signals
from isograd.records.anatomy import Anatomy
from isograd.records.batch import LossSample
from isograd.records.moments import Pairs
from isograd.records.trace import Step, Trace


def readings(*losses):
    trace = Trace(Anatomy("reference", (), ()), steps=(Step(7, losses=losses),))
    return {(r.signal, r.where): r.value for r in signals.measure(trace).values}


def test_the_best_constant_answer_has_no_skill_and_a_perfect_one_has_all():
    assert signals.skill(LossSample("mse_loss", value=2.0, floor=2.0)) == 0.0
    assert signals.skill(LossSample("mse_loss", value=0.0, floor=2.0)) == 1.0
    assert signals.skill(LossSample("mse_loss", value=6.0, floor=2.0)) == -2.0


@pytest.mark.parametrize(
    ("value", "floor"), [(None, 1.0), (1.0, None), (1.0, 0.0), (math.nan, 1.0), (math.inf, 1.0), (1.0, -0.5), (1.0, math.nan)]
)
def test_where_loss_or_floor_mean_nothing_there_is_no_skill(value, floor):
    assert math.isnan(signals.skill(LossSample("mse_loss", value=value, floor=floor)))


def test_hits_are_a_share_of_the_targets_and_none_right_is_a_rate_of_zero():
    sample = LossSample("cross_entropy", classes=(6, 2), answers=(0, 8), hits=2)
    assert signals.hit_rate(sample) == 0.25 and signals.majority_rate(sample) == 0.75
    assert signals.hit_rate(LossSample("cross_entropy", classes=(6, 2), answers=(0, 8), hits=0)) == 0.0
    assert math.isnan(signals.hit_rate(LossSample("mse_loss")))


def test_answers_spread_over_four_classes_have_the_entropy_of_a_fair_die_of_four():
    assert signals.answer_entropy(LossSample("cross_entropy", answers=(5, 5, 5, 5, 0))) == pytest.approx(math.log(4))


def test_constant_outputs_do_not_spread_and_correlate_with_nothing():
    sample = LossSample("mse_loss", agreement=Pairs.of([0.0, 0.0], [1.0, -1.0]))
    assert signals.output_spread(sample) == 0.0 and math.isnan(signals.correlation(sample))
    assert math.isnan(signals.output_spread(LossSample("mse_loss", agreement=Pairs.of([1.0, -1.0], [0.0, 0.0]))))


def test_each_training_loss_of_a_step_has_its_own_place_and_an_evaluation_has_none():
    one, two = LossSample("mse_loss", value=1.0, floor=2.0), LossSample("mse_loss", value=1.0, floor=4.0)
    apart = LossSample("mse_loss", training=False, value=1.0, floor=10.0)
    found = readings(one, apart, two)
    assert {place: value for (signal, place), value in found.items() if signal == "skill"} == {"": 0.5, "loss@2": 0.75}
    assert found["loss_floor", "loss@2"] == 4.0


def test_names_are_those_that_diagnosis_asks_for():
    sample = LossSample("cross_entropy", value=1.0, floor=2.0, classes=(1, 1), answers=(2, 0), hits=1)
    assert {signal for signal, _ in readings(sample)} == {"skill", "loss_floor", "hit_rate", "majority_rate", "answer_entropy"}
    pair = LossSample("mse_loss", agreement=Pairs.of([1.0, -1.0], [1.0, -1.0]))
    assert {signal for signal, _ in readings(pair)} == {"output_spread", "correlation"}
