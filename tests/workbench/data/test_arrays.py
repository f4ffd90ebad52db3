import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from isograd.errors import DataError
from isograd.workbench.data import SplitPlan, prepare
from isograd.workbench.data.arrays import read_npz
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.table import Table

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 9), dtype=np.uint8)
LABELS = np.arange(30) % 3


def saved(folder: Path, **arrays: object) -> Path:
    path = folder / "set.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_npz(path, "label")
    return str(caught.value)


def test_bytes_of_three_axes_are_pictures_in_the_parts_that_the_names_say(tmp_path: Path) -> None:
    path = saved(tmp_path, x_train=PIXELS[:20], y_train=LABELS[:20], x_test=PIXELS[20:], y_test=LABELS[20:, None])
    plan = SplitPlan("given", 0.2)
    found = prepare(path.name, base=tmp_path, task="image-classification", target=None, split=plan, seed=0)
    assert [part.rows for part in found.summary.parts] == [17, 3, 10]
    assert found.encoding.image == (1, 8, 9) and found.encoding.classes == ("0", "1", "2")
    read = read_npz(path, "label")
    assert isinstance(read, Pictures) and np.array_equal(read.pixels[..., 0], PIXELS) and read.names[20] == "test 0"


def test_numbers_of_two_axes_are_a_table(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(30, 2))
    read = read_npz(saved(tmp_path, data=x, target=np.array(["a", "b", "c"])[LABELS]), "kind")
    assert isinstance(read, Table) and list(read.columns) == ["x0", "x1", "kind"]
    assert np.array_equal(read.columns["x1"].values, x[:, 1]) and read.columns["kind"].values == ("a", "b", "c")


def test_pickled_objects_are_refused_and_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "run",))

    path = saved(tmp_path, x=np.array([Trap()], dtype=object), y=np.array([1]))
    assert "arrays of Python objects" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Trap()))
        archive.writestr("y.npy", pickle.dumps(Trap()))
    refused(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": PIXELS}, "inputs without labels"),
        ({"y_train": LABELS}, "labels without inputs in the train part"),
        ({"x": PIXELS, "y": LABELS[:3]}, "do not belong together"),
        ({"x": PIXELS, "y": LABELS, "extra": LABELS}, "what is the array 'extra'"),
        ({"x": PIXELS, "images": PIXELS, "y": LABELS}, "what is the array 'images'"),
        ({"x": PIXELS / 255, "y": LABELS}, "no pictures of bytes"),
        ({"x": PIXELS[..., None].repeat(2, -1), "y": LABELS}, "no pictures of bytes"),
        ({"x": PIXELS, "y": np.eye(3)[LABELS]}, ".argmax(axis=1)"),
        ({"x": PIXELS, "y": LABELS, "x_test": PIXELS, "y_test": LABELS}, "no clear parts"),
        ({"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:, :7], "y_test": LABELS}, "differ in shape"),
        ({"x": np.zeros((3, 10_001)), "y": LABELS[:3]}, "10,001 numbers a row"),
        ({"x": np.zeros((3, 2), complex), "y": LABELS[:3]}, "neither numbers nor words"),
        ({}, "no clear parts"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused_with_their_shapes(
    tmp_path: Path, arrays: dict[str, object], said: str
) -> None:
    assert said in refused(saved(tmp_path, **arrays))


def test_a_damaged_archive_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    path = saved(tmp_path, x=PIXELS, y=LABELS)
    whole = path.read_bytes()
    for end in (1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert "not a whole NumPy archive" in refused(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    path.write_bytes(bytes(flipped))
    assert "not a whole NumPy archive" in refused(path)


def test_an_archive_that_claims_more_than_memory_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.zeros((1000, 100, 100), np.uint8), y=np.zeros(1000, int))
    assert path.stat().st_size < 100_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sysconf", lambda name: 2000 if name == "SC_PHYS_PAGES" else 4096)
        assert "GiB of memory" in refused(path)
