"""Scripts as people write them, and faults as edits of their text: they are found, run under a watch, and edits hit."""

from __future__ import annotations

import ast
import doctest
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from faults import grounds, scripted
from faults.scripted import FOLDER, Script, either, swap
from looking import look

pytestmark = pytest.mark.filterwarnings("default")

SCRIPTS = {name: program for name, program in grounds.PROGRAMS.items() if program.lot in ("third", "fourth")}


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(scripted).failed == 0


def test_every_script_of_the_folder_is_entered() -> None:
    assert set(SCRIPTS) == {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_runs_under_a_watch_to_its_end(name: str) -> None:
    program = SCRIPTS[name]
    seen = look(lambda watch: program.train(program.settings.shortened(), 0, watch))
    raised, stopped = seen.raised, seen.stopped  # nothing else of what was said is for these eyes
    del seen
    assert raised is None
    assert stopped is None


def test_every_faulty_script_is_a_program_that_differs_from_the_healthy_one() -> None:
    for case in (*grounds.candidates("held-out"), *grounds.candidates("fresh")):
        ast.parse(case.settings.text)
        assert ast.dump(ast.parse(case.settings.text)) != ast.dump(ast.parse(case.program.settings.text)), case.key


def test_an_edit_that_misses_one_of_its_places_does_not_apply() -> None:
    script = Script("one", "EPOCHS = 8\nloss.backward()\n")
    assert swap((r"loss\.backward\(\)", "pass"), (r"optimizer", "pass"))(script) == {}
    assert swap((r"loss\.backward\(\)", "pass"), having="optimizer")(script) == {}
    found: dict[str, Any] = either(swap((r"optimizer", "pass")), swap((r"loss\.backward\(\)", "pass"), since=4))(script)
    assert found == {"text": "EPOCHS = 8\npass\n", "since": 4}


def test_a_shortened_script_has_one_epoch() -> None:
    assert Script("one", "EPOCHS = 8\nx = 8\n").shortened().text == "EPOCHS = 1\nx = 8\n"
    assert all("\nEPOCHS = 1\n" in program.settings.shortened().text for program in SCRIPTS.values())
