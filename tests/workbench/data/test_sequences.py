"""Sequences from tables and archives: which rows belong together, where they end, and what bad ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isograd.errors import DataError
from isograd.workbench.data import EncodingPlan, Prepared, Source, SplitPlan, inspect, prepare, read_for_prediction

CLASSES, VALUES = "sequence-classification", "sequence-regression"


def long_table(folder: Path, rows: list[str], header: str = "case,hour,pulse,state,label") -> Path:
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return folder / "t.csv"


def patients(folder: Path, count: int = 30) -> Path:
    rows: list[str] = []
    for case in range(count):
        hours = reversed(range(2 + case % 3))  # the latest first
        said = "ill" if case % 2 else "well"
        rows += [f"p{case},{hour},{10 * case + hour},{'up' if hour else 'low'},{said}" for hour in hours]
    return long_table(folder, rows)


def made(folder: Path, source: str = "t.csv", task: str = CLASSES, **more: Any) -> Prepared:
    given = {"target": "label", "sequence": "case", "time": "hour", **more}
    plan = given.pop("split", SplitPlan("auto", 0.2, 0.2))
    return prepare(source, base=folder, task=task, split=plan, seed=0, **given)


def archive(folder: Path, x: Any, y: Any, **more: Any) -> Prepared:
    np.savez(folder / "x.npz", x=x, y=y)
    return made(folder, "x.npz", target=None, sequence=None, time=None, **more)


def test_rows_of_one_case_follow_one_another_in_the_order_of_their_time(tmp_path: Path) -> None:
    patients(tmp_path)
    found = made(tmp_path)
    rows, encoding = found.train, found.encoding
    assert encoding.sequence is not None and encoding.sequence.ragged and encoding.sequence.length == 4
    assert rows.inputs.shape[1:] == (4, 4)  # pulse, low, up, and whether there is a step
    assert [column.name for column in encoding.columns] == ["pulse", "state"]
    for name, row, target in zip(rows.names, rows.inputs, rows.targets, strict=True):
        case = int(name.removeprefix("case p"))
        steps = 2 + case % 3
        pulse = row[:steps, 0] * encoding.columns[0].std + encoding.columns[0].mean
        assert pulse.round().tolist() == [10 * case + hour for hour in range(steps)]
        assert row[:, -1].tolist() == [1.0] * steps + [0.0] * (4 - steps) and not row[steps:].any()
        assert found.encoding.classes[int(target)] == ("ill" if case % 2 else "well")


def test_what_is_fitted_is_fitted_on_the_steps_of_the_training_part_alone(tmp_path: Path) -> None:
    patients(tmp_path)
    found = made(tmp_path)
    inputs = found.train.inputs
    there = inputs[:, :, -1] > 0.5
    pulse = inputs[:, :, 0][there]
    assert abs(float(pulse.mean())) < 1e-5 and abs(float(pulse.std(unbiased=False)) - 1) < 1e-5
    assert {part.rows for part in found.summary.parts} == {18, 6}


def test_without_a_time_the_order_of_the_file_counts_and_that_is_said(tmp_path: Path) -> None:
    long_table(tmp_path, [f"a{i // 2},{i % 2},{i},x,{i // 2 % 2}" for i in range(40)])
    found = made(tmp_path, time=None, drop=("hour",))
    assert any("no time was named" in remark for remark in found.summary.remarks)
    assert not found.encoding.sequence.ragged  # type: ignore[union-attr]


def test_a_target_that_changes_within_a_sequence_is_one_for_every_step(tmp_path: Path) -> None:
    rows = [f"c{case},{hour},{case + hour},x,{(case + hour) % 2}" for case in range(20) for hour in range(2 + case % 2)]
    long_table(tmp_path, rows)
    found = made(tmp_path)
    assert found.encoding.sequence is not None and found.encoding.sequence.each
    assert found.train.targets.shape == (12, 3)
    assert set(found.train.targets.unique().tolist()) == {-100, 0, 1}
    assert bool(((found.train.targets == -100) == (found.train.inputs[:, :, -1] < 0.5)).all())
    values = made(tmp_path, task=VALUES)
    assert values.train.targets.shape == (12, 3, 1)
    assert bool((values.train.targets[:, :, 0].isnan() == (values.train.inputs[:, :, -1] < 0.5)).all())


def test_what_stays_the_same_within_a_sequence_stands_at_each_of_its_steps(tmp_path: Path) -> None:
    rows = [f"c{case},{hour},{hour},{'man' if case % 3 else 'woman'},{case % 2}" for case in range(20) for hour in range(3)]
    long_table(tmp_path, rows, "case,hour,pulse,sex,label")
    inputs = made(tmp_path).train.inputs
    assert inputs.shape[1:] == (3, 3) and bool((inputs[:, :1, 1:] == inputs[:, :, 1:]).all())


def test_arrays_are_sequences_and_steps_of_nothing_at_their_end_are_not_there(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 5, 2))
    y = np.arange(40) % 2
    whole = archive(tmp_path, x, y)
    assert whole.train.inputs.shape[1:] == (5, 2) and not whole.encoding.sequence.ragged  # type: ignore[union-attr]
    x[3, 2:] = np.nan
    x[4:20, 1, 0] = np.nan  # a gap is no end
    ragged = archive(tmp_path, x, y)
    assert ragged.train.inputs.shape[2] == 4 and ragged.train.inputs.isfinite().all()
    assert archive(tmp_path, x[:, :, 0], y).train.inputs.shape[2] == 3  # x0, whether it is missing, whether there is a step


def test_sequences_are_inspected_as_a_row_each(tmp_path: Path) -> None:
    patients(tmp_path)
    source = Source("t.csv", tmp_path, target="label", sequence="case", time="hour")
    found = inspect(source, task=CLASSES)
    assert found.rows == 30 and found.classes == ("ill", "well")
    assert {"pulse (mean)", "pulse (last)", "state"} <= {column.name for column in found.columns}
    (mean,) = [column for column in found.columns if column.name == "pulse (mean)"]
    assert mean.minimum == 0.5 and mean.maximum == 291.5  # the first case has two hours, the last one four
    x = np.random.default_rng(0).normal(size=(40, 5, 2))
    np.savez(tmp_path / "x.npz", x=np.concatenate([x, x[:3]]), y=np.arange(43) % 2)
    doubts = {doubt.kind for doubt in inspect(Source("x.npz", tmp_path), task=CLASSES).doubts}
    assert any("duplicate" in kind or "repeat" in kind or "conflict" in kind for kind in doubts)


def test_equal_sequences_never_lie_on_both_sides_of_a_split(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = np.repeat(draw.normal(size=(30, 4, 1)), 2, axis=0)
    found = archive(tmp_path, x, np.repeat(np.arange(30) % 2, 2))
    sides = [{int(name) // 2 for name in rows.names} for rows in (found.train, found.validation, found.test)]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


def test_a_column_that_stays_the_same_can_keep_groups_of_sequences_apart(tmp_path: Path) -> None:
    rows = [f"c{case},{hour},{case * hour},w{case % 6},{case % 2}" for case in range(24) for hour in range(3)]
    long_table(tmp_path, rows, "case,hour,pulse,ward,label")
    found = made(tmp_path, split=SplitPlan("group", 0.2, 0.2, "ward"))
    wards = [{int(n.removeprefix("case c")) % 6 for n in rows.names} for rows in (found.train, found.validation, found.test)]
    assert not wards[0] & wards[1] and not wards[0] & wards[2]
    assert [column.name for column in found.encoding.columns] == ["pulse"]


def test_new_sequences_are_encoded_as_those_of_the_training(tmp_path: Path) -> None:
    patients(tmp_path)
    found = made(tmp_path)
    inputs, names, _ = read_for_prediction(tmp_path / "t.csv", found.encoding)
    place = {name: row for row, name in enumerate(names)}
    for name, row in zip(found.train.names, found.train.inputs, strict=True):
        assert np.array_equal(inputs[place[f"t.csv {name}"]], row.numpy())
    x = np.random.default_rng(0).normal(size=(40, 5, 2))
    encoding = archive(tmp_path, x, np.arange(40) % 2).encoding
    np.savez(tmp_path / "new.npz", x=np.concatenate([x, x], axis=1)[:3])
    longer, _, lost = read_for_prediction(tmp_path / "new.npz", encoding)
    assert longer.shape == (3, 5, 2) and "after the 5th" in lost[0].name
    np.savez(tmp_path / "new.npz", x=x[:3, :4])
    with pytest.raises(DataError, match="has 4 steps, and this model takes 5"):
        read_for_prediction(tmp_path / "new.npz", encoding)
    with pytest.raises(DataError, match="another form"):
        read_for_prediction(tmp_path / "t.csv", encoding)


def test_steps_beyond_the_length_are_cut_and_that_is_said(tmp_path: Path) -> None:
    found = archive(
        tmp_path, np.random.default_rng(0).normal(size=(40, 5, 2)), np.arange(40) % 2, encode_as=EncodingPlan(length=3)
    )
    assert found.train.inputs.shape[1:] == (3, 2)
    assert any("longer than 3 steps" in remark for remark in found.summary.remarks)


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([], {"sequence": None}, 'sequence = "case" under'),
        ([], {"sequence": "cas"}, 'did you mean "case"'),
        ([], {"time": "our"}, 'did you mean "hour"'),
        ([], {"target": "lable"}, 'did you mean "label"'),
        ([], {"target": "case"}, "has no column 'case' to foretell"),
        ([], {"clean": ("drop_conflicts",)}, "compares whole examples, and rows are steps here"),
        ([",3,1,up,ill"], {}, "1 rows say no 'case'"),
        (["p1,1,1,up,ill"], {}, "have the same 'hour'"),
        (["p99,0,much,up,ill"], {}, "should hold finite numbers"),
        (["p99,0,1,up,"], {}, "the target 'label' is missing"),
        ([], {"split": SplitPlan("group", 0.2, 0.2, "pulse")}, "no column that stays the same"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_way_out(rows: list[str], more: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = patients(tmp_path)
    path.write_text(path.read_text("utf-8") + "\n".join(rows) + "\n" * bool(rows), "utf-8")
    with pytest.raises(DataError) as caught:
        made(tmp_path, **more)
    assert said in str(caught.value)


def test_a_sequence_with_a_word_among_its_numbers_is_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    path = patients(tmp_path)
    path.write_text(path.read_text("utf-8") + "p99,0,much,up,ill\np99,1,3,up,ill\n", "utf-8")
    found = made(tmp_path, skip_corrupt=True)
    assert [item.name for item in found.summary.skipped] == ["case p99"]
    assert sum(part.rows for part in found.summary.parts) == 30


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.zeros((10, 5, 2, 2)), np.arange(10) % 2, "rows x steps x features"),
        (np.full((10, 5, 2), np.nan), np.arange(10) % 2, "has no step"),
        (np.full((10, 5, 2), np.inf), np.arange(10) % 2, "is infinite at step 0"),
        (np.zeros((10, 5, 2)), np.zeros((10, 4)), "do not fit together"),
        (np.zeros((10, 5, 2)), np.arange(10) % 2, "no column is left to learn from"),
    ],
)
def test_arrays_that_are_no_sequences_are_told(x: Any, y: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        archive(tmp_path, x, y)
    assert said in str(caught.value)


def test_a_task_of_another_kind_says_which_one_is_meant(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((10, 5, 2)), y=np.arange(10) % 2)
    with pytest.raises(DataError, match="sequence-classification"):
        made(tmp_path, "x.npz", task="classification", sequence=None, time=None)
    patients(tmp_path)
    with pytest.raises(DataError, match="sequence is for sequences"):
        made(tmp_path, task="classification", time=None)


def test_rows_are_cleaned_before_they_become_steps_and_new_ones_as_the_old(tmp_path: Path) -> None:
    path = patients(tmp_path)
    rows = path.read_text("utf-8").splitlines()
    odd = ["p1,0,-1,low,ill", "p3,0,-1,low,ill", *rows[1:][:2], ",9,1,up,ill"]
    kept = [row for row in rows if not row.startswith(("p1,0,", "p3,0,"))]
    path.write_text("\n".join([*kept, *odd]) + "\n", "utf-8")
    clean = ("drop_missing:case", "drop_duplicates", "blank:pulse=-1", "impute:pulse=median", "derive:twice=pulse * 2")
    found = made(tmp_path, clean=clean)
    assert sum(part.rows for part in found.summary.parts) == 30
    assert any("cleaned by drop_missing:case: 1 rows" in remark for remark in found.summary.remarks)
    assert any("cleaned by drop_duplicates: 2 rows" in remark for remark in found.summary.remarks)
    assert {"pulse", "twice"} <= {column.name for column in found.encoding.columns}
    assert [step.name for step in found.encoding.steps] == ["blank", "derive", "impute"]
    new = tmp_path / "new.csv"
    new.write_text("\n".join([*kept, *odd[:2]]) + "\n", "utf-8")  # doubles and rows without a case are the training's own
    again, names, _ = read_for_prediction(new, found.encoding)
    parts = {name.removeprefix("new.csv "): row for name, row in zip(names, again, strict=True)}
    for name, row in zip(found.train.names, found.train.inputs, strict=True):
        assert np.array_equal(parts[name], row.numpy())


def test_steps_of_cleaning_are_not_for_arrays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="steps of cleaning are for tables"):
        archive(tmp_path, np.zeros((20, 5, 2)), np.arange(20) % 2, clean=("drop_duplicates",))


def test_the_last_steps_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    x = np.arange(40.0)[:, None] + np.arange(5.0)
    x[:20, 4] = np.nan  # half of them have four steps
    first, last = (
        archive(tmp_path, x, np.arange(40) % 2, encode_as=EncodingPlan(length=3, keep=keep)) for keep in ("first", "last")
    )
    assert any("their last ones count" in remark for remark in last.summary.remarks)
    for found, begins in ((first, (0, 0)), (last, (1, 2))):
        column = found.encoding.columns[0]
        for name, row in zip(found.train.names, found.train.inputs, strict=True):
            number = int(name.split()[-1]) if name.split()[-1].isdecimal() else int("".join(filter(str.isdigit, name)))
            start = begins[number >= 20]
            seen = (row[:, 0] * column.std + column.mean).round().tolist()
            assert seen == [number + start + step for step in range(3)]
