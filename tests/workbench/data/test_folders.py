import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isograd.errors import DataError
from isograd.workbench.data import Prepared, SplitPlan, picture, prepare, read_for_prediction

RANDOM = np.random.default_rng(0)


def noise(height: int = 10, width: int = 12, channels: int = 3) -> Image.Image:
    pixels = RANDOM.integers(0, 256, (height, width, channels)).astype(np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def fill(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 10, **how: int) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise(**how).save(folder / name / f"{number:02}.png")
    return folder


def prepared(folder: Path, kind: str = "stratified", **how: object) -> Prepared:
    plan = SplitPlan(kind, 0.2, 0.2)  # type: ignore[arg-type]
    return prepare(folder.name, base=folder.parent, task="image-classification", target=None, split=plan, seed=0, **how)  # type: ignore[arg-type]


def refused(folder: Path, **how: object) -> str:
    with pytest.raises(DataError) as caught:
        prepared(folder, **how)  # type: ignore[arg-type]
    return str(caught.value)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_class_folders_become_classes_and_pixels_survive(tmp_path: Path) -> None:
    found = prepared(fill(tmp_path / "pets"))
    assert found.encoding.classes == ("cat", "dog") and found.encoding.image == (3, 10, 12)
    assert [part.rows for part in found.summary.parts] == [12, 4, 4]
    shown = Image.open(io.BytesIO(base64.b64decode(picture(found.test, 0, found.encoding) or "")))
    original = Image.open(tmp_path / "pets" / found.test.names[0])
    assert np.array_equal(np.asarray(shown)[::4, ::4], np.asarray(original))  # enlarged fourfold, to at least 32 pixels


def test_train_and_test_folders_are_the_given_parts(tmp_path: Path) -> None:
    fill(tmp_path / "pets" / "train")
    fill(tmp_path / "pets" / "test", count=3)
    found = prepared(tmp_path / "pets", "given")
    assert [part.rows for part in found.summary.parts] == [16, 4, 6]
    assert all(name.startswith("test/") for name in found.test.names)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert prepared(fill(tmp_path / "vehicles", ("bus", "train"))).encoding.classes == ("bus", "train")


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert prepared(fill(tmp_path / "n", ("10", "9", "2"))).encoding.classes == ("2", "9", "10")


def test_grey_stays_grey_and_one_colour_picture_makes_all_of_them_rgb(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets", channels=1)
    assert prepared(folder).encoding.image == (1, 10, 12)
    noise().save(folder / "cat" / "00.png")
    found = prepared(folder)
    assert found.encoding.image == (3, 10, 12) and "19 grey pictures were read as RGB" in found.summary.remarks[0]


def test_pictures_of_different_sizes_are_resized_and_it_is_said(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    noise(50, 20).save(folder / "cat" / "00.png")
    found = prepared(folder)
    assert found.encoding.image == (3, 10, 12) and "resized to 10 x 12" in found.summary.remarks[0]
    assert prepared(folder, image_size=(8, 9)).encoding.image == (3, 8, 9)


def test_a_16_bit_picture_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    folder = fill(tmp_path / "scans", channels=1)
    wide = (RANDOM.integers(0, 65536, (10, 12))).astype(np.uint16)
    Image.fromarray(wide).save(folder / "cat" / "00.png")
    found = prepared(folder)
    inputs, _, _ = read_for_prediction(folder / "cat" / "00.png", found.encoding)
    back = inputs[0, 0] * found.encoding.channel_std[0] + found.encoding.channel_mean[0]
    assert np.abs(back * 255 - (wide >> 8)).max() < 1e-3


def test_a_picture_that_exif_turns_is_turned(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    upright = noise(10, 12)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "cat" / "00.png", exif=exif)
    found = prepared(folder)
    assert found.encoding.image == (3, 10, 12) and found.summary.remarks == ()
    upright.save(tmp_path / "upright.png")
    turned, straight = (
        read_for_prediction(path, found.encoding)[0] for path in (folder / "cat" / "00.png", tmp_path / "upright.png")
    )
    assert np.array_equal(turned, straight)


@pytest.mark.parametrize(
    "broken", [b"not a picture at all", b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0\0\x10JFIF"]
)
def test_a_file_that_is_no_picture_is_named_and_can_be_skipped(tmp_path: Path, broken: bytes) -> None:
    folder = fill(tmp_path / "pets")
    (folder / "cat" / "bad.png").write_bytes(broken)
    assert "bad.png" in refused(folder)
    found = prepared(folder, skip_corrupt=True)
    assert found.summary.schema.rows == 20 and [skip.name for skip in found.summary.skipped] == ["cat/bad.png"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_a_truncated_picture_of_any_kind_is_named_and_can_be_skipped(tmp_path: Path, suffix: str) -> None:
    folder = fill(tmp_path / "pets")
    path = folder / "cat" / f"cut.{suffix}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert f"cut.{suffix}" in refused(folder)
    assert [skip.name for skip in prepared(folder, skip_corrupt=True).summary.skipped] == [f"cat/cut.{suffix}"]


def test_all_broken_pictures_are_named_at_once(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    for name in ("cat/x.png", "dog/y.png"):
        (folder / name).write_bytes(b"x")
    told = refused(folder)
    assert "x.png" in told and "y.png" in told


def test_a_picture_over_fifty_megapixels_is_refused_from_its_header(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    for size, said in (
        ((8000, 7000), "8,000 x 7,000"),
        ((12_000, 12_000), "12,000 x 12,000"),
        ((100_000, 100_000), "10,000,000,000"),
    ):
        (folder / "cat" / "bomb.png").write_bytes(png_that_claims(*size))
        told = refused(folder)
        assert "more than 50 megapixels" in told and f"{said} pixels" in told and "limit of" not in told


def test_bytes_damaged_anywhere_never_raise_anything_but_our_own_error(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets", count=5)
    encoding = prepared(folder).encoding
    for suffix in ("png", "jpg", "gif", "tif", "bmp", "webp"):
        path = tmp_path / f"one.{suffix}"
        noise().save(path)
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for place in RANDOM.integers(0, len(whole), 4):
                damaged[place] = RANDOM.integers(0, 256)
            path.write_bytes(bytes(damaged))
            try:
                assert read_for_prediction(path, encoding)[0].shape == (1, 3, 10, 12)
            except DataError as error:
                assert path.name in str(error)  # noqa: PT017


@pytest.mark.parametrize(("classes", "said"), [((), "is empty"), (("cat",), "one class folder")])
def test_a_folder_with_one_class_or_none_is_refused(tmp_path: Path, classes: tuple[str, ...], said: str) -> None:
    (tmp_path / "pets").mkdir()
    assert said in refused(fill(tmp_path / "pets", classes))


def test_loose_pictures_are_no_classes(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    noise().save(tmp_path / "pets" / "a.png")
    assert "no class folders" in refused(tmp_path / "pets")


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    (folder / "cow").mkdir()
    assert "the class folder cow has no pictures" in refused(folder)


def test_a_class_that_is_only_tested_on_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "pets" / "train")
    fill(tmp_path / "pets" / "test", ("cat", "cow"))
    assert "class 'cow' has no training pictures" in refused(tmp_path / "pets", kind="given")


def test_a_class_left_without_pictures_by_skipping_is_noticed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets", ("cat", "dog", "cow"), count=10)
    for path in (folder / "cow").iterdir():
        path.write_bytes(b"x")
    assert "cow" in refused(folder, skip_corrupt=True)


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    first = prepared(folder).summary.schema.fingerprint
    assert prepared(folder).summary.schema.fingerprint == first
    noise().save(folder / "dog" / "09.png")
    assert prepared(folder).summary.schema.fingerprint != first


def test_a_folder_of_new_pictures_is_read_as_training_read_them(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    noise(30, 40).save(folder / "cat" / "00.png")
    found = prepared(folder)
    inputs, names, _ = read_for_prediction([folder / "cat", folder / "dog"], found.encoding)
    by_name = dict(zip((Path(name).relative_to(folder).as_posix() for name in names), inputs, strict=True))
    for rows in (found.train, found.validation, found.test):
        for name, row in zip(rows.names, rows.inputs.numpy(), strict=True):
            assert np.array_equal(by_name[name], row)


def test_a_new_picture_that_cannot_be_read_is_refused_or_skipped(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    encoding = prepared(folder).encoding
    (folder / "cat" / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"bad\.png"):
        read_for_prediction(folder / "cat", encoding)
    inputs, _, skipped = read_for_prediction(folder / "cat", encoding, skip_corrupt=True)
    assert len(inputs) == 10 and skipped[0].name == "bad.png"
    with pytest.raises(DataError, match="no input is left"):
        read_for_prediction(folder / "cat" / "bad.png", encoding, skip_corrupt=True)


def test_pictures_that_memory_cannot_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    assert "GiB of memory" in refused(fill(tmp_path / "pets"), image_size=(200_000, 200_000))


def test_a_table_task_on_pictures_names_the_right_task(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets")
    with pytest.raises(DataError, match="image-classification"):
        prepare(str(folder), base=tmp_path, task="classification", target="x", split=SplitPlan(), seed=0)
