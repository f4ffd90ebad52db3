"""Pictures are decoded once: the same rows from the file as from the pictures, made anew when a byte is another."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isograd.errors import DataError
from isograd.records import codec
from isograd.workbench.data import Prepared, SplitPlan, folders, kept, prepare

PLAN = SplitPlan("stratified", validation=0.2, test=0.2)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "LEAST", 10)
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(0, 256, (6 + i % 3, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def prepared(photos: Path, cache: Path | None, **how: bool) -> Prepared:
    return prepare(
        "photos", base=photos.parent, task="image-classification", target=None, split=PLAN, seed=0, cache=cache, **how
    )


def same(one: Prepared, other: Prepared) -> bool:
    parts = [(getattr(one, part), getattr(other, part)) for part in ("train", "validation", "test")]
    rows = all(torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and a.names == b.names for a, b in parts)
    return rows and one.encoding == other.encoding and one.summary == other.summary


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    decoded: list[Path] = []
    real = folders.pixels_of
    monkeypatch.setattr(folders, "pixels_of", lambda path, *rest: decoded.append(path) or real(path, *rest))
    return decoded


def test_what_is_kept_is_what_decoding_gives_and_nothing_is_decoded_twice(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, cache = prepared(photos, None), photos.parent / "cache"
    decoded = count_decoded(monkeypatch)
    assert same(prepared(photos, cache), plain) and len(decoded) == 40
    assert same(prepared(photos, cache), plain) and len(decoded) == 40


def test_blocks_change_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = prepared(photos, None)
    monkeypatch.setattr(kept, "BLOCK", 400)  # three pictures
    assert same(prepared(photos, photos.parent / "cache"), plain)


def test_a_changed_picture_a_new_one_and_a_flipped_byte_are_each_noticed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = photos.parent / "cache"
    first = prepared(photos, cache)
    picture = photos / "a" / "3.png"
    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save(picture)
    os.utime(picture, ns=(1, 1))
    assert not same(prepared(photos, cache), first)
    assert same(prepared(photos, cache), prepared(photos, None))
    (photos / "b" / "new.png").write_bytes(picture.read_bytes())
    assert same(prepared(photos, cache), prepared(photos, None))
    assert len(list((cache / "pixels").iterdir())) == 1  # what is out of date is removed
    decoded = count_decoded(monkeypatch)
    (values,) = cache.rglob("values.raw")
    values.write_bytes(values.read_bytes()[:-1] + b"\x07")
    assert same(prepared(photos, cache), prepared(photos, None))
    assert len(decoded) == 82  # once for the cache, once without


def test_parts_that_are_larger_than_memory_are_read_from_disk(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, cache = prepared(photos, None), photos.parent / "cache"
    monkeypatch.setattr(kept, "IN_MEMORY", 3000)
    monkeypatch.setattr(kept, "BLOCK", 2000)
    large = prepared(photos, cache)
    assert any("are read from cache/ as needed" in remark for remark in large.summary.remarks)
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(large, part).inputs, getattr(plain, part).inputs)
    large.train.inputs[0] = 7.0  # what somebody writes to the rows stays out of the file
    assert torch.equal(prepared(photos, cache).train.inputs, plain.train.inputs)


def test_memory_holds_a_block_and_not_all_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LEAST", 10)
    monkeypatch.setattr(kept, "IN_MEMORY", 1 << 20)
    monkeypatch.setattr(kept, "BLOCK", 1 << 20)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(60):
            Image.effect_noise((160, 160), 50 + i).save(tmp_path / "photos" / name / f"{i}.png", compress_level=1)
    tracemalloc.start()
    try:
        found = prepared(tmp_path / "photos", tmp_path / "cache")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.train.inputs.nbytes > 7e6  # encoded, all three parts take 12 MB, and their pixels 3
    assert peak < 5e6


def test_all_broken_pictures_are_named_at_once_and_nothing_is_kept(photos: Path) -> None:
    cache = photos.parent / "cache"
    for name in ("1.png", "5.png"):
        whole = (photos / "a" / name).read_bytes()
        (photos / "a" / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        prepared(photos, cache)
    assert len(caught.value.faults) == 2 and not list((cache / "pixels").glob("1-*"))
    assert same(prepared(photos, cache, skip_corrupt=True), prepared(photos, None, skip_corrupt=True))
    assert len(prepared(photos, cache, skip_corrupt=True).summary.skipped) == 2


def test_few_pictures_are_not_kept_and_a_full_disk_is_no_failure(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = photos.parent / "blocked"
    blocked.write_text("a file where a folder should be")
    assert same(prepared(photos, blocked), prepared(photos, None))
    monkeypatch.setattr(kept, "LEAST", 41)
    prepared(photos, photos.parent / "cache")
    assert not (photos.parent / "cache").exists()


def test_a_stamp_knows_names_sizes_times_and_what_was_asked(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        file.write_bytes(b"1234")
        os.utime(file, ns=(5, 5))
    stamps = {kept.stamp_of(tmp_path, files, 0), kept.stamp_of(tmp_path, files, 1), kept.stamp_of(tmp_path, files[:1], 0)}
    os.utime(files[1], ns=(5, 6))  # other bytes of the same length, a nanosecond later
    stamps.add(kept.stamp_of(tmp_path, files, 0))
    files[1].write_bytes(b"12345")
    os.utime(files[1], ns=(5, 5))
    stamps.add(kept.stamp_of(tmp_path, files, 0))
    assert len(stamps) == 5


def test_facts_come_back_as_they_were_written() -> None:
    facts = kept.Facts("uint8", (2, 3, 4, 1), (0, 5), "ab")
    assert codec.loads(kept.Facts, codec.dumps(facts)) == facts
