"""Recordings are decoded once and their spectra computed once: the same bits, made anew when anything is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from isograd.errors import DataError
from isograd.workbench.data import EncodingPlan, Prepared, SplitPlan, kept, prepare, recordings, spectra


@pytest.fixture
def chimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "LEAST", 10)
    draw, folder = np.random.default_rng(0), tmp_path / "chimes"
    folder.mkdir()
    for label, hertz in (("high", 1500), ("low", 400)):
        for take in range(12):
            time = np.arange(int(8000 * draw.uniform(0.1, 0.3))) / 8000
            silence = np.zeros(400)
            tone = np.concatenate([silence, draw.uniform(0.2, 0.5) * np.sin(2 * np.pi * hertz * time), silence])
            soundfile.write(folder / f"{label}_{'ab'[take % 2]}_{take}.wav", tone, 8000)
    return folder


def prepared(folder: Path, cache: Path | None, **how: object) -> Prepared:
    told = {"split": SplitPlan("stratified", 0.2, 0.2), "label_pattern": "{label}_{speaker}_{take}", "seed": 0, **how}
    return prepare(str(folder), base=Path(), task="sound-classification", target=None, cache=cache, **told)  # type: ignore[arg-type]


def same(one: Prepared, other: Prepared) -> bool:
    parts = [(getattr(one, part), getattr(other, part)) for part in ("train", "validation", "test")]
    rows = all(torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and a.names == b.names for a, b in parts)
    return rows and one.encoding == other.encoding and one.summary == other.summary


def test_the_second_time_nothing_is_decoded_and_no_spectrum_is_computed(chimes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, cache = prepared(chimes, None), chimes.parent / "cache"
    assert same(prepared(chimes, cache), plain)
    for module, name in ((recordings, "read_sound"), (spectra, "log_mel")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("made again"))
    assert same(prepared(chimes, cache), plain)


@pytest.mark.parametrize("how", [{"clean": ("trim_silence",)}, {"encode_as": EncodingPlan(mels=12)}, {"seed": 5}], ids=str)
def test_what_is_asked_otherwise_is_made_anew(how: dict[str, object], chimes: Path) -> None:
    cache = chimes.parent / "cache"
    first = prepared(chimes, cache)
    assert not same(first, prepared(chimes, None, **how))
    assert same(prepared(chimes, cache, **how), prepared(chimes, None, **how))


def test_a_changed_recording_and_a_flipped_byte_are_noticed(chimes: Path) -> None:
    cache = chimes.parent / "cache"
    first = prepared(chimes, cache)
    for place in ("signals", "train"):
        (values,) = (cache / place).rglob("values.raw")
        content = values.read_bytes()
        values.unlink()
        values.write_bytes(content[:-1] + b"\x07")
        assert same(prepared(chimes, cache), first)
    soundfile.write(chimes / "low_a_0.wav", np.full(3000, 0.1), 8000)
    assert not same(prepared(chimes, cache), first) and same(prepared(chimes, cache), prepared(chimes, None))


def test_faults_are_told_all_at_once_and_what_was_left_out_is_told_each_time(chimes: Path) -> None:
    cache = chimes.parent / "cache"
    (chimes / "low_a_0.wav").write_bytes(b"")
    (chimes / "odd.wav").write_bytes((chimes / "low_a_2.wav").read_bytes())
    with pytest.raises(DataError) as caught:
        prepared(chimes, cache)
    assert len(caught.value.faults) == 2 and not list((cache / "signals").glob("1-*"))
    for _ in range(2):
        found = prepared(chimes, cache, skip_corrupt=True)
        assert len(found.summary.skipped) == 2 and same(found, prepared(chimes, None, skip_corrupt=True))


def test_a_full_disk_is_no_failure(chimes: Path) -> None:
    blocked = chimes.parent / "blocked"
    blocked.write_text("a file where a folder should be")
    assert same(prepared(chimes, blocked), prepared(chimes, None))
