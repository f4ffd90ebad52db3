"""What each step of cleaning does to a case that is known by thought, how many rows it says it touched, and that it travels."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isograd.errors import DataError
from isograd.records import codec
from isograd.records.schema import Encoding
from isograd.workbench.data import STEPS, Prepared, Source, SplitPlan, inspect, parse_step, prepare, read_for_prediction
from isograd.workbench.data.cleaning.applying import after_split, again, before_split
from isograd.workbench.data.cleaning.expression import names_in, value_of
from isograd.workbench.data.cleaning.steps import written
from isograd.workbench.data.columns import as_words
from isograd.workbench.data.table import Table
from isograd.workbench.data.tables import read_table


def table(folder: Path, *lines: str) -> Table:
    (folder / "t.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return read_table(folder / "t.csv")


def cells(found: Table, name: str) -> list[str]:
    words = as_words(found.columns[name])
    return [words.values[code] if code >= 0 else "" for code in words.codes]


def after(found: Table, *steps: str, target: str | None = "y") -> tuple[Table, list[str]]:
    cleaned, remarks, _ = before_split(found, steps, target)
    assert isinstance(cleaned, Table)
    cleaned, learned, _ = after_split(cleaned, steps, np.arange(len(cleaned)), target)
    return cleaned, remarks + learned


@pytest.mark.parametrize(
    ("step", "column", "before", "expected", "touched"),
    [
        ("blank:x=-999", "x", ["1", "-999", "-999.0"], ["1", "", ""], 2),
        ("blank:x=unknown", "x", ["a", "unknown", "b"], ["a", "", "b"], 1),
        ("cast:x=number", "x", ["1", "two", "3"], ["1", "", "3"], 1),
        ("log:x", "x", ["0", "0", ""], ["0", "0", ""], 2),
        ("power:x=0.5", "x", ["4", "-9", ""], ["2", "-3", ""], 2),
        ("strip_markup:x", "x", ["a<br />b", "Tom &amp; Jerry", "1 < 2"], ["a b", "Tom & Jerry", "1 < 2"], 2),
        ("strip_control:x", "x", ["a\x07b", "c", "d"], ["a b", "c", "d"], 1),
        ("repair_encoding:x", "x", ["cafÃ©", "itâ€™s", "café"], ["café", "it’s", "café"], 2),
        ("impute:x=median", "x", ["1", "", "4"], ["1", "2.5", "4"], 1),
        ("impute:x=mean", "x", ["1", "", "5"], ["1", "3", "5"], 1),
        ("impute:x=most_frequent", "x", ["a", "", "a"], ["a", "a", "a"], 1),
        ("impute:x=none of them", "x", ["a", "?", "a"], ["a", "none of them", "a"], 1),
        ("group_rare:x=2", "x", ["a", "b", "a"], ["a", "other", "a"], 1),
        ("rename:x=z", "z", ["1", "2", "3"], ["1", "2", "3"], 3),
        ("derive:z=2 * x ** 2", "z", ["1", "2", ""], ["2", "8", ""], 3),
    ],
)
def test_a_step_does_what_its_name_says_and_counts_the_rows(
    tmp_path: Path, step: str, column: str, before: list[str], expected: list[str], touched: int
) -> None:
    found = table(tmp_path, "x,y", *(f'"{cell}",{"ab"[i % 2]}' for i, cell in enumerate(before)))
    cleaned, remarks = after(found, step)
    assert cells(cleaned, column) == expected
    assert remarks == [f"cleaned by {step}: {touched:,} rows touched"]
    assert cells(found, "x") == [cell if cell != "?" else "?" for cell in before]  # the table that was read stays as it was


def test_filling_gaps_marks_them(tmp_path: Path) -> None:
    cleaned, _ = after(table(tmp_path, "x,y", "1,a", ",b", "3,a"), "impute:x=median")
    assert cells(cleaned, "x missing") == ["0", "1", "0"]


def test_steps_that_drop_rows_drop_those_that_the_inspection_tells_of(tmp_path: Path) -> None:
    rows = [f"this is text number {i} of many,{'ab'[i % 2]}" for i in range(20)]
    found = table(tmp_path, "text,y", *rows, rows[0], rows[1].replace(",b", ",a"), rows[2].upper().replace(",A", ",a"))
    assert len(after(found, "drop_duplicates")[0]) == 22
    conflicts, remarks = after(found, "drop_conflicts")
    assert len(conflicts) == 21 and remarks == ["cleaned by drop_conflicts: 2 rows touched"]
    assert len(after(found, "drop_near_duplicates")[0]) == 20
    both, remarks = after(found, "drop_duplicates", "drop_conflicts")
    assert len(both) == 20 and remarks[1] == "cleaned by drop_conflicts: 2 rows touched"


def test_rows_that_cross_the_border_go_from_the_test_part(tmp_path: Path) -> None:
    found = table(tmp_path, "x,y,split", "1,a,train", "2,b,train", "1,a,test", "3,b,test")
    cleaned, _ = after(found, "drop_crossing_duplicates")
    assert cells(cleaned, "split") == ["train", "train", "test"] and cells(cleaned, "x") == ["1", "2", "3"]


def test_rows_without_a_value_go(tmp_path: Path) -> None:
    cleaned, _ = after(table(tmp_path, "x,y", "1,a", "?,b", "3,"), "drop_missing:x", "drop_missing:y")
    assert cells(cleaned, "x") == ["1"]


def test_outliers_are_clipped_to_what_training_has(tmp_path: Path) -> None:
    found = table(tmp_path, "x,y", *(f"{i % 100},{'ab'[i % 2]}" for i in range(400)), "90000,a")
    cleaned, learned, steps = after_split(found, ["clip_outliers:x"], np.arange(400), "y")
    assert steps[0].low is not None and steps[0].low <= 0 and steps[0].high is not None and 99 <= steps[0].high < 2000
    assert learned == ["cleaned by clip_outliers:x: 1 rows touched"] and float(cells(cleaned, "x")[-1]) == steps[0].high


def test_what_is_learned_is_learned_from_training_rows_alone(tmp_path: Path) -> None:
    found = table(tmp_path, "x,c,y", "1,a,p", "3,a,q", ",b,p", "1000,z,q")
    _, _, steps = after_split(found, ["impute:x=mean", "group_rare:c=1"], np.array([0, 1, 2]), "y")
    assert steps[0].low == 2.0 and steps[1].values == ("a", "b")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("drop_duplikates", 'did you mean "drop_duplicates"?'),
        ("drop_duplicates:x", "try    drop_duplicates"),
        ("log", "try    log:column"),
        ("log:", "try    log:column"),
        ("blank:x", "blank:column=..."),
        ("cast:x=date", "cast:column=number"),
        ("power:x=much", "power:column=0.5"),
        ("group_rare:x=few", "group_rare:column=20"),
        ("derive:z=__import__('os')", "an expression may not hold"),
        ("derive:z=x.real", "an expression may not hold x.real"),
        ("derive:z=x if x else 1", "an expression may not hold"),
        ("derive:z=lgo(x)", 'did you mean "log"?'),
        ("derive:z=min(x)", "min takes 2, not 1"),
        ("derive:z=x +", "this is no expression"),
        ("derive:z=" + "(" * 300 + "x" + ")" * 300, "at most 500 characters"),
        ("derive:z='a'", "an expression may not hold"),
    ],
)
def test_what_is_no_step_is_refused_with_the_way_to_write_it(step: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_step(step)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("log:z", "the table has no column 'z'"),
        ("log:c", "holds words, not numbers"),
        ("rename:x=c", "there is a column 'c' already"),
        ("derive:x=c", "there is a column 'x' already"),
        ("derive:z=w + 1", "the table has no column 'w'"),
        ("drop_silent", "does not fit a table"),
        ("trim_silence", "does not fit a table"),
        ("impute:y=a", "the target is not to be changed"),
        ("drop_missing:gone", "leaves no row"),
    ],
)
def test_a_step_that_does_not_fit_the_data_is_refused(tmp_path: Path, step: str, said: str) -> None:
    found = table(tmp_path, "x,c,gone,y", *(f"{i},{'uvw'[i % 3]},,{'ab'[i % 2]}" for i in range(9)))
    with pytest.raises(DataError) as caught:
        after(found, step)
    assert said in str(caught.value)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_an_expression_is_the_arithmetic_that_it_looks_like(a: float, b: float) -> None:
    found = value_of("max(a, b) - min(a, b) + abs(a) / 2 % 7", {"a": np.array([a]), "b": np.array([b])}, 1)[0]
    assert found == pytest.approx(max(a, b) - min(a, b) + abs(a) / 2 % 7)


def test_a_huge_power_is_a_gap_and_takes_no_time() -> None:
    assert np.isnan(value_of("9 ** 9 ** 9 ** 9", {}, 1)[0]) and names_in("9 ** 9") == ()


def test_every_step_is_written_as_it_is_read() -> None:
    how = {"": "", "column": ":a: b", "argument": ":a: b=3"}
    for name, step in STEPS.items():
        text = name + how[step.takes]
        text = {"cast": "cast:a=number", "derive": "derive:z=a == b"}.get(name, text)
        if name != "derive":
            assert written(parse_step(text)) == text


def shop(folder: Path, rows: int = 60) -> Path:
    lines = [
        f"{20 + i if i % 9 else -999},{('rome', 'oslo', f'town{i}')[i % 3]},cafÃ© no {i % 5},{'ny'[i % 2]}" for i in range(rows)
    ]
    return table(folder, "age,city,note,y", *lines) and folder / "t.csv"


STEPS_OF_SHOP = (
    "blank:age=-999",
    "rename:age=years",
    "impute:years=median",
    "group_rare:city=4",
    "derive:decades=years / 10",
    "repair_encoding:note",
    "drop_duplicates",
)


def prepared(folder: Path, *steps: str) -> Prepared:
    plan = SplitPlan("stratified", 0.2, 0.2)
    return prepare("t.csv", base=folder, task="classification", target="y", split=plan, seed=0, clean=steps)


def test_serving_does_what_training_did_to_the_bit(tmp_path: Path) -> None:
    shop(tmp_path)
    found = prepared(tmp_path, *STEPS_OF_SHOP)
    encoding = codec.loads(Encoding, codec.dumps(found.encoding))
    assert [step.name for step in encoding.steps] == ["blank", "rename", "derive", "repair_encoding", "impute", "group_rare"]
    inputs, names, _ = read_for_prediction(tmp_path / "t.csv", encoding)
    where = {name.removeprefix("t.csv "): row for row, name in enumerate(names)}
    for part in (found.train, found.validation, found.test):
        for name, row in zip(part.names, part.inputs.numpy(), strict=True):
            assert inputs[where[name]].tobytes() == row.tobytes()
    assert any(remark.startswith("cleaned by blank:age=-999: 7 rows") for remark in found.summary.remarks)
    assert again(read_table(tmp_path / "t.csv"), encoding.steps).columns.keys() >= {"years", "decades", "years missing"}


def test_an_inspection_after_the_fixes_that_it_named_finds_what_they_mend_mended(tmp_path: Path) -> None:
    rows = [f"{i % 37},a text that is long enough for {i},1994,{'ab'[i % 2]}" for i in range(100)]
    rows[5] = rows[5].replace("a text", "a cafÃ© text")
    table(tmp_path, "x,text,year,y", *rows, *rows[:10])
    source = Source("t.csv", tmp_path)
    first = inspect(source)
    fixes = [doubt.fix for doubt in first.alarms if doubt.fix is not None]
    assert len(fixes) == len(first.alarms) >= 3
    assert inspect(source, clean=fixes).alarms == ()


def test_copies_among_pictures_are_dropped(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                tmp_path / "pets" / label / f"{number}.png"
            )
    (tmp_path / "pets" / "cat" / "copy.png").write_bytes((tmp_path / "pets" / "cat" / "0.png").read_bytes())
    plan = SplitPlan("stratified", 0.2, 0.2)
    told = {"base": tmp_path, "task": "image-classification", "target": None, "split": plan, "seed": 0}
    found = prepare("pets", clean=("drop_duplicates",), **told)  # type: ignore[arg-type]
    assert sum(part.rows for part in found.summary.parts) == 20
    with pytest.raises(DataError, match="does not fit pictures"):
        prepare("pets", clean=("log:x",), **told)  # type: ignore[arg-type]


def test_silence_is_trimmed_in_training_and_in_serving(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(np.arange(2000) / 3)
    for label in ("high", "low"):
        (tmp_path / label).mkdir()
        for take in range(6):
            quiet = np.zeros(100 * (take + 1))
            soundfile.write(tmp_path / label / f"{take}.wav", np.concatenate([quiet, tone, quiet]), 8000)
    soundfile.write(tmp_path / "low" / "mute.wav", np.zeros(3000), 8000)
    plan = SplitPlan("stratified", 0.2, 0.2)
    steps = ("drop_silent", "trim_silence")
    found = prepare(str(tmp_path), base=Path(), task="sound-classification", target=None, split=plan, seed=0, clean=steps)
    assert found.encoding.sound is not None and found.encoding.sound.samples < 2010
    assert "cleaned by drop_silent: 1 rows touched" in found.summary.remarks
    name = found.test.names[0]
    inputs, _, _ = read_for_prediction(tmp_path / name, found.encoding)
    assert inputs[0].tobytes() == found.test.inputs[0].numpy().tobytes()


@pytest.mark.parametrize("step", ["log:x", "power:x=0.5", "derive:z=x + 1"])
def test_a_word_where_a_step_computes_is_refused_or_left_out_in_training_and_in_prediction(step: str, tmp_path: Path) -> None:
    lines = [f"{i if i != 7 else 'many'},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *lines]))
    told = {"base": tmp_path, "task": "classification", "target": "y", "split": SplitPlan(), "seed": 0, "clean": (step,)}
    with pytest.raises(DataError, match="line 9: 'many'"):
        prepare("t.csv", **told)  # type: ignore[arg-type]
    found = prepare("t.csv", skip_corrupt=True, **told)  # type: ignore[arg-type]
    assert [skip.name for skip in found.summary.skipped] == ["line 9"]
    assert len(found.train) + len(found.validation) + len(found.test) == 59
    with pytest.raises(DataError, match="line 9: 'many'"):
        read_for_prediction(tmp_path / "t.csv", found.encoding)
    inputs, _, skipped = read_for_prediction(tmp_path / "t.csv", found.encoding, skip_corrupt=True)
    assert len(inputs) == 59 and skipped[0].name == "line 9"
    (tmp_path / "one.csv").write_text("x,y\nmany,a\n4,a\n")  # half of a small file, and the step says nothing of shares
    assert len(read_for_prediction(tmp_path / "one.csv", found.encoding, skip_corrupt=True)[0]) == 1
