"""``isograd check`` and ``--deep``: the risk stands in the text and in the JSON, and decides the status where it is certain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isograd.cli import main

PROGRAM = """\
import torch
from torch import nn

def make(rate=1e-2):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    x = torch.randn(64, 6)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return net, (x, y), nn.functional.cross_entropy, torch.optim.Adam(net.parameters(), lr=rate)

def frozen():
    return make(1e-12)
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_program.py").write_text(PROGRAM, "utf-8")
    monkeypatch.chdir(tmp_path)


def test_a_deep_check_tries_more_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "a_program:make"]) == 0
    plain = capsys.readouterr().out
    assert main(["check", "--deep", "a_program:make"]) == 0
    deep = capsys.readouterr().out
    assert "from one batch and the first step;" in " ".join(plain.split()) and "thin probe" not in plain
    assert "the thin probe" in " ".join(deep.split())


def test_the_forecast_stands_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--deep", "--json", "a_program:make"]) == 0
    told = json.loads(capsys.readouterr().out)["record"]
    assert told["forecast"]["basis"] == "probe" and told["risk"] == told["forecast"]["probability"] < 0.5


def test_a_run_that_will_fail_is_status_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--deep", "a_program:frozen"]) == 1
    assert "fails with" in capsys.readouterr().out
