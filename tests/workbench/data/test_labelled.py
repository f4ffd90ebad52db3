from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isograd.errors import DataError
from isograd.workbench.data import Prepared, SplitPlan, prepare


def album(folder: Path, rows: int = 20, header: str = "file,kind", more: str = "") -> Path:
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    lines = [header]
    for row in range(rows):
        Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(folder / "photos" / f"{row}.png")
        lines.append(f"photos/{row}.png,{('cat', 'dog')[row % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n" + more)
    return folder


def prepared(folder: Path, **how: object) -> Prepared:
    told = {"target": "kind", "split": SplitPlan("stratified", 0.2, 0.2), "task": "image-classification", **how}
    return prepare("labels.csv", base=folder, seed=0, **told)  # type: ignore[arg-type]


def refused(folder: Path, **how: object) -> str:
    with pytest.raises(DataError) as caught:
        prepared(folder, **how)
    return str(caught.value)


def test_a_table_labels_the_pictures_that_it_names(tmp_path: Path) -> None:
    found = prepared(album(tmp_path))
    assert found.encoding.classes == ("cat", "dog") and found.encoding.image == (3, 6, 5)
    for name, label in zip(found.train.names, found.train.targets.tolist(), strict=True):
        assert int(Path(name).stem) % 2 == label
    assert prepared(tmp_path, target=None).train.names == found.train.names  # the only other column is the label


def test_a_changed_label_and_a_changed_picture_are_other_data(tmp_path: Path) -> None:
    first = prepared(album(tmp_path)).summary.schema.fingerprint
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text().replace("0.png,cat", "0.png,dog", 1))
    second = prepared(tmp_path).summary.schema.fingerprint
    (tmp_path / "photos" / "3.png").write_bytes((tmp_path / "photos" / "4.png").read_bytes())
    assert len({first, second, prepared(tmp_path).summary.schema.fingerprint}) == 3


def test_a_column_split_gives_the_parts(tmp_path: Path) -> None:
    album(tmp_path)
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    parts = ["split", *(["train"] * 12), *(["test"] * 8)]
    (tmp_path / "labels.csv").write_text("\n".join(map(",".join, zip(lines, parts, strict=True))))
    found = prepared(tmp_path, split=SplitPlan("auto", 0.25))
    assert [part.rows for part in found.summary.parts] == [8, 4, 8]


def test_rows_without_a_file_or_a_label_are_all_named_and_can_be_skipped(tmp_path: Path) -> None:
    album(tmp_path, more="photos/lost.png,cat\n,dog\nphotos/0.png,\n")
    told = refused(tmp_path, files="file")
    assert "there is no file lost.png" in told and "line 23 names no file" in told and "0.png has no label" in told
    found = prepared(tmp_path, files="file", skip_corrupt=True)
    assert found.summary.schema.rows == 20 and [skip.name for skip in found.summary.skipped] == [
        "line 22",
        "line 23",
        "line 24",
    ]


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    album(tmp_path)
    (tmp_path / "photos" / "7.png").write_bytes(b"GIF89a")
    assert "7.png" in refused(tmp_path)
    assert [skip.name for skip in prepared(tmp_path, skip_corrupt=True).summary.skipped] == ["photos/7.png"]


def test_it_is_said_which_column_is_meant(tmp_path: Path) -> None:
    album(tmp_path)
    assert "the table has no column 'fil'" in refused(tmp_path, files="fil")
    assert "the table has no column 'kin'" in refused(tmp_path, target="kin")
    (tmp_path / "labels.csv").write_text("a,b\n1,x\n2,y\n")
    assert "no column of it names pictures" in refused(tmp_path)
    (tmp_path / "labels.csv").write_text("a,b,kind\n1.png,x.png,c\n2.png,y.png,d\n")
    assert "several columns name pictures" in refused(tmp_path)
