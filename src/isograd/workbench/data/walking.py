"""Walk a folder of class folders, with or without train/ and test/: which files there are, of which class and part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, Fault
from isograd.workbench.data.sources import PART_NAMES, PARTS, few, listing

MOST_NAMED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Files with the class number and the part ("train", "validation", "test", where the source has parts) of each."""

    files: list[Path]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: NDArray[np.str_] | None = None
    remarks: tuple[str, ...] = ()


def refuse(faults: Sequence[Fault], *, skip_corrupt: bool) -> None:
    """Raise all faults at once, the first twenty named, unless broken files are to be skipped."""
    if faults and not skip_corrupt:
        rest = len(faults) - MOST_NAMED
        more = [Fault(f"and {rest:,} more files that cannot be read")] if rest > 0 else []
        raise DataError([*faults[:MOST_NAMED], *more])


def shown(path: Path, folder: Path) -> str:
    """A file as a person names it: relative to the folder where it lies in it."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def files_of(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The visible files under a folder with one of some endings, in the order of their paths."""
    return sorted(
        (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.name[0] != "." and path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def part_folders(folder: Path) -> dict[str, Path]:
    """The folders train/, validation/ and test/ (or val, valid, dev) of a folder, training first.

    A class may be called so too: they are parts where they hold folders, and classes where they hold files.
    """
    named = {PART_NAMES[entry.name.lower()]: entry for entry in listing(folder) if entry.name.lower() in PART_NAMES}
    whole = {part: entry for part, entry in named.items() if entry.is_dir() and any(inner.is_dir() for inner in listing(entry))}
    return {part: whole[part] for part in PARTS if part in whole}


def walk(folder: Path, suffixes: Sequence[str], what: str, *, ignored: Sequence[str] = ()) -> Labelled:
    """The files of a folder of class folders, the classes in natural order; ``what`` they are, in the plural, for messages.

    Class folders called as in ``ignored`` are left out with a remark. Raises ``DataError`` for one class or none, an empty
    class folder, a class that is only tested on, and a test folder without a train folder.
    """
    roots = part_folders(folder) or {"": folder}
    if "" not in roots and "train" not in roots:
        raise DataError(f"{folder.name} has a test folder but no train folder", where=str(folder))
    found: list[tuple[Path, str, str]] = []
    remarks = []
    for part, root in roots.items():
        if part in ("", "train"):
            classes = _class_names(root, suffixes, what, ignored)
        for entry in listing(root):
            if not entry.is_dir():
                continue
            if entry.name in ignored:
                remarks.append(f"the folder {shown(entry, folder)} holds no class and was left out")
                continue
            found += [(path, entry.name, part) for path in _files_of_class(entry, classes, suffixes, what)]
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for _, name, _ in found], dtype=np.int64)
    parts = np.array([part for _, _, part in found]) if "" not in roots else None
    return Labelled([path for path, _, _ in found], labels, tuple(classes), parts, tuple(remarks))


def _files_of_class(entry: Path, classes: list[str], suffixes: Sequence[str], what: str) -> list[Path]:
    if entry.name not in classes:
        raise DataError(
            f"class {entry.name!r} has no training {what}", where=str(entry), met=f"classes of train: {few(classes)}"
        )
    files = files_of(entry, suffixes)
    if not files:
        raise DataError(
            f"the class folder {entry.name} has no {what}",
            where=str(entry),
            remedy=f"delete it, or fill it ({', '.join(suffixes)})",
        )
    return files


def _class_names(root: Path, suffixes: Sequence[str], what: str, ignored: Sequence[str]) -> list[str]:
    names = [entry.name for entry in listing(root) if entry.is_dir() and entry.name not in ignored]
    if len(names) < 2:
        loose = sum(entry.suffix.lower() in suffixes for entry in listing(root))
        raise DataError(
            f"{root.name} has {'one class folder' if names else 'no class folders'}: a classification needs at least two",
            where=str(root),
            met=f"the class {names[0]!r}" if names else f"{loose} {what}, in no class folder" if loose else "nothing to read",
            remedy=f"one folder a class, the {what} of the class in it: cats/1{suffixes[0]}, dogs/2{suffixes[0]}",
        )
    return sorted(names, key=class_order)


def class_order(name: str) -> tuple[int, int, str]:
    """The natural order of classes: numbers by their value, then words.

    >>> sorted(["10", "9", "a"], key=class_order)
    ['9', '10', 'a']
    """
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
