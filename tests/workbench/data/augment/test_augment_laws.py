"""What training sees of a row is a function of (seed, epoch, row): not of its batch, or of where one began."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isograd.records.schema import ColumnEncoding, DataSummary, Encoding, Schema, SoundEncoding, TextEncoding
from isograd.workbench.data import AugmentPlan, Prepared, Rows, batches
from isograd.workbench.data.augment.augmenting import Augment, augment_of
from isograd.workbench.data.order import uniforms

ROWS = 23
DRAW = torch.Generator().manual_seed(5)
CLASSES = ("cat", "dog", "owl")
PHOTOS = Encoding("images", "label", image=(3, 9, 7), channel_mean=(0.4, 0.5, 0.6), channel_std=(0.2,) * 3, classes=CLASSES)
SOUNDS = Encoding("sound", "label", sound=SoundEncoding(8000, 4000, 256, 80, 8, (-9.0,) * 8, (3.0,) * 8), classes=CLASSES)
SPANNED = Encoding(
    "sound", "label", sound=SoundEncoding(8000, 4000, 256, 80, 8, (-9.0,) * 8, (3.0,) * 8, 50.0), classes=CLASSES
)
TABLE = Encoding(
    "table",
    "y",
    columns=(
        ColumnEncoding("age", "number", indicator=True),
        ColumnEncoding("city", "category", values=("rome", "oslo")),
        ColumnEncoding("said", "text", text=TextEncoding("{}", 50, "ids", 12)),
        ColumnEncoding("day", "date", circles=("week",)),
    ),
    classes=CLASSES,
)


def photos() -> torch.Tensor:
    return (torch.rand(ROWS, 3, 9, 7, generator=DRAW) - 0.5) * 3


def table() -> torch.Tensor:
    age, day = torch.randn(2, ROWS, 1, generator=DRAW)
    gap = (torch.arange(ROWS) % 4 == 0).float()[:, None]
    city = torch.eye(2)[torch.arange(ROWS) % 2]
    said = torch.randint(1, 50, (ROWS, 12), generator=DRAW) * (torch.arange(12) < 1 + torch.arange(ROWS)[:, None] % 12)
    return torch.cat([age * (1 - gap), gap, city, said.float(), day, torch.zeros(ROWS, 2)], dim=1)


EVERYTHING = {
    "rotate": 20.0, "shift": 0.2, "shear": 10.0, "zoom": 0.3, "flip": "both", "crop": 2, "brightness": 0.2,
    "contrast": 0.3, "saturation": 0.4, "hue": 30.0, "erase": 0.5, "mixup": 0.4, "cutmix": 1.0,
}  # fmt: skip
CASES = {
    "photos": (PHOTOS, photos(), AugmentPlan(**EVERYTHING)),
    "photos that are not mixed": (PHOTOS, photos(), AugmentPlan("auto", fill="reflect", erase=0.5)),
    "sounds": (
        SOUNDS,
        torch.randn(ROWS, 1, 8, 48, generator=DRAW),
        AugmentPlan(time_shift=0.3, noise=0.2, mask_time=0.3, mask_bands=0.4, mixup=0.2),
    ),
    "sounds from other microphones": (
        SPANNED,
        torch.randn(ROWS, 1, 8, 48, generator=DRAW),
        AugmentPlan(time_shift=0.3, tempo=0.3, equalize=6.0, noise=0.2),
    ),
    "table": (TABLE, table(), AugmentPlan(jitter=0.1, drop_words=0.3, crop_words=0.4)),
}


def made(name: str, seed: int = 1) -> tuple[Rows, Augment]:
    encoding, inputs, plan = CASES[name]
    rows = Rows(inputs, torch.arange(ROWS) % 3, tuple(map(str, range(ROWS))))
    prepared = Prepared(DataSummary("", Schema(encoding.kind, ROWS, ""), ()), encoding, rows, rows, rows)
    augment = augment_of(plan, prepared, seed)
    assert augment is not None
    return rows, augment


def seen(name: str, *, epoch: int = 1, seed: int = 1, size: int = 6, start: int = 0) -> list[bytes]:
    rows, augment = made(name, seed)
    dealt = batches(rows, seed=seed, epoch=epoch, batch_size=size, start=start, augment=augment)
    return [
        x.numpy().tobytes() + y.numpy().tobytes() for inputs, targets in dealt for x, y in zip(inputs, targets, strict=True)
    ]


@pytest.mark.parametrize("name", CASES)
@given(size=st.integers(1, ROWS + 3), epoch=st.integers(0, 5), start=st.integers(0, 9), threads=st.integers(1, 2))
@settings(max_examples=15)
def test_a_row_is_changed_alike_in_any_batch_from_any_start_on_any_number_of_threads(
    name: str, size: int, epoch: int, start: int, threads: int
) -> None:
    whole = seen(name, epoch=epoch)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert seen(name, epoch=epoch, size=size, start=start) == whole[start * size :]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_each_epoch_and_each_seed_changes_rows_in_another_way(name: str) -> None:
    def sorted_by_row(epoch: int, seed: int) -> torch.Tensor:
        rows, augment = made(name, seed)
        return augment.changed(rows.inputs, epoch, np.arange(ROWS))

    one = sorted_by_row(1, 1)
    assert torch.equal(one, sorted_by_row(1, 1))
    for other in (sorted_by_row(2, 1), sorted_by_row(1, 2)):
        differ = (one != other).flatten(1).any(dim=1)
        assert differ.float().mean() > 0.6  # a text of one word, or a mask of no frames, stays as it is


ALONE = [
    *(("photos", change, value) for change, value in EVERYTHING.items() if change not in ("crop", "erase")),
    *[("photos", "crop", 2), ("photos", "erase", 1.0), ("sounds", "time_shift", 0.3), ("sounds", "noise", 0.2)],
    *[("sounds", "mask_time", 0.9), ("sounds", "mask_bands", 0.9), ("sounds", "mixup", 0.4)],
    *[("table", "jitter", 0.1), ("table", "drop_words", 0.5), ("table", "crop_words", 0.9)],
]


@pytest.mark.parametrize(("name", "change", "value"), ALONE)
def test_each_change_by_itself_is_another_one_in_each_epoch_with_each_seed_and_for_each_row(
    name: str, change: str, value: float
) -> None:
    encoding, inputs, _ = CASES[name]
    alike = inputs[11:12].expand(ROWS, *inputs.shape[1:]).contiguous()  # one row, under every key
    rows = Rows(alike, torch.arange(ROWS) % 3, tuple(map(str, range(ROWS))))
    spread_rows = Rows(inputs, rows.targets, rows.names)
    prepared = Prepared(DataSummary("", Schema(encoding.kind, ROWS, ""), ()), encoding, spread_rows, rows, rows)
    seen_rows = set()
    for seed, epoch in ((1, 1), (1, 2), (2, 1)):
        augment = augment_of(AugmentPlan(**{change: value}), prepared, seed)  # type: ignore[arg-type]
        assert augment is not None
        keys = np.append(np.arange(ROWS), 0)[: ROWS + augment.extra]
        index = torch.from_numpy(keys)
        made, targets = augment.batch(alike[index], rows.targets[index], epoch, keys)
        together = made if change not in ("mixup", "cutmix") else targets
        seen_rows.add(together.numpy().tobytes())
        assert len({row.numpy().tobytes() for row in together}) > 2 + (change != "flip")
    assert len(seen_rows) == 3


@pytest.mark.parametrize("name", CASES)
def test_the_rows_themselves_and_the_global_generators_stay_as_they_are(name: str) -> None:
    rows, _ = made(name)
    before, state, numpy_state = rows.inputs.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()
    seen(name)
    assert torch.equal(rows.inputs, before)
    assert torch.equal(torch.get_rng_state(), state) and (np.random.get_state()[1] == numpy_state).all()


def test_without_a_plan_there_is_nothing_to_do() -> None:
    rows, _ = made("table")
    prepared = Prepared(DataSummary("", Schema("table", ROWS, ""), ()), TABLE, rows, rows, rows)
    assert augment_of(AugmentPlan(), prepared, 0) is None
    assert augment_of(AugmentPlan(jitter=0.0), prepared, 0) is None


@given(
    st.integers(-(2**70), 2**70),
    st.integers(0, 2**40),
    st.lists(st.integers(0, 2**50), min_size=1, max_size=30),
    st.integers(0, 99),
)
def test_a_number_drawn_for_a_key_does_not_know_the_other_keys(seed: int, epoch: int, keys: list[int], lane: int) -> None:
    drawn = uniforms(seed, epoch, np.array(keys), lane, 3)
    assert ((drawn > 0) & (drawn < 1)).all()
    for i, key in enumerate(keys):
        assert (uniforms(seed, epoch, np.array([key]), lane, 5)[0, :3] == drawn[i]).all()


def test_drawn_numbers_are_even_and_know_nothing_of_one_another() -> None:
    u = uniforms(3, 4, np.arange(20_000), 7, 3)
    share = np.histogram(u, bins=20, range=(0, 1))[0] / u.size
    assert abs(share - 0.05).max() < 0.005  # deviation 0.0009
    along = [np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1], np.corrcoef(u[:, 0], u[:, 1])[0, 1]]
    lanes = np.corrcoef(u[:, 0], uniforms(3, 4, np.arange(20_000), 8)[:, 0])[0, 1]
    epochs = np.corrcoef(u[:, 0], uniforms(3, 5, np.arange(20_000), 7)[:, 0])[0, 1]
    assert max(map(abs, (*along, lanes, epochs))) < 0.03  # deviation 0.007
