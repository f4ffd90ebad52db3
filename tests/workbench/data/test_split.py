import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from isograd.errors import DataError
from isograd.workbench.data.rows import SplitPlan
from isograd.workbench.data.split import Facts, split

KINDS = ("random", "stratified", "group", "time")


def facts(rows: int = 100, **changes: object) -> Facts:
    index = np.arange(rows)
    told = {
        "twins": index,
        "labels": index % 2,
        "classes": ("a", "b"),
        "groups": index // 5,
        "times": index[::-1].astype(np.float64),
    }
    return Facts(**{**told, **changes})  # type: ignore[arg-type]


def parts_of(plan: SplitPlan, told: Facts, seed: int = 0) -> tuple[set[int], set[int], set[int]]:
    train, validation, test = split(plan, told, seed=seed)[0]
    return set(train.tolist()), set(validation.tolist()), set(test.tolist())


@given(st.sampled_from(KINDS), st.integers(40, 120), st.integers(0, 5))
def test_every_row_is_in_exactly_one_part_and_the_seed_fixes_which(kind: str, rows: int, seed: int) -> None:
    plan = SplitPlan(kind, 0.2, 0.2, "c")  # type: ignore[arg-type]
    parts = parts_of(plan, facts(rows), seed)
    assert sorted(row for part in parts for row in part) == list(range(rows))
    assert parts == parts_of(plan, facts(rows), seed)


def test_another_seed_draws_another_random_split() -> None:
    assert parts_of(SplitPlan("random"), facts(), 1) != parts_of(SplitPlan("random"), facts(), 2)


def test_the_shares_are_kept() -> None:
    for kind in KINDS:
        parts = parts_of(SplitPlan(kind, 0.1, 0.3, "c"), facts(200))  # type: ignore[arg-type]
        assert [len(part) for part in parts] == [120, 20, 60]


def test_a_stratified_split_keeps_the_share_of_each_class_in_each_part() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    for part, rare in zip(parts_of(SplitPlan("stratified", 0.1, 0.2), facts(labels=labels)), (7, 1, 2), strict=True):
        assert sum(labels[list(part)]) == rare


@given(st.lists(st.integers(0, 30), min_size=60, max_size=120), st.integers(0, 3))
def test_no_group_crosses_a_border(groups: list[int], seed: int) -> None:
    assume(len(set(groups)) >= 3)
    told = facts(len(groups), groups=np.array(groups), labels=None, classes=())
    parts = parts_of(SplitPlan("group", 0.2, 0.2, "c"), told, seed)
    found = [{groups[row] for row in part} for part in parts]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])


def test_a_group_that_holds_most_rows_is_trained_on() -> None:
    groups = np.array([0] * 90 + [1] * 5 + [2] * 5)
    train, _, _ = parts_of(SplitPlan("group", 0.1, 0.2, "c"), facts(groups=groups))
    assert set(range(90)) <= train


@given(st.lists(st.integers(0, 40), min_size=60, max_size=120))
def test_time_runs_from_training_over_validation_to_test_and_equal_times_stay_together(times: list[int]) -> None:
    told = facts(len(times), times=np.array(times, dtype=np.float64), labels=None, classes=())
    assume(len(set(times)) >= 10 and np.bincount(times).max() <= 0.3 * len(times))  # or there may be no room for three parts
    train, validation, test = parts_of(SplitPlan("time", 0.2, 0.2, "c"), told)
    latest = [max(times[row] for row in part) for part in (train, validation)]
    assert latest[0] < min(times[row] for row in validation) and latest[1] < min(times[row] for row in test)


@given(st.sampled_from(["random", "stratified"]), st.lists(st.integers(0, 60), min_size=100, max_size=140), st.integers(0, 3))
def test_equal_rows_stay_on_one_side(kind: str, twins: list[int], seed: int) -> None:
    numbers = np.array(twins)
    assume(np.bincount(numbers).max() <= 8)
    told = facts(len(twins), twins=numbers, labels=numbers % 2)
    try:
        parts = parts_of(SplitPlan(kind, 0.2, 0.2), told, seed)  # type: ignore[arg-type]
    except DataError:  # a random split may leave a part without a class, and refuses: another test holds that
        reject()
    found = [set(numbers[list(part)]) for part in parts]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])


def test_where_few_inputs_exist_at_all_equal_rows_may_part_and_a_remark_says_so() -> None:
    told = facts(twins=np.arange(100) % 4)
    parts, remarks = split(SplitPlan("random", 0.2, 0.2), told, seed=0)
    assert [len(part) for part in parts] == [60, 20, 20]
    assert "20 of 20 test rows have the same inputs" in remarks[0]


def test_given_parts_are_taken_and_validation_is_carved_from_training_alone() -> None:
    given_parts = np.array(["train"] * 80 + ["test"] * 20)
    train, validation, test = parts_of(SplitPlan("given", 0.25), facts(parts=given_parts))
    assert test == set(range(80, 100)) and len(validation) == 20 and train | validation == set(range(80))


def test_a_given_validation_part_is_kept() -> None:
    given_parts = np.array(["train"] * 70 + ["validation"] * 10 + ["test"] * 20)
    assert parts_of(SplitPlan("given"), facts(parts=given_parts))[1] == set(range(70, 80))


def test_given_without_parts_in_the_source_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"(?s)gives no parts.*stratified"):
        split(SplitPlan("given"), facts(), seed=0)


def test_a_class_that_only_the_test_part_has_is_refused() -> None:
    given_parts = np.array(["train"] * 80 + ["test"] * 20)
    labels = np.array([0, 1] * 40 + [2] * 20)
    with pytest.raises(DataError, match=r"(?s)no row of class c in the train part.*c: 20 in the test part"):
        split(SplitPlan("given"), facts(parts=given_parts, labels=labels, classes=("a", "b", "c")), seed=0)


def test_a_class_that_the_given_test_part_lacks_is_a_remark() -> None:
    given_parts = np.array(["train"] * 80 + ["test"] * 20)
    labels = np.array([0, 1] * 40 + [0] * 20)
    assert (
        "the test part has no row of class b" in split(SplitPlan("given"), facts(parts=given_parts, labels=labels), seed=0)[1]
    )


def test_a_random_split_that_leaves_a_class_empty_is_refused_and_names_the_way_out() -> None:
    labels = np.array([0] * 99 + [1])
    with pytest.raises(DataError, match=r"(?s)leaves no row of class b in the .* part.*stratified"):
        split(SplitPlan("random"), facts(labels=labels), seed=0)


def test_a_class_with_one_row_cannot_be_stratified_and_is_named() -> None:
    with pytest.raises(DataError, match="class 'b' has too few rows"):
        split(SplitPlan("stratified"), facts(labels=np.array([0] * 99 + [1])), seed=0)


def test_a_stratified_split_of_a_regression_is_refused() -> None:
    with pytest.raises(DataError, match="needs classes"):
        split(SplitPlan("stratified"), facts(labels=None, classes=()), seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_two_rows_are_too_few(kind: str) -> None:
    with pytest.raises(DataError):
        split(SplitPlan(kind, column="c"), facts(2), seed=0)  # type: ignore[arg-type]


def test_two_groups_are_too_few() -> None:
    with pytest.raises(DataError, match="at least 3 groups"):
        split(SplitPlan("group", column="who"), facts(groups=np.arange(100) // 50), seed=0)


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.2), (0.2, 0.0), (0.5, 0.5), (-0.1, 0.2), (0.1, float("nan"))])
def test_shares_that_leave_a_part_without_rows_are_refused(validation: float, test: float) -> None:
    with pytest.raises(DataError, match="share above 0"):
        split(SplitPlan("random", validation, test), facts(), seed=0)


@pytest.mark.parametrize("kind", ["group", "time"])
def test_a_split_that_needs_a_column_asks_for_it(kind: str) -> None:
    with pytest.raises(DataError, match="needs the column"):
        split(SplitPlan(kind), facts(groups=None, times=None), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "classes", "kind"),
    [(True, True, "given"), (True, False, "given"), (False, True, "stratified"), (False, False, "random")],
)
def test_an_automatic_split_takes_the_parts_that_the_source_brings(parts: bool, classes: bool, kind: str) -> None:
    assert SplitPlan("auto").resolved(parts=parts, classes=classes).kind == kind
    assert SplitPlan("time").resolved(parts=parts, classes=classes).kind == "time"
