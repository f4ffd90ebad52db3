"""A project as a program whose cause can be searched: batches as in training, validation held out, nothing written."""

from __future__ import annotations

from pathlib import Path

from isograd import api
from isograd.project import river
from isograd.project.demo import write_projects
from isograd.project.reading import load
from isograd.project.river import program


def test_the_deep_sigmoid_project_of_the_demonstration_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    _, sigmoid = write_projects(tmp_path)
    before = sorted(sigmoid.rglob("*"))
    made = program(load(sigmoid))
    assert len(made["batches"]) == 100 and made["steps"] > 100
    (inputs, targets), *_ = made["held_out"]
    assert len(inputs) == len(targets) > 100
    found = api.name_cause(**made, budget=500).cause
    assert found is not None and found.control.value < 0.2
    assert found.tried and found.spent <= 600
    assert sorted(sigmoid.rglob("*")) == before


DIGITS = """name = "digits"
task = "image-classification"
threads = 1
[data]
source = "builtin:digits"
[model]
kind = "mlp"
[train]
"""


def moved(folder: Path, train: str) -> tuple[float, float]:
    """How far the first step of a check moves the first layer, of its size, and the log of what the run adds up to."""
    folder.mkdir()
    (folder / "isograd.toml").write_text(DIGITS + train, "utf-8")
    report = river.check(load(folder))
    ratios = [r for r in report.record.readings.of("update_ratio") if r.step == 1]
    assert report.forecast is not None
    return ratios[0].value, report.forecast.probability


def test_the_first_step_of_a_check_is_that_of_the_projects_warm_up(tmp_path: Path) -> None:
    plain = 'epochs = 10\noptimizer = "sgd"\nlearning_rate = 0.1\nclip_norm = 1e9\n'
    full, risk = moved(tmp_path / "full", plain + 'schedule = "constant"\n')
    rising, foretold = moved(tmp_path / "rising", plain + 'schedule = "warmup_cosine"\nwarmup = 0.5\n')
    assert 50 < full / rising < 500, "half of ten epochs is the rise"
    assert abs(risk - foretold) < 0.3, "the run is foretold from what all of its steps add up to"


def test_the_first_step_of_a_check_is_clipped_as_the_projects_are(tmp_path: Path) -> None:
    plain = 'optimizer = "sgd"\nlearning_rate = 0.1\nweight_decay = 0.0\nschedule = "constant"\n'
    loose, _ = moved(tmp_path / "loose", plain + "clip_norm = 1e9\n")
    tight, _ = moved(tmp_path / "tight", plain + "clip_norm = 1e-3\n")
    assert loose / tight > 100
