"""Read IDX files, the form in which MNIST and its relatives are published, gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.sources import PART_NAMES, contents, listing

_NAME = re.compile(r"(?P<stem>.*?)(?P<what>images|labels)[-._]idx\d-ubyte(\.gz)?$", re.IGNORECASE)
_UBYTE = 0x08
_BLOCK = 1 << 22


def is_idx(path: Path) -> bool:
    """Whether a file is named as an IDX file is.

    >>> is_idx(Path("train-images-idx3-ubyte.gz")), is_idx(Path("train.csv"))
    (True, False)
    """
    return _NAME.match(path.name) is not None


def read_array(path: Path) -> tuple[NDArray[np.uint8], str]:
    """The array in one IDX file and the SHA-256 of the file.

    The file is: two zero bytes, the type (8: unsigned byte), the number of axes, each axis's length as a big-endian 32-bit
    number, then the bytes. Raises ``DataError`` for a wrong magic number, another type, and a length that does not fit.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    content = contents(path)
    hashed = hashlib.sha256(content).hexdigest()
    raw = io.BytesIO(content)
    try:
        stream = gzip.GzipFile(fileobj=raw) if content[:2] == b"\x1f\x8b" else raw
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
            raise DataError(
                f"{path.name} is not an IDX file: wrong magic number",
                where=str(path),
                met=f"its first bytes are {magic.hex(' ')}" + (", a web page" if magic.lstrip()[:1] == b"<" else ""),
                remedy="download it again; images begin with 00 00 08 03, labels with 00 00 08 01",
            )
        if magic[2] != _UBYTE:
            raise DataError(
                f"{path.name} holds numbers of IDX type {magic[2]:#04x}, not unsigned bytes (0x08)", where=str(path)
            )
        lengths = stream.read(4 * magic[3])
        if len(lengths) < 4 * magic[3]:
            raise _cut_short(path, "it ends inside its header")
        shape = struct.unpack(f">{magic[3]}I", lengths)
        body = _at_most(stream, math.prod(shape) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _cut_short(path, f"its gzip stream is broken: {error}") from error
    if len(body) != math.prod(shape):
        more = "more than that" if len(body) > math.prod(shape) else f"{len(body):,}"
        raise _cut_short(path, f"{' x '.join(map(str, shape))} needs {math.prod(shape):,} bytes, the file has {more}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape), hashed


def _cut_short(path: Path, met: str) -> DataError:
    return DataError(
        f"{path.name} has the wrong length", where=str(path), met=met, remedy="download it again; it is cut off or damaged"
    )


def _at_most(stream: io.BufferedIOBase | gzip.GzipFile, count: int) -> bytes:
    """Up to ``count`` bytes, in blocks, because a damaged header can ask for more than any memory holds."""
    blocks = []
    while count > 0 and (block := stream.read(min(_BLOCK, count))):
        blocks.append(block)
        count -= len(block)
    return b"".join(blocks)


def read_images(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Pictures (rows, height, width, channels) of one IDX file, and its SHA-256."""
    array, hashed = read_array(path)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise DataError(
            f"{path.name} holds no pictures",
            where=str(path),
            met=f"an array of {' x '.join(map(str, array.shape))}",
            remedy="pictures are rows x height x width, or with 1 or 3 channels as a fourth axis",
        )
    return array, hashed


def read_folder(folder: Path) -> Pictures:
    """All pictures and labels of a folder of IDX files; "train" and "t10k" (or "test") in a name give the part.

    Raises ``DataError`` for pictures without labels (or the reverse), counts or sizes that differ, and two files of one part.
    """
    files = _files(folder)
    pixels, labels, parts, names, hashes = [], [], [], [], []
    for stem, (images_path, labels_path) in sorted(files.items()):
        images, images_hash = read_images(images_path)
        numbers, labels_hash = read_array(labels_path)
        if numbers.ndim != 1 or len(numbers) != len(images):
            raise DataError(
                f"{images_path.name} and {labels_path.name} do not belong together",
                where=str(folder),
                met=f"{len(images):,} pictures and {' x '.join(f'{n:,}' for n in numbers.shape)} labels",
            )
        part = _part(stem)
        pixels.append(images)
        labels.append(numbers)
        parts += [part] * len(images)
        names += [f"{(stem or 'image').rstrip('-._')} {index}" for index in range(len(images))]
        hashes += [images_hash, labels_hash]
    _check(folder, [_part(stem) for stem in sorted(files)], pixels)
    values, codes = np.unique(np.concatenate(labels), return_inverse=True)
    return Pictures(
        pixels=np.concatenate(pixels),
        labels=codes.astype(np.int64),
        classes=tuple(str(value) for value in values.tolist()),
        names=tuple(names),
        fingerprint=hashlib.sha256("".join(hashes).encode()).hexdigest(),
        parts=np.array(parts) if any(parts) else None,
    )


def _part(stem: str) -> str:
    words = re.split(r"[-._\s]+", stem.lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "")


def _files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Stem to its (pictures, labels); a file that is there both gzipped and not is read as it is, not gzipped."""
    found: dict[tuple[str, str], Path] = {}
    for path in listing(folder):
        match = _NAME.match(path.name)
        if match and path.is_file():
            found.setdefault((match["stem"], match["what"].lower()), path)
    pairs = {}
    for stem in sorted({stem for stem, _ in found}):
        for here, other in (("images", "labels"), ("labels", "images")):
            if (stem, other) not in found:
                name = found[stem, here].name
                axes = ("idx3", "idx1") if other == "labels" else ("idx1", "idx3")
                raise DataError(
                    f"{name} has no {other} beside it",
                    where=str(folder),
                    remedy=f"put {name.replace(here, other).replace(*axes)} there too",
                )
        pairs[stem] = (found[stem, "images"], found[stem, "labels"])
    return pairs


def _check(folder: Path, parts: list[str], pixels: list[NDArray[np.uint8]]) -> None:
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice or ("" in parts and len(parts) > 1):
        met = f"two files are for the part {twice[0]!r}" if twice and twice[0] else "some are named train or t10k, some neither"
        raise DataError("these IDX files do not make one data set", where=str(folder), met=met, remedy="one folder a data set")
    sizes = {array.shape[1:] for array in pixels}
    if len(sizes) > 1:
        met = ", ".join(" x ".join(map(str, size)) for size in sorted(sizes))
        raise DataError("the IDX files hold pictures of different sizes", where=str(folder), met=met)
