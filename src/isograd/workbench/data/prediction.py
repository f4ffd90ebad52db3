"""Read new inputs as the training data was read, and show an encoded picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, Fault, did_you_mean
from isograd.records.schema import ColumnEncoding, Encoding, Skipped
from isograd.workbench.data import folders, idx, pictures, reading, recordings, sequential, spectra, texts, walking
from isograd.workbench.data.cleaning.applying import again, trimmed
from isograd.workbench.data.columns import as_labels
from isograd.workbench.data.features import encode, unseen
from isograd.workbench.data.rows import Rows
from isograd.workbench.data.sources import IMAGE_SUFFIXES, SOUND_SUFFIXES, TABLE_SUFFIXES, TEXT_SUFFIXES, few, listing, locate
from isograd.workbench.data.table import Table
from isograd.workbench.data.tables import read_table
from isograd.workbench.data.tabular import readable, settle
from isograd.workbench.data.tokens import count_unknown

Inputs = NDArray[np.float32]
_DIGIT = re.compile(r"builtin:digits(?::(\d+))?$")


def picture(rows: Rows, i: int, encoding: Encoding, *, for_eyes: bool = True) -> str | None:
    """Row ``i`` as a PNG in base64, as it looked before it was standardised; nothing where the rows are of a table.

    ``for_eyes`` brings it to a size that a person can look at; without it the pixels are those that the network saw.
    """
    if encoding.kind != "images":
        return None
    return pictures.png(pictures.decode(rows.inputs[i].numpy(), encoding), for_eyes=for_eyes)


def read_for_prediction(
    paths_or_values: str | Path | Sequence[str | Path], encoding: Encoding, *, skip_corrupt: bool = False
) -> tuple[Inputs, tuple[str, ...], tuple[Skipped, ...]]:
    """New rows, encoded by the very code that encoded the training rows: inputs, the name of each row, what was left out.

    Takes picture files, folders of them and IDX files (or ``builtin:digits``, ``builtin:digits:7``) for a model of pictures,
    recordings for a model of sounds, tables for a model of a table, tables or archives of sequences for a model of these,
    text files for one of a text. A table may have more columns than the model knows, and may lack the target. Besides rows, the
    third result names columns and values that the model does not know and that were therefore left out.

    Raises ``DataError`` for anything that cannot be read, unless ``skip_corrupt``.
    """
    given = [paths_or_values] if isinstance(paths_or_values, str | Path) else list(paths_or_values)
    if not given:
        raise DataError("nothing to predict: no input was named")
    read = [_read(str(one), encoding, skip_corrupt) for one in given]
    inputs = np.concatenate([one[0] for one in read])
    names = tuple(name for one in read for name in one[1])
    skipped = tuple(skip for one in read for skip in one[2])
    if not len(inputs):
        raise DataError("no input is left to predict", met=f"{len(skipped)} left out, the first: {skipped[0].reason}")
    return inputs, names, skipped


def _read(source: str, encoding: Encoding, skip_corrupt: bool) -> tuple[Inputs, tuple[str, ...], tuple[Skipped, ...]]:
    digit = _DIGIT.match(source)
    if encoding.sequence is not None:
        return sequential.read_again(locate(source, Path()), encoding, skip_corrupt=skip_corrupt)
    if encoding.sound is not None:
        return _from_sounds(locate(source, Path()), source, encoding, skip_corrupt)
    if encoding.image is None:
        if digit:
            raise DataError(f"{source} holds pictures, and this model takes rows of a table", remedy="name a table")
        return _from_table(locate(source, Path()), encoding, skip_corrupt)
    if digit:
        found = pictures.digits()
        last = len(found.names) - 1
        if digit[1] and int(digit[1]) > last:
            raise DataError(f"there is no {source}", remedy=f"builtin:digits:0 to builtin:digits:{last}")
        chosen = slice(None) if digit[1] is None else slice(int(digit[1]), int(digit[1]) + 1)
        return _encoded(found.pixels[chosen], encoding), found.names[chosen], ()
    path = locate(source, Path())
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        pixels, _ = idx.read_images(path)
        return _encoded(pixels, encoding), tuple(f"{path.name} {index}" for index in range(len(pixels))), ()
    return _from_files(path, source, encoding, skip_corrupt)


def _from_table(path: Path, encoding: Encoding, skip_corrupt: bool) -> tuple[Inputs, tuple[str, ...], tuple[Skipped, ...]]:
    if path.suffix.lower() in TEXT_SUFFIXES or (path.is_dir() and reading.kind_of_files(path) == "text"):
        return _from_table_read(_texts(path, encoding, skip_corrupt), path, encoding, skip_corrupt)
    if path.is_dir() or path.suffix.lower() not in TABLE_SUFFIXES:
        met = "a folder" if path.is_dir() else f"a file ending in {path.suffix or 'nothing'}"
        raise DataError(
            "this model takes rows of a table", where=str(path), met=met, remedy=f"one of {', '.join(TABLE_SUFFIXES)}"
        )
    return _from_table_read(read_table(path, skip_corrupt=skip_corrupt), path, encoding, skip_corrupt)


def _texts(path: Path, encoding: Encoding, skip_corrupt: bool) -> Table:
    """Text files as rows, for a model that looks at a single text."""
    names = [column.name for column in encoding.columns]
    if len(names) != 1 or encoding.columns[0].text is None:
        raise DataError(
            "this model takes more than a text", where=str(path), met=f"columns: {few(names, 20)}", remedy="a table"
        )
    files = [path] if path.is_file() else walking.files_of(path, TEXT_SUFFIXES)
    return texts.read_files(files, path if path.is_dir() else path.parent, names[0], skip_corrupt=skip_corrupt)


def _from_table_read(
    table: Table, path: Path, encoding: Encoding, skip_corrupt: bool
) -> tuple[Inputs, tuple[str, ...], tuple[Skipped, ...]]:
    table = again(table, encoding.steps)
    absent = [column.name for column in encoding.columns if column.name not in table.columns]
    if absent:
        raise DataError(
            [
                Fault(
                    f"{path.name} has no column {name!r}, which the model needs",
                    where=str(path),
                    met=f"columns: {few(list(table.columns), 20)}",
                    remedy=did_you_mean(name, table.columns),
                )
                for name in absent
            ]
        )
    table, troubles = settle(table, {column.name: column.kind for column in encoding.columns})
    table = readable(table, troubles, skip_corrupt, needed=True)
    known = {column.name for column in encoding.columns} | {encoding.target}
    extra = [Skipped(f"column {name!r}", "the model does not know it") for name in table.columns if name not in known]
    strange = [(column.name, _strange(table, column)) for column in encoding.columns]
    lost = [Skipped(f"column {name!r}", said) for name, said in strange if said]
    inputs = encode(table.columns, encoding.columns, len(table))
    return inputs, tuple(f"{path.name} {place}" for place in table.places), (*table.skipped, *extra, *lost)


def _strange(table: Table, column: ColumnEncoding) -> str:
    """What a column holds that training never saw, counted; the network sees a category or a word that it does not know."""
    cells = table.columns[column.name]
    if column.text is not None:
        labels = as_labels(cells)
        unknown, every = count_unknown([labels.values[code] for code in labels.codes.tolist() if code >= 0], column.text)
        return f"{unknown:,} of {every:,} tokens are not among the {column.text.size:,} that training kept" if unknown else ""
    trouble = unseen(cells, column)
    if trouble is None:
        return ""
    first, place = trouble.words[0], table.places[trouble.rows[0]]
    count = len(trouble.rows)
    return f"{count:,} value{'s' * (count != 1)} unseen in training, taken as unknown: first {first!r} in {place}"


def _encoded(pixels: pictures.Pixels, encoding: Encoding) -> Inputs:
    assert encoding.image is not None
    return pictures.encode(pictures.reshaped(pixels, encoding.image), encoding)


def _from_files(
    path: Path, source: str, encoding: Encoding, skip_corrupt: bool
) -> tuple[Inputs, tuple[str, ...], tuple[Skipped, ...]]:
    assert encoding.image is not None
    files = [path] if path.is_file() else walking.files_of(path, IMAGE_SUFFIXES)
    names = [source] if path.is_file() else [f"{source.rstrip('/')}/{file.relative_to(path).as_posix()}" for file in files]
    if not files:
        raise DataError(
            f"{path.name} holds no pictures",
            where=str(path),
            met=f"{len(listing(path))} entries, none ending in {', '.join(IMAGE_SUFFIXES)}",
        )
    pixels, kept, _, faults = folders.read_files(files, encoding.image, skip_corrupt=skip_corrupt)
    skipped = tuple(Skipped(Path(fault.where).name, fault.what) for fault in faults)
    return pictures.encode(pixels, encoding), tuple(names[index] for index in kept), skipped


def _from_sounds(
    path: Path, source: str, encoding: Encoding, skip_corrupt: bool
) -> tuple[Inputs, tuple[str, ...], tuple[Skipped, ...]]:
    assert encoding.sound is not None
    files = [path] if path.is_file() else walking.files_of(path, SOUND_SUFFIXES)
    if not files:
        raise DataError(f"{path.name} holds no recordings", where=str(path), met=f"none ending in {', '.join(SOUND_SUFFIXES)}")
    signals, names = [], []
    faults: list[Fault] = []
    for file in files:
        try:
            signal = recordings.mono(recordings.read_sound(file), encoding.sound.rate)
            signals.append(trimmed(signal) if encoding.steps else signal)
            names.append(source if path.is_file() else f"{source.rstrip('/')}/{walking.shown(file, path)}")
        except DataError as error:
            faults += error.faults
    walking.refuse(faults, skip_corrupt=skip_corrupt)
    skipped = tuple(Skipped(Path(fault.where).name, fault.what) for fault in faults)
    return spectra.encode_sounds(signals, encoding), tuple(names), skipped
