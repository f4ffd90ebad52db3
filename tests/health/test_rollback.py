"""Going back after first aid had to give in: when the state is kept, when it comes back, and how the rates are held then."""

import math

import pytest

from isograd.health.first_aid import ROW, WINDOW
from isograd.health.rollback import MOST, shelter
from isograd.records.aid import Course, Hold, Ranges, Reading, Refuge, Verdict

USUAL = Ranges(taken=100, losses=(1.0,) * WINDOW, rates=(0.1,), moves=(0.1,) * WINDOW)
LOSS, UPDATE = (Verdict(reason, accept=False) for reason in ("loss", "update"))


class Door:
    """Remembers what it was asked for."""

    def __init__(self):
        self.done = []

    def __call__(self, treatment, bound):
        self.done.append(treatment)
        return True


def row(course, door, verdict=LOSS, taken=100, rate=0.1):
    """A row of steps that were taken back, the last of them told."""
    ranges = Ranges(taken=taken + ROW, losses=USUAL.losses, rates=(0.1,), row=ROW)
    return shelter(course, ranges, Reading(9.0, (1.0,), (rate,), asked=(rate,)), verdict, door)


def steps(course, door, losses, rate=0.1, taken=108):
    """Accepted steps of these losses."""
    actions = ()
    for loss in losses:
        taken += 1
        ranges = Ranges(taken=taken, losses=(loss,) * 5, rates=(rate,))
        course, ranges, actions = shelter(course, ranges, Reading(loss, (1.0,), (rate,), asked=(rate,)), Verdict(), door)
        if actions or course.refuge is None or course.refuge.left:
            break
    return course, ranges, actions


def test_the_state_is_kept_before_a_step_is_given_in_to_and_no_earlier():
    door = Door()
    ranges = Ranges(taken=107, losses=USUAL.losses, row=ROW - 1)
    assert shelter(Course(), ranges, Reading(9.0, (), ()), LOSS, door) == (Course(), ranges, ()) and not door.done
    course, _, actions = row(Course(), door)
    assert door.done == ["back"] and not actions and course.refuge is not None and course.refuge.ranges.row == 0


def test_a_treatment_under_way_keeps_its_own_state():
    door = Door()
    assert row(Course(trial="rate"), door)[0].refuge is None and not door.done


def test_where_the_losses_come_back_the_state_is_let_go_and_nothing_is_done():
    door = Door()
    course, ranges, actions = steps(row(Course(), door)[0], door, [5.0] * 40 + [1.5] * 10)
    assert course.refuge is None and course.backs == 0 and not actions
    assert ranges.taken == 108 + WINDOW


def test_where_they_stay_out_of_the_range_of_before_the_run_goes_back():
    door = Door()
    course, ranges, actions = steps(row(Course(), door)[0], door, [5.0] * 60)
    assert [(a.step, a.kind, a.reason, a.value, a.bound, a.what) for a in actions] == [(158, "back", "ruin", 5.0, 2.0, "108")]
    assert course.refuge == Refuge(Ranges(taken=158, losses=(5.0,) * 5, rates=(0.1,)), left=True)
    assert course.backs == 1 and course.hold is None
    assert ranges.losses == USUAL.losses and ranges.taken == 158 and ranges.row == 0
    assert "158" in actions[0].text and "step 108" in actions[0].text


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_waited_for_no_longer_than_a_row(bad):
    door = Door()
    _, ranges, actions = steps(row(Course(), door)[0], door, [bad] * 60)
    assert actions[0].kind == "back" and ranges.taken == 108 + ROW and "inf" in actions[0].text


def test_a_second_row_ends_the_waiting():
    door = Door()
    course = steps(row(Course(), door)[0], door, [9.0] * 3)[0]
    course, _, actions = row(course, door, taken=111)
    assert actions[0].kind == "back" and course.backs == 1


def test_a_rate_that_was_raised_is_held_at_what_it_was_until_it_comes_down():
    door = Door()
    course, ranges, actions = steps(row(Course(), door, UPDATE, rate=3.0)[0], door, [math.inf] * 9, rate=3.0)
    assert [action.kind for action in actions] == ["back", "held"] and course.hold is not None
    assert course.hold.factors == pytest.approx((0.1 / 3.0,)) and course.lowered == 0
    for asked, held in ((3.0, True), (2.0, True), (1.5, True), (0.13, False)):  # at once by half of the way in the logarithm
        course = shelter(course, ranges, Reading(1.0, (0.1,), (0.1,), asked=(asked,)), Verdict(), door)[0]
        assert (course.hold is not None) == held


def test_a_held_rate_that_comes_down_slowly_is_held_until_it_is_what_it_was():
    hold, asked, ranges = Hold((0.1,), (0.125,), (1.0,)), 1.0, Ranges(taken=200)
    course, actions = Course(hold=hold), ()
    while course.hold is not None:
        assert not actions
        asked *= 0.9
        course, _, actions = shelter(course, ranges, Reading(1.0, (0.1,), (0.1,), asked=(asked,)), Verdict(), Door())
    assert 0.1 < asked <= 0.125 and [(one.step, one.kind) for one in actions] == [(201, "freed")]


def test_each_group_has_a_factor_of_its_own():
    before = Ranges(taken=108, losses=USUAL.losses, rates=(0.1, 0.2))
    now = Reading(math.inf, (1.0, 1.0), (5.0, 0.2), asked=(5.0, 0.2))
    course = Course(refuge=Refuge(before, (math.inf,) * (ROW - 1)))
    course, _, _ = shelter(course, Ranges(taken=116), now, Verdict(), Door())
    assert course.hold is not None and course.hold.factors == pytest.approx((0.02, 1.0))


def test_the_second_time_the_rate_is_a_tenth_and_after_the_third_it_gives_in():
    door, course, taken = Door(), Course(), 100
    for time in range(1, MOST + 1):
        course = row(course, door, UPDATE, taken=taken)[0]
        course, ranges, actions = steps(course, door, [math.inf] * 9, taken=taken + ROW)
        taken = ranges.taken
        assert actions[0].kind == "back" and course.backs == time and course.lowered == time - 1
    assert row(course, door, UPDATE, taken=taken)[0].refuge is None


def test_where_the_losses_are_as_bad_at_once_after_going_back_it_goes_forth_again():
    door = Door()
    course, ranges, _ = steps(row(Course(start=3.0, best=1.0, bad=1), door)[0], door, [5.0] * 60)
    course, ranges, actions = row(course, door, LOSS, taken=ranges.taken)
    assert [(a.step, a.kind, a.what) for a in actions] == [(166, "forth", "158")]
    assert course.refuge is None and course.backs == 0 and course.lowered == 0
    assert (course.start, course.best, course.bad) == (None, None, 0)  # what the loss once was is no measure any more
    assert ranges.taken == 166 and ranges.losses == (5.0,) * 5 and ranges.row == 0


def test_where_a_step_is_ordinary_again_after_going_back_the_later_state_is_let_go():
    door = Door()
    course, ranges, _ = steps(row(Course(), door)[0], door, [5.0] * 60)
    course, ranges, actions = steps(course, door, [1.0], taken=ranges.taken)
    assert course.refuge is None and course.backs == 1 and not actions
