"""Two thousand odd CSV files against a slow reader: every row of a file is used, or rejected with a reason."""

from __future__ import annotations

import csv
import io
import random
import re
from pathlib import Path

import pytest

from isograd.errors import DataError
from isograd.workbench.data import SplitPlan, prepare
from isograd.workbench.data.columns import Words, as_words
from isograd.workbench.data.delimited import plain_columns
from isograd.workbench.data.tables import read_table

FILES = 2000


class Unclosed(Exception):
    """A quote is opened and never closed: where the rows end cannot be known."""


def slow_reader(text: str) -> list[list[str] | None]:
    """The rows of a CSV text, letter by letter; None for a row with text behind a closing quote. Blank lines are no rows."""
    rows: list[list[str] | None] = []
    row: list[str] = []
    cell, state = "", "start"  # start of a cell, plain, quoted, closing (a quote that may be one of two)
    for line in re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text):
        body, end = re.fullmatch(r"([^\r\n]*)(\r\n|\r|\n|)", line).groups()  # type: ignore[union-attr]
        if state == "start" and not row and not body:
            continue
        broken = False
        for letter in body:
            if state == "quoted":
                state, cell = ("closing", cell) if letter == '"' else ("quoted", cell + letter)
            elif state == "closing" and letter == '"':
                state, cell = "quoted", cell + '"'
            elif letter == ",":
                row, cell, state = [*row, cell], "", "start"
            elif state == "closing":
                broken = True
                break
            elif state == "start" and letter == '"':
                state = "quoted"
            else:
                state, cell = "plain", cell + letter
        if state == "quoted" and not broken:
            cell += end
            continue
        rows.append(None if broken else [*row, cell])
        row, cell, state = [], "", "start"
    if state == "quoted":
        raise Unclosed
    return rows


def odd_cell(rng: random.Random) -> str:
    return rng.choice(
        [
            *(str(rng.randrange(100)), f"{rng.random():.3f}", "", " ", "a", "b c", "NA", "é", "'", "1,5"[: rng.choice([1, 3])]),
            *('"a,b"', '"a\nb"', '"say ""hi"""', '""', '" "', '"x"', "it's", 'a"b', '"\r\n"', '"a" ', '"a"b'),
        ]
    )


def odd_file(rng: random.Random) -> tuple[str, int]:
    """A text, and how many columns its header has. Most cells are plain, so that files are odd in different places."""
    width = rng.randrange(1, 5)
    end = rng.choice(["\n", "\r\n", "\r"])
    lines = [",".join(f"c{i}" for i in range(width))]
    for _ in range(rng.randrange(0, 12)):
        count = width if rng.random() < 0.85 else rng.randrange(0, 7)
        cells = [odd_cell(rng) if rng.random() < 0.3 else str(rng.randrange(9)) for _ in range(count)]
        lines.append(",".join(cells))
        if rng.random() < 0.05:
            lines.append("")
    text = end.join(lines) + (end if rng.random() < 0.7 else "")
    if rng.random() < 0.02:
        text += '"never closed'
    return text, width


def test_every_row_of_two_thousand_odd_files_is_used_or_rejected_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    used = rejected = refused = 0
    for number in range(FILES):
        rng = random.Random(number)
        text, width = odd_file(rng)
        path.write_bytes((b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + text.encode())
        try:
            rows = slow_reader(text)[1:]
        except Unclosed:
            with pytest.raises(DataError, match="never closed"):
                read_table(path, skip_corrupt=True)
            refused += 1
            continue
        good = [row for row in rows if row is not None and len(row) == width]
        if not good:
            with pytest.raises(DataError, match="no rows"):
                read_table(path, skip_corrupt=True)
            continue
        table = read_table(path, skip_corrupt=True)
        assert len(table) + len(table.skipped) == len(rows), (number, text)
        assert all(skip.reason for skip in table.skipped)
        for i, name in enumerate(table.columns):
            words = as_words(table.columns[name])
            assert [words.values[code] for code in words.codes] == [row[i].strip() for row in good], (number, text)
        if len(good) < len(rows):
            with pytest.raises(DataError, match="ragged"):
                read_table(path)
        used, rejected = used + len(table), rejected + len(table.skipped)
    assert used > 5000 and rejected > 1000 and refused > 20  # the files are odd enough to be worth it


def test_rows_that_are_no_rows_of_their_kind_are_counted_too(tmp_path: Path) -> None:
    path, seen = tmp_path / "odd.csv", 0
    for number in range(100):
        rng = random.Random(number)
        rows = [f"{i * 7 % 50}{rng.choice(['', '', '', '.5'])},{'ab'[i % 2]}" for i in range(60)]
        for i in rng.sample(range(60), 2):  # more would make the column one of words
            rows[i] = rng.choice(["inf,a", "12 kg,b", "3,", "4,a,surplus", '"5"x,a', "1e999,b", ",a"])
        path.write_text("\n".join(["x,y", *rows]) + "\n")
        plan = SplitPlan("stratified", 0.2, 0.2)
        found = prepare("odd.csv", base=tmp_path, task="classification", target="y", split=plan, seed=0, skip_corrupt=True)
        assert sum(part.rows for part in found.summary.parts) + len(found.summary.skipped) == 60
        assert all(skip.reason for skip in found.summary.skipped)
        seen += len(found.summary.skipped)
    assert seen > 120


def test_files_without_quotes_are_read_by_arrow_as_line_by_line() -> None:
    read = 0
    for number in range(FILES):
        rng = random.Random(number)
        text, width = odd_file(rng)
        lines = [line.replace('"', "") for line in text.split("\n")]
        plain = "\n".join(line for line in lines if line.strip("\r")) + "\n" * rng.randrange(2)
        _, _, rest = plain.partition("\n")
        found = plain_columns(plain.encode(), ",", width)
        if found is None:
            continue
        read += 1
        rows = list(csv.reader(io.StringIO(rest, newline="")))
        columns, numbers = found
        assert numbers.tolist() == list(range(2, 2 + len(rows))) and len(rows) > 0
        for place, cells in enumerate(columns):
            assert isinstance(cells, Words)
            assert [cells.values[code] for code in cells.codes] == [row[place].strip() for row in rows]
            assert cells.values == tuple(dict.fromkeys(row[place].strip() for row in rows))
    assert read > 300


def test_what_only_one_reader_takes_is_left_to_the_slow_one() -> None:
    good = b"a,b\n1,x\n2,y\n"
    assert plain_columns(good, ",", 2) is not None and plain_columns(b"\xef\xbb\xbf" + good, ",", 2) is not None
    for odd in (b'"', b"\r", b"\n\n", b"3\n", b"3,4,5\n"):
        assert plain_columns(good + odd + b"4,z\n", ",", 2) is None
    assert plain_columns(b"a,b\n", ",", 2) is None and plain_columns(b"\n" + good, ",", 2) is None
    assert plain_columns(good + b"5," + b"x" * 200_000 + b"\n", ",", 2) is None  # the other reader says that it is too long
