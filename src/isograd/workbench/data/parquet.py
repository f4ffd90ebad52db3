"""Read Parquet through Arrow: one whole file, or the part of one that Arrow hands out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from isograd.errors import DataError
from isograd.workbench.data.columns import Cells, Numbers, Words
from isograd.workbench.data.places import Places
from isograd.workbench.data.table import Table, refuse_duplicates


def read_parquet(path: Path, content: bytes) -> Table:
    """A whole Parquet file; columns that are neither numbers, words, truths nor times are left out with a remark."""
    try:
        read = pyarrow.parquet.read_table(pa.BufferReader(content))
        read.validate(full=True)  # a damaged file may decode to offsets that point nowhere
        return table_of_arrow(path, read, hashlib.sha256(content).hexdigest())
    except (pa.ArrowException, OSError, ValueError) as error:  # a name or a word may be no UTF-8
        raise broken_parquet(path, error) from error


def broken_parquet(path: Path, error: Exception) -> DataError:
    """The message for a file that Arrow cannot read."""
    return DataError(
        f"{path.name} is not a whole Parquet file",
        where=str(path),
        met=(str(error) or type(error).__name__).splitlines()[0],
        remedy="export it again",
    )


def table_of_arrow(path: Path, read: pa.Table, fingerprint: str, *, first: int = 1) -> Table:
    """Arrow's rows as a table; ``first`` is the number of its first row in the file."""
    names = read.column_names
    columns = [_cells(column) for column in read.columns]
    refuse_duplicates(path, names)
    if not read.num_rows or not names:
        raise DataError(f"{path.name} has no rows" if names else f"{path.name} has no columns", where=str(path))
    found = list(zip(names, columns, strict=True))
    return Table(
        where=str(path),
        columns={name: cells for name, cells in found if cells is not None},
        places=Places("row", np.arange(first, first + read.num_rows)),
        fingerprint=fingerprint,
        remarks=tuple(
            f"column {name!r} holds {read.schema.field(name).type} and was left out" for name, cells in found if cells is None
        ),
    )


def columns_of_words(path: Path) -> set[str]:
    """The columns of a Parquet file that become words; raises ``DataError`` where it is broken."""
    try:
        return {field.name for field in pyarrow.parquet.read_schema(path) if _holds(field.type) == "words"}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_parquet(path, error) from error


def _holds(kind: pa.DataType) -> str:
    """Whether values of a type become "numbers", "words" (words, truths and times do), or, "", nothing."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    worded = pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind) or _is_string(kind)
    return "words" if worded else ""


def _cells(column: pa.ChunkedArray) -> Cells | None:
    """A Parquet column as cells; nothing for kinds that are neither numbers, words, truths nor times."""
    holds = _holds(column.type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if holds == "numbers":
        return Numbers(np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64))
    if not holds:
        return None
    coded = pa.chunked_array([column.cast(pa.string()).combine_chunks()]).combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Words(codes, tuple(word.strip() for word in coded.dictionary.to_pylist()))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
