"""New inputs that are larger than memory: the very rows and answers that reading them whole gives, some at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from isograd.cli import main
from isograd.errors import DataError
from isograd.records.schema import Encoding, Skipped
from isograd.workbench.data import EncodingPlan, SplitPlan, again_pieces, pieces_for_prediction, prepare, read_for_prediction
from isograd.workbench.data.again import Piece
from isograd.workbench.data.pieces import MIB, parquet_pieces

ROWS = 700
PLAN = SplitPlan("stratified", 0.2, 0.2)


def rows_of(count: int = ROWS) -> dict[str, list[object]]:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 2, count)
    words = draw.choice(["one", "café", "two", "film", "東京"], (count, 5))
    return {
        "text": [" ".join([*row, "<b>good</b>" if one else "bad"]) for row, one in zip(words, label, strict=True)],
        "size": [None if i % 50 == 0 else float(x) for i, x in enumerate(draw.normal(size=count) + label)],
        "town": [f"town {k}" for k in draw.integers(0, 4, count)],
        "label": ["yes" if one else "no" for one in label],
    }


def written(folder: Path, name: str, rows: dict[str, list[object]]) -> Path:
    path, lines = folder / name, list(zip(*rows.values(), strict=True))
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table(rows), path, row_group_size=150)
        case ".jsonl":
            path.write_text("\n".join(json.dumps(dict(zip(rows, line, strict=True))) for line in lines) + "\n", "utf-8")
        case _:
            cells = [
                ['"' + str(cell) + '"' if isinstance(cell, str) else "" if cell is None else repr(cell) for cell in line]
                for line in lines
            ]
            path.write_text("\n".join(map(",".join, [list(rows), *cells])), "utf-8")
    return path


@pytest.fixture(scope="module")
def encoding(tmp_path_factory: pytest.TempPathFactory) -> Encoding:
    folder = tmp_path_factory.mktemp("trained")
    path = written(folder, "t.csv", rows_of())
    found = prepare(
        str(path),
        base=folder,
        task="classification",
        target="label",
        split=PLAN,
        seed=0,
        clean=("strip_markup:text", "clip_outliers:size"),
        encode_as=EncodingPlan(vocabulary=30),
    )
    return found.encoding


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large, and pieces have some tens of rows."""
    monkeypatch.setattr(again_pieces, "need_again", lambda source, encoding: 1 << 50)
    monkeypatch.setattr("isograd.workbench.data.prediction.need_again", lambda source, encoding: 1 << 50)
    monkeypatch.setattr(again_pieces, "piece_again", lambda memory: 20_000)
    real = parquet_pieces

    def parts(path: Path, *, memory: int) -> Iterator[object]:
        from isograd.workbench.data.table import rows_of as some

        for piece in real(path, memory=memory):
            for start in range(0, len(piece), 101):
                yield some(piece, np.arange(start, min(start + 101, len(piece))))

    monkeypatch.setattr(again_pieces, "parquet_pieces", parts)


def together(pieces: list[Piece]) -> Piece:
    return (
        np.concatenate([one[0] for one in pieces]),
        tuple(name for one in pieces for name in one[1]),
        tuple(skip for one in pieces for skip in one[2]),
    )


def strange(rows: dict[str, list[object]]) -> dict[str, list[object]]:
    towns = ["elsewhere" if i in (3, 600) else town for i, town in enumerate(rows["town"])]
    return {**rows, "town": towns, "more": list(range(len(towns)))}


@pytest.mark.parametrize("name", ["new.parquet", "new.csv", "new.jsonl", "new"])
def test_pieces_are_the_rows_that_reading_the_whole_gives_and_the_same_is_counted(
    name: str, tmp_path: Path, encoding: Encoding, small: None
) -> None:
    rows = strange(rows_of())
    if name == "new":
        (tmp_path / name).mkdir()
        for number in range(3):
            part = {key: cells[300 * number : 300 * (number + 1)] for key, cells in rows.items()}
            written(tmp_path / name, f"part-{number}.parquet", part)
        path = tmp_path / name
    else:
        path = written(tmp_path, name, rows)
    said: list[str] = []
    pieces = list(pieces_for_prediction(path, encoding, remark=said.append))
    whole = read_for_prediction(path, encoding)
    found = together(pieces)
    assert len(pieces) > 5 and max(len(one[0]) for one in pieces) < 150
    assert found[0].tobytes() == whole[0].tobytes() and found[1:] == whole[1:]
    assert Skipped("column 'more'", "the model does not know it") in found[2]
    assert any("2 values unseen in training, taken as unknown: first 'elsewhere'" in skip.reason for skip in found[2])
    assert len(said) == 1 and "read in pieces" in said[0]


@pytest.mark.parametrize("name", ["new.parquet", "new.csv", "new.jsonl"])
def test_rows_that_cannot_be_read_are_named_at_their_piece_or_left_out_of_it(
    name: str, tmp_path: Path, encoding: Encoding, small: None
) -> None:
    rows = rows_of()
    rows["size"] = [("much" if i in (5, 650) else str(x)) for i, x in enumerate(rows["size"])]
    path = written(tmp_path, name, rows)
    with pytest.raises(DataError, match=r"'size' should hold finite numbers: 1 row does not"):
        list(pieces_for_prediction(path, encoding))
    found = together(list(pieces_for_prediction(path, encoding, skip_corrupt=True)))
    assert len(found[0]) == ROWS - 2 and len(found[2]) == 2
    whole = read_for_prediction(path, encoding, skip_corrupt=True)
    assert np.array_equal(found[0], whole[0]) and found[1:] == whole[1:]


def test_ragged_lines_and_lines_that_are_no_json_are_listed_even_at_the_end(
    tmp_path: Path, encoding: Encoding, small: None
) -> None:
    for name, odd in (("new.csv", "1,2\n"), ("new.jsonl", "[1]\n")):
        path = written(tmp_path, name, rows_of())
        path.write_text(path.read_text("utf-8").rstrip("\n") + "\n" + odd + odd, "utf-8")
        with pytest.raises(DataError, match=r"2 ragged rows|2 lines that hold no JSON object"):
            list(pieces_for_prediction(path, encoding))
        found = together(list(pieces_for_prediction(path, encoding, skip_corrupt=True)))
        assert len(found[0]) == ROWS and len(found[2]) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"text,size,town\n" + b"a,1,b\n" * 3 + b"caf\xe9,1,b\n", "line 5"),
        (b"text,size,town\nfoo,1,bar\n" + b"caf\xc3", r"line 3(.|\n)*byte 0xc3 at position 28"),
        ("text,size,town\n".encode("utf-16"), "UTF-16"),
        (b"text,size,town\n\0", "zero bytes"),
        (b"text,size,town\n", "a header and no rows"),
        (b'text,size,town\n"a,1,b\n', "never closed"),
        (b"text,size\na,1\n", "no column 'town'"),
    ],
)
def test_bad_files_are_refused_in_the_same_words(
    content: bytes, said: str, tmp_path: Path, encoding: Encoding, small: None
) -> None:
    (tmp_path / "new.csv").write_bytes(content)
    for read in (
        lambda: list(pieces_for_prediction(tmp_path / "new.csv", encoding)),
        lambda: read_for_prediction(tmp_path / "new.csv", encoding),
    ):
        with pytest.raises(DataError, match=said):
            read()


def pictures(folder: Path) -> Callable[[int], Path]:
    def one(number: int) -> Path:
        pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return one


def sounds(folder: Path) -> Callable[[int], Path]:
    def one(number: int) -> Path:
        path = folder / "ab"[number % 2] / f"{number:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.sin(np.arange(1600) * (0.1 + 0.2 * (number % 2))) * 0.5
        soundfile.write(path, wave + 0.01 * np.random.default_rng(number).normal(size=1600), 8000)
        return path

    return one


def letters(folder: Path) -> Callable[[int], Path]:
    def one(number: int) -> Path:
        path = folder / "ab"[number % 2] / f"{number:03d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{'good' if number % 2 else 'bad'} film number {number % 7} of the year " * 20)
        return path

    return one


@pytest.mark.parametrize(
    ("task", "made"), [("image-classification", pictures), ("sound-classification", sounds), ("text-classification", letters)]
)
def test_folders_of_files_in_pieces_give_what_the_whole_gives(
    task: str, made: Callable[[Path], Callable[[int], Path]], tmp_path: Path, small: None
) -> None:
    paths = [made(tmp_path / "d")(number) for number in range(40)]
    found = prepare("d", base=tmp_path, task=task, target=None, split=PLAN, seed=0)
    for broken in (paths[7], paths[39]):
        broken.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        list(pieces_for_prediction(tmp_path / "d", found.encoding))
    pieces = list(pieces_for_prediction(tmp_path / "d", found.encoding, skip_corrupt=True))
    whole = read_for_prediction(tmp_path / "d", found.encoding, skip_corrupt=True)
    mine = together(pieces)
    assert len(pieces) > 2 and len(mine[0]) == 38
    assert mine[0].tobytes() == whole[0].tobytes() and mine[1] == whole[1] and mine[2] == whole[2]


def test_what_fits_is_read_as_a_whole_and_nothing_is_said(tmp_path: Path, encoding: Encoding) -> None:
    path, said = written(tmp_path, "new.csv", rows_of(50)), list[str]()
    assert len(list(pieces_for_prediction(path, encoding, remark=said.append))) == 1 and not said


TOML = """\
task = "classification"
[data]
source = "t.csv"
target = "label"
[encoding]
vocabulary = 30
[model]
kind = "linear"
"""


def test_the_command_line_prints_the_same_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "t.csv", rows_of())
    (tmp_path / "isograd.toml").write_text(TOML + "[train]\nepochs = 1\n[watch]\nenabled = false\n")
    assert main(["run", str(tmp_path)]) == 0
    (bundle,) = (tmp_path / "runs").glob("*/bundle")
    path = written(tmp_path, "new.parquet", strange(rows_of()))
    told = {}
    for kind in ("text", "json"):
        capsys.readouterr()
        assert main(["predict", str(bundle), str(path), *(["--json"] if kind == "json" else [])]) == 0
        told[kind] = capsys.readouterr()
    monkeypatch.setattr("isograd.workbench.data.prediction.need_again", lambda source, encoding: 1 << 50)
    monkeypatch.setattr(again_pieces, "piece_again", lambda memory: 20_000)
    for kind, before in told.items():
        assert main(["predict", str(bundle), str(path), *(["--json"] if kind == "json" else [])]) == 0
        after = capsys.readouterr()
        assert after.out == before.out
        assert "read in pieces" in after.err and "left out: column 'more'" in after.err
    assert len(json.loads(told["json"].out)["predictions"]) == ROWS and len(told["text"].out.splitlines()) == ROWS


PROGRAM = """
import sys, threading, time
from pathlib import Path
from isograd.records import codec
from isograd.records.schema import Encoding
from isograd.workbench.data import pieces_for_prediction
def anonymous(): return 1024 * next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
encoding = codec.loads(Encoding, Path(sys.argv[1]).read_text())
def run(path): return sum(len(inputs) for inputs, _, _ in pieces_for_prediction(path, encoding, memory=64))
run(sys.argv[2])
first, peak, done = anonymous(), [0], threading.Event()
def look():
    while not done.wait(0.005): peak[0] = max(peak[0], anonymous())
thread = threading.Thread(target=look)
thread.start()
rows = run(sys.argv[3])
done.set()
thread.join()
print(rows, peak[0] - first)
"""


@pytest.mark.proof
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
def test_a_table_of_many_times_the_memory_is_encoded_within_it(suffix: str, tmp_path: Path, encoding: Encoding) -> None:
    from isograd.records import codec

    rows = {name: cells * 800 for name, cells in rows_of().items()}
    rows["text"] = [f"{text} {i}" for i, text in enumerate(rows["text"])]
    large, small = written(tmp_path, f"large{suffix}", rows), written(tmp_path, f"small{suffix}", rows_of(50))
    (tmp_path / "encoding.json").write_text(codec.dumps(encoding))
    told = [sys.executable, "-c", PROGRAM, str(tmp_path / "encoding.json"), str(small), str(large)]
    found = subprocess.run(told, capture_output=True, text=True, check=True, timeout=580)
    read, grown = map(int, found.stdout.split())
    print(f"{large.stat().st_size / MIB:.0f} MiB, {grown / MIB:.0f} MiB above what a small file took")
    assert read == ROWS * 800 and grown < 64 * MIB
