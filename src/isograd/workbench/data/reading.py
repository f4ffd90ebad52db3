"""Read a source of any kind as it is: a table, pictures or recordings; nothing is split, fitted or encoded here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from isograd.errors import DataError, did_you_mean
from isograd.workbench.data import folders, idx, pictures
from isograd.workbench.data.arrays import read_npz
from isograd.workbench.data.labelled import read_labelled
from isograd.workbench.data.pictures import Pictures
from isograd.workbench.data.pieces import MIB
from isograd.workbench.data.queries import is_database, read_query
from isograd.workbench.data.recordings import Recordings, read_recordings
from isograd.workbench.data.sources import (
    IMAGE_SUFFIXES,
    PARQUET_SUFFIXES,
    READS,
    SOUND_SUFFIXES,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    few,
    listing,
    locate,
)
from isograd.workbench.data.stored import MEMORY, Asked, need_of, stored_table
from isograd.workbench.data.table import Table
from isograd.workbench.data.tables import part_tables, read_parts, read_several, read_table, several_parquet
from isograd.workbench.data.texts import read_texts

BUILTIN = "builtin:digits"


@dataclass(frozen=True, slots=True)
class Source:
    """What a person says of where their data is; ``name`` is relative to ``base``.

    ``query`` is for databases, ``files`` names the column of picture files in a table of labels, ``label_pattern`` tells
    labels from names of recordings, ``target`` names the label, ``image_size`` is (height, width) of pictures,
    ``cache`` a folder in which what was decoded is kept for the next time, ``memory`` the MiB that reading a table may take.
    ``sequence`` and ``time`` name the columns that say which rows of a table belong together and in which order.
    """

    name: str
    base: Path
    target: str | None = None
    query: str | None = None
    files: str | None = None
    label_pattern: str | None = None
    image_size: tuple[int, int] | None = None
    cache: Path | None = None
    memory: int = MEMORY
    sequence: str | None = None
    time: str | None = None


def read(source: Source, *, task: str | None = None, skip_corrupt: bool = False) -> Table | Pictures | Recordings:
    """Read all of a source; the ``task`` decides only whether a table is one of labels for pictures.

    ``skip_corrupt`` leaves out files and rows that cannot be read, and lists them. Raises ``DataError`` for everything that
    cannot be used, and for a query, a column of files or a pattern that the source has no use for.
    """
    database = is_database(source.name)
    _refuse_misplaced(source, database)
    if source.name.startswith("builtin:"):
        if source.name != BUILTIN:
            raise DataError(f"there is no {source.name}", remedy=did_you_mean(source.name, [BUILTIN]) or BUILTIN)
        return pictures.resized(pictures.digits(), source.image_size)
    if database:
        return _labelled(read_query(source.name, source.query, source.base), source, task, skip_corrupt)
    path = locate(source.name, source.base)
    if path.is_file():
        return _read_file(path, source, task, skip_corrupt)
    if source.label_pattern:
        return read_recordings(path, pattern=source.label_pattern, skip_corrupt=skip_corrupt, cache=source.cache)
    if part_tables(path) or several_parquet(path):
        return _labelled(_tables(path, source, skip_corrupt), source, task, skip_corrupt)
    return _read_folder(path, source, skip_corrupt)


def _refuse_misplaced(source: Source, database: bool) -> None:
    if source.query is not None and not database:
        raise DataError("query is for databases", where=f'source = "{source.name}"', remedy='source = "sqlite:///shop.db"')
    if source.label_pattern is not None and (database or Path(source.name).suffix.lower() in TABLE_SUFFIXES):
        raise DataError("label_pattern is for a folder of recordings", where=f'source = "{source.name}"')


def _read_file(path: Path, source: Source, task: str | None, skip_corrupt: bool) -> Table | Pictures:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        found = read_npz(path, source.target or "label")
        return pictures.resized(found, source.image_size) if isinstance(found, Pictures) else found
    if suffix not in TABLE_SUFFIXES:
        lies_in_a_folder = idx.is_idx(path) or suffix in (*IMAGE_SUFFIXES, *SOUND_SUFFIXES, *TEXT_SUFFIXES)
        remedy = "name the folder that holds it" if lies_in_a_folder else f"a source is {READS}"
        raise DataError(f"{path.name} is of no kind that is read here", where=str(path), remedy=remedy)
    return _labelled(_table(path, source, skip_corrupt), source, task, skip_corrupt)


def _table(path: Path, source: Source, skip_corrupt: bool) -> Table:
    """One table, on disk where it is a Parquet file that would take more memory than is given."""
    stored = _stored(Asked(path, (path,)), source)
    return stored if stored is not None else read_table(path, skip_corrupt=skip_corrupt)


def _tables(folder: Path, source: Source, skip_corrupt: bool) -> Table:
    """The tables of a folder as one: a file a part, or several Parquet files; on disk where they are too large."""
    parts = part_tables(folder)
    if not parts:
        files = several_parquet(folder)
        stored = _stored(Asked(folder, files), source)
        return stored if stored is not None else read_several(folder, files, skip_corrupt=skip_corrupt)
    stored = _stored(Asked(folder, tuple(parts.values()), tuple(parts)), source)
    return stored if stored is not None else read_parts(folder, skip_corrupt=skip_corrupt)


def _stored(asked: Asked, source: Source) -> Table | None:
    """Parquet files as a table on disk, where together they would take more memory than is given; else nothing."""
    if any(path.suffix.lower() not in PARQUET_SUFFIXES for path in asked.files):
        return None
    need, most = sum(map(need_of, asked.files)), source.memory * MIB
    if need <= most:
        return None
    if source.cache is None:
        raise DataError(
            f"{asked.where.name} is larger than the memory that is given, and there is no folder to keep its columns in",
            where=str(asked.where),
            met=f"read as a whole it takes about {need / MIB:,.0f} MiB; memory = {source.memory}",
            remedy=f"cache = true under [data], or memory = {-(-need // MIB)}",
        )
    return stored_table(asked, source.cache / "columns", memory=most)


def _labelled(table: Table, source: Source, task: str | None, skip_corrupt: bool) -> Table | Pictures:
    """The table itself, or the pictures that it labels, where these are what was asked for."""
    if source.files is None and task != "image-classification":
        return table
    if is_database(source.name):
        raise DataError("pictures cannot lie in a database here", where=table.where, remedy="a table of file names and labels")
    return read_labelled(
        table,
        target=source.target,
        files=source.files,
        size=source.image_size,
        skip_corrupt=skip_corrupt,
        cache=source.cache,
    )


def _read_folder(folder: Path, source: Source, skip_corrupt: bool) -> Table | Pictures | Recordings:
    entries = listing(folder)
    if not entries:
        raise DataError(f"the folder {folder.name} is empty", where=str(folder), remedy=f"a source is {READS}")
    loose = [entry.name for entry in entries if entry.suffix.lower() in TABLE_SUFFIXES]
    if loose and not any(entry.is_dir() for entry in entries):
        raise DataError(
            f"{folder.name} holds tables, but none called train",
            where=str(folder),
            met=few(loose),
            remedy=f'source = ".../{loose[0]}"',
        )
    if any(idx.is_idx(entry) for entry in entries):
        return pictures.resized(idx.read_folder(folder), source.image_size)
    kind = kind_of_files(folder)
    if kind == "sound":
        if not any(entry.is_dir() for entry in entries):
            raise DataError(
                f"{folder.name} holds recordings in no class folders",
                where=str(folder),
                remedy='label_pattern = "{label}_{speaker}_{take}" tells labels from names such as 7_ann_0.wav',
            )
        return read_recordings(folder, skip_corrupt=skip_corrupt, cache=source.cache)
    if kind == "text":
        return read_texts(folder, source.target or "label", skip_corrupt=skip_corrupt)
    return folders.read_classes(folder, size=source.image_size, skip_corrupt=skip_corrupt, cache=source.cache)


def kind_of_files(folder: Path) -> str:
    """Whether most files of a folder are "image", "sound" or "text" by their names; "image" where there are none of these."""
    kinds = dict.fromkeys(IMAGE_SUFFIXES, "image") | dict.fromkeys(SOUND_SUFFIXES, "sound")
    kinds |= dict.fromkeys(TEXT_SUFFIXES, "text")
    counts = Counter(kinds.get(path.suffix.lower(), "") for path in folder.rglob("*") if path.name[0] != ".")
    del counts[""]
    return counts.most_common(1)[0][0] if counts else "image"
