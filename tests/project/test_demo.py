"""The demonstration: its files are written once, and its sample pictures are the pictures of the test part, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isograd.errors import RequestError
from isograd.project.demo import write_projects, write_samples
from isograd.project.reading import load
from isograd.project.river import begin
from isograd.workbench import data


def test_the_sample_pictures_encode_to_the_very_rows_of_the_test_part(tmp_path: Path) -> None:
    digits, _ = write_projects(tmp_path)
    samples = write_samples(digits)
    prepared = begin(load(digits)).prepared
    inputs, _, skipped = data.read_for_prediction([str(path) for path in samples], prepared.encoding)
    assert not skipped
    np.testing.assert_array_equal(inputs, prepared.test.inputs[: len(samples)].numpy())


def test_the_files_are_written_once_and_a_changed_one_is_left_alone(tmp_path: Path) -> None:
    digits, _ = write_projects(tmp_path)
    write_projects(tmp_path)
    (digits / "isograd.toml").write_text("mine", "utf-8")
    with pytest.raises(RequestError, match="not overwritten"):
        write_projects(tmp_path)
    assert (digits / "isograd.toml").read_text("utf-8") == "mine"
