from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isograd.errors import DataError
from isograd.records import codec
from isograd.records.schema import DataSummary, Encoding
from isograd.workbench.data import SplitPlan, picture, pictures, prepare, read_for_prediction
from isograd.workbench.data.columns import Numbers, Words, as_numbers, kind_of
from isograd.workbench.data.features import encode, fit_column

WORDS = ["", "1", "2.5", "-3e4", "yes", "no", "rome", "oslo", "?", "missing", "NA"]


def words(cells: list[str]) -> Words:
    values = sorted(set(cells))
    return Words(np.array([values.index(cell) for cell in cells], dtype=np.int64), tuple(values))


@given(st.lists(st.sampled_from(WORDS), min_size=3, max_size=30), st.sampled_from(["number", "category", "boolean"]))
def test_a_row_alone_gets_the_bits_it_gets_among_others(cells: list[str], kind: str) -> None:
    encoding = fit_column("c", words(cells), kind)  # type: ignore[arg-type]
    if encoding is None:
        return
    together = encode({"c": words(cells)}, [encoding], len(cells))
    for row, cell in enumerate(cells):
        alone = encode({"c": words([cell])}, [encoding], 1)
        assert alone.tobytes() == together[row : row + 1].tobytes()


@example([1.1125369292536007e-308, float("nan")], 1.0)
@given(st.lists(st.floats(-1e30, 1e30) | st.just(float("nan")), min_size=2, max_size=30), st.floats(-1e30, 1e30))
def test_encoded_numbers_are_finite_and_centred_whatever_they_are(values: list[float], new: float) -> None:
    encoding = fit_column("c", Numbers(np.array(values)), "number")
    if encoding is None:
        return
    found = encode({"c": Numbers(np.array(values))}, [encoding], len(values))
    assert np.isfinite(found).all()
    assert abs(float(found[:, 0].astype(np.float64).sum())) < 1e-3 * len(values)
    assert np.isfinite(encode({"c": Numbers(np.array([new]))}, [encoding], 1)).all()


def test_a_gap_in_a_category_is_its_own_value_where_training_had_gaps_and_unseen_where_not() -> None:
    gappy = fit_column("c", words(["a", "", "b", "a", "?"]), "category")
    assert gappy is not None and gappy.values == ("a", "missing", "b")
    assert encode({"c": words(["NA", "b"])}, [gappy], 2).tolist() == [[0, 1, 0], [0, 0, 1]]
    whole = fit_column("c", words(["a", "b", "a"]), "category")
    assert whole is not None and encode({"c": words(["", "b"])}, [whole], 2).tolist() == [[0, 0], [0, 1]]


def test_a_constant_with_gaps_is_only_shifted_so_that_a_new_value_stays_of_its_size() -> None:
    for value in (0.0, 5.0, 1.1125369292536007e-308):
        encoding = fit_column("c", Numbers(np.array([value, float("nan")])), "number")
        assert encoding is not None and encoding.std == 1.0
        assert encode({"c": Numbers(np.array([value + 1.0]))}, [encoding], 1).tolist() == [[1.0, 0.0]]


def test_an_outlier_beyond_float32_stays_finite() -> None:
    encoding = fit_column("c", Numbers(np.array([0.0, 1e-150])), "number")
    assert encoding is not None
    assert encode({"c": Numbers(np.array([1e30, -1e30]))}, [encoding], 2)[:, 0].tolist() == pytest.approx([1e30, -1e30])


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_a_picture_alone_gets_the_bits_it_gets_among_others_and_comes_back(rows: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, 4, 5, 3)).astype(np.uint8)
    encoding = pictures.fit(pixels, ("a", "b"), "label")
    together = pictures.encode(pixels, encoding)
    for row in range(rows):
        assert pictures.encode(pixels[row : row + 1], encoding).tobytes() == together[row : row + 1].tobytes()
        assert np.array_equal(pictures.decode(together[row], encoding), pixels[row])


def test_encoded_pictures_are_the_formula_of_the_record() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3)).astype(np.uint8)
    encoding = pictures.fit(pixels, ("a", "b"), "label")
    mean, std = np.array(encoding.channel_mean), np.array(encoding.channel_std)
    assert np.allclose(mean, (pixels / 255).mean(axis=(0, 1, 2))) and np.allclose(std, (pixels / 255).std(axis=(0, 1, 2)))
    plain = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert np.allclose(pictures.encode(pixels, encoding), plain, atol=1e-6)


def test_a_category_has_its_values_most_frequent_first_and_an_unseen_one_is_all_zeros() -> None:
    encoding = fit_column("c", words(["b", "a", "b", "c", "c", "b"]), "category")
    assert encoding is not None and encoding.values == ("b", "c", "a")
    assert encode({"c": words(["a", "z", "b"])}, [encoding], 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_a_numeric_column_is_one_with_a_few_faults_and_a_mixed_one_is_not() -> None:
    numbers = [str(i) for i in range(100)]
    assert kind_of(words(numbers[:95] + ["x"] * 5)).kind == "number"
    assert kind_of(words(numbers[:50] + ["x"] * 50)).kind != "number"
    assert as_numbers(words(["1_0", "0x1", "1e3"]))[1].tolist() == [True, True, False]


def table(folder: Path) -> Path:
    path = folder / "shop.csv"
    rows = [f"{20 + i},{('rome', 'oslo', 'bonn')[i % 3]},{('yes', 'no')[i % 4 == 0]},{'ny'[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["age,city,member,bought", *rows]))
    return path


def fitted(path: Path) -> Encoding:
    plan = SplitPlan("stratified", 0.2, 0.2)
    return prepare(str(path), base=path, task="classification", target="bought", split=plan, seed=0).encoding


def test_new_rows_are_encoded_as_the_same_rows_were_in_training(tmp_path: Path) -> None:
    path = table(tmp_path)
    plan = SplitPlan("stratified", 0.2, 0.2)
    found = prepare(str(path), base=path, task="classification", target="bought", split=plan, seed=0)
    inputs, names, skipped = read_for_prediction(path, found.encoding)
    assert skipped == () and len(names) == 60
    for part in (found.train, found.validation, found.test):
        lines = [int(name.removeprefix("line ")) - 2 for name in part.names]
        assert inputs[lines].tobytes() == part.inputs.numpy().tobytes()


def test_new_rows_need_no_target_and_may_have_their_columns_in_any_order_and_more(tmp_path: Path) -> None:
    encoding = fitted(table(tmp_path))
    new = tmp_path / "new.csv"
    new.write_text("member,shoe,city,age\nyes,44,rome,20\nno,45,lima,\n")
    inputs, names, skipped = read_for_prediction(new, encoding)
    assert names == ("new.csv line 2", "new.csv line 3") and np.isfinite(inputs).all()
    assert [skip.name for skip in skipped] == ["column 'shoe'", "column 'city'"]
    assert "'lima' in line 3" in skipped[1].reason
    assert inputs[1, 1:4].tolist() == [0, 0, 0] and inputs[1, 0] == 0  # unseen city; the gap became the mean


def test_all_missing_columns_are_named_at_once_with_a_did_you_mean(tmp_path: Path) -> None:
    encoding = fitted(table(tmp_path))
    new = tmp_path / "new.csv"
    new.write_text("agge,member\n20,yes\n")
    with pytest.raises(DataError, match=r"(?s)no column 'age'.*agge.*no column 'city'"):
        read_for_prediction(new, encoding)


def test_text_in_a_numeric_column_of_new_rows_is_named_or_skipped(tmp_path: Path) -> None:
    encoding = fitted(table(tmp_path))
    new = tmp_path / "new.csv"
    new.write_text("age,city,member\n20,rome,yes\nold,rome,maybe\n")
    with pytest.raises(DataError, match=r"(?s)line 3: 'old'.*line 3: 'maybe'"):
        read_for_prediction(new, encoding)
    inputs, _, skipped = read_for_prediction(new, encoding, skip_corrupt=True)
    assert len(inputs) == 1 and skipped[0].name == "line 3"


@pytest.mark.parametrize("source", ["builtin:digits", "picture.png", ""])
def test_a_model_of_a_table_refuses_pictures(tmp_path: Path, source: str) -> None:
    encoding = fitted(table(tmp_path))
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(DataError, match="takes rows of a table"):
        read_for_prediction(source if source.startswith("builtin") else tmp_path / source, encoding)


def test_digits_can_be_asked_for_one_by_one() -> None:
    plan = SplitPlan("stratified", 0.1, 0.2)
    found = prepare("builtin:digits", base=Path(), task="image-classification", target=None, split=plan, seed=0)
    whole, names, _ = read_for_prediction("builtin:digits", found.encoding)
    one, name, _ = read_for_prediction(["builtin:digits:7"], found.encoding)
    assert len(whole) == 1797 and name == ("digit 7",) == names[7:8] and np.array_equal(one[0], whole[7])
    with pytest.raises(DataError, match="builtin:digits:1796"):
        read_for_prediction("builtin:digits:1797", found.encoding)
    assert picture(found.test, 0, found.encoding) is not None


def test_summary_and_encoding_survive_the_codec(tmp_path: Path) -> None:
    path = table(tmp_path)
    plan = SplitPlan("stratified", 0.2, 0.2)
    found = prepare(str(path), base=path, task="classification", target="bought", split=plan, seed=0)
    assert codec.loads(Encoding, codec.dumps(found.encoding)) == found.encoding
    assert codec.loads(DataSummary, codec.dumps(found.summary)) == found.summary
    assert picture(found.test, 0, found.encoding) is None
