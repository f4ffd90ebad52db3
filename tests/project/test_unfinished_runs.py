"""A run that was killed can be evaluated: its figures say of which weights they are."""

from dataclasses import replace
from pathlib import Path

from isograd.project import river
from isograd.project.reading import parse

TEXT = """
name = "digits"
task = "image-classification"
threads = 1

[data]
source = "builtin:digits"

[model]
kind = "linear"

[train]
epochs = 1
"""


def test_figures_of_a_killed_run_say_that_it_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "isograd.toml").write_text(TEXT, "utf-8")
    folder = river.run_training(parse(TEXT, tmp_path / "isograd.toml"))
    assert river.evaluate_run(tmp_path)[1].weights == "best on validation, epoch 1"
    folder.write(replace(folder.run(), status="running", best_epoch=None), "run.json")  # as a killed process leaves it
    assert river.evaluate_run(tmp_path)[1].weights == "best on validation, of a run that is not finished"
