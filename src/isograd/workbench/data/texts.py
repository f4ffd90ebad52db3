"""Read text files in class folders, the layout of the Large Movie Review Dataset, as a table of texts and labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from isograd.errors import DataError, Fault
from isograd.records.schema import Skipped
from isograd.workbench.data.columns import Words
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
    known: dict[str, int] = {}
    codes, rows, hashes, faults = [], [], [], []
    for index, path in enumerate(found.files):
        try:
            content = contents(path)
            text = utf8(path, content).strip()
            if not text:
                raise DataError(f"{path.name} holds blanks only", where=str(path), remedy="delete it")
        except DataError as error:
            faults.append(Fault(error.faults[0].what, where=str(path), met=error.faults[0].met, remedy=error.faults[0].remedy))
            continue
        codes.append(known.setdefault(text, len(known)))
        rows.append(index)
        hashes.append(f"{shown(path, folder)} {hashlib.sha256(content).hexdigest()}")
    refuse(faults, skip_corrupt=skip_corrupt)
    if not rows:
        raise DataError(f"no text in {folder.name} can be read", where=str(folder))
    kept = np.array(rows, dtype=np.int64)
    return Table(
        where=str(folder),
        columns={TEXT: Words(np.array(codes, dtype=np.int64), tuple(known)), target: Words(found.labels[kept], found.classes)},
        places=tuple(shown(found.files[row], folder) for row in rows),
        fingerprint=hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
        parts=found.parts[kept] if found.parts is not None else None,
        skipped=tuple(Skipped(shown(Path(fault.where), folder), fault.what) for fault in faults),
        remarks=found.remarks,
    )
