"""The rules of the house that no linter knows: the public surface, the map, the length of files, what an import loads."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import isograd
from isograd.ports import Births, Guard, Patient, Recorder, Start
from isograd.records.fact import FACTS
from isograd.records.finding import Finding

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "isograd").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

PUBLIC = {
    "check": "(model, batch=None, loss=None, optimizer=None, *, step=None, steps=None, deep=False, base_rate=0.5)",
    "watch": "(model, optimizer=None, *, loss=None, steps=None, budget=0.03, trace=None, keep_start=True, on_finding=None, "
    "act=None)",
    "diagnose": "(trace)",
    "explain": "(exception)",
    "cure": "(build, batches, loss=None, optimizer=None, *, budget, validation=None, step=None, score=None, steps=None, "
    "edits=(), processes=1, known=(), on_tried=None, on_progress=None)",
    "Report": "healthy risk forecast findings cause record to_json to_html figure",
    "Proof": "verdict edits cause diff apply to_json to_html figure record",
    "Finding": "disease severity confidence where source since noticed time_step evidence cause remedy references",
}
"""The public surface. Growing it is a decision that CHANGELOG.md explains."""


def test_the_public_surface_is_the_frozen_one() -> None:
    assert sorted(isograd.__all__) == ["Proof", "Report", "check", "cure", "diagnose", "explain", "watch"]
    for name in ("check", "watch", "diagnose", "explain", "cure"):
        signature = inspect.signature(getattr(isograd, name))
        bare = signature.replace(
            parameters=[p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()],
            return_annotation=inspect.Signature.empty,
        )
        assert str(bare) == PUBLIC[name]


def test_what_is_asked_of_a_framework_does_not_grow_by_accident() -> None:
    ports = (Patient, Recorder, Start, Births, Guard)
    asked = {kind: {name for name in (*vars(kind), *kind.__annotations__) if name[0] != "_"} for kind in ports}
    assert asked == {
        Patient: {"describe", "observe", "apply", "trained", "followed", "judge", "simple", "reborn"},
        Start: {"batches", "keep", "let_go", "loss_as_heard", "meet", "patient"},
        Births: {"check", "born", "seeded", "paired", "halves", "odd", "processes", "apart", "fingerprint"},
        Recorder: {"attach", "detach", "take", "trace", "on_step", "acted"},
        Guard: {"attach", "detach", "end", "pending", "lowered", "clip", "heed", "treat", "settle", "kept", "keep"},
    }


@pytest.mark.parametrize("name", ["Report", "Proof", "Finding"])
def test_what_a_person_holds_has_the_promised_names(name: str) -> None:
    kind = Finding if name == "Finding" else getattr(isograd, name)
    attributes = {*dir(kind), *inspect.signature(kind).parameters}
    assert set(PUBLIC[name].split()) <= attributes


def test_the_tree_in_the_readme_is_the_map() -> None:
    spec = importlib.util.spec_from_file_location("house_map", ROOT / "tests" / "house" / "map.py")
    assert spec and spec.loader
    house_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house_map)
    readme = (ROOT / "README.md").read_text("utf-8")
    printed = re.search(r"<!-- make map -->\n```\n(.*?)\n```", readme, re.DOTALL)
    assert printed, "README.md has no tree between its marks"
    assert printed.group(1) == "\n".join(house_map.tree()), "run `make map` and put what it prints into README.md"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT / "src").as_posix())
def test_a_file_opens_with_one_sentence_and_stays_under_400_lines(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    assert first, "the first line of the docstring is the map's line"


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_test_file_stays_under_400_lines_too(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= 400


SIGNALS = [
    pytest.param(ast.get_docstring(node) or "", id=f"{file.stem}.{node.name}")
    for file in sorted((ROOT / "src" / "isograd" / "health" / "signals").glob("*.py"))
    for node in ast.parse(file.read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in ("measure", "read")
]


@pytest.mark.parametrize("docstring", SIGNALS)
def test_a_signal_states_unit_range_source_and_an_example(docstring: str) -> None:
    assert all(heading in docstring for heading in ("Unit:", "Range:", "Source:", ">>>"))


@pytest.mark.parametrize("name", ["check", "watch", "diagnose", "explain", "cure"])
def test_a_public_function_says_what_it_raises_and_shows_an_example(name: str) -> None:
    docstring = inspect.getdoc(getattr(isograd, name)) or ""
    assert "Raises" in docstring
    assert ">>>" in docstring


def facts_named_in(folder: str) -> set[str]:
    text = "\n".join(file.read_text("utf-8") for file in (ROOT / "src" / "isograd" / folder).rglob("*.py"))
    return {kind for kind in FACTS if f'"{kind}"' in text}


def test_every_fact_is_given_by_a_door_and_heard_by_the_heart() -> None:
    assert facts_named_in("frameworks") == set(FACTS)
    assert facts_named_in("health") == set(FACTS)


def test_nothing_in_the_source_unpickles() -> None:
    unsafe = re.compile(r"(^|[^_.\w])(pickle\.|joblib|torch\.load\(|yaml\.load\(|eval\(|exec\()")
    for file in SOURCES:
        for line in file.read_text("utf-8").splitlines():
            assert not unsafe.search(line), f"{file.name}: {line.strip()}"


ALLOWED = {"isograd"}
"""Beyond the standard library: what `import isograd` and `isograd --version` may load."""


@pytest.mark.parametrize(
    "program",
    [
        "import isograd",
        "import isograd.cli, contextlib\nwith contextlib.suppress(SystemExit): isograd.cli.main(['--version'])",
    ],
)
def test_importing_isograd_loads_no_framework_and_nothing_that_is_not_needed(program: str) -> None:
    code = f"import sys\n{program}\nimport json\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    loaded = {name.split(".")[0] for name in json.loads(output.splitlines()[-1])}
    at_start = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()  # what the interpreter loads by itself, such as the finders of editable installs
    odd = {name for name in loaded if name not in sys.stdlib_module_names and name not in ALLOWED}
    assert odd <= {name.split(".")[0] for name in at_start}


def test_the_two_commands_of_the_readme_are_commands_of_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in ("make demo", "make test"):
        assert command in readme
        assert f"\n{command.removeprefix('make ')}:" in makefile


def test_a_core_install_does_not_pull_a_framework() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    core = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]}
    assert core == {"numpy", "scipy", "pydantic", "typer", "rich"}
    assert set(project["optional-dependencies"]) == {"core", "workbench", "serve", "keras", "jax", "all", "dev"}


def test_the_constraints_are_pins_of_published_versions_and_nothing_of_one_machine() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line), f"pip takes no such constraint: {line}"
