import json
from pathlib import Path

import pytest

from isograd.errors import DataError
from isograd.workbench.data import SplitPlan, prepare, read_for_prediction
from isograd.workbench.data.columns import Numbers, Words
from isograd.workbench.data.tables import read_table


def written(folder: Path, *lines: object) -> Path:
    path = folder / "shop.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n", "utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path)
    return str(caught.value)


def test_names_become_columns_and_what_is_absent_is_a_gap(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, {"age": 3, "city": "Rome"}, "", {"city": None, "member": True}))
    assert table.places == ("line 1", "line 3") and list(table.columns) == ["age", "city", "member"]
    age, city, member = table.columns.values()
    assert isinstance(age, Numbers) and age.values[0] == 3 and age.values[1] != age.values[1]
    assert isinstance(city, Words) and city.codes.tolist() == [0, -1] and city.values == ("Rome",)
    assert isinstance(member, Words) and member.codes.tolist() == [-1, 0] and member.values == ("true",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"age": 3', "line 2: no JSON"),
        ("[1, 2]", "line 2: a list in the place of an object"),
        ("7", "line 2: a value in the place of an object"),
        ("null", "line 2: null in the place of an object"),
        ('{"age": 1, "age": 2}', "line 2: the name 'age' occurs twice"),
        ("{}", "line 2: an empty object"),
        ("[" * 100_000, "line 2: no JSON"),
        ('{"age": ' + "9" * 5000 + "}", "line 2: no JSON"),
    ],
)
def test_a_line_that_holds_no_object_is_named_and_can_be_skipped(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path, {"age": 1}, line, {"age": 2})
    assert said in refused(path)
    table = read_table(path, skip_corrupt=True)
    assert len(table) == 2 and [skip.name for skip in table.skipped] == ["line 2"]


def test_a_file_without_rows_or_in_another_encoding_is_refused(tmp_path: Path) -> None:
    assert "has no rows" in refused(written(tmp_path, "", " "))
    path = written(tmp_path, {"a": 1})
    path.write_bytes('{"a": "ä"}\n'.encode("latin-1"))
    assert "is not UTF-8" in refused(path) and "line 1" in refused(path)
    path.write_bytes(b"")
    assert "0 bytes" in refused(path)


def test_lists_and_objects_are_left_out_with_a_remark(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, {"a": 1, "b": [1]}, {"a": 2, "b": {"c": 1}}))
    assert list(table.columns) == ["a"] and "'b' holds lists or objects" in table.remarks[0]
    assert "no column with plain values" in refused(written(tmp_path, {"b": [1]}))


def test_numbers_among_words_are_words_and_huge_ones_lose_nothing(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, {"a": 1, "b": 10**400}, {"a": "x", "b": 2}))
    assert table.columns["a"].values == ("1", "x")
    assert table.columns["b"].values == ("1" + "0" * 400, "2")


def test_it_trains_and_predicts_like_the_same_csv(tmp_path: Path) -> None:
    rows = [{"age": 20 + i, "city": ("rome", "oslo")[i % 3 == 0], "bought": "ny"[i % 2]} for i in range(40)]
    written(tmp_path, *rows)
    csv = "age,city,bought\n" + "".join(f"{r['age']},{r['city']},{r['bought']}\n" for r in rows)
    (tmp_path / "shop.csv").write_text(csv)
    plan = SplitPlan("stratified", 0.2, 0.2)
    one, two = (
        prepare(name, base=tmp_path, task="classification", target="bought", split=plan, seed=0)
        for name in ("shop.jsonl", "shop.csv")
    )
    assert one.encoding == two.encoding and bool((one.train.inputs == two.train.inputs).all())
    inputs, names, _ = read_for_prediction(tmp_path / "shop.jsonl", one.encoding)
    assert inputs.shape == (40, 3) and names[0] == "shop.jsonl line 1"


def test_a_table_of_lists_alone_is_refused_for_its_lists(tmp_path: Path) -> None:
    lines = [json.dumps({"x": [i], "y": "ab"[i % 2]}) for i in range(20)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="column 'x' holds lists or objects and was left out"):
        prepare("t.jsonl", base=tmp_path, task="classification", target="y", split=SplitPlan(), seed=0)
