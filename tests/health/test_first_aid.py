"""Which steps are taken back: rules on histories whose answer is known by thought."""

import math
from dataclasses import replace

import pytest

from isograd.health.case import case_of
from isograd.health.diagnosis import first_aid as told
from isograd.health.first_aid import FEWEST, ROW, WINDOW, bound_of, follow, judge
from isograd.records import codec
from isograd.records.aid import Action, AidState, Ranges, Reading
from isograd.records.anatomy import Anatomy
from isograd.records.fact import Fact
from isograd.records.trace import Step, Trace


def steady(steps=60, loss=1.0, update=0.1, rate=0.01):
    ranges = Ranges()
    for _ in range(steps):
        reading = Reading(loss, (update,), (rate,))
        ranges = follow(ranges, reading, judge(ranges, reading))
    return ranges


def reason(ranges, loss=1.0, update=0.1, rate=0.01, **more):
    return judge(ranges, Reading(loss, (update,), (rate,), **more)).reason


def test_twice_the_largest_of_the_window_is_the_border_for_loss_and_update():
    assert reason(steady(), loss=1.99) is None and reason(steady(), loss=2.01) == "loss"
    assert reason(steady(), update=0.199) is None and reason(steady(), update=0.201) == "update"


def test_what_is_older_than_the_window_counts_no_more():
    ranges = follow(Ranges(), Reading(9.0, (0.1,), (0.01,)), judge(Ranges(), Reading(9.0, (0.1,), (0.01,))))
    for _ in range(WINDOW):
        reading = Reading(1.0, (0.1,), (0.01,))
        ranges = follow(ranges, reading, judge(ranges, reading))
    assert len(ranges.losses) == WINDOW and max(ranges.losses) == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_accepted_not_even_at_the_first_step(value):
    for ranges in (Ranges(), steady(), replace(steady(), row=ROW)):
        assert not judge(ranges, Reading(value, (0.1,), (0.01,))).accept
        assert not judge(ranges, Reading(1.0, (abs(value),), (0.01,))).accept


def test_a_short_history_judges_nothing_that_is_finite():
    assert reason(steady(FEWEST - 1), loss=1e6) is None


def test_after_eight_in_a_row_it_gives_in_and_knows_the_new_level():
    ranges, kept = steady(), []
    for _ in range(ROW + 3):
        reading = Reading(5.0, (0.1,), (0.01,))
        verdict = judge(ranges, reading)
        kept.append(verdict.accept)
        ranges = follow(ranges, reading, verdict)
    assert kept == [False] * ROW + [True] * 3 and ranges.row == 0


def test_losses_below_zero_are_judged_by_their_spread():
    losses = [-3.0, -2.5, -2.0] * 10
    assert bound_of(losses) == pytest.approx(-3.0 + 2 * 1.0)
    assert bound_of([-1.0] * 20) == math.inf


def test_losses_that_spread_over_decades_let_rare_hard_examples_through():
    assert bound_of([0.001] * 49 + [0.1]) == pytest.approx(0.1 * 10)
    assert bound_of([0.0] * 30 + [0.3] * 10) == math.inf


def test_a_rate_that_jumps_unannounced_is_seen_in_the_update():
    assert reason(steady(), update=10.0, rate=1.0) == "update"


def test_a_rate_that_a_scheduler_set_takes_its_update_along():
    assert reason(steady(), update=10.0, rate=1.0, planned=True) is None
    assert reason(steady(), update=25.0, rate=1.0, planned=True) == "update"


def test_a_scheduler_that_builds_on_a_rate_which_was_not_believed_is_not_believed_either():
    spike = Reading(1.0, (10.0,), (1.0,))
    ranges = follow(steady(), spike, judge(steady(), spike))
    assert ranges.odd and reason(ranges, update=9.9, rate=0.99, planned=True) == "update"
    assert reason(ranges) is None


def test_warm_up_by_hand_and_cosine_are_gradual():
    ranges = Ranges()
    for step in range(1, 400):
        rate = 0.01 * min(1.0, step / 100) * (0.5 + 0.5 * math.cos(math.pi * step / 400))
        reading = Reading(1.0, (10 * rate,), (rate,))
        verdict = judge(ranges, reading)
        assert verdict.reason is None
        ranges = follow(ranges, reading, verdict)


def test_a_warm_up_from_zero_leaves_no_mark_and_a_rate_that_was_known_may_come_back():
    zero = follow(Ranges(), Reading(1.0, (0.0,), (0.0,)), judge(Ranges(), Reading(1.0, (0.0,), (0.0,))))
    assert zero.moves == () and zero.losses == (1.0,)
    low = Reading(1.0, (0.001,), (0.0001,))
    ranges = follow(steady(), low, judge(steady(), low))
    assert reason(ranges, update=0.1, rate=0.01) is None


def test_the_history_is_scaled_when_the_rate_falls():
    ranges = steady()
    low = Reading(1.0, (0.01,), (0.001,))
    ranges = follow(ranges, low, judge(ranges, low))
    assert max(ranges.moves) == pytest.approx(0.01)
    assert reason(ranges, update=0.05, rate=0.001) == "update"


def test_one_group_of_two_changes_its_rate():
    ranges = Ranges()
    for _ in range(20):
        reading = Reading(1.0, (0.3, 0.4), (0.1, 0.1))
        ranges = follow(ranges, reading, judge(ranges, reading))
    assert judge(ranges, Reading(1.0, (0.3, 4.0), (0.1, 1.0), planned=True)).reason is None
    assert judge(ranges, Reading(1.0, (3.0, 0.4), (0.1, 1.0))).reason == "update"


def test_an_optimizer_that_searches_for_its_step_is_judged_by_its_loss_alone():
    assert reason(steady(), update=50.0, judged=False) is None and reason(steady(), loss=9.0, judged=False) == "loss"


def test_running_means_that_jump_are_seen_where_loss_and_update_are_not():
    ranges = Ranges()
    for _ in range(20):
        reading = Reading(1.0, (0.1,), (0.01,), 0.5)
        ranges = follow(ranges, reading, judge(ranges, reading))
    assert judge(ranges, Reading(1.0, (0.1,), (0.01,), 1.01)).reason == "statistics"
    assert judge(ranges, Reading(1.0, (0.1,), (0.01,), 0.99)).reason is None
    assert not judge(ranges, Reading(1.0, (0.1,), (0.01,), math.inf)).accept


def test_a_burst_that_adam_divides_by_itself_is_seen_in_the_gradient():
    ranges = Ranges()
    for _ in range(20):
        reading = Reading(1.0, (0.1,), (0.01,), gradient=2.0)
        ranges = follow(ranges, reading, judge(ranges, reading))
    assert judge(ranges, Reading(1.0, (0.15,), (0.01,), gradient=61.0)).reason == "gradient"
    assert judge(ranges, Reading(1.0, (0.15,), (0.01,), gradient=59.0)).reason is None
    assert judge(ranges, Reading(1.0, (0.1,), (0.01,), gradient=math.nan)).what == "gradient"


def test_the_state_goes_through_json_to_the_bit():
    state = AidState(7, (steady(), Ranges()), (Action(3, "rejected", "nonfinite", math.nan, what="loss"),))
    again = codec.loads(AidState, codec.dumps(state))
    assert again.optimizers == state.optimizers and again.actions[0].text == "step 3 was taken back: the loss is not finite"


def test_the_report_has_a_remark_and_no_alarm():
    fact = Fact("first_aid", "optimizer", settings=(("action", "rejected"), ("reason", "loss"), ("value", 9.0), ("bound", 2.0)))
    end = Fact("first_aid", "optimizer", settings=(("action", "ended"), ("reason", "limit"), ("bound", 2.0)))
    steps = (Step(12, facts=(fact,)), Step(13, facts=(fact, end)))
    found = list(told.diagnose(case_of(Trace(Anatomy("torch", (), ()), steps=steps))))
    assert [finding.severity for finding in found] == ["note", "note"]
    assert found[0].summary.startswith("First aid: 2 steps (12 and 13) were taken back, because the loss left its range (2×)")
    assert list(told.diagnose(case_of(Trace(Anatomy("torch", (), ()), steps=(Step(1),))))) == []
