"""Odd files: empty, broken, of another kind than their name says, animated, CMYK, 16-bit, turned by EXIF, or far too large."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from isograd.errors import DataError
from isograd.records.finding import Evidence
from isograd.records.inspection import Doubt
from isograd.records.schema import Skipped
from isograd.workbench.data.doubts.case import MOST_NAMED, Case
from isograd.workbench.data.folders import opened
from isograd.workbench.data.pictures import Pictures, png
from isograd.workbench.data.sources import IMAGE_SUFFIXES
from isograd.workbench.data.walking import files_of, shown

_FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "DIB": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
}
_ORIENTATION = 0x0112
FLAT = 1 / 255
"""Contrast of a picture that holds one colour, but for rounding."""


def unreadable(skipped: Sequence[Skipped], rows: int) -> Iterator[Doubt]:
    """Files and rows that could not be read, by the reason."""
    if not skipped:
        return
    reasons = [f"{skip.name}: {skip.reason}" for skip in skipped]
    yield Doubt(
        "unreadable",
        "warning",
        "files",
        f"{len(skipped):,} {'files or rows' if len(skipped) != 1 else 'file or row'} cannot be read; {rows:,} can.",
        len(skipped),
        (Evidence("share that cannot be read", "unreadable", len(skipped) / (len(skipped) + rows)),),
        tuple(reasons[:MOST_NAMED]),
        "skip_corrupt",
        "repair or delete them, or leave them out: skip_corrupt = true",
    )


def odd_pictures(folder: Path) -> Iterator[Doubt]:
    """Picture files that a reader may take otherwise than a person: nothing is decoded, only headers are read."""
    found: dict[str, list[str]] = {name: [] for name in _SAID}
    files = files_of(folder, IMAGE_SUFFIXES)
    for path in files:
        try:
            with opened(path, path) as image:
                for name, test in _TESTS.items():
                    if test(image, path):
                        found[name].append(shown(path, folder))
        except DataError:
            continue  # it is among the files that cannot be read
    for name, paths in found.items():
        if not paths:
            continue
        severity, said, fix, remedy = _SAID[name]
        yield Doubt(
            name,
            severity,  # type: ignore[arg-type]
            "files",
            f"{len(paths):,} of {len(files):,} pictures {said}",
            len(paths),
            (Evidence("share of the pictures", name.replace(" ", "_"), len(paths) / len(files)),),
            tuple(paths[:MOST_NAMED]),
            fix,
            remedy,
        )


def _misnamed(image: Image.Image, path: Path) -> bool:
    return path.suffix.lower() not in _FORMATS.get(image.format or "", (path.suffix.lower(),))


def _turned(image: Image.Image, path: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return image.getexif().get(_ORIENTATION, 1) not in (0, 1)


_TESTS: dict[str, Callable[[Image.Image, Path], bool]] = {
    "wrong extension": _misnamed,
    "animated": lambda image, _: getattr(image, "n_frames", 1) > 1,
    "CMYK": lambda image, _: image.mode == "CMYK",
    "16-bit": lambda image, _: image.mode.startswith("I;16"),
    "turned by EXIF": _turned,
    "transparent": lambda image, _: image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info,
}
_SAID: dict[str, tuple[str, str, str | None, str]] = {
    "wrong extension": (
        "warning",
        "are of another format than their name says.",
        None,
        "rename them; isograd reads them as they are",
    ),
    "animated": ("warning", "are animated: only the first frame is read.", None, "choose the frame that is meant"),
    "CMYK": ("note", "are in the colours of a printing press; they are turned into RGB.", None, "save them as RGB"),
    "16-bit": (
        "note",
        "have 16 bits a channel, of which the upper 8 are read.",
        None,
        "save them with 8 bits, scaled as you mean",
    ),
    "turned by EXIF": (
        "note",
        "are stored turned; isograd turns them as EXIF says, other programs do not.",
        None,
        "save them upright",
    ),
    "transparent": (
        "note",
        "have transparent parts, whose hidden colours are read.",
        None,
        "lay them on the background you mean",
    ),
}


def blank_pictures(case: Case) -> Iterator[Doubt]:
    """Pictures of one colour."""
    if not isinstance(case.found, Pictures):
        return
    flat = case.traits["contrast"] < FLAT
    if not flat.any():
        return
    rows = np.flatnonzero(flat)
    yield Doubt(
        "blank pictures",
        "warning",
        "files",
        f"{len(rows):,} of {len(case):,} pictures hold one colour only.",
        len(rows),
        (Evidence("share of the pictures", "blank", len(rows) / len(case)),),
        case.places(rows),
        None,
        "delete them, unless nothing is an answer",
        tuple(png(case.found.pixels[row]) for row in rows[:8]),
    )
