"""Read what is larger than memory in pieces: a Parquet file as tables of some rows, picture files as blocks of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from isograd.errors import DataError, Fault
from isograd.workbench.data.folders import read_files
from isograd.workbench.data.parquet import broken_parquet, table_of_arrow
from isograd.workbench.data.pictures import Pixels
from isograd.workbench.data.table import Table

MIB = 1 << 20
FIXED, A_COLUMN = 24 * MIB, 4 * MIB
"""Bytes that Arrow takes however small a piece is: for itself, and for each column a page as it is stored and as it is
decompressed (1 MiB each as usually written), with what an allocator keeps. Measured: 10 to 20 MiB for two and three columns."""
_OVERHEAD = 16
"""Bytes that a piece takes at its peak for each byte of its pages. Measured: 8 in Arrow alone, whose buffers grow by doubling
and whose allocator does not give back at once; then the strings are copied thrice on their way to distinct words."""
_CELL, _ROW = 8, 60
"""Bytes of the code or number of a cell, and of the name of a row."""
_BUFFER = 1 << 16


def parquet_pieces(path: Path, *, memory: int) -> Iterator[Table]:
    """The rows of a Parquet file, in order, as tables; all that is held at once stays below ``memory`` bytes.

    Pages are read through a small buffer, so that even one row group of the whole file does not come into memory at once.
    Not bounded: a single row that is larger than ``memory``, and pages and dictionaries of more than 1 MiB a column.
    ``fingerprint`` is that of the whole file; words are coded anew in each piece.

    Raises ``DataError`` for less than 24 MiB and 4 MiB a column, a file that is not whole, and a file without rows.
    """
    with path.open("rb") as content:
        fingerprint = hashlib.file_digest(content, "sha256").hexdigest()
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            if not file.metadata.num_rows:
                raise DataError(f"{path.name} has no rows", where=str(path))
            rows = _rows_per_piece(path, file.metadata, memory)
            for batch in file.iter_batches(batch_size=rows, use_threads=False):
                yield table_of_arrow(path, pa.Table.from_batches([batch]), fingerprint, first=row + 1)
                row += batch.num_rows
                del batch
                pa.default_memory_pool().release_unused()  # an allocator keeps what it was given back, and grows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_parquet(path, error) from error


def _rows_per_piece(path: Path, metadata: pyarrow.parquet.FileMetaData, memory: int) -> int:
    columns = metadata.num_columns
    least = FIXED + A_COLUMN * columns
    if memory < least:
        raise DataError(
            f"{memory:,} bytes are too few to read {path.name} in",
            where=str(path),
            met=f"{columns} columns need {least // MIB} MiB",
            remedy=f"memory = {least}",
        )
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    widest = max(group.total_byte_size / max(group.num_rows, 1) for group in groups)
    rest = memory - (FIXED + A_COLUMN * columns) / 2
    return max(1, int(rest / (_OVERHEAD * widest + 2 * (_CELL * columns + _ROW))))


def picture_pieces(
    paths: Sequence[Path], shape: tuple[int, int, int], *, memory: int, skip_corrupt: bool = False
) -> Iterator[tuple[Pixels, list[int], list[str], list[Fault]]]:
    """The pixels of picture files at ``shape`` = (channels, height, width), in blocks that take at most ``memory`` bytes each.

    Each block is what ``read_files`` gives for its files, the indices counted over all ``paths``. Beside the block, one file
    at a time is decoded: 50 megapixels at most. Raises ``DataError`` for less memory than one picture takes, and, at
    the block where they are met, for files that cannot be read, unless ``skip_corrupt``.
    """
    each = shape[0] * shape[1] * shape[2]
    count = memory // each
    if not count:
        raise DataError(f"one picture of {shape[1]} x {shape[2]} pixels takes {each:,} bytes", met=f"memory = {memory:,}")
    for start in range(0, len(paths), count):
        pixels, kept, hashes, faults = read_files(paths[start : start + count], shape, skip_corrupt=skip_corrupt)
        yield pixels, [start + index for index in kept], hashes, faults
