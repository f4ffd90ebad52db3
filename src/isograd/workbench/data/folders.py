"""Read picture files: a folder of class folders, with or without train/ and test/, or any files for a prediction."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from isograd.errors import DataError, Fault
from isograd.records.schema import Skipped
from isograd.workbench.data import kept
from isograd.workbench.data.pictures import Pictures, Pixels, as_pixels, check_memory
from isograd.workbench.data.sources import IMAGE_SUFFIXES, contents
from isograd.workbench.data.walking import Labelled, refuse, shown, walk

MOST_PIXELS = 50_000_000
"""A picture with more is refused from its header alone: a few bytes can claim a size that takes gigabytes to decode."""
MOST_SIDE = 224
"""Pictures of different sizes are brought to their median size, and to no longer side than this unless image_size says so."""
_GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise on bytes that are not what they claim to be."""


@dataclass(frozen=True, slots=True)
class _Header:
    height: int
    width: int
    grey: bool


@contextlib.contextmanager
def opened(path: Path, source: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Pillow's image, nothing decoded yet; any way in which it can be broken becomes one ``DataError`` that names it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which is decoded all the same, and of size, which is judged here
        try:
            with Image.open(source) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(path, f"{image.width:,} x {image.height:,} pixels")
                yield image
        except Image.DecompressionBombError as error:
            claimed = re.search(r"\d{9,}", str(error))  # Pillow names a bound of its own, which is not the one that counts
            raise _too_large(path, f"{int(claimed[0]):,} pixels" if claimed else str(error)) from error
        except UnidentifiedImageError as error:
            raise DataError(f"{path.name} is not a picture", where=str(path), remedy=_REMEDY) from error
        except _BROKEN as error:
            raise DataError(f"{path.name} cannot be decoded: {error}", where=str(path), remedy=_REMEDY) from error


_REMEDY = "replace or delete it, or go on without such files: --skip-corrupt"


def _too_large(path: Path, met: str) -> DataError:
    return DataError(
        f"{path.name} has more than {MOST_PIXELS // 10**6} megapixels", where=str(path), met=met, remedy="shrink it first"
    )


def header(path: Path) -> _Header:
    """Height, width (as a person would see them, turned by EXIF) and greyness of a picture, from its first bytes."""
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty (0 bytes)", where=str(path), remedy=_REMEDY)
    with opened(path, path) as image:
        if image.mode in ("I", "F"):
            raise DataError(f"{path.name} has 32-bit pixels", where=str(path), remedy="save it with 8 or 16 bits a channel")
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        return _Header(height, width, image.mode in _GREY)


def pixels_of(path: Path, content: bytes, shape: tuple[int, int, int]) -> Pixels:
    """The pixels (height, width, channels) of one file, turned as EXIF says and brought to ``shape``."""
    with opened(path, io.BytesIO(content)) as image:
        image.load()
        return as_pixels(ImageOps.exif_transpose(image), shape)


def read_files(
    paths: Sequence[Path], shape: tuple[int, int, int], *, skip_corrupt: bool
) -> tuple[Pixels, list[int], list[str], list[Fault]]:
    """Decode files to ``shape`` = (channels, height, width): pixels, which files they are, their SHA-256, and what was wrong.

    Memory: one byte a pixel and channel of the result, and one file at a time. Raises ``DataError`` with all faults unless
    ``skip_corrupt``.
    """
    check_memory(len(paths), shape)
    channels, height, width = shape
    pixels = np.empty((len(paths), height, width, channels), dtype=np.uint8)
    good: list[int] = []
    hashes: list[str] = []
    faults: list[Fault] = []
    for index, path in enumerate(paths):
        try:
            header(path)
            content = contents(path)
            pixels[len(good)] = pixels_of(path, content, shape)
        except DataError as error:
            faults += error.faults
            continue
        good.append(index)
        hashes.append(hashlib.sha256(content).hexdigest())
    refuse(faults, skip_corrupt=skip_corrupt)
    return pixels[: len(good)], good, hashes, faults


def read_classes(
    folder: Path, *, size: tuple[int, int] | None = None, skip_corrupt: bool = False, cache: Path | None = None
) -> Pictures:
    """All pictures of a folder of class folders; ``size`` = (height, width) where they are to be resized.

    Grey where every picture is grey, else RGB. Without ``size`` pictures of different sizes are brought to the median height
    and width (224 at most). ``cache`` is where pixels are kept, and read from the next time. Raises ``DataError`` for one class
    or none, an empty class, a class that is only tested on, and pictures that cannot be read.
    """
    found = walk(folder, IMAGE_SUFFIXES, "pictures")
    return gathered(folder, found, size=size, skip_corrupt=skip_corrupt, cache=cache)


def gathered(
    folder: Path, found: Labelled, *, size: tuple[int, int] | None, skip_corrupt: bool, cache: Path | None = None
) -> Pictures:
    """The pictures of labelled files, decoded to one size and to grey or RGB; their names are relative to ``folder``.

    With a ``cache``, many files are decoded once, in blocks, into a file that is memory-mapped: memory holds one block.
    """
    have = None
    if cache is not None and len(found.files) >= kept.LEAST:
        stamp = kept.stamp_of(folder, found.files, [size, skip_corrupt])
        have = kept.opened(cache / "pixels", stamp)
        if have is None and kept.keep(cache / "pixels", stamp, _decoded(folder, found.files, size, skip_corrupt, kept.BLOCK)):
            have = kept.opened(cache / "pixels", stamp)
    facts, pixels = have or _whole(_decoded(folder, found.files, size, skip_corrupt, None))
    rows = np.array(facts.rows)
    return Pictures(
        pixels=pixels,
        labels=found.labels[rows],
        classes=found.classes,
        names=tuple(shown(found.files[index], folder) for index in facts.rows),
        fingerprint=facts.fingerprint,
        parts=found.parts[rows] if found.parts is not None else None,
        skipped=facts.skipped,
        remarks=(*found.remarks, *facts.remarks),
    )


def _whole(pieces: Iterator[tuple[Pixels, kept.Facts]]) -> tuple[kept.Facts, Pixels]:
    """The one piece that comes where no block is bounded."""
    ((pixels, facts),) = pieces
    return facts, pixels


def _decoded(
    folder: Path, files: Sequence[Path], size: tuple[int, int] | None, skip_corrupt: bool, block: int | None
) -> Iterator[tuple[Pixels, kept.Facts]]:
    """The pixels of files in blocks of so many bytes (None: all at once), each with what was found up to it.

    Raises ``DataError`` with all faults at once, before the last block, unless ``skip_corrupt``.
    """
    headers, broken = [], []
    for index, path in enumerate(files):
        try:
            headers.append(header(path))
        except DataError as error:
            broken.append((index, error.faults[0]))
    faults = [fault for _, fault in broken]
    refuse(faults, skip_corrupt=skip_corrupt)
    whole = np.setdiff1d(np.arange(len(files)), [index for index, _ in broken])
    if not len(whole):
        raise DataError(f"no picture in {folder.name} can be read", where=str(folder))
    shape, remarks = _shape(headers, size)
    count = len(whole) if block is None else max(1, block // (shape[0] * shape[1] * shape[2]))
    rows: list[int] = []
    lines: list[str] = []
    late: list[Fault] = []
    for start in range(0, len(whole), count):
        some = whole[start : start + count]
        pixels, good, hashes, wrong = read_files([files[index] for index in some], shape, skip_corrupt=True)
        late += wrong
        if start + count >= len(whole):
            refuse(late, skip_corrupt=skip_corrupt)
        rows += some[good].tolist()
        lines += [f"{shown(files[index], folder)} {one}" for index, one in zip(some[good].tolist(), hashes, strict=True)]
        skipped = tuple(Skipped(shown(Path(fault.where), folder), fault.what) for fault in [*faults, *late])
        fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        told = (len(rows), shape[1], shape[2], shape[0])
        yield pixels, kept.Facts("uint8", told, tuple(rows), fingerprint, skipped, remarks)


def _shape(headers: Sequence[_Header], size: tuple[int, int] | None) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    remarks = []
    grey = Counter(one.grey for one in headers)
    if len(grey) > 1:
        remarks.append(f"{grey[True]:,} grey pictures were read as RGB, like the other {grey[False]:,}")
    sizes = Counter((one.height, one.width) for one in headers)
    found = next(iter(sizes))
    if size is None and len(sizes) > 1:
        medians = (int(np.median([one.height for one in headers])), int(np.median([one.width for one in headers])))
        shrink = min(1.0, MOST_SIDE / max(medians))
        size = (max(1, round(medians[0] * shrink)), max(1, round(medians[1] * shrink)))
        remarks.append(f"pictures of {len(sizes):,} sizes were resized to {size[0]} x {size[1]}; image_size sets another")
    elif size is not None and set(sizes) != {size}:
        remarks.append(f"pictures were resized to {size[0]} x {size[1]}")
    return (1 if grey[False] == 0 else 3, *(size or found)), tuple(remarks)
