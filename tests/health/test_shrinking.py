"""Delta debugging keeps what holds, and nothing that can go."""

from hypothesis import given
from hypothesis import strategies as st

from isograd.health.shrinking import shrunk


@given(st.integers(1, 14), st.data())
def test_what_is_left_holds_and_no_part_of_it_can_go(count, data):
    needed = data.draw(st.lists(st.sets(st.integers(0, count - 1), min_size=1), min_size=1, max_size=3))

    def holds(kept):
        return any(one <= set(kept) for one in needed)

    left = shrunk(range(count), holds)
    assert holds(left) and left == tuple(sorted(left))
    assert not any(holds(left[:at] + left[at + 1 :]) for at in range(len(left)))


def test_one_part_of_many_is_found_in_a_few_questions():
    asked = []
    assert shrunk(range(16), lambda kept: asked.append(kept) is None and 11 in kept) == (11,)
    assert len(asked) <= 9


def test_a_budget_that_ends_leaves_what_held_last():
    answers = iter([True, False, False, False])
    assert shrunk("abcd", lambda kept: next(answers, False)) == ("a", "b")
