"""Which rows an epoch sees: counts that are known by thought, orders by (seed, epoch), rows made between rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isograd.errors import RequestError
from isograd.records.schema import ColumnEncoding, DataSummary, Encoding, Schema
from isograd.workbench.data import Prepared, Rows, Sampling, batches, batches_per_epoch, sampling_of

NUMBERS = Encoding(
    "table",
    "y",
    columns=(ColumnEncoding("a", "number"), ColumnEncoding("b", "number", indicator=True), ColumnEncoding("c", "boolean")),
    classes=("often", "rare", "rarest"),
)


def prepared(counts: tuple[int, ...], encoding: Encoding = NUMBERS) -> Prepared:
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=draw)]
    inputs = torch.randn(len(labels), 4, generator=draw) + 10 * labels[:, None]
    inputs[:, 2] = 0.0
    inputs[::7, 1], inputs[::7, 2] = 0.0, 1.0  # gaps, with their indicator
    inputs[:, 3] = (torch.arange(len(labels)) % 2).float()
    rows = Rows(inputs, labels, tuple(map(str, range(len(labels)))))
    return Prepared(DataSummary("", Schema("table", len(labels), ""), ()), encoding, rows, rows, rows)


def drawn(kind: str, counts: tuple[int, ...], epoch: int = 1) -> tuple[Sampling, np.ndarray, np.ndarray]:
    data = prepared(counts)
    sampling = sampling_of(kind, data, seed=3)  # type: ignore[arg-type]
    keys = sampling.keys(epoch)
    return sampling, keys, data.train.targets.numpy()[keys % sampling.rows]


COUNTS = st.lists(st.integers(1, 40), min_size=3, max_size=3).map(tuple)


@given(COUNTS, st.integers(0, 9))
def test_over_sampling_shows_every_row_and_each_class_as_often_as_the_largest(counts: tuple[int, ...], epoch: int) -> None:
    sampling, keys, labels = drawn("over", counts, epoch)
    assert np.bincount(labels, minlength=3).tolist() == [max(counts)] * 3
    assert len(np.unique(keys)) == len(keys) == sampling.length
    times = np.bincount(keys % sampling.rows, minlength=sampling.rows)
    for number, count in enumerate(counts):
        own = times[prepared(counts).train.targets.numpy() == number]
        assert own.min() >= max(counts) // count and own.max() - own.min() <= 1  # no row is favoured


@given(COUNTS, st.integers(0, 9))
def test_under_sampling_shows_as_many_of_each_class_as_the_rarest_has_and_none_twice(
    counts: tuple[int, ...], epoch: int
) -> None:
    sampling, keys, labels = drawn("under", counts, epoch)
    assert np.bincount(labels, minlength=3).tolist() == [min(counts)] * 3
    assert len(np.unique(keys)) == len(keys) == sampling.length and keys.max() < sampling.rows


@given(COUNTS, st.integers(0, 9), st.integers(1, 20))
def test_balanced_batches_hold_the_classes_alike(counts: tuple[int, ...], epoch: int, size: int) -> None:
    sampling, keys, labels = drawn("balanced", counts, epoch)
    assert sum(counts) <= sampling.length == len(keys) < sum(counts) + 3
    for first in range(0, len(labels), 3 * size):
        counted = np.bincount(labels[first : first + 3 * size], minlength=3)
        assert counted.max() == counted.min()


def test_epochs_differ_in_order_and_in_what_under_sampling_leaves_out() -> None:
    for kind in ("over", "under", "balanced", "smote"):
        sampling, keys, _ = drawn(kind, (30, 9, 5))
        assert (keys == sampling.keys(1)).all()
        assert (keys[: len(keys)] != sampling.keys(2)).any()
    left = [set(drawn("under", (30, 9, 5), epoch)[1].tolist()) for epoch in range(1, 30)]
    assert len(set.union(*left)) == 44  # over the epochs every row has its turn


def test_made_rows_lie_between_a_row_and_one_of_its_five_nearest_neighbours_of_its_class() -> None:
    from imblearn.over_sampling import SMOTE  # the reference: who the neighbours are

    data = prepared((60, 20, 8))
    sampling = sampling_of("smote", data, seed=3)
    inputs, labels = data.train.inputs, data.train.targets.numpy()
    keys = sampling.keys(4)
    index = torch.from_numpy(keys % sampling.rows)
    made = sampling.made(inputs[index], inputs, 4, keys)
    copies = keys >= sampling.rows
    assert torch.equal(made[~torch.from_numpy(copies)], inputs[index][~torch.from_numpy(copies)])
    assert (made[:, 2:] == inputs[index][:, 2:]).all()  # indicators and truths are those of the row
    smote = SMOTE(k_neighbors=5)
    smote._validate_estimator()
    changed = 0
    for number in (1, 2):
        rows = np.flatnonzero(labels == number)
        near = smote.nn_k_.fit(inputs[rows].numpy()).kneighbors(return_distance=False)[:, :5]
        expected = {row: set(rows[others].tolist()) for row, others in zip(rows.tolist(), near, strict=True)}
        for place in np.flatnonzero(copies & (labels[keys % sampling.rows] == number)):
            row = int(keys[place] % sampling.rows)
            assert set(sampling.nearest[row].tolist()) == expected[row]  # type: ignore[index]
            step = made[place, 0] - inputs[row, 0]
            spans = [float(inputs[other, 0] - inputs[row, 0]) for other in expected[row]]
            assert min(0.0, *spans) - 1e-5 <= float(step) <= max(0.0, *spans) + 1e-5
            changed += float(step) != 0
            if inputs[row, 2] > 0:
                assert made[place, 1] == inputs[row, 1]  # a gap is not filled by a neighbour
    assert changed > 80


def test_a_row_that_is_alone_in_its_class_is_repeated() -> None:
    data = prepared((9, 4, 1))
    sampling = sampling_of("smote", data, seed=0)
    keys = sampling.keys(1)
    index = torch.from_numpy(keys % sampling.rows)
    alone = data.train.targets[index] == 2
    assert torch.equal(
        sampling.made(data.train.inputs[index], data.train.inputs, 1, keys)[alone], data.train.inputs[index][alone]
    )


@pytest.mark.parametrize("kind", ["over", "under", "balanced", "smote"])
@given(size=st.integers(1, 30), start=st.integers(0, 5), epoch=st.integers(0, 4))
def test_batches_from_any_start_are_the_tail_of_the_whole_epoch(kind: str, size: int, start: int, epoch: int) -> None:
    data = prepared((20, 6, 3))
    sampling = sampling_of(kind, data, seed=5)  # type: ignore[arg-type]

    def dealt(**how: int) -> list[bytes]:
        made = batches(data.train, seed=5, epoch=epoch, sampling=sampling, **how)  # type: ignore[arg-type]
        return [inputs.numpy().tobytes() + targets.numpy().tobytes() for inputs, targets in made]

    whole = dealt(batch_size=size)
    assert dealt(batch_size=size, start=start) == whole[start:]
    assert len(whole) == batches_per_epoch(sampling.length, size)


@pytest.mark.parametrize("kind", ["over", "under", "balanced"])
def test_texts_are_sampled_alike_and_batches_of_one_length_keep_the_rows(kind: str) -> None:
    draw, labels = torch.Generator().manual_seed(0), torch.arange(40) % 8 // 7
    tokens = torch.randint(1, 9, (40, 6), generator=draw) * (torch.arange(6) < 1 + torch.arange(40)[:, None] % 6)
    rows = Rows(tokens, labels, tuple(map(str, range(40))))
    words = Encoding("table", "y", classes=("often", "rare"))
    sampling = sampling_of(kind, Prepared(DataSummary("", Schema("table", 40, ""), ()), words, rows, rows, rows), seed=2)  # type: ignore[arg-type]
    dealt = [(inputs, targets) for inputs, targets in batches(rows, seed=2, epoch=1, batch_size=4, sampling=sampling)]
    keys = sampling.keys(1) % 40
    found = sorted(
        (*inputs[i][inputs[i] > 0].tolist(), int(targets[i])) for inputs, targets in dealt for i in range(len(targets))
    )
    assert found == sorted((*tokens[key][tokens[key] > 0].tolist(), int(labels[key])) for key in keys.tolist())
    if kind == "balanced":
        assert all(int(targets.sum()) == 2 for _, targets in dealt)


def test_what_has_no_classes_or_no_numbers_is_refused() -> None:
    with pytest.raises(RequestError, match="this is a regression"):
        sampling_of("over", prepared((3, 3, 3), Encoding("table", "y", columns=NUMBERS.columns)), 0)
    words = Encoding(
        "table", "y", columns=(ColumnEncoding("w", "category", values=("a", "b", "c", "d")),), classes=NUMBERS.classes
    )
    with pytest.raises(RequestError, match="no column of numbers"):
        sampling_of("smote", prepared((3, 3, 3), words), 0)
