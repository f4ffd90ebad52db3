"""Decode and encode once what takes long: memory-mapped files beside the project, named by what they were made of."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DamagedError, StorageError
from isograd.files import new_folder, sweep, verify
from isograd.records import codec
from isograd.records.schema import Skipped

LEAST = 500
"""Fewer files than this are decoded within a second or so, and nothing is kept of them."""
BLOCK = 64 << 20
"""Bytes that are made at once on the way to a file."""
IN_MEMORY = 1 << 30
"""Bytes of encoded rows of one part that are held in memory; larger ones stay on disk, and are read as they are needed."""
_FORM = 1
"""What is in the folder, and how; another number makes all older ones be written anew."""
_FACTS, _VALUES = "facts.json", "values.raw"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the values are: their type and shape, which files their ``rows`` are, and what was found while they were made.

    ``note`` is what belongs to them, such as the encoding that they were made by.
    """

    dtype: str
    shape: tuple[int, ...]
    rows: tuple[int, ...] = ()
    fingerprint: str = ""
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()
    note: str = ""


def stamp_of(folder: Path, files: Sequence[Path], asked: object) -> str:
    """A name for what decoding would give: the files' names, sizes and times of change, and what was ``asked`` of them.

    A file that is changed keeps its stamp only where its size and its time of change, to the nanosecond, stay the same.
    """
    digest = hashlib.sha256(json.dumps(asked).encode())
    for file in files:
        found = file.stat()
        name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)
        digest.update(f"\0{name}\0{found.st_size}\0{found.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def opened(place: Path, stamp: str) -> tuple[Facts, NDArray[Any]] | None:
    """What was kept at a place under a stamp, memory-mapped; nothing where there is none, or a byte of it is not as written.

    Every byte is read and hashed (about 1 GB a second), so that no flipped bit is trained on. Values that are assigned to stay
    in memory alone: the file is never changed.
    """
    folder = place / f"{_FORM}-{stamp[:32]}"
    if not folder.is_dir():
        return None
    try:
        verify(folder)
        facts = codec.loads(Facts, (folder / _FACTS).read_text("utf-8"))
        values = np.memmap(folder / _VALUES, dtype=facts.dtype, mode="c", shape=facts.shape)
    except (DamagedError, OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return facts, np.asarray(values)


def keep(place: Path, stamp: str, pieces: Iterable[tuple[NDArray[Any], Facts]]) -> bool:
    """Write pieces of values one after the other, and the last facts that come; whether the disk took them.

    What was kept at this place under other stamps is removed: it is of other files, or of another size. A disk that is full
    is no failure: nothing is kept then.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        for old in place.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        with new_folder(place / f"{_FORM}-{stamp[:32]}") as aside:
            last = None
            with (aside / _VALUES).open("wb") as file:
                for values, facts in pieces:
                    file.write(np.ascontiguousarray(values).data)
                    last = facts
            (aside / _FACTS).write_text(codec.dumps(last), "utf-8")
    except (StorageError, OSError):
        return False
    return True


def made_once(place: Path, stamp: str, make: Callable[[], Iterable[tuple[NDArray[Any], Facts]]]) -> tuple[Facts, NDArray[Any]]:
    """What is kept at a place under a stamp, made in pieces unless it is there; raises ``StorageError`` for a full disk."""
    have = opened(place, stamp)
    if have is None and keep(place, stamp, make()):
        have = opened(place, stamp)
    if have is None:
        raise StorageError(f"{place} cannot be written, and its rows do not fit into memory", remedy="free some space")
    return have
