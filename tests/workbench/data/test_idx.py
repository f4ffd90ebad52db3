import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from isograd.errors import DataError
from isograd.workbench.data import SplitPlan, prepare, read_for_prediction
from isograd.workbench.data.idx import read_array, read_folder

RANDOM = np.random.default_rng(0)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def write(folder: Path, part: str = "train", rows: int = 40, *, gzipped: bool = True, side: int = 6) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    pixels = RANDOM.integers(0, 256, (rows, side, side)).astype(np.uint8)
    labels = (np.arange(rows) % 2 + 3).astype(np.uint8)
    paths = []
    for name, array in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", labels)):
        path = folder / (name + ".gz" * gzipped)
        path.write_bytes(gzip.compress(idx(array)) if gzipped else idx(array))
        paths.append(path)
    return paths[0], paths[1]


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        prepare(str(folder), base=folder, task="image-classification", target=None, split=SplitPlan("given"), seed=0)
    return str(caught.value)


@pytest.mark.parametrize("gzipped", [True, False])
def test_the_published_files_give_their_own_parts_and_classes_named_by_their_numbers(tmp_path: Path, gzipped: bool) -> None:
    write(tmp_path, "train", 40, gzipped=gzipped)
    write(tmp_path, "t10k", 10, gzipped=gzipped)
    found = prepare(
        ".", base=tmp_path, task="image-classification", target=None, split=SplitPlan("given", validation=0.25), seed=0
    )
    assert (len(found.train), len(found.validation), len(found.test)) == (30, 10, 10)
    assert found.encoding.classes == ("3", "4") and found.encoding.image == (1, 6, 6)
    assert found.test.names[0] == "t10k 0"
    assert abs(float(found.train.inputs.mean())) < 1e-6 and abs(float(found.train.inputs.std()) - 1) < 1e-3


def test_pixels_and_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    images, labels = write(tmp_path)
    read = read_folder(tmp_path)
    assert np.array_equal(read.pixels[..., 0], read_array(images)[0])
    assert np.array_equal(read.labels + 3, read_array(labels)[0])


def test_a_wrong_magic_number_is_named_with_the_bytes_that_were_met(tmp_path: Path) -> None:
    images, _ = write(tmp_path, gzipped=False)
    images.write_bytes(b"<!DOCTYPE html>" + images.read_bytes())
    told = refused(tmp_path)
    assert "wrong magic number" in told and "3c 21 44 4f" in told and "web page" in told and images.name in told


def test_numbers_of_another_type_are_refused(tmp_path: Path) -> None:
    images, _ = write(tmp_path, gzipped=False)
    images.write_bytes(idx(np.zeros((2, 2, 2), np.uint8), kind=0x0D))
    assert "type 0x0d" in refused(tmp_path)


@pytest.mark.parametrize("cut", [1, 3, 9, 200])
@pytest.mark.parametrize("gzipped", [True, False])
def test_a_truncated_file_is_refused_and_named(tmp_path: Path, cut: int, gzipped: bool) -> None:
    images, _ = write(tmp_path, gzipped=gzipped)
    images.write_bytes(images.read_bytes()[:-cut])
    told = refused(tmp_path)
    assert "wrong length" in told and images.name in told


@pytest.mark.parametrize("length", [1, 3, 5, 11])
def test_a_file_that_ends_in_its_header_is_refused(tmp_path: Path, length: int) -> None:
    images, _ = write(tmp_path, gzipped=False)
    images.write_bytes(images.read_bytes()[:length])
    assert images.name in refused(tmp_path)


def test_every_flipped_byte_of_a_gzip_file_is_noticed_or_harmless(tmp_path: Path) -> None:
    images, _ = write(tmp_path, rows=6)
    whole = images.read_bytes()
    good = read_array(images)[0]
    for place in range(len(whole)):
        images.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            assert np.array_equal(read_array(images)[0], good)


def test_a_file_longer_than_its_header_says_is_refused(tmp_path: Path) -> None:
    images, _ = write(tmp_path, gzipped=False)
    images.write_bytes(images.read_bytes() + b"\0")
    assert "more than that" in refused(tmp_path)


def test_a_header_that_claims_more_than_any_memory_is_refused(tmp_path: Path) -> None:
    images, _ = write(tmp_path, gzipped=False)
    images.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0" * 100)
    assert "wrong length" in refused(tmp_path)


def test_pictures_and_labels_of_different_counts_are_refused(tmp_path: Path) -> None:
    _, labels = write(tmp_path, gzipped=False)
    labels.write_bytes(idx(np.zeros(39, np.uint8)))
    told = refused(tmp_path)
    assert "do not belong together" in told and "40 pictures and 39 labels" in told


def test_pictures_without_labels_name_the_file_that_is_missing(tmp_path: Path) -> None:
    _, labels = write(tmp_path)
    labels.unlink()
    assert labels.name in refused(tmp_path)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    _, labels = write(tmp_path, gzipped=False)
    labels.write_bytes(idx(np.full(40, 7, np.uint8)))
    assert "one class only: 7" in refused(tmp_path)


def test_parts_with_pictures_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "t10k", side=5)
    assert "different sizes" in refused(tmp_path)


def test_two_training_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "letters-train")
    write(tmp_path, "digits-train")
    assert "two files are for the part 'train'" in refused(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    images, _ = write(tmp_path)
    images.write_bytes(b"")
    assert "is empty (0 bytes)" in refused(tmp_path)


def test_new_pictures_in_an_idx_file_get_the_inputs_that_the_same_pictures_got_in_training(tmp_path: Path) -> None:
    write(tmp_path, "train", 40)
    images, _ = write(tmp_path, "t10k", 10)
    found = prepare(".", base=tmp_path, task="image-classification", target=None, split=SplitPlan("given"), seed=0)
    inputs, names, skipped = read_for_prediction(str(images), found.encoding)
    assert np.array_equal(inputs, found.test.inputs.numpy()) and len(names) == 10 and skipped == ()
