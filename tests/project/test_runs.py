"""Runs: the same command goes on with an unfinished run, begins a new one after a finished one, and refuses a changed one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isograd.errors import DamagedError, RequestError
from isograd.project.reading import Project, load
from isograd.project.runs import RunFolder, all_runs, alone, named, open_run
from isograd.records.run import Environment

TOML = 'name = "p"\ntask = "image-classification"\n[data]\nsource = "builtin:digits"\n'
HERE = Environment("0.1.0", "3.11", "somewhere", "cpu", 2, 0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "isograd.toml").write_text(TOML, "utf-8")
    return load(tmp_path)


def opened(
    project: Project, *, data: str = "d" * 64, environment: Environment = HERE, new: bool = False
) -> tuple[RunFolder, bool]:
    return open_run(project, data=data, environment=environment, model="cnn", parameters=3, new=new)


def finish(folder: RunFolder) -> None:
    folder.write(replace(folder.run(), status="finished"), "run.json")


def test_the_first_run_is_number_one_and_keeps_the_project_as_run(project: Project) -> None:
    folder, resumed = opened(project)
    assert not resumed
    assert folder.path.name == "p-001"
    assert (folder.path / "project.toml").read_text("utf-8") == TOML


def test_an_unfinished_run_goes_on(project: Project) -> None:
    first, _ = opened(project)
    again, resumed = opened(project)
    assert resumed
    assert again == first


def test_a_run_after_a_finished_one_is_new(project: Project) -> None:
    first, _ = opened(project)
    finish(first)
    second, resumed = opened(project)
    assert not resumed
    assert second.path.name == "p-002"


def test_new_begins_a_new_run_beside_an_unfinished_one(project: Project) -> None:
    opened(project)
    assert opened(project, new=True)[0].path.name == "p-002"


def test_a_changed_project_is_refused_with_the_difference(project: Project) -> None:
    opened(project)
    project.path.write_text("seed = 5\n" + TOML, "utf-8")
    with pytest.raises(RequestError, match="seed: 0 then, 5 now") as caught:
        opened(load(project.folder))
    assert "--new" in str(caught.value)


def test_changed_data_is_refused(project: Project) -> None:
    opened(project)
    with pytest.raises(RequestError, match="the data: fingerprint dddddddddddd then, eeeeeeeeeeee now"):
        opened(project, data="e" * 64)


def test_another_number_of_threads_is_refused_because_it_gives_other_bits(project: Project) -> None:
    opened(project)
    with pytest.raises(RequestError, match="threads: 2 then, 1 now"):
        opened(project, environment=replace(HERE, threads=1))


def test_a_comment_is_no_change(project: Project) -> None:
    opened(project)
    project.path.write_text("# remark\n" + TOML, "utf-8")
    assert opened(load(project.folder))[1]


def test_the_tenth_run_comes_after_the_ninth(project: Project) -> None:
    for _ in range(10):
        finish(opened(project)[0])
    assert [folder.path.name[-3:] for folder in all_runs(project.folder)][-2:] == ["009", "010"]


def test_a_misspelt_run_gets_a_did_you_mean(project: Project) -> None:
    opened(project)
    with pytest.raises(RequestError, match='did you mean "p-001"'):
        named(project.folder, "p-01")


def test_a_project_without_runs_says_how_to_get_one(project: Project) -> None:
    with pytest.raises(RequestError, match="isograd train"):
        named(project.folder, None)


def test_a_run_file_with_another_content_is_damaged(project: Project) -> None:
    folder, _ = opened(project)
    (folder.path / "run.json").write_text('{"format": "isograd.Run"', "utf-8")
    with pytest.raises(DamagedError):
        folder.run()


def test_two_processes_do_not_work_on_one_run(project: Project) -> None:
    folder, _ = opened(project)
    with alone(folder), pytest.raises(RequestError, match="another isograd"), alone(folder):
        raise AssertionError("both hold it")
    with alone(folder):  # and it is free again
        pass
