"""A project with few labels and many pictures: what is learned without labels comes first, once, and is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from isograd.errors import DataError, RequestError
from isograd.project import river
from isograd.project.reading import load
from isograd.workbench import train
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
    with pytest.raises(DataError, match="is for pictures"):
        river.run_training(load(folder))
