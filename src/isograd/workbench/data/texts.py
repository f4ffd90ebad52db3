"""Read text files in class folders, the layout of the Large Movie Review Dataset, as a table of texts and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from isograd.errors import DataError, Fault
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Codes, Words
from isograd.workbench.data.sources import TEXT_SUFFIXES, contents, utf8
from isograd.workbench.data.table import Table
from isograd.workbench.data.walking import refuse, shown, walk

TEXT = "text"
UNLABELLED = ("unsup", "unlabelled", "unlabeled")
"""Folders that published sets keep beside those of the classes, for texts without a label."""


def read_texts(folder: Path, target: str, *, skip_corrupt: bool = False) -> Table:
    """Every .txt file of a folder of class folders as a row: its text, and its class as the column ``target``.

    Raises ``DataError`` for empty files, files that are not UTF-8 text, and everything a folder of classes is refused for.
    """
    found = walk(folder, TEXT_SUFFIXES, "texts", ignored=UNLABELLED)
    texts, kept, faults, fingerprint = _read(found.files, folder, skip_corrupt)
    return Table(
        where=str(folder),
        columns={TEXT: texts, target: Words(found.labels[kept], found.classes)},
        places=tuple(shown(found.files[row], folder) for row in kept),
        fingerprint=fingerprint,
        parts=found.parts[kept] if found.parts is not None else None,
        skipped=tuple(Skipped(shown(Path(fault.where), folder), fault.what) for fault in faults),
        remarks=found.remarks,
    )


def read_files(files: Sequence[Path], folder: Path, name: str, *, skip_corrupt: bool = False) -> Table:
    """Text files as a table of one column ``name``; raises ``DataError`` as ``read_texts`` does."""
    texts, kept, faults, fingerprint = _read(files, folder, skip_corrupt)
    skipped = tuple(Skipped(shown(Path(fault.where), folder), fault.what) for fault in faults)
    places = tuple(shown(files[row], folder) for row in kept)
    return Table(str(folder), {name: texts}, places, fingerprint, skipped=skipped)


def _read(files: Sequence[Path], folder: Path, skip_corrupt: bool) -> tuple[Words, Codes, list[Fault], str]:
    """The texts of files, which files they are, what is wrong with the others, and the fingerprint."""
    known: dict[str, int] = {}
    codes, rows, hashes, faults = [], [], [], []
    for index, path in enumerate(files):
        try:
            content = contents(path)
            text = utf8(path, content).strip()
            if not text:
                raise DataError(f"{path.name} holds blanks only", where=str(path), remedy="delete it")
        except DataError as error:
            faults.append(replace(error.faults[0], where=str(path)))
            continue
        codes.append(known.setdefault(text, len(known)))
        rows.append(index)
        hashes.append(f"{shown(path, folder)} {hashlib.sha256(content).hexdigest()}")
    refuse(faults, skip_corrupt=skip_corrupt)
    if not rows:
        raise DataError(f"no text in {folder.name} can be read", where=str(folder))
    fingerprint = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return Words(np.array(codes, dtype=np.int64), tuple(known)), np.array(rows, dtype=np.int64), faults, fingerprint
