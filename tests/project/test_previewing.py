"""The preview of what a network will see: the very rows of its batches, of every kind of data, as a page and as a record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from isograd.cli import main
from isograd.project import previewing, river
from isograd.project.reading import load
from isograd.workbench.data import pictures

DIGITS = 'task = "image-classification"\n[data]\nsource = "builtin:digits"\n[augment]\npolicy = "auto"\nmixup = 0.2\n'


def project(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "isograd.toml").write_text(text)
    return folder


def test_what_is_shown_of_an_epoch_is_what_its_batches_hold(tmp_path: Path) -> None:
    loaded = load(project(tmp_path, DIGITS))
    shown, job = previewing.preview(loaded, 20), river.begin(loaded)
    trained = {
        (epoch, pictures.png(pictures.decode(row.numpy(), job.prepared.encoding)))
        for epoch in (1, 4)
        for inputs, _ in job.batches(epoch, 0)
        for row in inputs
    }
    assert [look.label for look in shown.looks] == [str(digit) for digit in range(10) for _ in range(2)]
    for look in shown.looks:
        assert [seen.epoch for seen in look.seen] == [1, 2, 3, 4, 5, 6]
        assert {(seen.epoch, seen.picture) for seen in look.seen if seen.epoch in (1, 4)} <= trained
        assert look.original.picture is not None and look.original.label == look.label
    assert any("%" in seen.label for look in shown.looks for seen in look.seen)  # mixed classes are named with their shares


def test_a_page_is_written_and_written_anew_but_never_over_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = project(tmp_path, DIGITS)
    assert main(["data", "preview", str(where)]) == 0
    said = capsys.readouterr().out
    assert "20 of 1,169 training rows; changed by: rotate 10, shift 0.1, zoom 0.1, mixup 0.2" in said
    assert f"page  {where / 'preview.html'}" in said and said.splitlines()[-1].startswith("Next: isograd check")
    assert main(["data", "preview", str(where)]) == 0
    (where / "preview.html").write_text("mine")
    assert main(["data", "preview", str(where)]) == 2
    assert (where / "preview.html").read_text() == "mine"
    assert main(["data", "preview", str(where), "--page", str(where / "other.html"), "--rows", "3"]) == 0
    assert "Training sees each picture a little changed" in (where / "other.html").read_text()


def test_a_flip_of_digits_is_shown_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = project(tmp_path, DIGITS + 'flip = "horizontal"\n')
    assert main(["data", "preview", str(where)]) == 0
    assert "look closer: flip = 'horizontal': the classes look like digits" in capsys.readouterr().out
    assert "? Look closer" in (where / "preview.html").read_text()


def test_without_augmentation_the_rows_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = project(tmp_path, DIGITS[: DIGITS.index("[augment]")])
    assert main(["data", "preview", str(where), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["record"]
    assert found["done"] == "" and all(look["seen"] == [] for look in found["looks"])
    assert main(["data", "preview", str(where)]) == 0
    assert "Training sees each picture as it is, every time." in (where / "preview.html").read_text()


def test_a_row_of_a_table_is_shown_in_its_own_units(tmp_path: Path) -> None:
    lines = [f"{20 + i % 50},{['rome', 'oslo'][i % 2]},{i % 3 == 0},{i * 1.5}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["age,city,member,price", *lines]).replace("30,rome", ",rome") + "\n")
    text = 'task = "regression"\n[data]\nsource = "t.csv"\ntarget = "price"\n[augment]\npolicy = "auto"\njitter = 0.5\n'
    found = previewing.preview(load(project(tmp_path, text)), 24)
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert found.done == "jitter 0.5"
    for look in found.looks:
        age, city, member, price = rows[int(look.name.removeprefix("line ")) - 1].split(",")
        fields = dict(look.original.fields)
        assert fields == {"age": age or "(missing)", "city": city, "member": "yes" if member == "True" else "no"}
        assert float(look.label) == pytest.approx(float(price), rel=1e-3, abs=1e-3)
        for seen in look.seen:
            changed = dict(seen.fields)
            assert (changed["city"], changed["member"]) == (city, fields["member"])
    assert any(dict(seen.fields)["age"] != dict(look.original.fields)["age"] for look in found.looks for seen in look.seen)


def test_a_text_is_shown_in_its_own_words(tmp_path: Path) -> None:
    lines = [f"word{i} then word{i % 5} and more,{'yes' if i % 2 else 'no'}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["said,label", *lines]) + "\n")
    text = 'task = "text-classification"\n[data]\nsource = "t.csv"\n[augment]\npolicy = "auto"\n'
    found = previewing.preview(load(project(tmp_path, text)), 12)
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert found.done == "drop_words 0.1"
    shorter = 0
    for look in found.looks:
        said = rows[int(look.name.removeprefix("line ")) - 1].split(",")[0].split()
        assert dict(look.original.fields)["said"].split() == said
        for seen in look.seen:
            words = dict(seen.fields)["said"].split()
            assert set(words) <= set(said)
            shorter += len(words) < len(said)
    assert shorter


def test_recordings_are_shown_as_spectra(tmp_path: Path) -> None:
    for label, pitch in (("high", 0.9), ("low", 0.2)):
        for take in range(6):
            path = tmp_path / "takes" / label / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.sin(np.arange(2400) * (pitch + take / 100)) * 0.5, 8000)
    text = 'task = "sound-classification"\n[data]\nsource = "takes"\n[augment]\npolicy = "auto"\n'
    where = project(tmp_path, text)
    found = previewing.preview(load(where), 4)
    assert {look.label for look in found.looks} == {"high", "low"}
    assert all(len({seen.picture for seen in (look.original, *look.seen)}) == 7 for look in found.looks)
