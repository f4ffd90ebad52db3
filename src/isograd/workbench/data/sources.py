"""Find a source on disk: expand it, read its bytes, say clearly what is missing."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from isograd.errors import DataError, did_you_mean

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (".csv", ".tsv", *PARQUET_SUFFIXES, ".jsonl", ".ndjson")
TEXT_SUFFIXES = (".txt",)
SOUND_SUFFIXES = (".wav", ".flac", ".ogg")
PART_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",
}
_BLOCK = 4 << 20
PARTS = ("train", "validation", "test")
READS = (
    "a CSV, TSV, Parquet or JSON lines table, a folder of Parquet files, the URL of a database, an .npz archive, a folder of "
    "class folders of images, recordings or texts, a folder of IDX files, or builtin:digits"
)


def expanded(source: str) -> str:
    """A source with each ``$NAME`` put in from the environment; raises ``DataError`` for one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise DataError(
                f"the environment variable {name} is not set",
                where=f'source = "{source}"',
                remedy=f"export {name}=... (what stands for it), or write it out",
            )
        return os.environ[name]

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, source)


def locate(source: str, base: Path) -> Path:
    """The file or folder that ``source`` names, relative to ``base``, with ``~`` and ``$NAME`` expanded.

    Raises ``DataError`` for a variable that is not set and for a path that is not there.
    """
    named = Path(os.path.expanduser(expanded(source)))
    path = named if named.is_absolute() else base / named
    if not source.strip() or "\0" in source or not path.exists():
        raise DataError(
            f"there is no file or folder {source!r}", where=str(path), remedy=_neighbour(path) or f"a source is {READS}"
        )
    return path


def _neighbour(path: Path) -> str:
    try:
        return did_you_mean(path.name, (near.name for near in path.parent.iterdir()))
    except (OSError, ValueError):
        return ""


def contents(path: Path) -> bytes:
    """The bytes of a file; raises ``DataError`` where there are none or they cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}", where=str(path)) from error
    if not content:
        raise _empty(path)
    return content


def utf8(path: Path, content: bytes) -> str:
    """The text of a file; raises ``DataError`` with the line of the first byte that is not UTF-8, and for UTF-16."""
    _refuse_other(path, content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
        raise _not_utf8(path, content.count(b"\n", 0, at) + 1, content[at], at) from error


def checked_utf8(path: Path) -> tuple[str, int]:
    """SHA-256 and lines of a text file that need not fit into memory; raises ``DataError`` as ``contents`` and ``utf8`` do."""
    digest, decoder, begin, lines = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), 0, 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                _refuse_other(path, block, first=not begin)
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:  # what was left of the block before stands at its beginning
                    at = begin - (len(error.object) - len(block)) + error.start
                    line = lines + error.object.count(b"\n", 0, error.start) + 1
                    raise _not_utf8(path, line, error.object[error.start], at) from error
                digest.update(block)
                begin, lines = begin + len(block), lines + block.count(b"\n")
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}", where=str(path)) from error
    if not begin:
        raise _empty(path)
    if decoder.getstate()[0]:
        raise _not_utf8(path, lines + 1, decoder.getstate()[0][0], begin - len(decoder.getstate()[0]))
    return digest.hexdigest(), lines


def _refuse_other(path: Path, content: bytes, *, first: bool = True) -> None:
    """Raise ``DataError`` for bytes that are UTF-16, or no text."""
    marked = first and content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if marked or b"\0" in content:
        kind = "UTF-16" if marked else "not text (it has zero bytes)"
        raise DataError(f"{path.name} is {kind}, not UTF-8", where=str(path), remedy="save it in UTF-8")


def _not_utf8(path: Path, line: int, byte: int, at: int) -> DataError:
    return DataError(
        f"{path.name} is not UTF-8",
        where=f"{path}, line {line}",
        met=f"byte {byte:#04x} at position {at:,}",
        remedy="save it as UTF-8; an older file is often Windows-1252: iconv -f WINDOWS-1252 -t UTF-8",
    )


def _empty(path: Path) -> DataError:
    return DataError(f"{path.name} is empty (0 bytes)", where=str(path), remedy="export or download it again")


def listing(folder: Path) -> list[Path]:
    """The visible entries of a folder by name; raises ``DataError`` where it cannot be read."""
    try:
        return sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder {folder.name} cannot be read: {error.strerror or error}", where=str(folder)) from error


def few(things: Sequence[str], most: int = 5) -> str:
    """The first of many, as text.

    >>> few(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(things) - most
    return ", ".join(things[:most]) + (f" and {rest:,} more" if rest > 0 else "")
