"""Hold pictures as read, and turn them into network inputs and back: one implementation for training and prediction."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isograd.errors import DataError
from isograd.records.schema import Encoding, Skipped
from isograd.workbench.data import kept

Pixels = NDArray[np.uint8]
LEAST_SIDE, MOST_SIDE = 32, 64
"""Pixels: a picture in a report is enlarged to the first and shrunk to the second, so that a page of them stays small."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Labelled pictures of one size: ``pixels`` uint8 (rows, height, width, channels), ``labels`` int64 (rows,).

    ``parts`` names the part of each row ("train", "validation", "test") where the source has parts.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    fingerprint: str
    parts: NDArray[np.str_] | None = None
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()


def digits() -> Pictures:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey; their values 0 .. 16 are stretched to 0 .. 255.

    >>> digits().pixels.shape
    (1797, 8, 8, 1)
    """
    from sklearn.datasets import load_digits  # a second to import, and only this source needs it

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    return Pictures(
        pixels=pixels,
        labels=labels,
        classes=tuple(str(digit) for digit in range(10)),
        names=tuple(f"digit {index}" for index in range(len(labels))),
        fingerprint=hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest(),
    )


def fit(pixels: Pixels, classes: Sequence[str], target: str, rows: NDArray[np.int64] | None = None) -> Encoding:
    """The encoding of pictures (rows, height, width, channels), from all or some ``rows``: mean and deviation of each channel.

    Unit: a pixel is 0 to 1. A channel that never varies gets the deviation 1.

    >>> fit(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), ("a", "b"), "label").channel_mean
    (0.5,)
    """
    height, width, channels = pixels.shape[1:]
    value = np.arange(256) / 255
    means, deviations = [], []
    chosen = np.arange(len(pixels)) if rows is None else rows
    counts = np.zeros((channels, 256), dtype=np.int64)
    block = max(1, kept.BLOCK // (9 * height * width * channels))  # they may lie on disk; counting takes 8 bytes a pixel
    for start in range(0, len(chosen), block):
        some = pixels[chosen[start : start + block]]
        for channel in range(channels):
            counts[channel] += np.bincount(some[..., channel].reshape(-1), minlength=256)
    for channel in range(channels):
        share = counts[channel] / counts[channel].sum()
        mean = float(share @ value)
        means.append(mean)
        deviations.append(float(np.sqrt(share @ (value - mean) ** 2)) or 1.0)
    return Encoding(
        kind="images",
        target=target,
        image=(channels, height, width),
        channel_mean=tuple(means),
        channel_std=tuple(deviations),
        classes=tuple(classes),
    )


def encode(pixels: Pixels, encoding: Encoding) -> NDArray[np.float32]:
    """Pixels (rows, height, width, channels) as inputs (rows, channels, height, width): (pixel / 255 - mean) / deviation.

    Each pixel is looked up in a table of 256 values, so a row alone gets the very bits it gets among others.
    """
    table = _table(encoding)
    rows, height, width, channels = pixels.shape
    inputs = np.empty((rows, channels, height, width), dtype=np.float32)
    for channel in range(channels):
        np.take(table[channel], pixels[..., channel], out=inputs[:, channel], mode="clip")
    return inputs


def _table(encoding: Encoding) -> NDArray[np.float32]:
    mean, std = np.array(encoding.channel_mean)[:, None], np.array(encoding.channel_std)[:, None]
    table: NDArray[np.float32] = ((np.arange(256) / 255 - mean) / std).astype(np.float32)
    return table


def decode(image: NDArray[np.float32], encoding: Encoding) -> Pixels:
    """One encoded picture (channels, height, width) as the pixels (height, width, channels) it was made of."""
    mean, std = np.array(encoding.channel_mean)[:, None, None], np.array(encoding.channel_std)[:, None, None]
    value = np.rint((image.astype(np.float64) * std + mean) * 255)
    pixels: Pixels = np.clip(value, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return pixels


def as_image(pixels: Pixels) -> Image.Image:
    """Pillow's image of pixels (height, width, channels), grey or RGB."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def as_pixels(image: Image.Image, shape: tuple[int, int, int]) -> Pixels:
    """Pixels (height, width, channels) of Pillow's image, brought to ``shape`` = (channels, height, width).

    Resizing is bilinear over the area that a new pixel covers, so that shrinking does not alias.
    """
    channels, height, width = shape
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def reshaped(pixels: Pixels, shape: tuple[int, int, int]) -> Pixels:
    """Pictures (rows, height, width, channels) brought to ``shape`` = (channels, height, width), one by one."""
    channels, height, width = shape
    if pixels.shape[1:] == (height, width, channels):
        return pixels
    check_memory(len(pixels), shape)
    return np.stack([as_pixels(as_image(row), shape) for row in pixels])


def resized(pictures: Pictures, size: tuple[int, int] | None) -> Pictures:
    """The same pictures at ``size`` = (height, width), with a remark where that changed them."""
    height, width, channels = pictures.pixels.shape[1:]
    if size is None or size == (height, width):
        return pictures
    remark = f"pictures of {height} x {width} pixels were resized to {size[0]} x {size[1]}"
    pixels = reshaped(pictures.pixels, (channels, *size))
    return replace(pictures, pixels=pixels, remarks=(*pictures.remarks, remark))


def check_memory(rows: int, shape: tuple[int, int, int]) -> None:
    """Raise ``DataError`` where the pictures, as bytes and as float32, would not fit into this machine's memory."""
    need = rows * shape[0] * shape[1] * shape[2] * 5
    what = f"{rows:,} pictures of {shape[1]} x {shape[2]} pixels"
    check_bytes(need, what, "set a smaller image_size, such as [64, 64]")


def check_bytes(need: int, what: str, remedy: str) -> None:
    """Raise ``DataError`` where so many bytes are more than 80 % of this machine's memory."""
    try:
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # no such question on this system
        return
    if need > 0.8 * have:
        raise DataError(
            f"{what} need {need / 2**30:,.1f} GiB of memory", met=f"this machine has {have / 2**30:,.1f} GiB", remedy=remedy
        )


def png(pixels: Pixels, *, for_eyes: bool = True) -> str:
    r"""A PNG in base64 of pixels (height, width, channels); for eyes enlarged by a whole factor to 32 pixels, shrunk to 64.

    >>> base64.b64decode(png(np.zeros((8, 8, 1), np.uint8)))[:4]
    b'\x89PNG'
    """
    image = as_image(pixels)
    if for_eyes:
        factor = -(-LEAST_SIDE // min(image.size))
        if factor > 1:
            image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        image.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
