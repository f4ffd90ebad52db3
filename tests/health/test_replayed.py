"""What outputs are worth to a loss of one's own, on records whose answer is known by thought."""

import math

import pytest

from isograd.health import replayed
from isograd.health.case import Case
from isograd.health.diagnosis import collapse, plateau
from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation, InputSample, Replay
from isograd.records.moments import Moments, Pairs
from isograd.records.trace import Step

BARE = Anatomy("torch", (), ())
APART, ALONG = Pairs.of([1.0, 0.0], [0.0, 1.0]), Pairs.of([1.0, 1.0], [1.0, 0.5])


def case(value, constant=1.0, best=0.0, *, looks=12, agreement=APART, spread=0.5, rows=64, ended=True, **more):
    wobble = (0.004, -0.004)
    steps = tuple(
        Step(10 * k, replays=(Replay(value + wobble[k % 2], constant, best, rows, agreement, spread),), **more)
        for k in range(1, looks + 1)
    )
    return Case(BARE, steps=steps, taken=10 * looks, planned=10 * looks, ended=ended)


def told(of):
    return [finding.severity for finding in plateau.diagnose(of)]


def test_outputs_that_are_worth_no_more_than_their_mean_have_learned_nothing():
    found = replayed.worth(case(1.001))
    assert found.gain == pytest.approx(-0.001, abs=0.002) and found.nothing
    assert told(case(1.001)) == ["critical"]


def test_a_loss_below_zero_is_judged_by_what_there_is_to_gain():
    assert told(case(-5.0, -5.0, -7.0)) == ["critical"] and told(case(-6.0, -5.0, -7.0)) == []


def test_outputs_that_gain_a_tenth_of_what_there_is_are_left_alone():
    assert told(case(0.9)) == []


def test_the_little_that_hard_data_allow_is_no_plateau_where_it_is_certain():
    assert told(case(0.98)) == []


def test_loud_outputs_that_know_their_targets_are_left_alone():
    assert told(case(1.3, agreement=ALONG)) == []


@pytest.mark.parametrize("best", [-math.inf, 1.0], ids=["no least value", "the same of all rows"])
def test_where_rows_have_nothing_of_their_own_to_gain_nothing_is_said(best):
    assert replayed.worth(case(1.0, best=best)) is None and told(case(1.0, best=best)) == []


def test_a_few_rows_say_nothing():
    assert told(case(1.0, rows=4)) == []


def test_an_evaluation_that_finds_right_answers_overrules_it():
    good = (Evaluation(100, "cross_entropy", classes=(100, 100), answers=200, hits=180, value=0.3, floor=0.69),)
    assert told(case(1.0, evaluations=good)) == []


def test_while_the_run_goes_on_it_is_a_warning_and_only_late():
    assert told(case(1.0, ended=False)) == ["warning"]
    early = Case(BARE, steps=case(1.0).steps[:4], taken=40, planned=120)
    assert told(early) == []


def inputs(low, high):
    return (InputSample("", 0, (64, 4), "float32", Moments.of([low, high]), low, high),)


def test_one_answer_for_all_rows_of_a_policy_is_a_collapse_where_the_inputs_differ():
    same = case(0.1, best=-math.inf, spread=1e-6, inputs=inputs(-1.0, 1.0))
    assert [finding.disease for finding in collapse.diagnose(same)] == ["collapse"]


def test_one_answer_to_one_input_or_answers_that_differ_a_little_are_no_collapse():
    assert not list(collapse.diagnose(case(0.1, best=-math.inf, spread=1e-6, inputs=inputs(1.0, 1.0))))
    assert not list(collapse.diagnose(case(0.1, best=-math.inf, spread=1e-2, inputs=inputs(-1.0, 1.0))))
