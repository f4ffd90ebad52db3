"""Change spectra of recordings in batches: another tempo, microphone and beginning, noise, bands and moments hidden.

Legend: N rows, M mel bands, F frames. Inputs are (N, 1, M, F), standardised logarithms of power.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from isograd.records.schema import Encoding, SoundEncoding
from isograd.workbench.data.augment.images import box
from isograd.workbench.data.augment.plan import Settled
from isograd.workbench.data.order import uniforms
from isograd.workbench.data.spectra import FLOOR, logarithms, mel_filters

Keys = NDArray[np.int64]
Powers = NDArray[np.float64]
_SHIFT, _LOUDNESS, _NOISE, _MASKS, _TEMPO, _CURVE = 21, 22, 23, 24, 25, 26
_WAVES = 3
"""Half waves over all bands of which a microphone's curve is made: smooth, and none the same."""


def delayed(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Recordings that begin up to ``time_shift`` of their length earlier or later; silence comes in at the other end."""
    if not plan.time_shift:
        return inputs
    assert encoding.sound is not None
    bands, frames = inputs.shape[2:]
    most = int(plan.time_shift * frames)
    u = uniforms(seed, epoch, keys, _SHIFT)[:, 0]
    later = np.floor(u * (2 * most + 1)).astype(np.int64) - most
    place = torch.arange(frames)[None, :] - torch.from_numpy(later)[:, None]
    there = ((place >= 0) & (place < frames))[:, None, None, :]
    index = place.clamp(0, frames - 1)[:, None, None, :].expand(-1, 1, bands, -1)
    floor = -encoding.sound.span / 10 * math.log(10) if encoding.sound.span else math.log(FLOOR)
    silence = (floor - np.array(encoding.sound.mean)) / np.array(encoding.sound.std)
    quiet = torch.from_numpy(silence.astype(np.float32))[None, None, :, None]
    return torch.where(there, inputs.gather(3, index), quiet)


def voiced(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Recordings as somebody faster or slower would have made them at another microphone.

    Everything is 1 / (1 + ``tempo``) to 1 + ``tempo`` times as fast (between frames logarithms of power are interpolated), and
    bands are louder and quieter by a smooth curve: waves of ``equalize`` decibels at most each.
    Source: Ko et al. 2015, Interspeech (tempo); Nam et al. 2022, arXiv:2110.03282 (bands).
    """
    if not (plan.tempo or plan.equalize):
        return inputs
    sound = encoding.sound
    assert sound is not None
    found = np.log(np.maximum(_powers(inputs, sound), FLOOR))
    bands, frames = found.shape[1:]
    if plan.tempo:
        place = np.arange(frames) * (1 + plan.tempo) ** (2 * uniforms(seed, epoch, keys, _TEMPO) - 1)
        found = np.where(place[:, None] <= frames - 1, _between(found, place), math.log(FLOOR))
    if plan.equalize:
        high = 2 * uniforms(seed, epoch, keys, _CURVE, _WAVES) - 1
        waves = np.cos(math.pi * np.outer(np.arange(1, _WAVES + 1), np.linspace(0, 1, bands)))
        curve = (high[:, :, None] * waves).sum(axis=1) * (plan.equalize / 10 * math.log(10))
        found = found + curve[:, :, None]
    return _inputs(np.exp(found), sound)


def _between(values: Powers, places: Powers) -> Powers:
    """Values (N, M, F) at ``places`` (N, F) between frames, in a straight line; after the last frame, the last."""
    last = values.shape[2] - 1
    places = np.minimum(places, last)[:, None]
    below = places.astype(np.int64)
    lower, upper = (np.take_along_axis(values, np.minimum(below + more, last), 2) for more in (0, 1))
    found: Powers = lower + (upper - lower) * (places - below)
    return found


def _powers(inputs: torch.Tensor, sound: SoundEncoding) -> Powers:
    """Standardised spectra (N, 1, M, F) as powers (N, M, F); with a span, of the recording's loudest band."""
    mean, std = np.array(sound.mean)[:, None], np.array(sound.std)[:, None]
    found: Powers = np.exp(inputs[:, 0].numpy().astype(np.float64) * std + mean)
    return np.maximum(found - 10 ** (-sound.span / 10), 0.0) if sound.span else found


def _inputs(powers: Powers, sound: SoundEncoding) -> torch.Tensor:
    """Powers (N, M, F) as standardised spectra (N, 1, M, F), each measured by its loudest band where there is a span."""
    mean, std = np.array(sound.mean)[:, None], np.array(sound.std)[:, None]
    return torch.from_numpy(((logarithms(powers, sound.span) - mean) / std).astype(np.float32))[:, None]


def noisy(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Recordings with white noise of up to ``noise`` times their own mean power.

    Powers add (the phase between sound and noise is forgotten); the power of noise in a frame varies like an exponential,
    and a band gets as much as its filter is wide. Computed in NumPy, whose sum over a row is the same in any company.
    """
    if not plan.noise:
        return inputs
    sound = encoding.sound
    assert sound is not None
    power = _powers(inputs, sound)
    rows, bands, frames = power.shape
    width = mel_filters(sound.rate, sound.window, sound.mels).sum(axis=1)[:, None]
    level = power.reshape(rows, -1).mean(axis=1) / width.mean() * plan.noise * uniforms(seed, epoch, keys, _LOUDNESS)[:, 0]
    varies = -np.log(uniforms(seed, epoch, keys, _NOISE, bands * frames)).reshape(rows, bands, frames)
    return _inputs(power + level[:, None, None] * width * varies, sound)


def masked(inputs: torch.Tensor, plan: Settled, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Recordings with one run of bands and one of frames at their mean: up to ``mask_bands`` and ``mask_time`` of them.

    Source: Park et al. 2019, SpecAugment, arXiv:1904.08779 (its time warping is left out: it gained least there).
    """
    bands, frames = inputs.shape[2:]
    u = uniforms(seed, epoch, keys, _MASKS, 4)
    none, zero = np.zeros(len(keys)), torch.zeros(())
    if plan.mask_bands:
        low, many = _run(plan.mask_bands, bands, u[:, :2])
        inputs = torch.where(box(low, none, many, none + frames, inputs), zero, inputs)
    if plan.mask_time:
        low, many = _run(plan.mask_time, frames, u[:, 2:])
        inputs = torch.where(box(none, low, none + bands, many, inputs), zero, inputs)
    return inputs


def _run(share: float, of: int, u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a run of up to ``share`` of ``of`` places begins, and how long it is."""
    length = np.floor(u[:, 0] * (np.floor(share * of) + 1))
    return np.floor(u[:, 1] * (of - length + 1)), length
