"""What is left open of a training fits few rows, many rows and a small machine; what is written stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.cli import main
from isograd.project import sizing
from isograd.project.reading import load
from isograd.project.river import begin
from isograd.project.sizing import EPOCH_STEPS, LARGEST, MOST_EPOCH_STEPS, MOST_EPOCHS, SMALLEST, STEPS, beyond, held, sized
from isograd.workbench.models import build
from isograd.workbench.train import Recipe, memory_of

torch = pytest.importorskip("torch")


def table(folder: Path, rows: int, train: str = "") -> Path:
    lines = [f"{i % 7},{i % 11},{'yes' if i % 7 > 3 else 'no'}" for i in range(rows)]
    (folder / "t.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    head = 'task = "classification"\n[data]\nsource = "t.csv"\ntarget = "y"\nvalidation = 0.2\ntest = 0.2\n'
    (folder / "isograd.toml").write_text(head + (f"[train]\n{train}\n" if train else ""))
    return folder


def test_a_usual_number_of_rows_changes_nothing() -> None:
    assert sized(Recipe(), (), 10_000) == (Recipe(), ())


def test_a_kernel_that_looks_beyond_every_sequence_is_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"word{i % 5} other{i % 3},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["text,y", *lines]) + "\n")
    text = (
        'task = "text-classification"\n[data]\nsource = "t.csv"\ntarget = "y"\n[model]\nkind = "text-cnn"\nkernels = [2, 9]\n'
    )
    (tmp_path / "isograd.toml").write_text(text)
    assert main(["check", str(tmp_path)]) in (0, 3)
    said = "model.kernels = [2, 9] looks at 9 words at a time, and no text has more than 2: the rest is zeros"
    assert said in capsys.readouterr().err
    assert beyond("tcn", {}, (1, 64, 30)) == beyond("tcn", {}, (5, 2)) == beyond("lstm", {}, (1, 1)) == ()


def test_few_rows_are_seen_in_smaller_batches_and_more_often() -> None:
    recipe, said = sized(Recipe(epochs=8, batch_size=256), (), 240)
    assert (recipe.batch_size, recipe.epochs) == (8, 17)
    assert said[0] == "train.batch_size = 8 instead of 256: 240 training rows give 30 steps an epoch"
    assert said[1] == "train.epochs = 17 instead of 8: they give 510 steps, and 240 would hardly move a weight"


def test_many_rows_are_seen_in_larger_batches() -> None:
    recipe, said = sized(Recipe(), (), 1_000_000)
    assert (recipe.batch_size, recipe.epochs) == (512, 30) and len(said) == 1


@given(rows=st.integers(1, 10**8), batch=st.sampled_from((32, 64, 256)), epochs=st.integers(1, 60))
def test_batches_and_epochs_stay_within_what_is_promised(rows: int, batch: int, epochs: int) -> None:
    recipe, said = sized(Recipe(batch_size=batch, epochs=epochs), (), rows)
    size, steps = recipe.batch_size, -(-rows // recipe.batch_size)
    assert size == SMALLEST or steps >= EPOCH_STEPS
    assert size == LARGEST or rows <= MOST_EPOCH_STEPS * size
    assert recipe.epochs in (epochs, MOST_EPOCHS) or (recipe.epochs - 1) * steps < STEPS <= recipe.epochs * steps
    assert len(said) == (size != batch) + (recipe.epochs != epochs)


def test_what_the_person_wrote_stays(tmp_path: Path) -> None:
    job = begin(load(table(tmp_path, 100, "batch_size = 64\nepochs = 3")))
    assert (job.recipe.batch_size, job.recipe.epochs, job.suited) == (64, 3, ())
    job = begin(load(table(tmp_path, 100, "epochs = 3")))
    assert (job.recipe.batch_size, job.batch_size, job.batches_per_epoch, job.recipe.epochs) == (8, 8, 8, 3)
    assert job.suited[0] in job.prepared.summary.remarks


def test_a_dry_run_tells_each_with_its_reason_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(table(tmp_path, 100)), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "train.batch_size = 8 instead of 64: " in said and " training rows give 8 steps an epoch" in said
    assert "train.epochs = 63 instead of 30: they give 504 steps" in said and said.endswith("nothing was written\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["isograd.toml", "t.csv"]
    (tmp_path / "t.csv").unlink()
    assert main(["train", str(tmp_path), "--dry-run"]) == 0
    assert "nothing is fitted to it yet" in capsys.readouterr().out


def test_a_batch_takes_half_of_the_memory_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = build("cnn", inputs=(3, 32, 32), outputs=10, seed=0), torch.zeros(4, 3, 32, 32)
    recipe = Recipe(device="cpu", threads=1)
    need = memory_of(model, inputs, recipe)
    monkeypatch.setattr(sizing.train, "memory_size", lambda device: 2 * need.of(20))
    found, said = held(recipe, (), model, inputs)
    assert found.batch_size == 16 and said[0].startswith("train.batch_size = 16 instead of 64: 64 rows take at least ")
    assert held(recipe, ("batch_size",), model, inputs) == (recipe, ())
    monkeypatch.setattr(sizing.train, "memory_size", lambda device: 1_000 * need.of(64))
    assert held(recipe, (), model, inputs) == (recipe, ())
