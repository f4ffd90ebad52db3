import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isograd.errors import DataError
from isograd.workbench.data.columns import joined
from isograd.workbench.data.folders import read_files
from isograd.workbench.data.pieces import parquet_pieces, picture_pieces
from isograd.workbench.data.tables import read_table

MIB = 1 << 20


def parquet(folder: Path, rows: int, row_group: int | None = None) -> Path:
    random = np.random.default_rng(0)
    words = [f"a word that is number {i}" for i in range(5000)]
    path = folder / "large.parquet"
    coded = pa.DictionaryArray.from_arrays(random.integers(0, 5000, rows).astype(np.int32), words)
    table = pa.table({"x": random.normal(size=rows), "word": coded, "n": np.arange(rows)})
    pq.write_table(table, path, row_group_size=row_group or max(rows, 1))
    return path


def test_the_pieces_are_the_whole_table_in_order(tmp_path: Path) -> None:
    path = parquet(tmp_path, 300_000, 40_000)
    pieces = list(parquet_pieces(path, memory=36 * MIB))
    whole = read_table(path)
    assert len(pieces) > 5 and [place for piece in pieces for place in piece.places] == list(whole.places)
    for name, cells in whole.columns.items():
        found = joined([piece.columns[name] for piece in pieces])
        if name == "word":
            assert [found.values[code] for code in found.codes] == [cells.values[code] for code in cells.codes]  # type: ignore[union-attr]
        else:
            assert np.array_equal(found.values, cells.values)
    assert {piece.fingerprint for piece in pieces} == {whole.fingerprint}


PROGRAM = """
import sys
from pathlib import Path
from isograd.workbench.data.pieces import parquet_pieces
small, large, memory = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def peak(): return 1024 * next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
def rows(path): return sum(len(piece) for piece in parquet_pieces(path, memory=memory))
rows(small)  # what Arrow takes for itself the first time is no part of any piece
open("/proc/self/clear_refs", "w").write("5")  # a process inherits the peak of the one that started it
first = peak()
print(rows(large), peak() - first)
"""


@pytest.mark.proof
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read as Linux tells it")
def test_a_file_of_twenty_times_the_memory_in_one_row_group_is_read_within_it(tmp_path: Path) -> None:
    memory, rows = 32 * MIB, 33 * 65_536
    letters = np.tile(np.random.default_rng(0).integers(97, 123, 310 * 65_536, dtype=np.uint8), 33)
    texts = pa.StringArray.from_buffers(
        rows, pa.py_buffer(np.arange(0, 310 * rows + 1, 310, dtype=np.int32)), pa.py_buffer(letters)
    )
    large, small = tmp_path / "large.parquet", tmp_path / "small.parquet"
    table = pa.table({"text": texts, "n": np.arange(rows)})
    pq.write_table(table, large, row_group_size=rows, use_dictionary=False)
    pq.write_table(table.slice(0, 1000), small)
    assert large.stat().st_size > 20 * memory
    told = [sys.executable, "-c", PROGRAM, str(small), str(large), str(memory)]
    found = subprocess.run(told, capture_output=True, text=True, check=True, timeout=200)
    read, grown = map(int, found.stdout.split())
    print(f"{large.stat().st_size / memory:.1f} times the memory, of which {grown / memory:.2f} were taken")
    assert read == rows and 0 < grown < memory


@pytest.mark.parametrize("damage", ["cut", "empty", "words"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = parquet(tmp_path, 1000)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "words": b"hello" * 100}[damage])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        list(parquet_pieces(path, memory=36 * MIB))


def test_too_little_memory_and_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 columns need 36 MiB"):
        list(parquet_pieces(parquet(tmp_path, 10), memory=MIB))
    with pytest.raises(DataError, match="no rows"):
        list(parquet_pieces(parquet(tmp_path, 0), memory=36 * MIB))
    with pytest.raises(DataError, match="one picture"):
        list(picture_pieces([tmp_path], (3, 1000, 1000), memory=MIB))


def test_blocks_of_pictures_are_those_that_reading_all_at_once_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    paths = []
    for number in range(10):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(random.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(paths[-1])
    paths[4].write_bytes(b"")
    shape = (3, 300, 400)
    pixels, kept, hashes, faults = read_files(paths, shape, skip_corrupt=True)
    blocks = list(picture_pieces(paths, shape, memory=MIB, skip_corrupt=True))
    assert len(blocks) == 5 and all(block[0].nbytes <= MIB for block in blocks)
    assert np.array_equal(np.concatenate([block[0] for block in blocks]), pixels)
    assert [index for block in blocks for index in block[1]] == kept == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [one for block in blocks for one in block[2]] == hashes and faults[0].what.startswith("4.png")
    with pytest.raises(DataError, match=r"4\.png is empty"):
        list(picture_pieces(paths, shape, memory=MIB))
