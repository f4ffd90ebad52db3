"""Recordings as pictures of their sound: logarithmic mel spectra of one length, standardised by the training part."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from isograd.records.schema import Encoding, SoundEncoding
from isograd.workbench.data.pictures import check_bytes
from isograd.workbench.data.recordings import Signal

Frames = NDArray[np.float64]
FRAME_SECONDS, HOP_SECONDS = 0.025, 0.010
FLOOR = 1e-10
"""Power below which everything is silence: the logarithm must end somewhere (-100 dB of full scale)."""
FAINT = 1e-8
"""Power of a band (-80 dB) that no recording is measured by: one that never gets louder stays quiet, whatever the span."""
MOST_SECONDS = 30.0


def fit_sounds(
    signals: Sequence[Signal], rate: int, classes: Sequence[str], target: str, *, mels: int = 64, span: float = 0.0
) -> Encoding:
    """The encoding of recordings, from training signals: frames of 25 ms every 10 ms, ``mels`` bands, mean and std of each.

    Every recording is cut, or filled up with silence, to the length that 95 % of the training recordings do not exceed (30 s at
    most). Mean and deviation of a band are over the frames that were recorded, not those that were filled up. With a ``span``
    in decibels each recording is measured by its own loudest band, see ``logarithms``.
    """
    lengths = np.array([len(signal) for signal in signals])
    samples = int(min(math.ceil(float(np.quantile(lengths, 0.95))), MOST_SECONDS * rate))
    window = 2 ** math.ceil(math.log2(max(16, FRAME_SECONDS * rate)))
    hop = max(1, round(HOP_SECONDS * rate))
    bare = SoundEncoding(rate, samples, window, hop, min(mels, window // 4), (), (), span)
    total, squares, count = np.zeros(bare.mels), np.zeros(bare.mels), 0
    for signal in signals:
        found = log_mel(signal[:samples], bare)
        total += found.sum(axis=1)
        squares += (found**2).sum(axis=1)
        count += found.shape[1]
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    fitted = replace(bare, mean=tuple(mean.tolist()), std=tuple(deviation.tolist()))
    return Encoding("sound", target, sound=fitted, classes=tuple(classes))


def frames_of(samples: int, encoding: SoundEncoding) -> int:
    """How many frames so many samples have; the last may be filled up with zeros."""
    return 1 + max(0, math.ceil((samples - encoding.window) / encoding.hop))


def log_mel(signal: Signal, encoding: SoundEncoding) -> Frames:
    """Natural logarithm of the power in each mel band of each frame (mels, frames), Hann window, power over the window's sum.

    Source: Davis & Mermelstein 1980, IEEE TASSP 28(4) (mel bands); O'Shaughnessy 1987 (2595 log10(1 + f / 700)).
    """
    count = frames_of(len(signal), encoding)
    padded = np.zeros((count - 1) * encoding.hop + encoding.window)
    padded[: len(signal)] = signal
    starts = np.arange(count)[:, None] * encoding.hop
    window = np.hanning(encoding.window)
    spectrum = np.fft.rfft(padded[starts + np.arange(encoding.window)] * window, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2) / window.sum() ** 2
    return logarithms(mel_filters(encoding.rate, encoding.window, encoding.mels) @ power.T, encoding.span)


def logarithms(powers: Frames, span: float) -> Frames:
    r"""Logarithms of powers (..., mels, frames), those of each recording by its own loudest band where there is a ``span``.

    .. math:: \log \left( \frac{p}{\max(\max p, FAINT)} + 10^{-span/10} \right)

    A gain in front of a recording changes nothing (unless the recording is fainter than ``FAINT`` throughout), and noise that
    lies deeper than the span hardly anything. Range: -span log(10) / 10 to about 0; with ``span`` 0: log(max(p, FLOOR)).

    >>> powers = np.array([[1e-3, 1e-6]])
    >>> logarithms(powers, 30.0).round(3).tolist(), logarithms(100 * powers, 30.0).round(3).tolist()
    ([[0.001, -6.215]], [[0.001, -6.215]])
    """
    if not span:
        found: Frames = np.log(np.maximum(powers, FLOOR))
        return found
    loudest = np.maximum(powers.max(axis=(-2, -1), keepdims=True), FAINT)
    measured: Frames = np.log(powers / loudest + 10 ** (-span / 10))
    return measured


@functools.lru_cache(maxsize=8)
def mel_filters(rate: int, window: int, mels: int) -> Frames:
    """Triangles over the bins of the spectrum (mels, bins), evenly spaced in mels from 0 to half the rate."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    bins = np.arange(window // 2 + 1) * rate / window
    rising = (bins - edges[:-2, None]) / (edges[1:-1, None] - edges[:-2, None])
    falling = (edges[2:, None] - bins) / (edges[2:, None] - edges[1:-1, None])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    empty = triangles.sum(axis=1) == 0  # a band narrower than a bin takes the bin next to its middle
    triangles[empty, np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)[empty]] = 1.0
    return triangles


def encode_sounds(signals: Sequence[Signal], encoding: Encoding) -> NDArray[np.float32]:
    """Recordings at the encoding's rate as inputs (rows, 1, mels, frames); each is computed alone."""
    sound = encoding.sound
    assert sound is not None
    frames = frames_of(sound.samples, sound)
    check_bytes(
        4 * len(signals) * sound.mels * frames, f"the spectra of {len(signals):,} recordings", "cut them into shorter ones"
    )
    inputs = np.empty((len(signals), 1, sound.mels, frames), dtype=np.float32)
    mean, deviation = np.array(sound.mean)[:, None], np.array(sound.std)[:, None]
    for row, signal in enumerate(signals):
        whole = np.zeros(sound.samples, dtype=np.float32)
        whole[: min(len(signal), sound.samples)] = signal[: sound.samples]
        inputs[row, 0] = (log_mel(whole, sound) - mean) / deviation
    return inputs
