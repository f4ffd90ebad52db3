"""A project as a program whose cause can be searched: batches as in training, validation held out, nothing written."""

from __future__ import annotations

from pathlib import Path

from isograd import api
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
