"""When the next look comes: paid for, spread over the run, soon after something alarming."""

import itertools
import math

import pytest
import torch
from torch import nn

import isograd
from isograd.frameworks.torch import budget
from isograd.frameworks.torch.budget import ALL, EVALUATED, FLOOR, HEARD, HEARD_FLOOR, HIDDEN, NORMS, NOTHING, Alarm, Budget


class Clock:
    """Thread time that passes as told."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(budget.time, "thread_time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def run(clock, steps, *, pace, look, planned=None, share=0.03, alarms=(), norm=0.0, hear=0.0, heard=None):
    """Steps of ``pace`` seconds with looks of ``look`` seconds: the budget, the sampled steps."""
    meter, sampled = Budget(share, planned, clock=0.0), []
    heard = [] if heard is None else heard
    for index in range(1, steps + 1):
        if index in alarms:
            meter.alarmed = True
            meter.asked = 0
        found = meter.next(index)
        sampled += [index] * found.sampled
        cost = look if found.sampled else hear if found.heard else norm if found.normed else 0.0
        heard.extend([index] * found.heard)
        clock.now += pace + cost
        meter.charge(cost, found)
    return meter, sampled


def test_a_debt_is_paid_before_the_next_look(clock):
    meter = Budget(0.03, clock=0.0)
    meter.charge(1.0, ALL)
    clock.now = 80.0
    assert meter.next(2) is ALL and not meter.next(3).sampled
    clock.now = 2 * 1.0 * HIDDEN / (0.03 * (1 - NORMS - HEARD - EVALUATED)) + 0.1
    assert meter.next(3) is ALL
    meter.charge(10.0, NOTHING)  # what every step costs is paid first
    assert not meter.next(4).sampled


def test_a_short_run_is_looked_at_geometrically_and_costs_no_more_than_the_floor(clock):
    meter, sampled = run(clock, 400, pace=0.001, look=0.001)
    assert sampled[:7] == [1, 2, 3, 4, 5, 7, 9] and sampled[-1] > 250
    gaps = [b / a for a, b in itertools.pairwise(sampled[4:])]
    assert all(1.2 <= gap <= 1.6 for gap in gaps)
    assert meter.own * HIDDEN <= FLOOR


def test_dear_looks_are_spread_further_apart_so_that_some_are_left(clock):
    meter, sampled = run(clock, 400, pace=0.001, look=0.008)
    assert 4 <= len(sampled) <= 8 and sampled[-1] > 50
    assert meter.own * HIDDEN <= FLOOR


def test_a_long_run_never_pays_more_than_its_share(clock):
    meter, sampled = run(clock, 20_000, pace=0.002, look=0.01)
    assert meter.own * HIDDEN <= 0.03 * meter.elapsed
    assert len(sampled) > 40 and sampled[-1] > 19_000


@pytest.mark.parametrize(("steps", "look"), [(100, 0.001), (1_000, 0.004), (20_000, 0.01)])
def test_an_announced_run_is_looked_at_from_its_beginning_to_its_end(clock, steps, look):
    meter, sampled = run(clock, steps, pace=0.002, look=look, planned=steps)
    assert sampled[0] == 1 and sampled[-1] == steps
    assert sum(index > steps / 2 for index in sampled) >= 2
    assert max(b - a for a, b in itertools.pairwise(sampled)) <= 0.5 * steps
    assert meter.own * HIDDEN <= max(FLOOR, 0.03 * meter.elapsed) + look * HIDDEN  # the last look is worth its price


def test_without_a_budget_every_step_is_looked_at(clock):
    assert run(clock, 5, pace=0.001, look=1.0, share=None)[1] == [1, 2, 3, 4, 5]


def test_a_run_that_goes_on_after_its_announced_end_is_still_looked_at(clock):
    assert run(clock, 20_000, pace=0.002, look=0.005, planned=100)[1][-1] > 10_000


def test_an_alarm_brings_a_look_at_a_small_price(clock):
    quiet = run(clock, 1_000, pace=0.002, look=0.005)[0]
    clock.now = 0.0
    meter, sampled = run(clock, 1_000, pace=0.002, look=0.005, alarms={500})
    assert 500 in sampled
    clock.now = 0.0
    meter, _ = run(clock, 1_000, pace=0.002, look=0.005, alarms=range(100, 1_000))
    assert meter.own <= quiet.own + budget.ALARMED * FLOOR / HIDDEN + 0.005


def test_diagnoses_come_when_the_looks_have_grown_by_a_quarter_and_are_paid_for(clock):
    meter = Budget(0.03, clock=0.0)
    assert not meter.may_diagnose(1, 0) and meter.may_diagnose(2, 0)
    meter.diagnoses.add(0.001)
    assert [looks for looks in range(3, 12) if meter.may_diagnose(looks, 8)] == [10, 11]
    meter.diagnoses.add(0.05)
    assert not meter.may_diagnose(100, 8)
    clock.now = 100.0
    assert meter.may_diagnose(100, 8)


def test_an_alarm_is_the_first_number_far_above_the_others_or_not_finite():
    alarm = Alarm(4.0)
    assert not any(alarm(value) for value in [1.0, 1.2, 0.9, 1.1, 1.0, 3.0, 0.8])
    assert [alarm(value) for value in [5.0, 6.0, 1.0, math.nan, math.nan, 1.0, math.inf]] == [
        True, False, False, True, False, False, True,
    ]  # fmt: skip


def test_a_loss_that_crosses_zero_is_no_alarm():
    alarm = Alarm(4.0)
    assert not any(alarm(-10.0 + index) for index in range(40))
    assert alarm(1_000.0)


def test_the_loss_is_listened_to_more_often_than_layers_are_looked_at_and_within_the_floor(clock):
    heard = []
    meter, sampled = run(clock, 400, pace=0.001, look=0.006, hear=0.0003, heard=heard)
    assert len(heard) > 4 * len(sampled) and meter.own * HIDDEN <= FLOOR
    assert sum(step > 267 for step in heard) >= 4  # the last third speaks for how it ended


def test_in_an_announced_run_the_listening_lasts_to_the_end(clock):
    heard = []
    run(clock, 1000, pace=0.001, look=0.006, hear=0.0003, planned=1000, heard=heard)
    assert heard[-1] > 950 and sum(step > 667 for step in heard) >= 6


def test_looks_that_overdrew_do_not_silence_the_listening(clock):
    heard = []
    run(clock, 400, pace=0.001, look=0.1, hear=0.0003, planned=400, heard=heard)
    assert sum(step > 267 for step in heard) >= 4


@pytest.mark.parametrize("steps", [160, 600])
def test_the_first_looks_do_not_silence_the_listening_of_a_run_whose_end_nobody_knows(clock, steps):
    heard = []
    meter, sampled = run(clock, steps, pace=0.014, look=0.1, hear=0.001, heard=heard)
    assert len([step for step in sampled if step > 2]) < 3
    assert len([step for step in heard if step > steps // 2]) >= 4
    assert meter.heard.spent * HIDDEN <= max(HEARD_FLOOR, HEARD * 0.03 * clock.now)


def test_steps_so_tiny_that_hearing_of_them_is_dear_are_not_listened_to_on_top(clock):
    meter, listened = Budget(0.03, clock=0.0), 0
    for index in range(1, 20_001):
        found = meter.next(index)
        listened += found.heard and not found.sampled and index > 10_000
        cost = 0.1 if found.sampled else 0.001 if found.heard else 5e-6
        clock.now += 1e-4 + cost
        meter.charge(cost, found)
    assert listened == 0


def test_questions_that_are_far_apart_do_not_pass_over_the_end_of_an_announced_run(clock):
    meter, index = Budget(0.03, planned=130, clock=0.0), 1
    while index < 130:
        meter.next(index)
        clock.now += 1e-5
        index = max(index + 1, meter.asked)
    assert index == 130 and meter.next(index) is ALL


def test_a_diagnosis_of_ten_times_as_many_steps_is_expected_to_take_ten_times_as_long(clock):
    def told(steps):
        meter = Budget(0.03, planned=steps, clock=0.0)
        meter.next(1)
        assert meter.may_diagnose(2, 0)
        meter.diagnoses.add(0.006)
        meter.charge(0.1, ALL)
        meter.next(steps)
        return meter.may_diagnose(10, 2)

    assert told(2) and not told(100)


def test_a_judge_that_steps_four_times_for_one_of_the_generator_makes_as_many_steps_at_any_budget():
    counts = []
    for share in (None, 0.03, 1e-6):
        judge, maker = nn.Linear(3, 1), nn.Linear(2, 3)
        first, second = (torch.optim.SGD(one.parameters(), lr=0.01) for one in (judge, maker))
        with isograd.watch([judge, maker], [first, second], budget=share) as watch:
            for _ in range(120):
                for _ in range(4):
                    first.zero_grad()
                    judge(maker(torch.ones(4, 2)).detach()).mean().backward()
                    first.step()
                second.zero_grad()
                judge(maker(torch.ones(4, 2))).mean().backward()
                second.step()
        counts.append(watch.meter.steps)
    assert counts == [481] * 3  # each step of the generator goes with the one of the judge after it
