"""Sounds, numbers and texts: what each change does to rows whose change is known by thought."""

from __future__ import annotations

import numpy as np
import torch

from isograd.records.schema import ColumnEncoding, Encoding, SoundEncoding, TextEncoding
from isograd.workbench.data.augment import columns, sounds
from isograd.workbench.data.augment.plan import Settled
from isograd.workbench.data.spectra import FLOOR, encode_sounds

KEYS = np.arange(200)
RATE, SAMPLES = 8000, 4000
SOUND = Encoding(
    "sound", "label", sound=SoundEncoding(RATE, SAMPLES, 256, 80, 16, (-9.0,) * 16, (3.0,) * 16), classes=("a", "b")
)


def silence() -> float:
    return (float(np.log(FLOOR)) + 9) / 3


def beep(start: int) -> torch.Tensor:
    signal = np.zeros(SAMPLES, dtype=np.float32)
    signal[start : start + 800] = np.sin(np.arange(800) * 0.7)
    return torch.from_numpy(encode_sounds([signal], SOUND))


def test_a_sound_that_begins_later_is_the_sound_of_a_recording_that_does() -> None:
    found = sounds.delayed(beep(1600).expand(200, -1, -1, -1), Settled(time_shift=0.2), SOUND, 0, 1, KEYS)
    most = int(0.2 * found.shape[3])
    later = [beep(1600 + 80 * hops) for hops in range(-most, most + 1)]  # a hop is 80 samples
    matches = [any(torch.equal(row[None], other) for other in later) for row in found]
    assert all(matches)
    assert len({row.numpy().tobytes() for row in found}) > most
    assert float(found.min()) == np.float32(silence())


def test_noise_has_the_power_that_was_asked_for() -> None:
    loud = torch.zeros(200, 1, 16, 48)
    found = sounds.noisy(loud, Settled(noise=0.5), SOUND, 0, 1, KEYS)
    power = (np.exp(found[:, 0].numpy().astype(np.float64) * 3 - 9) / np.exp(-9)).mean(axis=(1, 2)) - 1
    assert power.min() > 0 and power.max() < 0.5 * 1.25
    assert abs(power.mean() - 0.25) < 0.05


def test_quiet_stays_quieter_than_noise_and_nothing_is_infinite() -> None:
    nothing = torch.full((200, 1, 16, 48), silence())
    found = sounds.noisy(nothing, Settled(noise=1.0), SOUND, 0, 1, KEYS)
    assert bool(found.isfinite().all()) and float(found.min()) >= silence() - 1e-6


def test_masks_hide_one_run_of_bands_and_one_of_frames_at_most_as_long_as_asked() -> None:
    found = sounds.masked(torch.ones(200, 1, 16, 48), Settled(mask_bands=0.25, mask_time=0.25), 0, 1, KEYS)
    bands, frames = found.eq(0).all(dim=3)[:, 0], found.eq(0).all(dim=2)[:, 0]
    assert int(bands.sum(dim=1).max()) == 4 and int(frames.sum(dim=1).max()) == 12
    for hidden in (bands, frames):
        assert int((hidden[:, 1:] & ~hidden[:, :-1]).sum(dim=1).max()) <= 1  # a run, not scattered places
    assert bands.any(dim=0).all() and frames.any(dim=0).all()  # any place may be hidden


SPANNED = Encoding("sound", "label", sound=SoundEncoding(RATE, SAMPLES, 256, 80, 40, (-9.0,) * 40, (3.0,) * 40, 50.0))


def tone(hertz: float, loud: float = 0.5, seconds: float = 0.25) -> torch.Tensor:
    signal = loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return torch.from_numpy(encode_sounds([signal.astype(np.float32)], SPANNED))


def test_a_faster_recording_ends_sooner_and_silence_follows() -> None:
    found = sounds.voiced(tone(1000).expand(200, -1, -1, -1), Settled(tempo=0.25), SPANNED, 0, 1, KEYS)
    sounding = (found[:, 0].amax(dim=1) > tone(1000).max() - 0.1).sum(dim=1)
    usual = int((tone(1000)[0, 0].amax(dim=0) > tone(1000).max() - 0.1).sum())
    assert abs(int(sounding.min()) - usual / 1.25) < 2 and abs(int(sounding.max()) - usual * 1.25) < 2
    assert torch.allclose(found[:, 0, :, -1], tone(1000)[:, 0, :, -1], atol=1e-4)


def test_a_sound_to_the_last_frame_is_followed_by_silence_where_it_is_faster_and_is_cut_where_it_is_slower() -> None:
    whole, short = tone(1000, seconds=0.5), tone(1000)
    ends = sounds.voiced(whole.expand(200, -1, -1, -1), Settled(tempo=0.25), SPANNED, 0, 1, KEYS)[:, 0, :, -1]
    silent = (ends.amax(dim=1) - short[0, 0, :, -1].max()).abs() < 1e-3
    loud = ends.amax(dim=1) > whole.max() - 0.5
    assert int((silent | loud).sum()) == 200 and 70 < int(silent.sum()) < 130


def test_between_frames_the_logarithm_of_power_is_interpolated() -> None:
    rising = (0.1 * torch.arange(48.0) - 3).expand(200, 1, 16, -1)
    found = sounds.voiced(rising, Settled(tempo=0.25), SOUND, 0, 1, KEYS)[:, 0, 0, :38]  # 47 / 1.25: not beyond the last frame
    slopes = (found[:, 1:] - found[:, :-1]).double()
    assert float((slopes - slopes[:, :1]).abs().max()) < 1e-5
    assert 0.1 / 1.25 - 1e-5 <= float(slopes.min()) < 0.085 and 0.12 < float(slopes.max()) <= 0.125 + 1e-5


def test_another_microphone_makes_bands_louder_by_so_many_decibels_at_most_and_none_beside_its_neighbour() -> None:
    even = torch.zeros(200, 1, 16, 48)
    moved = sounds.voiced(even, Settled(equalize=4.0), SOUND, 0, 1, KEYS)[:, 0, :, 0] * 3 * 10 / np.log(10)
    assert float(moved.abs().max()) <= 3 * 4.0 and float(moved.abs().max()) > 4.0  # three waves of 4 dB each
    assert float((moved[:, 1:] - moved[:, :-1]).abs().max()) < 4.0


def test_with_a_span_a_changed_recording_is_measured_by_its_own_loudest_band_again() -> None:
    rows = tone(1000).expand(200, -1, -1, -1)
    plan = Settled(tempo=0.2, equalize=6.0, noise=0.05)
    found = sounds.noisy(sounds.voiced(rows, plan, SPANNED, 0, 1, KEYS), plan, SPANNED, 0, 1, KEYS)
    assert torch.allclose(found.amax(dim=(1, 2, 3)), torch.full((200,), 3.0), atol=1e-4)  # (log 1 - mean) / std
    assert sounds.delayed(rows, Settled(time_shift=0.3), SPANNED, 0, 1, KEYS).min() == rows.min()


def test_no_change_of_tempo_and_microphone_leaves_every_bit() -> None:
    rows = tone(1000)
    assert sounds.voiced(rows, Settled(noise=0.1), SPANNED, 0, 1, KEYS[:1]) is rows


TABLE = Encoding(
    "table",
    "y",
    columns=(
        ColumnEncoding("age", "number", indicator=True),
        ColumnEncoding("member", "boolean"),
        ColumnEncoding("city", "category", values=("rome", "oslo")),
        ColumnEncoding("day", "date", circles=("week",)),
    ),
)


def test_jitter_moves_numbers_by_shares_of_their_deviation_and_nothing_else() -> None:
    inputs = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 1, 1, 1, 1, 0.1, 1, 1])
    inputs[:, 1] = (torch.arange(200) % 2).float()
    spread = columns.spread_of(inputs, TABLE)
    assert np.flatnonzero(spread).tolist() == [0, 5]
    moved = columns.jittered(inputs, Settled(jitter=0.1), TABLE, spread, 0, 1, KEYS) - inputs
    assert moved[:, [1, 2, 3, 4, 6, 7]].abs().max() == 0
    assert moved[1::2, 0].abs().max() == 0  # a gap is no number
    for place, rows in ((0, moved[::2, 0]), (5, moved[:, 5])):
        assert abs(float(rows.std()) / (0.1 * spread[place]) - 1) < 0.2


TEXTS = Encoding(
    "table",
    "y",
    columns=(ColumnEncoding("x", "number"), ColumnEncoding("t", "text", text=TextEncoding("{}", 99, "ids", 10))),
)


def texts(length: int) -> torch.Tensor:
    ids = torch.arange(1.0, 11.0) * (torch.arange(10) < length)
    return torch.cat([torch.tensor([7.0]), ids]).expand(200, -1).contiguous()


def test_words_are_left_out_as_often_as_asked_and_the_others_keep_their_order() -> None:
    found = columns.thinned(texts(10), Settled(drop_words=0.3), TEXTS, 0, 1, KEYS)
    assert found[:, 0].eq(7).all()
    ids = found[:, 1:]
    assert abs(float((ids > 0).float().mean()) - 0.7) < 0.03
    for row in ids:
        kept = row[row > 0]
        assert bool((kept.diff() > 0).all()) and bool((row[len(kept) :] == 0).all())


def test_a_piece_of_a_text_is_a_piece_and_long_enough() -> None:
    ids = columns.thinned(texts(8), Settled(crop_words=0.5), TEXTS, 0, 1, KEYS)[:, 1:]
    lengths = (ids > 0).sum(dim=1)
    assert int(lengths.min()) >= 4 and int(lengths.max()) == 8 and len(lengths.unique()) > 2
    assert all(bool((row[row > 0].diff() == 1).all()) for row in ids)
    assert {1, 2, 3} <= set(ids[:, 0].int().tolist())  # it begins anywhere


def test_a_text_keeps_one_word_and_an_empty_one_stays_empty() -> None:
    hard = Settled(drop_words=0.99, crop_words=0.99)
    assert (columns.thinned(texts(6), hard, TEXTS, 0, 1, KEYS)[:, 1:] > 0).sum(dim=1).min() == 1
    assert columns.thinned(texts(0), hard, TEXTS, 0, 1, KEYS)[:, 1:].abs().max() == 0
