"""A Parquet table that is larger than the memory given: the very rows that reading it whole gives, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from isograd.cli import main
from isograd.errors import DataError
from isograd.workbench.data import EncodingPlan, Prepared, Source, SplitPlan, encoded, inspect, prepare, stored
from isograd.workbench.data.columns import Words, as_words, taken
from isograd.workbench.data.lexicon import Lexicon
from isograd.workbench.data.pieces import MIB, parquet_pieces
from isograd.workbench.data.tables import read_table

ROWS = 6000


def parquet(folder: Path, rows: int = ROWS) -> Path:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 2, rows)
    words = draw.choice(["one", "café", "東京", "two", "film", "seen", "said"], (rows, 6))
    texts = [
        " ".join([*row, "<b>good</b> &amp; new" if one else "bad cafÃ©", str(i % 500)])
        for i, (row, one) in enumerate(zip(words, label, strict=True))
    ]
    table = pa.table(
        {
            "text": [None if i % 97 == 0 else text for i, text in enumerate(texts)],
            "size": [None if i % 50 == 0 else float(x) for i, x in enumerate(draw.normal(size=rows) + label)],
            "town": pa.array([None if i % 89 == 0 else f" town {k} " for i, k in enumerate(draw.integers(0, 9, rows))]),
            "day": pa.array(draw.integers(18_000, 19_000, rows).astype(np.int32)).cast(pa.date32()),
            "many": [[1]] * rows,
            "coded": [None if i % 61 == 0 else f"{x:.3f}" for i, x in enumerate(draw.normal(size=rows))],
            "label": np.array(["no", "yes"])[label],
        }
    )
    pq.write_table(table, folder / "t.parquet", row_group_size=700)
    return folder / "t.parquet"


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of some hundred rows, from files that would fit into memory many times."""
    monkeypatch.setattr(stored, "need_of", lambda path: 1 << 40)
    monkeypatch.setattr("isograd.workbench.data.reading.need_of", lambda path: 1 << 40)
    real = parquet_pieces

    def small(path: Path, *, memory: int) -> object:
        for piece in real(path, memory=memory):
            from isograd.workbench.data.table import rows_of

            for start in range(0, len(piece), 257):
                yield rows_of(piece, np.arange(start, min(start + 257, len(piece))))

    monkeypatch.setattr(stored, "parquet_pieces", small)


def prepared(folder: Path, cache: Path | None, **how: object) -> Prepared:
    told = {"target": "label", "split": SplitPlan("stratified", 0.2, 0.2), "seed": 3, "task": "classification", **how}
    return prepare("t.parquet", base=folder, cache=cache, **told)  # type: ignore[arg-type]


def same(one: Prepared, other: Prepared) -> bool:
    parts = [(getattr(one, part), getattr(other, part)) for part in ("train", "validation", "test")]
    rows = all(torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and a.names == b.names for a, b in parts)
    schemas = one.summary.schema == other.summary.schema and one.summary.parts == other.summary.parts
    return rows and one.encoding == other.encoding and schemas


def test_the_columns_are_those_of_the_whole_file(tmp_path: Path, pieces: None) -> None:
    path = parquet(tmp_path)
    whole, found = read_table(path), stored.stored_table(stored.Asked(path, (path,)), tmp_path / "columns", memory=MIB)
    assert found.on_disk and found.fingerprint == whole.fingerprint and list(found.places) == list(whole.places)
    assert list(found.columns) == list(whole.columns) == ["text", "size", "town", "day", "coded", "label"]
    for name, cells in whole.columns.items():
        mine = found.columns[name]
        if not isinstance(cells, Words):
            assert np.array_equal(mine.values, cells.values, equal_nan=True)
            continue
        assert isinstance(mine, Words) and isinstance(mine.values, Lexicon)
        assert [mine.values[code] if code >= 0 else None for code in mine.codes] == [
            cells.values[code] if code >= 0 else None for code in cells.codes
        ]
        used = mine.codes[mine.codes >= 0]
        assert len(np.unique(used)) == len({mine.values[code] for code in used})  # equal words have one code
        some = taken(mine, np.array([5, 0, 97, 5]))
        assert isinstance(some, Words) and not isinstance(some.values, Lexicon)
        assert [as_words(some).values[code] if code >= 0 else None for code in some.codes] == [
            cells.values[cells.codes[row]] if cells.codes[row] >= 0 else None for row in (5, 0, 97, 5)
        ]


@pytest.mark.parametrize(
    "how",
    [
        {"encode_as": EncodingPlan(vocabulary=40)},
        {"encode_as": EncodingPlan(vocabulary=40, text="ids"), "task": "text-classification"},
        {"encode_as": EncodingPlan(tokens="subwords", categories="index", scaling="robust", vocabulary=60)},
        {"drop": ("text",), "clean": ("drop_duplicates", "clip_outliers:size", "group_rare:town=3", "impute:size=median")},
        {"drop": ("text",), "split": SplitPlan("time", 0.2, 0.2, "day")},
        {
            "encode_as": EncodingPlan(vocabulary=40),
            "clean": (
                *("strip_markup:text", "repair_encoding:text", "strip_control:text", "impute:text=nothing was said"),
                *("log:coded", "derive:sum=coded + size", "blank:size=0", "cast:day=category", "rename:coded=code"),
            ),
        },
        {
            "drop": ("text", "label"),
            "target": "size",
            "task": "regression",
            "split": SplitPlan("random", 0.2, 0.2),
            "skip_corrupt": True,
        },
    ],
    ids=["bag", "ids", "subwords", "cleaned", "time", "edited", "regression"],
)
def test_pieces_give_the_very_bits_that_the_whole_gives_and_so_does_the_second_time(
    how: dict[str, object], tmp_path: Path, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path)
    first = prepared(tmp_path, tmp_path / "cache", **how)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("cache/*/*/*")}
    again = prepared(tmp_path, tmp_path / "cache", **how)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("cache/*/*/*")} == times and len(times) > 8
    monkeypatch.setattr("isograd.workbench.data.reading.need_of", lambda path: 0)
    whole = prepared(tmp_path, None, **how)
    assert same(first, whole) and same(again, whole)
    assert any("is read in pieces" in remark for remark in first.summary.remarks)
    assert path.is_file()


@pytest.mark.parametrize("names", [("train", "val", "test"), ("part-0", "part-1", "part-2")])
def test_a_folder_of_parquet_files_in_pieces_is_the_one_that_is_read_whole(
    names: tuple[str, ...], tmp_path: Path, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pq.read_table(parquet(tmp_path))
    (tmp_path / "t.parquet").unlink()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "_SUCCESS").touch()
    for number, name in enumerate(names):  # one file holds words where another holds numbers, and a column more
        some = rows.slice(2000 * number, 2000)
        sizes = some["size"].cast(pa.string()) if number == 1 else some["size"]
        some = some.set_column(1, "size", sizes)
        pq.write_table(some.append_column("more", some["label"]) if number == 2 else some, tmp_path / "d" / f"{name}.parquet")
    how = {"target": "label", "split": SplitPlan(validation=0.2, kind="auto"), "seed": 3, "task": "classification"}
    encoding = EncodingPlan(vocabulary=40)
    first = prepare("d", base=tmp_path, cache=tmp_path / "cache", encode_as=encoding, **how)  # type: ignore[arg-type]
    again = prepare("d", base=tmp_path, cache=tmp_path / "cache", encode_as=encoding, **how)  # type: ignore[arg-type]
    monkeypatch.setattr("isograd.workbench.data.reading.need_of", lambda path: 0)
    whole = prepare("d", base=tmp_path, cache=None, encode_as=encoding, **how)  # type: ignore[arg-type]
    assert same(first, whole) and same(again, whole)
    assert first.summary.split == ("given" if names[0] == "train" else "stratified")
    assert first.train.names[0].startswith(f"{names[0]}.parquet row ")
    assert [said for said in first.summary.remarks if "in pieces" not in said] == list(whole.summary.remarks)
    assert any("column more is not in" in remark for remark in first.summary.remarks)


def test_a_file_of_several_that_lacks_a_column_is_named(tmp_path: Path, pieces: None) -> None:
    whole = pq.read_table(parquet(tmp_path, 300))
    (tmp_path / "d").mkdir()
    pq.write_table(whole, tmp_path / "d" / "a.parquet")
    pq.write_table(whole.drop_columns("town"), tmp_path / "d" / "b.parquet")
    for cache in (tmp_path / "cache", None):
        with pytest.raises(DataError, match=r"b\.parquet has no column 'town'|no folder to keep"):
            prepare(*("d",), base=tmp_path, cache=cache, task="classification", target="label", split=SplitPlan(), seed=0)


def test_a_flipped_byte_and_another_file_are_noticed(tmp_path: Path, pieces: None) -> None:
    path = parquet(tmp_path)
    first = prepared(tmp_path, tmp_path / "cache", drop=("text",))
    for kind in ("columns/*/0.letters", "columns/*/1.values", "train/*/values.raw"):
        (file,) = (tmp_path / "cache").glob(kind)
        content = file.read_bytes()
        file.unlink()  # what is mapped already stays as it is
        file.write_bytes(content[:-1] + b"\x07")
        assert same(prepared(tmp_path, tmp_path / "cache", drop=("text",)), first)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, ROWS - 1), path)
    assert not same(prepared(tmp_path, tmp_path / "cache", drop=("text",)), first)
    assert len(list((tmp_path / "cache" / "columns").iterdir())) == 1


def test_an_inspection_finds_the_same_in_pieces_and_leaves_nothing_behind(
    tmp_path: Path, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet(tmp_path)
    found = inspect(Source("t.parquet", tmp_path, target="label"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet"]
    monkeypatch.setattr("isograd.workbench.data.reading.need_of", lambda path: 0)
    whole = inspect(Source("t.parquet", tmp_path, target="label"))
    assert found.doubts == whole.doubts and found.columns == whole.columns and found.fingerprint == whole.fingerprint
    assert [remark for remark in found.remarks if "in pieces" not in remark] == list(whole.remarks)


def test_without_a_place_to_keep_columns_the_person_is_told_what_to_set(tmp_path: Path, pieces: None) -> None:
    parquet(tmp_path)
    with pytest.raises(DataError, match=r"larger than the memory that is given(.|\n)*cache = true"):
        prepared(tmp_path, None)


def test_it_is_trained_evaluated_and_resumed_by_the_command_line(
    tmp_path: Path, pieces: None, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet(tmp_path)
    toml = 'task = "classification"\n[data]\nsource = "t.parquet"\ntarget = "label"\n[encoding]\nvocabulary = 30\n'
    (tmp_path / "isograd.toml").write_text(toml + '[model]\nkind = "linear"\n[train]\nepochs = 2\nlearning_rate = 0.05\n')
    assert main(["train", str(tmp_path)]) == 0
    assert "is read in pieces of" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path), "--json"]) == 0
    assert '"accuracy"' in capsys.readouterr().out


def test_long_texts_in_memory_are_encoded_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path, 900)
    plain = prepared(tmp_path, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(encoded, "LETTERS", 1000)
    first = prepared(tmp_path, tmp_path / "cache")
    monkeypatch.setattr(encoded, "encode", lambda *_: pytest.fail("encoded again"))
    assert same(prepared(tmp_path, tmp_path / "cache"), first) and same(first, plain)


PROGRAM = """
import sys, threading, time
from pathlib import Path
import torch
from isograd.workbench.data import SplitPlan, batches, prepare
def anonymous(): return 1024 * next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
def run(name):
    found = prepare(name, base=Path(sys.argv[1]), task="classification", target="y", split=SplitPlan("stratified", .2, .2),
        seed=0, drop=("text",), cache=Path(sys.argv[1]) / ("cache" + name), memory=64)
    for inputs, targets in batches(found.train, seed=0, epoch=1, batch_size=512): inputs.sum()
    return len(found.train)
run("small.parquet")
first, peak, done = anonymous(), [0], threading.Event()
def look():
    while not done.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.005)
thread = threading.Thread(target=look)
thread.start()
rows = run("large.parquet")
done.set()
thread.join()
print(rows, peak[0] - first)
"""


def long_texts(rows: int, draw: np.random.Generator) -> dict[str, Any]:
    """Texts of 40 words, and a number."""
    words = np.array([draw.bytes(12).hex() for _ in range(3000)])
    texts = [" ".join(row) for row in words[draw.integers(0, 3000, (rows, 40))]]
    return {"text": texts, "x": draw.normal(size=rows)}


def numbers_as_words(rows: int, draw: np.random.Generator) -> dict[str, Any]:
    """Eight columns of numbers that somebody stored as words, next to each of them different, beside texts."""
    columns = {f"x{place}": [f"{value:.12f}" for value in draw.normal(size=rows)] for place in range(8)}
    return {"text": [bytes(row).hex() for row in draw.integers(0, 256, (rows, 600), dtype=np.uint8)], **columns}


@pytest.mark.proof
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
@pytest.mark.parametrize("columns", [long_texts, numbers_as_words])
def test_a_file_of_many_times_the_memory_is_encoded_and_dealt_in_batches_within_it(tmp_path: Path, columns: Any) -> None:
    rows, draw = 100_000, np.random.default_rng(0)
    table = pa.table({**columns(rows, draw), "y": np.array(["a", "b"])[draw.integers(0, 2, rows)]})
    pq.write_table(table, tmp_path / "large.parquet", use_dictionary=False, compression="none")
    pq.write_table(table.slice(0, 300), tmp_path / "small.parquet")
    size = (tmp_path / "large.parquet").stat().st_size
    told = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    found = subprocess.run(told, capture_output=True, text=True, check=True, timeout=400)
    read, grown = map(int, found.stdout.split())
    print(f"{size / MIB:.0f} MiB, {grown / MIB:.0f} MiB above what a small file took")
    assert read == 60_000 and size > 1.5 * 64 * MIB
    assert grown < 64 * MIB + stored.A_ROW * rows
