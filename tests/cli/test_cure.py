"""``isograd cure --explain``: the answer on stdout, the exit status, and one message for what cannot be explained."""

import json

import pytest
from typer.testing import CliRunner

from isograd.cli.app import app

PROGRAMS = """
import torch
from torch import nn

def data():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(640, 8, generator=draw)
    return [(x[i : i + 32], (x[i : i + 32, 0] > 0).long()) for i in range(0, 640, 32)]

SHARED = nn.Linear(8, 2)

def made(model, rate):
    return model, data(), nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=rate)

def sick():
    torch.manual_seed(0)
    return made(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), 1e4)

def arrays():
    torch.manual_seed(0)
    batches = data()
    x, y = (torch.cat(column).numpy() for column in zip(*batches))
    body, head = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 2)
    optimizers = torch.optim.SGD(body.parameters(), lr=1e-7), torch.optim.Adam(head.parameters(), lr=1e-9)
    return nn.Sequential(body, head), (x.astype("float64"), y), nn.functional.cross_entropy, optimizers

def forgetful(seed):
    torch.manual_seed(7)
    return made(nn.Linear(8, 2), 0.1)

def single(seed):
    return made(SHARED, 0.1)

def sharing(seed):
    return made(nn.Sequential(SHARED), 0.1)

def factories(build):
    data_and_loss = {"batches": data(), "loss": nn.functional.cross_entropy}
    return {"build": build, "optimizer": lambda parameters: torch.optim.Adam(parameters, lr=1e-6), **data_and_loss}

def kept():
    return factories(lambda: SHARED)

def deaf():
    def build():
        torch.manual_seed(7)
        return nn.Linear(8, 2)

    return factories(build)

def in_order(rate=1e-6):
    build, loss = lambda: nn.Linear(8, 2), nn.functional.cross_entropy
    return build, data(), loss, lambda parameters: torch.optim.Adam(parameters, lr=rate)

def half_made():
    build, *rest = in_order()
    return build(), *rest

def nothing():
    return 3

def odd():
    return {"model": SHARED, "batches": data(), "lost": 1}
"""


@pytest.fixture
def called(tmp_path, monkeypatch):
    def run(function, *options):
        name = f"programs_{abs(hash(str(tmp_path)))}"
        (tmp_path / f"{name}.py").write_text(PROGRAMS, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        return CliRunner().invoke(app, ["cure", f"{name}:{function}", *options])

    return run


def test_a_cause_is_named_and_the_answer_is_no(called):
    said = called("sick", "--explain", "--budget", "600")
    assert said.exit_code == 1, said.output
    assert "Cause, by experiment: The learning rate of 10000 is too high" in said.stdout and "Next: " in said.stdout
    found = json.loads(called("sick", "--explain", "--budget", "600", "--json").stdout)
    assert found["record"]["cause"]["causes"][0]["edit"]["kind"] == "learning_rate"


def test_a_function_that_gives_arrays_and_two_optimizers_is_explained(called):
    said = called("arrays", "--explain", "--budget", "800")
    assert said.exit_code == 1, said.output
    assert "The learning rate" in said.stdout and "too low" in said.stdout


@pytest.mark.parametrize(
    ("function", "options", "text"),
    [
        ("sick", ["--explain", "--budget", "10"], "too small for one comparison"),
        ("forgetful", ["--explain"], "ignores its seed"),
        ("single", ["--explain"], "returns the same model object twice"),
        ("sharing", ["--explain"], "models that share their weights"),
        ("kept", ["--explain"], "build gives the same model each time"),
        ("nothing", ["--explain"], "does not give a program"),
        ("half_made", ["--explain"], "a model, and a function that makes its optimizer"),
        ("half_made", [], "a model, and a function that makes its optimizer"),
        ("odd", ["--explain"], "'lost', which is not asked for"),
        ("absent", ["--explain"], "has no attribute 'absent'"),
        ("sick", ["--explain", "--write"], "goes without --write"),
        ("sick", ["--explain", "--dry-run"], "goes without --dry-run"),
        ("sick", ["--explain", "--new"], "goes without --new"),
        ("sick", ["--new"], "a function makes its own weights"),
        ("sick", ["--explain", "--validation", "held"], "goes without --validation"),
    ],
)
def test_what_cannot_be_explained_gets_one_message_and_status_2(called, function, options, text):
    said = called(function, *options)
    assert said.exit_code == 2 and text in said.stderr and "Traceback" not in said.stderr


def test_factories_in_the_order_of_the_librarys_arguments_are_taken_as_they_are(called):
    shown = json.loads(called("in_order", "--dry-run", "--budget", "12 runs", "--json").stdout)
    assert "error" not in shown, shown
    said = called("in_order", "--explain", "--budget", "600")
    assert said.exit_code == 1 and "too low" in said.stdout, said.output


def test_a_factory_that_ignores_the_seed_is_told_and_explained(called):
    said = called("deaf", "--explain", "--budget", "400")
    assert "build gives the same weights whatever the seed" in said.stderr and "learning rate" in said.stdout
