from pathlib import Path

import pytest

from isograd.errors import DataError
from isograd.workbench.data import SplitPlan, prepare, read_for_prediction
from isograd.workbench.data.texts import read_texts


def reviews(folder: Path) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for label in ("neg", "pos"):
            (folder / part / label).mkdir(parents=True)
            for number in range(count):
                (folder / part / label / f"{number}_{5}.txt").write_text(f"{label} film, {part} {number} – fine\n", "utf-8")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_texts(folder, "label")
    return str(caught.value)


def test_the_layout_of_the_large_movie_review_dataset_is_a_table_in_parts(tmp_path: Path) -> None:
    (reviews(tmp_path) / "train" / "unsup").mkdir()
    (tmp_path / "train" / "unsup" / "0_0.txt").write_text("nobody said")
    (tmp_path / "train" / "urls_pos.txt").write_text("not a review")
    table = read_texts(tmp_path, "label")
    assert len(table) == 10 and table.parts is not None and table.parts.tolist() == 6 * ["train"] + 4 * ["test"]
    assert table.columns["label"].values == ("neg", "pos")
    assert table.columns["text"].values[0] == "neg film, train 0 – fine"
    assert table.places[0] == "train/neg/0_5.txt" and "unsup" in table.remarks[0]


def test_files_that_are_empty_blank_or_no_utf8_are_named_and_can_be_skipped(tmp_path: Path) -> None:
    folder = reviews(tmp_path) / "train" / "pos"
    (folder / "a.txt").write_bytes(b"")
    (folder / "b.txt").write_bytes(b" \n")
    (folder / "c.txt").write_bytes("caf\u00e9".encode("latin-1"))
    (folder / "d.txt").write_bytes("film".encode("utf-16"))
    told = refused(tmp_path)
    assert all(part in told for part in ("0 bytes", "holds blanks only", "c.txt is not UTF-8", "d.txt is UTF-16"))
    table = read_texts(tmp_path, "label", skip_corrupt=True)
    assert len(table) == 10 and [skip.name for skip in table.skipped] == [f"train/pos/{name}.txt" for name in "abcd"]


def test_a_changed_text_is_another_fingerprint(tmp_path: Path) -> None:
    first = read_texts(reviews(tmp_path), "label").fingerprint
    (tmp_path / "test" / "pos" / "0_5.txt").write_text("another")
    assert read_texts(tmp_path, "label").fingerprint != first


def test_a_folder_of_texts_is_learned_from_and_new_texts_are_read_alike(tmp_path: Path) -> None:
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        for number in range(12):
            (tmp_path / label / f"{number}.txt").write_text(f"a {label} film, the {number}th this week, and a long one")
    plan = SplitPlan("stratified", 0.2, 0.2)
    found = prepare(str(tmp_path), base=Path(), task="classification", target="label", split=plan, seed=0)
    inputs, names, _ = read_for_prediction(tmp_path / "neg", found.encoding)
    assert names[0] == "neg 0.txt" and len(inputs) == 12
    for name, row in zip(found.test.names, found.test.inputs.numpy(), strict=True):
        alone, _, _ = read_for_prediction(tmp_path / name, found.encoding)
        assert alone[0].tobytes() == row.tobytes()
    (tmp_path / "neg" / "0.txt").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        read_for_prediction(tmp_path / "neg", found.encoding)


def test_words_that_training_never_saw_are_counted_at_prediction(tmp_path: Path) -> None:
    rows = [f"a film that is {('good', 'bad')[i % 2]}{' indeed' * i},{'pn'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["text,y", *rows]) + "\n")
    plan = SplitPlan("stratified", 0.2, 0.2)
    found = prepare("t.csv", base=tmp_path, task="text-classification", target="y", split=plan, seed=0)
    (tmp_path / "new.csv").write_text("text\na strange film\ngood\n")
    _, _, left_out = read_for_prediction(tmp_path / "new.csv", found.encoding)
    assert [f"{one.name}: {one.reason}" for one in left_out] == [
        "column 'text': 1 of 4 tokens are not among the 9 that training kept"
    ]


def test_one_column_of_texts_that_recur_is_read_as_texts_and_a_vocabulary_of_one_word_teaches_nothing(tmp_path: Path) -> None:
    plan = SplitPlan("stratified", 0.2, 0.2)
    told = {"base": tmp_path, "task": "text-classification", "target": "y", "split": plan, "seed": 0}
    (tmp_path / "t.csv").write_text("text,y\n" + "".join(f"{('very good', 'bad')[i % 2]},{'pn'[i % 2]}\n" for i in range(60)))
    assert prepare("t.csv", **told).encoding.columns[0].kind == "text"  # type: ignore[arg-type]
    (tmp_path / "t.csv").write_text("text,y\n" + "".join(f"{'go ' * (3 + i % 7)},{'pn'[i % 2]}\n" for i in range(60)))
    with pytest.raises(DataError, match=r"no column is left(.|\n)*fewer than two different words: text"):
        prepare("t.csv", **told)  # type: ignore[arg-type]


def test_a_text_that_is_empty_after_cleaning_is_counted_at_prediction_too(tmp_path: Path) -> None:
    rows = [f"a film of {'good' if i % 2 else 'bad'} taste {i % 9},{'pn'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    found = prepare(
        *("t.csv",), base=tmp_path, task="text-classification", target="label", split=SplitPlan(), seed=0,
        clean=("strip_markup:text",),
    )  # fmt: skip
    (tmp_path / "new.csv").write_text("text\n<br />\ngood film\n<b></b>\n")
    inputs, _, skipped = read_for_prediction(tmp_path / "new.csv", found.encoding)
    assert len(inputs) == 3 and any("2 texts are empty" in skip.reason for skip in skipped)
