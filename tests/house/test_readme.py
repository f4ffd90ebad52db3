"""What the README shows can be done as it is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import isograd
from isograd.cli.app import app
from isograd.project.reading import parse

torch = pytest.importorskip("torch")
nn = torch.nn

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    every = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in every if name == language]


def chain(depth: int, activation: type[nn.Module]) -> nn.Module:
    layers = [part for _ in range(depth) for part in (nn.Linear(64, 64), activation())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def digits(batches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(batches, 64, 64, generator=draw)
    return [(x, x[:, :10].argmax(1)) for x in inputs]


def test_the_program_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (program,) = blocks("python")
    loader, model = digits(300), chain(1, nn.ReLU)
    (x, y), optimizer = loader[0], torch.optim.SGD(model.parameters(), lr=0.5)
    known = {"model": model, "x": x, "y": y, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer, "loader": loader}
    exec(compile(program, "README.md", "exec"), known)
    said = capsys.readouterr().out
    verdicts = [line for line in re.findall(r"^[A-Z].*$", said, re.MULTILINE) if not line.startswith("Finding(")]  # a remark
    assert [verdict.split(":")[0] for verdict in verdicts] == 3 * ["Healthy"], said


def test_what_check_says_of_thirty_layers_of_sigmoids_is_what_is_shown():
    (shown,) = (block for block in blocks("") if block.startswith("This will not train."))
    torch.manual_seed(0)
    model = chain(30, nn.Sigmoid)
    said = str(isograd.check(model, digits(1)[0], nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)))
    words = re.compile(r"(?<![\w.])[a-z]{3,}\b|%")  # the numbers are another draw's
    for line in shown.splitlines():
        if not line.startswith("  cost"):
            assert set(words.findall(line)) <= set(words.findall(said)), line


def test_the_project_is_one():
    (text,) = blocks("toml")
    assert parse(text, Path("isograd.toml")).settings.name == "digits"


def test_the_commands_are_those_of_the_command_line():
    (shown,) = (block for block in blocks("") if block.startswith("isograd check"))
    named = {name for line in shown.splitlines() for name in re.findall(r"\w+", line.split("  ")[0]) if name != "isograd"}
    groups = {group.name for group in app.registered_groups}
    assert named == {command.name or command.callback.__name__ for command in app.registered_commands} | groups


def test_every_figure_is_shown_by_a_file_that_is_there():
    rows = [row for row in README.splitlines() if row.startswith("|") and row.count("|") == 4]
    named = [re.findall(r"`([^`]+)`", row.split("|")[3]) for row in rows[2:]]
    assert named and all(named)
    for name in (one for several in named for one in several if not one.startswith(("make ", "isograd "))):
        assert (ROOT / name).is_file() or (ROOT / "benchmarks" / f"{name}.py").is_file(), name
