"""Write so that nothing can be half-written: atomic files and folders, an append-only journal, a SHA-256 manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from isograd.errors import DamagedError, StorageError

MANIFEST = "manifest.json"
_ASIDE = ".aside-"


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}",
            where=str(path),
            remedy="free some space or name another folder; what was there before is unharmed",
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there, and a rename is already durable
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or none: aside, fsync, rename, fsync of the folder. Raises ``StorageError``."""
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=_ASIDE, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(aside, 0o644)
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` of UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears whole, with its manifest, or not at all.

    Gives a folder aside to write into; at the end every file in it is hashed into ``manifest.json``, all is fsynced, and the
    folder is renamed to ``path``, which must not exist. Raises ``StorageError``; what an interrupted writer left aside is
    removed by ``sweep``.
    """
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise StorageError(f"{path} exists already", remedy="name another folder")
        aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=path.parent))
    try:
        yield aside
        with _disk(path):
            write_bytes(aside / MANIFEST, json.dumps(_hashes(aside), indent=1, sort_keys=True).encode())
            for file in aside.rglob("*"):
                with open(file, "rb") if file.is_file() else contextlib.nullcontext() as opened:
                    if opened is not None:
                        os.fsync(opened.fileno())
                    else:
                        _sync_folder(file)
            _sync_folder(aside)
            os.chmod(aside, 0o755)
            os.rename(aside, path)
            _sync_folder(path.parent)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):  # the body's own writing met a full disk
            with _disk(path):
                raise
        raise


def sweep(folder: Path) -> None:
    """Remove what interrupted writers left aside in ``folder``."""
    for aside in folder.glob(_ASIDE + "*"):
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }


def verify(folder: Path) -> dict[str, str]:
    """The hashes of a folder written by ``new_folder``; raises ``DamagedError`` naming every file that is not as written."""
    manifest = folder / MANIFEST
    try:
        promised = json.loads(manifest.read_text("utf-8"))
        found = _hashes(folder)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{folder}: its manifest cannot be read: {error}", where=str(manifest)) from error
    if not isinstance(promised, dict):
        raise DamagedError(f"{folder}: its manifest is not a list of files", where=str(manifest))
    wrong = sorted(name for name in promised.keys() | found.keys() if promised.get(name) != found.get(name))
    if wrong:
        raise DamagedError(
            f"{folder}: {', '.join(wrong)} {'does' if len(wrong) == 1 else 'do'} not match the recorded SHA-256",
            where=str(folder),
        )
    return promised


def append_line(path: Path, line: str) -> None:
    """Append one line to a journal and fsync it; a torn last line of a killed writer is cut off first."""
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            _cut_torn_tail(file)
            file.write(line.encode("utf-8") + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _cut_torn_tail(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    end = size
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        block = file.read(end - start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        file.truncate(end)


def read_lines(path: Path) -> list[str]:
    """The whole lines of a journal; a last line without its end was never finished and is left out."""
    text = path.read_text("utf-8", errors="replace")
    return text.split("\n")[:-1]
