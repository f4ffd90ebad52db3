"""Change spectra of recordings in batches: another beginning, white noise, bands and moments hidden.

Legend: N rows, M mel bands, F frames. Inputs are (N, 1, M, F), standardised logarithms of power.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from isograd.records.schema import Encoding
from isograd.workbench.data.augment.images import box
from isograd.workbench.data.augment.plan import Settled
from isograd.workbench.data.order import uniforms
from isograd.workbench.data.spectra import FLOOR, mel_filters

Keys = NDArray[np.int64]
_SHIFT, _LOUDNESS, _NOISE, _MASKS = 21, 22, 23, 24


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
    silence = (np.log(FLOOR) - np.array(encoding.sound.mean)) / np.array(encoding.sound.std)
    quiet = torch.from_numpy(silence.astype(np.float32))[None, None, :, None]
    return torch.where(there, inputs.gather(3, index), quiet)


def noisy(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Recordings with white noise of up to ``noise`` times their own mean power.

    Powers add (the phase between sound and noise is forgotten); the power of noise in a frame varies like an exponential,
    and a band gets as much as its filter is wide. Computed in NumPy, whose sum over a row is the same in any company.
    """
    if not plan.noise:
        return inputs
    sound = encoding.sound
    assert sound is not None
    mean, std = np.array(sound.mean)[:, None], np.array(sound.std)[:, None]
    power = np.exp(inputs[:, 0].numpy().astype(np.float64) * std + mean)
    rows, bands, frames = power.shape
    width = mel_filters(sound.rate, sound.window, sound.mels).sum(axis=1)[:, None]
    level = power.reshape(rows, -1).mean(axis=1) / width.mean() * plan.noise * uniforms(seed, epoch, keys, _LOUDNESS)[:, 0]
    varies = -np.log(uniforms(seed, epoch, keys, _NOISE, bands * frames)).reshape(rows, bands, frames)
    loud = np.log(np.maximum(power + level[:, None, None] * width * varies, FLOOR))
    return torch.from_numpy(((loud - mean) / std).astype(np.float32))[:, None]


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
