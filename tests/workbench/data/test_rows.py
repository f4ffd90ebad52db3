import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isograd.errors import RequestError
from isograd.workbench.data import Rows, batches, batches_per_epoch
from isograd.workbench.data.order import permutation


def rows(count: int) -> Rows:
    return Rows(torch.arange(float(count))[:, None], torch.arange(count), tuple(map(str, range(count))))


def dealt(data: Rows, **how: int) -> list[list[int]]:
    return [targets.tolist() for _, targets in batches(data, **how)]  # type: ignore[arg-type]


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**40), st.integers(0, 300))
def test_a_permutation_has_each_index_once_whatever_the_seed(seed: int, stream: int, count: int) -> None:
    assert sorted(permutation(seed, stream, count).tolist()) == list(range(count))


def test_the_permutation_is_the_same_on_every_machine_and_day() -> None:
    assert permutation(0, 1, 8).tolist() == [5, 6, 3, 2, 0, 1, 4, 7]


def test_seed_and_epoch_each_change_the_order() -> None:
    orders = {tuple(permutation(seed, epoch, 50).tolist()) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_every_place_is_about_equally_likely_over_epochs() -> None:
    places = torch.tensor([permutation(3, epoch, 10).tolist().index(0) for epoch in range(2000)])
    counts = torch.bincount(places, minlength=10)
    assert counts.min() > 150 and counts.max() < 250  # 200 expected, deviation 13


@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 9), st.integers(0, 9))
def test_batches_from_any_start_are_the_tail_of_the_whole_epoch(count: int, size: int, epoch: int, start: int) -> None:
    whole = dealt(rows(count), seed=1, epoch=epoch, batch_size=size)
    assert dealt(rows(count), seed=1, epoch=epoch, batch_size=size, start=start) == whole[start:]
    assert sorted(row for batch in whole for row in batch) == list(range(count))
    assert len(whole) == batches_per_epoch(count, size)


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 9))
def test_a_last_batch_of_one_row_joins_the_one_before_where_two_are_the_least(count: int, size: int, start: int) -> None:
    whole = dealt(rows(count), seed=1, epoch=2, batch_size=size, least=2)
    assert min(map(len, whole)) >= 2 and max(map(len, whole)) <= size + 1
    assert sorted(row for batch in whole for row in batch) == list(range(count))
    assert len(whole) == batches_per_epoch(count, size, least=2)
    assert dealt(rows(count), seed=1, epoch=2, batch_size=size, least=2, start=start) == whole[start:]


def test_inputs_go_with_their_targets() -> None:
    for inputs, targets in batches(rows(20), seed=0, epoch=1, batch_size=6):
        assert inputs[:, 0].tolist() == targets.tolist()


def test_without_shuffling_the_rows_come_as_they_are() -> None:
    dealt_in_order = [t.tolist() for _, t in batches(rows(5), seed=0, epoch=1, batch_size=2, shuffle=False)]
    assert dealt_in_order == [[0, 1], [2, 3], [4]]


def test_dealing_batches_draws_nothing_from_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    dealt(rows(10), seed=0, epoch=0, batch_size=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_batch_of_no_rows_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one row"):
        dealt(rows(3), seed=0, epoch=0, batch_size=0)
