import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from isograd.errors import DataError
from isograd.workbench.data.recordings import read_recordings

DATA = Path(os.environ.get("ISOGRAD_DATA", "/nowhere"))


def tone(hertz: float, seconds: float = 0.2, rate: int = 8000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def chimes(folder: Path) -> Path:
    for name, hertz in (("high", 1200), ("low", 300)):
        (folder / name).mkdir(parents=True)
        for take in range(3):
            soundfile.write(folder / name / f"{take}.wav", tone(hertz), 8000)
    return folder


def refused(folder: Path, **how: str) -> str:
    with pytest.raises(DataError) as caught:
        read_recordings(folder, **how)  # type: ignore[arg-type]
    return str(caught.value)


def test_class_folders_of_recordings_keep_their_samples(tmp_path: Path) -> None:
    found = read_recordings(chimes(tmp_path))
    assert found.classes == ("high", "low") and found.rate == 8000 and found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.abs(found.signals[0] - tone(1200)).max() < 1e-4  # 16 bits
    assert found.remarks == ()


def test_another_rate_is_resampled_and_stereo_is_mixed_and_both_are_said(tmp_path: Path) -> None:
    chimes(tmp_path)
    soundfile.write(tmp_path / "low" / "fast.flac", tone(300, rate=44100), 44100)
    soundfile.write(tmp_path / "low" / "two.flac", np.stack([tone(300), np.zeros(1600)], axis=1), 8000)
    found = read_recordings(tmp_path)
    by_name = dict(zip(found.names, found.signals, strict=True))
    middle = slice(200, 1400)  # away from the ends, where a filter has no neighbours
    assert len(by_name["low/fast.flac"]) == 1600
    assert np.abs(by_name["low/fast.flac"] - tone(300))[middle].max() < 0.01
    assert np.abs(by_name["low/two.flac"] - tone(300) / 2).max() < 1e-4
    assert found.remarks == (
        "1 recording was resampled from 44,100 to 8,000 Hz",
        "1 recording was mixed to one channel",
    )


def test_what_resampling_would_fold_down_is_filtered_away(tmp_path: Path) -> None:
    chimes(tmp_path)
    soundfile.write(tmp_path / "low" / "hiss.wav", tone(9000, rate=44100), 44100)  # above half of 8,000
    found = read_recordings(tmp_path)
    assert np.abs(dict(zip(found.names, found.signals, strict=True))["low/hiss.wav"][200:1400]).max() < 0.01


def test_silence_is_said(tmp_path: Path) -> None:
    chimes(tmp_path)
    soundfile.write(tmp_path / "low" / "mute.wav", np.zeros(1600), 8000)
    assert read_recordings(tmp_path).remarks == ("1 recording was silent throughout (never above -60 dB): low/mute.wav",)


def test_names_tell_labels_and_speakers_by_a_pattern(tmp_path: Path) -> None:
    for digit in ["10", "9", "2"]:
        for speaker in ("ann", "bo"):
            soundfile.write(tmp_path / f"{digit}_{speaker}_0.wav", tone(300), 8000)
    found = read_recordings(tmp_path, pattern="{label}_{speaker}_{take}")
    assert found.classes == ("2", "9", "10") and set(found.fields) == {"speaker", "take"}
    assert found.fields["speaker"][:2] == ("ann", "bo") and found.names[0] == "10_ann_0.wav" and found.labels[0] == 2


def test_names_that_do_not_match_and_patterns_that_are_none_are_refused(tmp_path: Path) -> None:
    for name in ("1_ann", "2_ann", "strange"):
        soundfile.write(tmp_path / f"{name}.wav", tone(300), 8000)
    assert "strange.wav does not match the pattern" in refused(tmp_path, pattern="{label}_{speaker}")
    assert "finds no recording" in refused(tmp_path, pattern="{label}-{speaker}")
    assert "finds one class" in refused(tmp_path, pattern="{x}_{label}")
    for pattern in ("{speaker}", "{label}_{label}", "label"):
        assert "has {label} in it" in refused(tmp_path, pattern=pattern)


def test_broken_recordings_are_all_named_and_can_be_skipped(tmp_path: Path) -> None:
    chimes(tmp_path)
    whole = (tmp_path / "low" / "0.wav").read_bytes()
    (tmp_path / "low" / "a.wav").write_bytes(b"")
    (tmp_path / "low" / "b.wav").write_bytes(b"RIFF" + bytes(100))
    (tmp_path / "low" / "c.wav").write_bytes(whole[:44])
    soundfile.write(tmp_path / "low" / "d.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "low" / "e.flac", tone(300), 8000)
    flac = bytearray((tmp_path / "low" / "e.flac").read_bytes())
    (tmp_path / "low" / "e.flac").write_bytes(bytes(flac[: len(flac) // 2]))
    (tmp_path / "low" / "f.wav").write_bytes(whole[:24] + bytes(4) + whole[28:])
    (tmp_path / "low" / "g.wav").write_bytes(whole[: len(whole) // 2])
    told = refused(tmp_path)
    assert all(f"{name}." in told for name in "abcdefg") and "g.wav is cut short" in told
    found = read_recordings(tmp_path, skip_corrupt=True)
    assert len(found.signals) == 6 and [skip.name[4] for skip in found.skipped] == list("abcdefg")


@pytest.mark.skipif(not (DATA / "fsdd").exists(), reason="no fsdd: name the folder that holds it with ISOGRAD_DATA")
def test_the_spoken_digits_are_read_by_their_names() -> None:
    found = read_recordings(DATA / "fsdd" / "recordings", pattern="{label}_{speaker}_{take}")
    assert len(found.signals) == 3000 and found.rate == 8000 and found.classes == tuple("0123456789")
    assert len(set(found.fields["speaker"])) == 6 and np.bincount(found.labels).tolist() == [300] * 10
