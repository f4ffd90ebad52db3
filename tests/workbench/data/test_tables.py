from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isograd.errors import DataError
from isograd.workbench.data import Prepared, SplitPlan, prepare


def lines(rows: int = 40) -> list[str]:
    return ["age,city,member,price,bought"] + [
        f"{20 + row},{('rome', 'oslo', 'bonn')[row % 3]},{('yes', 'no')[row % 4 == 0]},{row * 1.5 % 7},{'ny'[row % 2]}"
        for row in range(rows)
    ]


def write(folder: Path, text: list[str] | str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    if isinstance(text, list):
        text = "\n".join(text) + "\n"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def prepared(path: Path, task: str = "classification", target: str | None = "bought", **how: object) -> Prepared:
    told = {"split": SplitPlan("stratified" if task == "classification" else "random", 0.2, 0.2), "seed": 0, **how}
    return prepare(path.name, base=path.parent, task=task, target=target, **told)  # type: ignore[arg-type]


def refused(path: Path, task: str = "classification", target: str | None = "bought", **how: object) -> str:
    with pytest.raises(DataError) as caught:
        prepared(path, task, target, **how)
    return str(caught.value)


def changed(line: int, text: str, rows: int = 40) -> list[str]:
    """The table with the file's line ``line`` (the header is line 1) replaced."""
    table = lines(rows)
    table[line - 1] = text
    return table


def test_columns_are_typed_and_split_and_scaled_by_the_training_part(tmp_path: Path) -> None:
    found = prepared(write(tmp_path, lines()))
    kinds = {column.name: column.kind for column in found.summary.schema.columns}
    assert kinds == {"age": "number", "city": "category", "member": "boolean", "price": "number"}
    assert found.encoding.classes == ("n", "y")
    assert found.train.inputs.shape[1] == 1 + 3 + 1 + 1
    assert abs(float(found.train.inputs[:, 0].mean())) < 1e-6
    ages = [20 + int(name.removeprefix("line ")) - 2 for name in found.train.names]
    assert found.encoding.columns[0].mean == pytest.approx(np.mean(ages), abs=1e-12)
    assert found.encoding.columns[0].std == pytest.approx(np.std(ages), abs=1e-12)


def test_the_target_of_a_regression_is_standardised_and_comes_back(tmp_path: Path) -> None:
    found = prepared(write(tmp_path, lines()), "regression", "age")
    assert found.train.targets.shape == (24, 1) and found.encoding.classes == ()
    assert abs(float(found.train.targets.mean())) < 1e-6 and abs(float(found.train.targets.std(correction=0)) - 1) < 1e-6
    back = found.test.targets[:, 0].double() * found.encoding.target_std + found.encoding.target_mean
    ages = [20 + int(name.removeprefix("line ")) - 2 for name in found.test.names]
    assert back.tolist() == pytest.approx(ages, rel=1e-6)


def test_the_same_content_and_seed_give_the_same_rows_and_another_seed_others(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    assert prepared(path).test.names == prepared(path).test.names
    assert prepared(path).test.names != prepared(path, seed=1).test.names


@pytest.mark.parametrize("gap", ["", "NA", "n/a", "NaN", "null", "?", " "])
def test_gaps_are_data_imputed_with_an_indicator_and_said(tmp_path: Path, gap: str) -> None:
    table = lines()
    for line in range(1, 41, 3):
        table[line] = ",".join([gap, gap, gap, *table[line].split(",")[3:]])
    found = prepared(write(tmp_path, table))
    age, city, member, _ = found.encoding.columns
    assert age.indicator and member.indicator and "missing" in city.values
    assert sum("lacks 14 values" in remark for remark in found.summary.remarks) == 3
    absent = found.train.inputs[:, 1] == 1
    assert 0 < int(absent.sum()) < 14 and (found.train.inputs[absent][:, 0] == 0).all()
    assert bool(np.isfinite(found.train.inputs.numpy()).all())


def test_names_are_left_out_with_a_remark_and_texts_are_learned_from(tmp_path: Path) -> None:
    table = ["who,review," + lines()[0]]
    table += [f"Person{i},a quite long review number {i}," + line for i, line in enumerate(lines()[1:])]
    found = prepared(write(tmp_path, table))
    assert "column 'who' reads like text or names" in found.summary.remarks[0]
    kinds = {column.name: column.kind for column in found.encoding.columns}
    assert "who" not in kinds and kinds["review"] == "text"


def test_a_table_of_names_alone_has_nothing_to_learn_from(tmp_path: Path) -> None:
    table = ["who,bought"] + [f"Person{i},{'ny'[i % 2]}" for i in range(40)]
    assert "no column is left to learn from" in refused(write(tmp_path, table))


def test_decimal_commas_are_recognised_and_said(tmp_path: Path) -> None:
    table = ["a;b;bought"] + [f"{i},5;{i * 7 % 40};{'ny'[i % 2]}" for i in range(40)]
    assert any("decimal commas (0,5, where 0.5" in remark for remark in prepared(write(tmp_path, table)).summary.remarks)


def test_a_target_alone_is_nothing_to_learn_from(tmp_path: Path) -> None:
    assert "the target is the only column" in refused(write(tmp_path, ["bought", *"ny" * 20]))


def test_dropped_columns_are_gone_and_must_exist(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    assert [column.name for column in prepared(path, drop=("city",)).encoding.columns] == ["age", "member", "price"]
    assert 'did you mean "city"?' in refused(path, drop=("citty",))


@pytest.mark.parametrize(("delimiter", "name"), [(";", "a.csv"), ("\t", "a.csv"), ("|", "a.csv"), ("\t", "a.tsv")])
def test_other_delimiters_are_read_and_said(tmp_path: Path, delimiter: str, name: str) -> None:
    found = prepared(write(tmp_path, [line.replace(",", delimiter) for line in lines()], name))
    assert len(found.encoding.columns) == 4
    assert any("is separated by" in remark for remark in found.summary.remarks) == (name == "a.csv")


def test_a_byte_order_mark_windows_line_ends_and_quotes_are_no_trouble(tmp_path: Path) -> None:
    table = "\r\n".join(changed(3, '21,"oslo",no,"1.5",y')).encode()
    found = prepared(write(tmp_path, b"\xef\xbb\xbf" + table))
    assert [column.name for column in found.encoding.columns] == ["age", "city", "member", "price"]


def test_a_cell_with_a_line_break_does_not_shift_the_line_numbers(tmp_path: Path) -> None:
    table = changed(3, '21,"os\nlo",no,1.5,y')
    table[5] = "short"
    assert "line 7: 1 cell where the header has 5" in refused(write(tmp_path, table))


def test_ragged_rows_are_named_by_line_and_counted_when_skipped(tmp_path: Path) -> None:
    table = changed(7, "1,2")
    table[8] = "1,2,3,4,5,6"
    path = write(tmp_path, table)
    told = refused(path)
    assert "2 ragged rows" in told and "line 7: 2 cells where the header has 5" in told and "line 9: 6 cells" in told
    found = prepared(path, skip_corrupt=True)
    assert [skip.name for skip in found.summary.skipped] == ["line 7", "line 9"]
    assert found.summary.schema.rows == 38


def test_a_quote_that_is_never_closed_is_refused_even_when_skipping(tmp_path: Path) -> None:
    path = write(tmp_path, changed(7, '1,"rome,no,1,n'))
    assert "never closed" in refused(path) and "line 7" in refused(path, skip_corrupt=True)


def test_text_after_a_quote_is_a_ragged_row(tmp_path: Path) -> None:
    path = write(tmp_path, changed(7, '1,"rome"x,no,1,n'))
    assert "line 7: text after a closing quote" in refused(path)
    assert prepared(path, skip_corrupt=True).summary.schema.rows == 39


def test_another_encoding_is_named_with_its_first_odd_byte(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(changed(7, "1,köln,no,1,n")).encode("cp1252"))
    told = refused(path)
    assert "is not UTF-8" in told and "line 7" in told and "byte 0xf6" in told


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_refused(tmp_path: Path, encoding: str) -> None:
    assert "not UTF-8" in refused(write(tmp_path, "\n".join(lines()).encode(encoding)))


@pytest.mark.parametrize("content", ["", "\n\n", "age,bought\n", "age,bought", " ", "\n \n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    told = refused(write(tmp_path, content))
    assert "no rows" in told or "is empty" in told


def test_a_table_without_a_header_is_noticed(tmp_path: Path) -> None:
    assert "has no header" in refused(write(tmp_path, [f"{i},{i * 2},{i % 2}" for i in range(40)]))
    assert "has no header" in refused(write(tmp_path, [f"{i}.5,{i * 2},setosa" for i in range(40)]))


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    assert "more than one column called city" in refused(write(tmp_path, changed(1, "city,city,member,price,bought")))


def test_a_missing_target_gets_a_did_you_mean(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    assert 'did you mean "bought"?' in refused(path, target="bougt")
    assert 'target = "bought"' in refused(path, target=None)


def test_a_constant_target_is_refused(tmp_path: Path) -> None:
    table = [lines()[0]] + [line[:-1] + "y" for line in lines()[1:]]
    assert "constant" in refused(write(tmp_path, table))
    table = [lines()[0]] + [line[:-1] + "3" for line in lines()[1:]]
    assert "constant" in refused(write(tmp_path, table), "regression")


@pytest.mark.parametrize("word", ["inf", "-Infinity", "1e999", "1e200", "abc", "12 kg", "1,5"])
def test_inf_and_text_in_a_numeric_column_are_named_by_line_and_can_be_skipped(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, changed(7, f'"{word}",rome,no,1,n'))
    told = refused(path)
    assert "column 'age' should hold finite numbers" in told and f"line 7: '{word}'" in told
    found = prepared(path, skip_corrupt=True)
    assert [skip.name for skip in found.summary.skipped] == ["line 7"] and found.summary.schema.rows == 39


def test_all_columns_with_unreadable_rows_are_named_at_once(tmp_path: Path) -> None:
    table = changed(7, "x,rome,no,1,n")
    table[10] = "30,rome,no,y,n"
    told = refused(write(tmp_path, table))
    assert "'age'" in told and "'price'" in told


def test_a_row_without_a_target_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, changed(7, "1,rome,no,1,"))
    assert "the target 'bought' is missing" in refused(path)
    assert prepared(path, skip_corrupt=True).summary.schema.rows == 39


def test_none_may_be_a_class_but_is_no_number(tmp_path: Path) -> None:
    table = [line[:-1] + {"n": "none", "y": "fault"}[line[-1]] for line in lines()[1:]]
    assert prepared(write(tmp_path, [lines()[0], *table])).encoding.classes == ("fault", "none")
    path = write(tmp_path, changed(7, "none,rome,no,1,n"))
    assert "the target 'age' is missing" in refused(path, "regression", "age")


def test_a_regression_on_text_is_refused_and_points_to_classification(tmp_path: Path) -> None:
    told = refused(write(tmp_path, lines()), "regression", "city")
    assert "holds text" in told and 'task = "classification"' in told


def test_a_classification_of_a_quantity_points_to_regression(tmp_path: Path) -> None:
    table = ["x,y"] + [f"{i},{i * 0.37}" for i in range(40)]
    assert 'task = "regression"' in refused(write(tmp_path, table), target="y")


def test_numbers_may_be_classes_in_their_order(tmp_path: Path) -> None:
    table = ["x,y"] + [f"{i * 7 % 40},{(2, 10, 9)[i % 3]}" for i in range(60)]
    assert prepared(write(tmp_path, table), target="y").encoding.classes == ("2", "9", "10")


def test_a_class_for_nearly_every_row_is_refused(tmp_path: Path) -> None:
    table = ["x,y"] + [f"{i},name{i}" for i in range(40)]
    assert "a class for nearly every row" in refused(write(tmp_path, table), target="y")


def test_a_constant_column_is_left_out_and_said(tmp_path: Path) -> None:
    table = [lines()[0] + ",same"] + [line + ",7" for line in lines()[1:]]
    found = prepared(write(tmp_path, table))
    assert "same" not in {column.name for column in found.encoding.columns}
    assert any("'same' has the same value" in remark for remark in found.summary.remarks)


def test_group_and_time_columns_steer_the_split_and_are_not_learned_from(tmp_path: Path) -> None:
    table = ["day," + lines()[0]] + [f"2026-01-{1 + i // 2:02}T10:00," + line for i, line in enumerate(lines()[1:])]
    path = write(tmp_path, table)
    for kind in ("time", "group"):
        found = prepared(path, split=SplitPlan(kind, 0.2, 0.2, "day"))  # type: ignore[arg-type]
        assert "day" not in {column.name for column in found.encoding.columns}
        days = [{(int(name.removeprefix("line ")) - 2) // 2 for name in rows.names} for rows in (found.train, found.test)]
        assert not days[0] & days[1]
        assert kind == "group" or max(days[0]) < min(days[1])


def test_an_automatic_split_is_stratified_for_classes_and_random_for_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, lines())
    assert prepared(path, split=SplitPlan("auto")).summary.split == "stratified"
    assert prepared(path, "regression", "age", split=SplitPlan("auto")).summary.split == "random"


def test_a_time_that_is_none_is_named(tmp_path: Path) -> None:
    table = ["day," + lines()[0]] + [f"2026-01-{1 + i // 2:02}," + line for i, line in enumerate(lines()[1:])]
    table[6] = table[6].replace("2026-01-03", "yesterday")
    assert "line 7" in refused(write(tmp_path, table), split=SplitPlan("time", 0.2, 0.2, "day"))


def test_a_column_called_split_gives_the_parts(tmp_path: Path) -> None:
    table = ["split," + lines()[0]] + [("test," if i >= 30 else "train,") + line for i, line in enumerate(lines()[1:])]
    found = prepared(write(tmp_path, table), split=SplitPlan("given", 0.2))
    assert len(found.test) == 10 and "split" not in {column.name for column in found.encoding.columns}
    assert prepared(tmp_path / "shop.csv", split=SplitPlan("auto", 0.2)).test.names == found.test.names
    table[5] = table[5].replace("train", "trian")
    assert 'did you mean "train"?' in refused(write(tmp_path, table), split=SplitPlan("given", 0.2))


def test_train_and_test_tables_of_a_folder_are_the_parts(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    write(tmp_path / "shop", lines(), "train.csv")
    write(tmp_path / "shop", [line.replace("rome", "paris") for line in lines(9)], "test.csv")
    found = prepared(tmp_path / "shop", split=SplitPlan("given", 0.2))
    assert [part.rows for part in found.summary.parts] == [32, 8, 9]
    assert found.test.names[0] == "test.csv line 2"
    assert "paris" not in found.encoding.columns[1].values
    write(tmp_path / "shop", ["age,city"] + ["1,rome"] * 9, "test.csv")
    assert "test.csv has no column 'member'" in refused(tmp_path / "shop", split=SplitPlan("given"))


def arrow() -> pa.Table:
    rows = range(40)
    return pa.table(
        {
            "age": pa.array([None if row == 3 else row for row in rows], pa.int32()),
            "city": pa.array([("rome", "oslo")[row % 2] for row in rows]).dictionary_encode(),
            "member": pa.array([row % 3 == 0 for row in rows]),
            "tags": pa.array([[1]] * 40),
            "bought": pa.array(["ny"[row % 2] for row in rows], pa.large_string()),
        }
    )


def test_parquet_columns_keep_their_kinds(tmp_path: Path) -> None:
    pq.write_table(arrow(), tmp_path / "shop.parquet")
    found = prepared(tmp_path / "shop.parquet")
    kinds = {column.name: (column.kind, column.missing) for column in found.summary.schema.columns}
    assert kinds == {"age": ("number", 1), "city": ("category", 0), "member": ("boolean", 0)}
    assert "column 'tags' holds list" in found.summary.remarks[0]


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(arrow(), tmp_path / "shop.parquet")
    whole = (tmp_path / "shop.parquet").read_bytes()
    for cut in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path = write(tmp_path, whole[:cut], "cut.parquet")
        assert "cut.parquet" in refused(path)


def test_infinity_in_parquet_is_named(tmp_path: Path) -> None:
    table = arrow().set_column(0, "age", pa.array([float("inf") if row == 4 else row * 1.0 for row in range(40)]))
    pq.write_table(table, tmp_path / "shop.parquet")
    assert "row 5: 'inf'" in refused(tmp_path / "shop.parquet")


@pytest.mark.parametrize("name", ["shop.xlsx", "model.bin", "picture.png", "train-images-idx3-ubyte.gz"])
def test_a_file_of_no_known_kind_is_refused(tmp_path: Path, name: str) -> None:
    assert "of no kind that is read here" in refused(write(tmp_path, b"x", name))


def test_a_source_that_is_not_there_gets_a_did_you_mean(tmp_path: Path) -> None:
    write(tmp_path, lines())
    assert 'did you mean "shop.csv"?' in refused(tmp_path / "shp.csv")


def test_variables_in_a_source_are_expanded_and_must_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, lines())
    monkeypatch.setenv("SHOP_DATA", str(tmp_path))
    how = {"task": "classification", "target": "bought", "split": SplitPlan("stratified", 0.2, 0.2), "seed": 0}
    for source in ("$SHOP_DATA/shop.csv", "${SHOP_DATA}/shop.csv"):
        assert len(prepare(source, base=Path("/nowhere"), **how).test) == 8  # type: ignore[arg-type]
    monkeypatch.delenv("SHOP_DATA")
    with pytest.raises(DataError, match="variable SHOP_DATA is not set"):
        prepare("$SHOP_DATA/shop.csv", base=tmp_path, **how)  # type: ignore[arg-type]


def test_an_unknown_builtin_names_the_one_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='did you mean "builtin:digits"'):
        prepare("builtin:digit", base=tmp_path, task="image-classification", target=None, split=SplitPlan(), seed=0)


def test_bytes_damaged_anywhere_never_raise_anything_but_our_own_error(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pq.write_table(arrow(), tmp_path / "shop.parquet")
    for name, whole in (("a.csv", "\n".join(lines()).encode()), ("a.parquet", (tmp_path / "shop.parquet").read_bytes())):
        for _ in range(150):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), 3):
                damaged[place] = random.integers(0, 256)
            path = write(tmp_path, bytes(damaged), name)
            try:
                assert len(prepared(path).train) > 0
            except DataError as error:
                assert str(error)  # noqa: PT017
