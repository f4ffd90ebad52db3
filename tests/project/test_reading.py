"""isograd.toml: every fault at once, each with its line and the way out."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.errors import ProjectError
from isograd.project.demo import DIGITS, SIGMOID
from isograd.project.reading import key_lines, load, parse
from isograd.project.settings import ProjectSettings, json_schema
from isograd.workbench.models import OPTIONS
from isograd.workbench.train import Recipe

GOOD = 'task = "image-classification"\n[data]\nsource = "builtin:digits"\n'
HERE = Path("there") / "isograd.toml"


def faults(text: str) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        parse(text, HERE)
    return [str(fault) for fault in caught.value.faults]


def test_a_task_and_a_source_are_enough() -> None:
    settings = parse(GOOD, HERE).settings
    assert settings.task == "image-classification"
    assert settings.train.optimizer == "adamw"


@pytest.mark.parametrize("text", [DIGITS, SIGMOID])
def test_the_files_of_the_demonstration_are_right(text: str) -> None:
    assert parse(text, HERE).settings.data.source == "builtin:digits"


def test_all_faults_are_named_at_once_each_with_its_line() -> None:
    found = faults('taks = "classification"\n[data]\nsorce = "x.csv"\n[train]\nepochs = "3"\nlearning_rate = -1.0\n')
    assert len(found) == 4
    assert any("taks" in fault and "line 1" in fault and 'did you mean "task"?' in fault for fault in found)
    assert any("data.sorce" in fault and "line 3" in fault and 'did you mean "source"?' in fault for fault in found)
    assert any("train.epochs" in fault and "line 5" in fault and "integer" in fault for fault in found)
    assert any("train.learning_rate" in fault and "line 6" in fault and "greater than 0" in fault for fault in found)


def test_a_missing_key_is_named_with_an_example() -> None:
    (fault,) = faults('[data]\nsource = "builtin:digits"\n')
    assert "task: this key is needed" in fault
    assert 'task = "image-classification"' in fault


def test_an_unknown_choice_lists_the_choices() -> None:
    (fault,) = faults(GOOD + '[train]\noptimizer = "sdg"\n')
    assert "line 5" in fault
    assert "sgd, adam, adamw" in fault
    assert 'did you mean "sgd"?' in fault


def test_an_option_of_another_family_is_a_fault_with_its_line() -> None:
    (fault,) = faults(GOOD + '[model]\nkind = "cnn"\nhiden = [3]\n')
    assert "line 6" in fault
    assert "hiden" in fault


def test_options_and_keys_are_told_together() -> None:
    assert len(faults(GOOD + '[model]\nkind = "mlp"\nwidht = 3\n[train]\nepochs = 0\n')) == 2


def test_numbers_that_are_no_numbers_are_refused() -> None:
    assert faults(GOOD + "[train]\nlearning_rate = nan\n")
    assert faults(GOOD + "[train]\nlearning_rate = inf\n")
    assert faults(GOOD + "[train]\nepochs = 3.5\n")
    assert faults(GOOD + "[train]\nepochs = true\n")


def test_a_whole_number_is_taken_where_a_fraction_is_meant() -> None:
    assert parse(GOOD + "[train]\nlearning_rate = 1\n[goals]\naccuracy = 1\n", HERE).settings.goals == {"accuracy": 1.0}


def test_a_file_that_is_not_toml_says_so() -> None:
    (fault,) = faults("task = [")
    assert "not TOML" in fault


def test_a_folder_without_a_project_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="isograd demo"):
        load(tmp_path)


def test_a_file_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    (tmp_path / "isograd.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ProjectError, match="UTF-8"):
        load(tmp_path)


def test_two_files_that_mean_the_same_have_one_fingerprint() -> None:
    commented = "# a comment\n" + GOOD.replace(" = ", "=")
    assert parse(GOOD, HERE).fingerprint() == parse(commented, HERE).fingerprint()
    assert parse(GOOD, HERE).fingerprint() != parse("seed = 1\n" + GOOD, HERE).fingerprint()


def test_the_training_table_and_the_recipe_have_the_same_settings() -> None:
    table = set(ProjectSettings.model_fields["train"].annotation.model_fields)  # type: ignore[union-attr]
    recipe = set(Recipe.__dataclass_fields__)
    assert table - recipe == {"budget"}  # it becomes a number of epochs
    assert recipe - table == {"seed", "device", "threads", "watch", "watch_budget", "first_aid", "frozen", "thaw"}


def test_the_schema_names_every_option_of_every_family() -> None:
    schema = json_schema(OPTIONS)
    named = schema["$defs"]["ModelTable"]["properties"]
    assert {name for options in OPTIONS.values() for name in options} <= set(named)


def test_key_lines_follow_values_over_several_lines() -> None:
    lines = key_lines('a = [\n1,\n2]\n[t]\nb = """\nx\n"""\nc = 1\n')
    assert lines[("a",)] == 1
    assert lines[("t", "c")] == 8


@given(st.text(max_size=200))
def test_any_text_is_either_a_project_or_one_kind_of_error(text: str) -> None:
    with contextlib.suppress(ProjectError):
        assert parse(text, HERE).text == text
