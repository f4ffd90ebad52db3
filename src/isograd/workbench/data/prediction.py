"""Read new inputs as the training data was read, whole or in pieces, and show an encoded picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isograd.errors import DataError, Fault
from isograd.records.schema import Encoding, Skipped
from isograd.workbench.data import folders, idx, pictures, recordings, sequential, spectra, walking
from isograd.workbench.data.again import Piece
from isograd.workbench.data.again_pieces import blocks, bytes_again, from_tables, need_again, piece_again
from isograd.workbench.data.cleaning.applying import trimmed
from isograd.workbench.data.pieces import MIB
from isograd.workbench.data.rows import Rows
from isograd.workbench.data.sources import IMAGE_SUFFIXES, SOUND_SUFFIXES, listing, locate
from isograd.workbench.data.stored import MEMORY

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
) -> Piece:
    """New rows, encoded by the very code that encoded the training rows: inputs, the name of each row, what was left out.

    Takes picture files, folders of them and IDX files (or ``builtin:digits``, ``builtin:digits:7``) for a model of pictures,
    recordings for a model of sounds, tables for a model of a table, tables or archives of sequences for a model of these,
    text files for one of a text. A table may have more columns than the model knows, and may lack the target. Besides rows, the
    third result names columns and values that the model does not know and that were therefore left out.

    Raises ``DataError`` for anything that cannot be read, unless ``skip_corrupt``.
    """
    read = list(_all(_given(paths_or_values), encoding, skip_corrupt, None))
    names = tuple(name for one in read for name in one[1])
    return np.concatenate([one[0] for one in read]), names, tuple(skip for one in read for skip in one[2])


def pieces_for_prediction(
    paths_or_values: str | Path | Sequence[str | Path],
    encoding: Encoding,
    *,
    skip_corrupt: bool = False,
    memory: int = MEMORY,
    remark: Callable[[str], None] | None = None,
) -> Iterator[Piece]:
    """The same, in pieces where all of it would take more than ``memory`` MiB; ``remark`` hears where that is so.

    Pieces take a quarter of the memory at most, and their encoded rows 64 MiB: of Parquet, CSV and JSON lines, one file or a
    folder of Parquet files; of folders of pictures, recordings and texts. Not bounded: sequences, IDX files, a single row, file
    or line. Raises ``DataError`` as ``read_for_prediction`` does, for what a piece holds when it comes to it.
    """
    given = _given(paths_or_values)
    need, most = sum(need_again(source, encoding) for source in given), memory * MIB
    if need > most and remark is not None:
        told = f"read as a whole the input takes about {need / MIB:,.0f} MiB, which is more than the memory given"
        remark(f"{told} ({memory:,} MiB): it is read in pieces of {piece_again(most) / MIB:,.0f} MiB at most")
    yield from _all(given, encoding, skip_corrupt, most if need > most else None)


def _given(paths_or_values: str | Path | Sequence[str | Path]) -> list[str]:
    given = [paths_or_values] if isinstance(paths_or_values, str | Path) else list(paths_or_values)
    if not given:
        raise DataError("nothing to predict: no input was named")
    return [str(one) for one in given]


def _all(given: Sequence[str], encoding: Encoding, skip_corrupt: bool, memory: int | None) -> Iterator[Piece]:
    """The pieces of all sources; raises ``DataError`` where they hold no row."""
    rows, lost, first = 0, 0, ""
    for source in given:
        for inputs, names, skipped in _pieces(source, encoding, skip_corrupt, memory):
            rows, lost = rows + len(inputs), lost + len(skipped)
            first = first or (skipped[0].reason if skipped else "")
            yield inputs, names, skipped
    if not rows:
        raise DataError("no input is left to predict", met=f"{lost:,} left out, the first: {first}")


def _pieces(source: str, encoding: Encoding, skip_corrupt: bool, memory: int | None) -> Iterator[Piece]:
    digit = _DIGIT.match(source)
    if encoding.sequence is not None:
        yield sequential.read_again(locate(source, Path()), encoding, skip_corrupt=skip_corrupt)
    elif encoding.sound is not None:
        yield from _from_sounds(locate(source, Path()), source, encoding, skip_corrupt, memory)
    elif encoding.image is None:
        if digit:
            raise DataError(f"{source} holds pictures, and this model takes rows of a table", remedy="name a table")
        yield from from_tables(locate(source, Path()), encoding, skip_corrupt=skip_corrupt, memory=memory)
    elif digit:
        found = pictures.digits()
        last = len(found.names) - 1
        if digit[1] and int(digit[1]) > last:
            raise DataError(f"there is no {source}", remedy=f"builtin:digits:0 to builtin:digits:{last}")
        chosen = slice(None) if digit[1] is None else slice(int(digit[1]), int(digit[1]) + 1)
        yield _encoded(found.pixels[chosen], encoding), found.names[chosen], ()
    else:
        yield from _from_pictures(locate(source, Path()), source, encoding, skip_corrupt, memory)


def _encoded(pixels: pictures.Pixels, encoding: Encoding) -> NDArray[np.float32]:
    assert encoding.image is not None
    return pictures.encode(pictures.reshaped(pixels, encoding.image), encoding)


def _from_pictures(path: Path, source: str, encoding: Encoding, skip_corrupt: bool, memory: int | None) -> Iterator[Piece]:
    assert encoding.image is not None
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        pixels, _ = idx.read_images(path)
        for some in blocks(len(pixels), bytes_again(encoding), memory):
            yield _encoded(pixels[some], encoding), tuple(f"{path.name} {i}" for i in range(some.start, some.stop)), ()
        return
    files = [path] if path.is_file() else walking.files_of(path, IMAGE_SUFFIXES)
    if not files:
        raise DataError(
            f"{path.name} holds no pictures",
            where=str(path),
            met=f"{len(listing(path))} entries, none ending in {', '.join(IMAGE_SUFFIXES)}",
        )
    for some in blocks(len(files), bytes_again(encoding), memory):
        pixels, kept, _, faults = folders.read_files(files[some], encoding.image, skip_corrupt=skip_corrupt)
        names = tuple(_named(files[some][index], path, source) for index in kept)
        yield pictures.encode(pixels, encoding), names, tuple(Skipped(Path(f.where).name, f.what) for f in faults)


def _named(file: Path, path: Path, source: str) -> str:
    return source if path == file else f"{source.rstrip('/')}/{walking.shown(file, path)}"


def _from_sounds(path: Path, source: str, encoding: Encoding, skip_corrupt: bool, memory: int | None) -> Iterator[Piece]:
    assert encoding.sound is not None
    files = [path] if path.is_file() else walking.files_of(path, SOUND_SUFFIXES)
    if not files:
        raise DataError(f"{path.name} holds no recordings", where=str(path), met=f"none ending in {', '.join(SOUND_SUFFIXES)}")
    for some in blocks(len(files), bytes_again(encoding), memory):
        signals, names = [], []
        faults: list[Fault] = []
        for file in files[some]:
            try:
                signal = recordings.mono(recordings.read_sound(file), encoding.sound.rate)
                signals.append(trimmed(signal) if encoding.steps else signal)
                names.append(_named(file, path, source))
            except DataError as error:
                faults += error.faults
        walking.refuse(faults, skip_corrupt=skip_corrupt)
        skipped = tuple(Skipped(Path(fault.where).name, fault.what) for fault in faults)
        yield spectra.encode_sounds(signals, encoding), tuple(names), skipped
