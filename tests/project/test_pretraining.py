"""A project with few labels and many pictures: what is learned without labels comes first, once, and is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from isograd.errors import DataError, RequestError
from isograd.project import river
from isograd.project.reading import load
from isograd.workbench import train
from isograd.workbench.data.augment.views import SWAPPED, unlabelled, views_of_rows
from isograd.workbench.data.pictures import digits


def few_labels(folder: Path, pretrain: str, *, labelled: int = 80, others: int = 64) -> Path:
    found = digits()
    for number in range(labelled):
        place = folder / "labelled" / f"d{found.labels[number]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(found.pixels[number, :, :, 0]).save(place / f"{number}.png")
    (folder / "others").mkdir()
    for number in range(labelled, labelled + others):
        Image.fromarray(found.pixels[number, :, :, 0]).save(folder / "others" / f"{number}.png")
    (folder / "isograd.toml").write_text(
        'task = "image-classification"\nthreads = 1\n[data]\nsource = "labelled"\n[model]\nkind = "cnn"\nchannels = [8, 16]\n'
        f"[train]\nepochs = 2\ncheckpoint_seconds = 1e-9\n[pretrain]\n{pretrain}\n",
        "utf-8",
    )
    return folder


def test_pictures_without_labels_are_learned_from_once_and_what_was_learned_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    folder = few_labels(tmp_path, 'source = "others"\nepochs = 2\nbatch_size = 32')
    project = load(folder)

    def pressed(progress: train.Progress) -> None:
        said.append(progress.remark)
        if progress.phase == "training" and progress.step >= 1:
            raise KeyboardInterrupt

    run = river.run_training(project, on_progress=pressed)
    assert any("pictures without labels in 2 epochs" in text for text in said) and run.run().status == "stopped"
    learned, before = load_file(run.path / "pretrained.safetensors"), river.begin(project).model
    changed = [
        name for name, tensor in before.state_dict().items() if not np.array_equal(tensor.numpy(), learned[name].numpy())
    ]
    assert "body.0.weight" in changed and not any(name.startswith("head") for name in changed)
    said.clear()
    stamp = (run.path / "pretrained.safetensors").stat().st_mtime_ns
    again = river.run_training(project, on_progress=lambda progress: said.append(progress.remark))
    assert again.run().status == "finished" and (again.path / "pretrained.safetensors").stat().st_mtime_ns == stamp
    assert not any("without labels" in text for text in said)
    assert river.evaluate_run(folder)[1].rows > 0


def test_what_cannot_be_learned_from_is_told(tmp_path: Path) -> None:
    folder = few_labels(tmp_path, 'source = "other"\n')
    with pytest.raises(DataError, match='did you mean "others"'):
        river.run_training(load(folder))
    text = (folder / "isograd.toml").read_text("utf-8")
    (folder / "isograd.toml").write_text(text.replace('"other"', '"others"'), "utf-8")
    with pytest.raises(RequestError, match="do not fill a batch"):
        river.run_training(load(folder))
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 2}" for i in range(40)), "utf-8")
    (tmp_path / "isograd.toml").write_text(
        'task = "classification"\n[data]\nsource = "t.csv"\ntarget = "b"\n[pretrain]\nsource = "others"\n', "utf-8"
    )
    with pytest.raises(DataError, match=r"is for pictures and for tables of 4 columns or more\n.*\n.*a table of 1 columns"):
        river.run_training(load(folder))


def clusters(folder: Path, *, labelled: int = 40, others: int = 400) -> Path:
    """Rows of three kinds in six columns that all say the kind, of which few are labelled."""
    draw = np.random.default_rng(0)
    kinds = draw.integers(0, 3, labelled + others)
    numbers = draw.normal(size=(len(kinds), 5)) + 2.0 * draw.normal(size=(3, 5))[kinds]
    words = np.array(["red", "green", "blue"])[np.where(draw.random(len(kinds)) < 0.8, kinds, draw.integers(0, 3, len(kinds)))]
    rows = [",".join([*(f"{value:.4f}" for value in row), word]) for row, word in zip(numbers, words, strict=True)]
    head = "a,b,c,d,e,colour"
    few = [f"{row},k{kind}" for row, kind in zip(rows[:labelled], kinds, strict=False)]
    (folder / "few.csv").write_text("\n".join([f"{head},kind", *few]) + "\n", "utf-8")
    (folder / "many.csv").write_text("\n".join([head, *rows[labelled:]]) + "\n", "utf-8")
    (folder / "isograd.toml").write_text(
        'task = "classification"\nthreads = 1\n[data]\nsource = "few.csv"\ntarget = "kind"\n[train]\nepochs = 2\n'
        '[pretrain]\nsource = "many.csv"\nepochs = 3\nbatch_size = 64\n',
        "utf-8",
    )
    return folder


@pytest.mark.parametrize("kind", ["mlp", "tabular"])
def test_rows_of_a_table_without_labels_are_learned_from(kind: str, tmp_path: Path) -> None:
    said: list[str] = []
    folder = clusters(tmp_path)
    text = (folder / "isograd.toml").read_text("utf-8")
    (folder / "isograd.toml").write_text(text + f'[model]\nkind = "{kind}"\n', "utf-8")
    run = river.run_training(load(folder), on_progress=lambda progress: said.append(progress.remark))
    assert any(text.startswith("learned from ") and "rows without labels in 3 epochs" in text for text in said)
    assert (run.path / "pretrained.safetensors").exists() and run.run().status == "finished"


def test_two_views_of_a_row_differ_in_more_than_half_of_its_columns_whose_values_stay_as_frequent(tmp_path: Path) -> None:
    prepared = river.begin(load(clusters(tmp_path))).prepared
    encoding, inputs = prepared.encoding, unlabelled(prepared, "many.csv", tmp_path)
    seen = list(views_of_rows(inputs, encoding, seed=0, epoch=1, batch_size=64))
    whole, swapped = (torch.cat(some) for some in zip(*seen, strict=True))
    assert len(seen) == len(inputs) // 64 and not any(row.tolist() in inputs.tolist() for row in swapped[:20])
    moved = (whole[:, :5] != swapped[:, :5]).float().mean()
    assert abs(float(moved) - SWAPPED) < 0.05
    assert bool((swapped[:, 5:].sum(dim=1) == 1).all())  # a word is taken as a whole
    assert all(value in set(inputs[:, 0].tolist()) for value in swapped[:, 0].tolist())
    again = next(views_of_rows(inputs, encoding, seed=0, epoch=1, batch_size=64))
    assert torch.equal(again[1], seen[0][1])
