"""Lasting trouble: what is tried, kept, undone, and when only a new start is left."""

from isograd.health.first_aid import WINDOW
from isograd.health.treating import attend, heeded
from isograd.records.aid import Course, Heed, Ranges


def told(levels, able=("rate", "moments")):
    """What is done when the windows have these levels; only treatments in ``able`` find something to treat."""
    course, done = Course(), []
    for window, level in enumerate(levels, 1):
        ranges = Ranges(taken=window * WINDOW, losses=(level,) * WINDOW)
        course, actions = attend(course, ranges, lambda treatment, bound: treatment in able)
        done += [(window, action.kind, action.what) for action in actions]
    return done, course


def test_a_run_that_falls_or_rests_is_left_alone():
    assert told([2.0, 1.0, 0.5, 0.5, 0.6, 0.5])[0] == []


def test_one_bad_window_is_not_lasting():
    assert told([2.0, 0.5, 1.9, 0.5, 1.9, 0.5])[0] == []


def test_nothing_is_lost_where_nothing_was_gained():
    assert told([2.0, 1.95, 5.0, 5.0, 5.0])[0] == []


def test_a_treatment_that_brings_the_loss_back_is_kept_and_one_that_does_not_is_undone():
    assert told([2.0, 0.5, 1.9, 1.9, 1.0, 0.6])[0] == [(4, "tried", "rate"), (6, "kept", "rate")]
    done, course = told([2.0, 0.5, 1.9, 1.9, 1.9, 1.9, 1.9, 0.9, 0.6])
    assert done == [(4, "tried", "rate"), (6, "undone", "rate"), (7, "tried", "moments"), (9, "kept", "moments")]
    assert course.lowered == 0 and course.tried == ()


def test_what_is_kept_stays_in_force():
    assert told([2.0, 0.5, 1.9, 1.9, 1.0, 0.6, 0.5])[1].lowered == 1


def test_when_nothing_helps_it_says_once_that_only_a_new_start_will():
    done, course = told([2.0, 0.5] + [1.9] * 20)
    assert [kind for _, kind, _ in done] == ["tried", "undone", "tried", "undone", "restart"] and course.over


def test_the_gradient_is_clipped_at_its_length_when_the_loss_was_best_and_the_bound_goes_with_the_treatment():
    bounds = []

    def treat(treatment, bound):
        bounds.append((treatment, bound))
        return treatment == "clip"

    course = Course()
    for window, (level, norm) in enumerate([(2.0, 9.0), (0.5, 0.3), (1.9, 4.0), (1.9, 5.0), (1.9, 5.0), (1.9, 5.0)], 1):
        course, _ = attend(course, Ranges(taken=window * WINDOW, losses=(level,) * WINDOW, norms=(norm,) * 5), treat)
        if window == 4:
            assert course.clip == 0.3 and course.trial == "clip"
    assert bounds == [("rate", None), ("revive", None), ("moments", None), ("clip", 0.3)] and course.clip is None


def test_where_the_length_of_the_gradient_is_not_known_nothing_is_clipped():
    done, _ = told([2.0, 0.5] + [1.9] * 4, able=("clip",))
    assert done == [(4, "restart", "")]


def test_units_are_heard_at_the_end_of_a_window_in_trouble_alone():
    asked = [step for step in range(100) if heeded(Course(bad=1), Ranges(taken=step)).units]
    assert asked == [45, 46, 47, 48, 49, 95, 96, 97, 98, 99]
    assert not any(heeded(Course(), Ranges(taken=step)).units for step in range(100))
    assert sum(heeded(Course(), Ranges(taken=step)).norm for step in range(100)) == 10
    assert heeded(Course(over=True), Ranges(taken=9)) == Heed()


def test_where_there_is_nothing_to_treat_the_next_is_tried_at_once():
    assert told([2.0, 0.5, 1.9, 1.9], able=("moments",))[0] == [(4, "tried", "moments")]
    assert told([2.0, 0.5, 1.9, 1.9], able=())[0] == [(4, "restart", "")]


def test_between_the_ends_of_windows_nothing_is_looked_at():
    course = Course(start=2.0, best=0.5, bad=1)
    ranges = Ranges(taken=4 * WINDOW + 1, losses=(1.9,) * WINDOW)
    assert attend(course, ranges, lambda treatment, bound: True) == (course, ())
