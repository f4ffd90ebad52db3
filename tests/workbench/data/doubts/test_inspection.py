"""What an inspection says of data whose faults are known, and what it leaves unsaid of data that only looks odd."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from isograd.cli import main
from isograd.errors import DataError
from isograd.records import codec
from isograd.records.inspection import Doubt, Inspection
from isograd.render.html import inspection_page
from isograd.render.inspection import inspection_text
from isograd.workbench.data import Source, inspect
from isograd.workbench.data.doubts import rows
from isograd.workbench.data.doubts.case import case_of
from isograd.workbench.data.pictures import Pictures

RANDOM = np.random.default_rng(0)


def shop(rows: int = 400, **columns: object) -> dict[str, list[str]]:
    """A table without a fault: two numbers, a category and a label that depends on them."""
    x, z = RANDOM.normal(size=rows), RANDOM.normal(size=rows)
    label = np.where(x + z + RANDOM.normal(size=rows) > 0, "yes", "no")
    found = {
        "x": [f"{value:.3f}" for value in x],
        "z": [f"{value:.3f}" for value in z],
        "city": RANDOM.choice(["rome", "oslo", "bonn"], rows).tolist(),
        "label": label.tolist(),
    }
    return {**found, **{name: [str(value) for value in values] for name, values in columns.items()}}  # type: ignore[attr-defined]


def of(folder: Path, columns: dict[str, list[str]], name: str = "shop.csv", **how: str) -> Inspection:
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    return inspect(Source(name, folder, **how))  # type: ignore[arg-type]


def told(found: Inspection, kind: str) -> Doubt:
    (doubt,) = [doubt for doubt in found.doubts if doubt.kind == kind]
    return doubt


def kinds(found: Inspection) -> set[str]:
    return {doubt.kind for doubt in found.alarms}


def test_a_table_without_a_fault_has_none(tmp_path: Path) -> None:
    found = of(tmp_path, shop())
    assert found.doubts == () and found.target == "label" and found.classes == ("no", "yes")
    assert [column.kind for column in found.columns] == ["number", "number", "category"]


def test_a_column_that_gives_the_target_away_is_told_and_a_good_feature_is_not(tmp_path: Path) -> None:
    table = shop()
    truth = [label == "yes" for label in table["label"]]
    good = [f"{t + RANDOM.normal(0, 0.5):.3f}" for t in truth]  # right in five of six rows
    leak = [f"{t + RANDOM.normal(0, 0.1):.3f}" for t in truth]
    found = of(tmp_path, {**table, "good": good, "leak": leak})
    assert [doubt.where for doubt in found.alarms] == ["leak"] and told(found, "target leakage").fix == "drop_column:leak"


def test_a_number_that_is_different_in_every_row_of_a_small_table_gives_nothing_away(tmp_path: Path) -> None:
    assert kinds(of(tmp_path, shop(60))) == set()


def test_a_quantity_is_given_away_too(tmp_path: Path) -> None:
    table = shop()
    price = RANDOM.normal(size=400)
    table |= {"price": [f"{v:.4f}" for v in price], "euros": [f"{v * 1.1 + RANDOM.normal(0, 0.01):.4f}" for v in price]}
    found = of(tmp_path, table, target="price")
    assert [(doubt.kind, doubt.where) for doubt in found.alarms] == [("target leakage", "euros")]


@pytest.mark.parametrize(
    ("values", "is_one"),
    [
        ([f"{i * 7919 % 100_003:06x}q" for i in range(400)], True),
        (range(400), True),
        (RANDOM.permutation(400), True),
        (range(1000, 5000, 10), True),
        (RANDOM.choice(10**6, 400, replace=False), False),  # a population, say: large whole numbers need not recur
        ([f"{v:.6f}" for v in RANDOM.normal(size=400)], False),
        ([i % 100 for i in range(400)], False),
    ],
)
def test_a_column_that_names_rows_is_told_and_a_quantity_is_not(tmp_path: Path, values: object, is_one: bool) -> None:
    assert ("identifier" in kinds(of(tmp_path, shop(c=values)))) is is_one


def test_whole_numbers_that_never_recur_are_an_identifier_where_they_are_called_one(tmp_path: Path) -> None:
    values = RANDOM.choice(10**6, 400, replace=False)
    assert kinds(of(tmp_path, shop(customer_id=values))) == {"identifier"}


def test_constant_and_nearly_constant_columns(tmp_path: Path) -> None:
    found = of(tmp_path, shop(year=[2026] * 400, flag=["a"] * 399 + ["b"], half=["a", "b"] * 200))
    assert kinds(found) == {"constant column"} and told(found, "near-constant column").severity == "note"


def test_a_unit_mistaken_is_an_outlier_and_a_heavy_tail_is_not(tmp_path: Path) -> None:
    height = RANDOM.normal(1.75, 0.1, 400)
    height[7] *= 100
    income = np.exp(RANDOM.normal(10, 1.5, 400))
    found = of(tmp_path, shop(height=height, income=income))
    assert [doubt.where for doubt in found.alarms] == ["height"] and told(found, "outliers").places == ("line 9",)


def test_a_code_in_the_place_of_a_gap_is_remarked_on(tmp_path: Path) -> None:
    age = RANDOM.integers(18, 80, 400)
    age[:9] = -999
    found = of(tmp_path, shop(age=age))
    assert told(found, "code for missing").count == 9 and told(found, "code for missing").fix == "blank:age=-999"


def test_a_slip_in_the_same_column_hides_no_code_for_a_gap(tmp_path: Path) -> None:
    for slip in (4.4e6, -4.4e6):
        age = np.random.default_rng(5).normal(40, 10, 400).round(2)
        age[:16], age[40] = -999, slip
        found = of(tmp_path, shop(age=age))
        assert told(found, "code for missing").count == 16 and told(found, "outliers").count == 1


def test_a_missing_target_and_a_column_of_gaps(tmp_path: Path) -> None:
    table = shop(gaps=["", "", "1.5", "2.5"] * 100)
    table["gaps"][2] = table["label"][5] = ""
    found = of(tmp_path, table)
    assert kinds(found) == {"missing target"} and told(found, "missing values").where == "gaps"


def test_copies_are_told_and_coincidences_of_a_small_table_are_not(tmp_path: Path) -> None:
    table = shop()
    found = of(tmp_path, {name: values + values[:10] for name, values in table.items()})
    assert kinds(found) == {"duplicates"} and told(found, "duplicates").count == 10
    dice = {"a": RANDOM.integers(1, 7, 400), "b": RANDOM.integers(1, 7, 400), "label": RANDOM.integers(0, 2, 400)}
    found = of(tmp_path, {name: [str(v) for v in values] for name, values in dice.items()})
    assert kinds(found) == set() and told(found, "duplicates").severity == told(found, "label conflicts").severity == "note"


def test_equal_rows_with_different_labels_are_a_conflict(tmp_path: Path) -> None:
    table = shop()
    flipped = ["no" if label == "yes" else "yes" for label in table["label"][:8]]
    found = of(tmp_path, {n: v + (flipped if n == "label" else v[:8]) for n, v in table.items()})
    assert kinds(found) == {"label conflicts"} and told(found, "label conflicts").count == 16


def test_rows_that_cross_the_border_and_columns_that_drift(tmp_path: Path) -> None:
    table = shop(1000, split=["train"] * 600 + ["test"] * 400)
    assert of(tmp_path, table).alarms == ()
    for name in ("x", "z", "city", "label"):
        table[name][600:606] = table[name][:6]
    found = of(tmp_path, table)
    assert kinds(found) == {"duplicates across parts"} and told(found, "duplicates across parts").count == 6
    drifted = {**table, "z": [f"{float(v) + (i >= 600) * 0.7:.3f}" for i, v in enumerate(table["z"])]}
    assert [doubt.where for doubt in of(tmp_path, drifted).alarms if doubt.kind == "drift"] == ["column 'z'"]


def test_classes_of_very_different_sizes(tmp_path: Path) -> None:
    table = shop()
    table["label"] = ["rare"] * 12 + ["usual"] * 388
    assert told(of(tmp_path, table), "class imbalance").alarm
    table["label"] = ["rare"] * 80 + ["usual"] * 320
    assert not told(of(tmp_path, table), "class imbalance").alarm


def test_texts_in_the_wrong_encoding_are_told_and_accents_are_not(tmp_path: Path) -> None:
    texts = [f"the café of Zoë – no {i} – was “fine” and its naïve cook número {i * i} sang déjà vu again" for i in range(400)]
    table = {"text": texts, "label": ["a", "b"] * 200}
    assert kinds(of(tmp_path, table)) == set()
    table["text"][3] = texts[3].encode().decode("cp1252", errors="ignore")
    found = told(of(tmp_path, table), "wrong encoding")
    assert found.alarm and found.places == ("line 5",) and found.fix == "repair_encoding:text"
    table["text"][9] = " . - "
    assert "empty text" in kinds(of(tmp_path, table))


def test_texts_that_differ_in_case_and_blanks_only_are_near_duplicates(tmp_path: Path) -> None:
    texts = [f"a long text about the matter with the number {i} that is told at some length here" for i in range(400)]
    copies = [text.upper().replace(" ", "  ") for text in texts[:5]]
    found = of(tmp_path, {"text": [*texts[:395], *copies], "label": ["a", "b"] * 200})
    assert told(found, "near-duplicates").count == 10


def test_broken_rows_are_told_and_stop_nothing(tmp_path: Path) -> None:
    table = shop()
    table["x"][3] = "1,2"
    found = of(tmp_path, table)
    assert told(found, "unreadable").places[0].startswith("line 5: 5 cells") and found.rows == 399


def photos(folder: Path) -> Path:
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / label / f"{number}.png")
    return folder


def looked_at(folder: Path) -> Inspection:
    return inspect(Source(folder.name, folder.parent))


def test_photos_without_a_fault_have_none(tmp_path: Path) -> None:
    assert looked_at(photos(tmp_path / "pets")).doubts == ()


def test_odd_files_are_told_by_what_is_odd_about_them(tmp_path: Path) -> None:
    folder = photos(tmp_path / "pets") / "cat"
    image = Image.open(folder / "0.png")
    image.save(folder / "named.jpg", format="PNG")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90), image.rotate(180)])
    image.convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(RANDOM.integers(0, 65_536, (16, 16)).astype(np.uint16)).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    (folder / "nothing.png").write_bytes(b"")
    Image.new("1", (8000, 7000)).save(folder / "bomb.png")
    Image.new("RGB", (16, 16), (9, 9, 9)).save(folder / "blank.png")
    found = looked_at(tmp_path / "pets")
    odd = {d.kind: d.places for d in found.doubts if d.kind not in ("duplicates", "near-duplicates", "class imbalance")}
    assert odd["wrong extension"] == ("cat/named.jpg",) and odd["animated"] == ("cat/moving.gif",)
    assert (
        odd["CMYK"] == ("cat/print.jpg",)
        and odd["16-bit"] == ("cat/deep.png",)
        and odd["turned by EXIF"] == ("cat/turned.jpg",)
    )
    assert odd["blank pictures"] == ("cat/blank.png",)
    assert [place.split(":")[0] for place in odd["unreadable"]] == ["cat/bomb.png", "cat/nothing.png"]
    assert "more than 50 megapixels" in odd["unreadable"][0] and "0 bytes" in odd["unreadable"][1]


def test_a_picture_saved_again_is_a_near_duplicate_and_shown(tmp_path: Path) -> None:
    folder = photos(tmp_path / "pets")
    smooth = Image.fromarray(RANDOM.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((16, 16))
    smooth.save(folder / "cat" / "a.png")
    smooth.point(lambda value: value * 0.9).save(folder / "dog" / "b.png")
    doubt = told(looked_at(folder), "near-duplicates")
    assert doubt.places == ("cat/a.png", "dog/b.png") and len(doubt.pictures) == 2


def test_pictures_that_are_alike_only_from_afar_are_no_near_duplicates(tmp_path: Path) -> None:
    folder = photos(tmp_path / "pets")
    coarse = RANDOM.integers(60, 196, (8, 8, 1)).repeat(2, 0).repeat(2, 1)
    fine = np.tile([[40, -40], [-40, 40]], (8, 8))[..., None]  # every field of 2 x 2 keeps its mean
    for name, pixels in (("a", coarse + fine), ("b", coarse - fine)):
        Image.fromarray(pixels.repeat(3, 2).astype(np.uint8)).save(folder / "cat" / f"{name}.png")
    assert looked_at(folder).doubts == ()


def tones(folder: Path, *odd: np.ndarray) -> Path:
    for label in ("high", "low"):
        (folder / label).mkdir(parents=True)
        for take in range(12):
            hertz = RANDOM.uniform(200, 900)
            soundfile.write(folder / label / f"{take}.wav", 0.5 * np.sin(np.arange(2000 + 10 * take) * hertz / 1300), 8000)
    for number, signal in enumerate(odd):
        soundfile.write(folder / "low" / f"odd{number}.wav", signal, 8000)
    return folder


def test_clipped_and_silent_recordings_are_told_and_whole_ones_are_not(tmp_path: Path) -> None:
    assert looked_at(tones(tmp_path / "fine")).doubts == ()
    wave = 0.9 * np.sin(np.arange(2000) / 9)
    found = looked_at(tones(tmp_path / "odd", np.clip(wave, -0.6, 0.6), np.zeros(2000), np.tile(wave, 100)))
    assert {doubt.kind: doubt.places for doubt in found.alarms} == {
        "clipped": ("low/odd0.wav",),
        "silent": ("low/odd1.wav",),
        "odd length": ("low/odd2.wav",),
    }


def test_flat_tops_of_a_coarse_recording_are_its_resolution_and_no_clipping(tmp_path: Path) -> None:
    coarse = np.rint(20 * np.sin(np.arange(2000) / 5)) * 256 / 32768  # eight bits, stored as sixteen
    assert looked_at(tones(tmp_path / "fine", coarse)).alarms == ()
    full = np.clip(np.rint(200 * np.sin(np.arange(2000) / 5)), -127, 127) * 256 / 32768
    assert {doubt.kind for doubt in looked_at(tones(tmp_path / "odd", full)).alarms} == {"clipped"}


def test_an_inspection_travels_as_json_and_is_shown_as_text_and_as_a_page(tmp_path: Path) -> None:
    found = of(tmp_path, shop(year=[2026] * 400, name=[f"<b>{i}</b>" for i in range(400)]))
    assert codec.loads(Inspection, codec.dumps(found)) == found
    text = inspection_text(found)
    assert text.startswith("This data has 2 faults to look at: identifier and constant column.")
    assert "fix: drop_column:year" in text and "x       number" in text
    page = inspection_page(found)
    assert "drop_column:year" in page and "<b>0</b>" not in page and "<script" not in page


def test_the_command_says_yes_or_no_and_writes_a_page_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of(tmp_path, shop(), "good.csv")
    of(tmp_path, shop(year=[2026] * 400), "bad.csv")
    assert main(["data", "inspect", str(tmp_path / "good.csv")]) == 0
    assert "No fault was found" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["data", "inspect", str(tmp_path / "bad.csv"), "--page", str(page), "--json"]) == 1
    assert codec.loads(Inspection, capsys.readouterr().out).doubts[0].kind == "constant column"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert main(["data", "inspect", str(tmp_path / "bad.csv"), "--page", str(page)]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert main(["data", "inspect", str(tmp_path / "none.csv")]) == 2
    assert main(["data", "inspect", str(tmp_path / "bad.csv"), "--target", "yeer"]) == 2
    assert 'did you mean "year"?' in capsys.readouterr().err


def test_a_project_is_inspected_as_it_would_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of(tmp_path, shop(year=[2026] * 400))
    toml = 'task = "classification"\n[data]\nsource = "shop.csv"\ntarget = "label"\ndrop = ["year"]\n'
    (tmp_path / "isograd.toml").write_text(toml)
    assert main(["data", "inspect", str(tmp_path)]) == 0
    (tmp_path / "isograd.toml").write_text(toml.replace("year", "yeer"))
    assert main(["data", "inspect", str(tmp_path)]) == 2


def test_nothing_that_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        inspect(Source("a.csv", tmp_path))


def test_odd_small_tables_are_inspected_without_a_fault_of_our_own(tmp_path: Path) -> None:
    for text in ("a\n1\n", "a,label\n,\n", "a,label\n1,x\n", "a,label\nx,\ny,\n", "label\na\nb\n", "a,label\n1,1\n1,1\n1,1\n"):
        (tmp_path / "a.csv").write_text(text)
        inspect(Source("a.csv", tmp_path))


def test_pictures_on_disk_are_compared_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK", 1 << 20)
    pixels = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(400, 160, 160, 3))
    for i in range(400):
        pixels[i] = RANDOM.integers(0, 256, (160, 160, 3)) // 2 + i % 100
    pixels[7] = np.minimum(pixels[3] + 2.0, 255)
    labels = np.arange(400) % 2
    found = Pictures(np.asarray(pixels), labels, ("a", "b"), tuple(map(str, range(400))), "")
    tracemalloc.start()
    try:
        copies = rows.near_copies(case_of(found, "label"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert copies.tolist() == [7] and peak < 8e6 < pixels.nbytes / 3
