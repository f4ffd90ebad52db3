"""``isograd cure``: proof and change on stdout, trials on stderr, a journal that goes on, and nothing written unasked."""

import json
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from isograd.cli import cure
from isograd.cli.app import app
from isograd.proofs import Proof
from isograd.records import proof as records
from isograd.records.edit import Edit
from isograd.records.proof import Training, Trial
from isograd.records.skill import Skill

PROGRAM = """\
import torch
from torch import nn, optim

RATE = 1e-6  # careful

def data():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(640, 4, generator=draw)
    return [(x[i : i + 32], x[i : i + 32, :1]) for i in range(0, 640, 32)]

def slow():
    net = nn.Linear(4, 1)
    optimizer = optim.SGD(net.parameters(), lr=RATE)
    return {"model": net, "batches": data(), "loss": nn.functional.mse_loss, "optimizer": optimizer, "steps": 60}

def two():
    net = nn.Linear(4, 1)
    steppers = [optim.SGD([parameter], lr=1e-6) for parameter in net.parameters()]
    return {"model": net, "batches": data(), "loss": nn.functional.mse_loss, "optimizer": steppers, "steps": 60}

def factories():
    return {"build": lambda: nn.Linear(4, 1), "batches": data(), "loss": nn.functional.mse_loss, "steps": 60,
            "optimizer": lambda parameters: optim.SGD(parameters, lr=1e-6)}

def held():
    return data()[:8]

NET = nn.Linear(4, 1)

def another():
    return nn.Linear(4, 1), data(), nn.functional.mse_loss, optim.SGD(NET.parameters(), lr=1e-6)

def shared():
    return NET, data(), nn.functional.mse_loss, optim.SGD(NET.parameters(), lr=1e-6)

def without():
    return nn.Linear(4, 1), data(), nn.functional.mse_loss

def odd():
    return {"build": nn.Linear, "batches": data(), "lost": 1}

def breaks():
    raise KeyError("label")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    name = f"curing_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


def called(place, *options):
    return CliRunner().invoke(app, ["cure", place, *options])


def test_a_repair_is_proven_shown_kept_and_written_only_when_asked(program, tmp_path):
    source = tmp_path / f"{program}.py"
    first = called(f"{program}:slow", "--budget", "12 runs", "--validation", f"{program}:held")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("Proven: learning rate 1e-06 →")
    assert "-RATE = 1e-6  # careful" in first.stdout and "--write" in first.stdout.splitlines()[-1]
    assert "of 720 steps" in first.stderr
    assert source.read_text() == PROGRAM
    folder = tmp_path / "runs" / f"cure-{program}.slow"
    assert {"journal.jsonl", "proof.json", "report.html", "change.diff"} <= {file.name for file in folder.iterdir()}

    lines = len((folder / "journal.jsonl").read_text().splitlines())
    again = called(f"{program}:slow", "--budget", "12 runs", "--validation", f"{program}:held", "--write")
    assert again.exit_code == 0, again.output
    assert f"{lines} earlier trainings" in again.stderr
    assert len((folder / "journal.jsonl").read_text().splitlines()) == lines
    assert "RATE = 1e-6" not in source.read_text() and "  # careful" in source.read_text()
    assert (tmp_path / f"{program}.py.bak").read_text() == PROGRAM


def test_a_plan_tries_nothing_and_writes_nothing(program, tmp_path):
    said = called(f"{program}:factories", "--dry-run")
    assert said.exit_code == 0 and "steps of a run: 60" in said.stdout and "nothing was tried" in said.stdout
    plan = json.loads(called(f"{program}:factories", "--dry-run", "--json", "--budget", "5min").stdout)
    assert plan["plan"][0]["settings"]["budget"] == "300 s"
    assert not (tmp_path / "runs").exists()


def test_the_cause_is_named_of_factories_as_well(program):
    said = called(f"{program}:factories", "--explain", "--budget", "600")
    assert said.exit_code == 1 and "learning rate" in said.stdout, said.output


def test_the_weights_that_a_cause_is_named_for_hang_on_no_random_numbers_from_before(program):
    torch.manual_seed(1)
    first = called(f"{program}:factories", "--explain", "--budget", "600").stdout
    torch.manual_seed(2)
    again = called(f"{program}:factories", "--explain", "--budget", "600").stdout
    control = [line for text in (first, again) for line in text.splitlines() if "no change " in line]
    assert len(control) == 2 and control[0] == control[1]


def test_factories_are_taken_as_they_are_and_json_is_the_record(program):
    said = called(f"{program}:factories", "--budget", "12 runs", "--json")
    found = json.loads(said.stdout)
    assert (found["format"], found["record"]["verdict"], said.exit_code) == ("isograd.Proof", "proven", 0)


def test_a_program_with_two_optimizers_is_cured(program):
    said = called(f"{program}:two", "--budget", "12 runs")
    assert said.exit_code == 0 and said.stdout.startswith("Proven: learning rate 1e-06 →"), said.output


@pytest.mark.parametrize(
    ("function", "options", "text"),
    [
        ("another", [], "does not hold parameters of its model"),
        ("shared", [], "the same model"),
        ("without", [], "gives no optimizer"),
        ("odd", [], "'lost', which is not asked for"),
        ("slow", ["--budget", "2 runs"], "too small"),
        ("slow", ["--budget", "soon"], "budget is a time"),
        ("absent", [], "has no attribute 'absent'"),
        ("breaks", [], "breaks raises"),
        ("breaks", [], "KeyError: 'label'"),
    ],
)
def test_what_cannot_be_cured_gets_one_message_and_status_2(program, function, options, text):
    said = called(f"{program}:{function}", *options)
    assert said.exit_code == 2 and text in said.stderr and "Traceback" not in said.stderr, said.output


RATE = Edit("learning_rate", 0.1, before=1.0)


def of(verdict, *edits, healthy=False, differences=(), interrupted=False, tried=True):
    trials = tuple(
        Trial(seed, Training(Skill(0.1, 9)), Training(Skill(0.1 + difference, 9)))
        for seed, difference in enumerate(differences)
    )
    candidates = (records.Candidate((RATE,), 0.1, "single"),) if tried else ()
    shown = records.Proof(verdict, edits, "repair", healthy, trials=trials, candidates=candidates, interrupted=interrupted)
    return Proof(shown)


@pytest.mark.parametrize(
    ("proof", "status"),
    [
        (of("proven", RATE, differences=[0.1] * 6), 0),
        (of("not proven", healthy=True), 0),
        (of("not proven"), 1),
        (of("not proven", tried=False), 3),
        (of("not proven", RATE, differences=[0.1, -0.1]), 1),
        (of("harmful", RATE, differences=[-0.1] * 3), 1),
        (of("not proven", RATE, differences=[0.1] * 2), 3),
        (of("not proven", RATE, interrupted=True), 130),
        (of("not proven", interrupted=True), 130),
    ],
)
def test_the_status_is_the_answer(proof, status):
    assert cure.status_of(proof) == status


TOML = 'task = "classification"\n\n[data]\nsource = "builtin:digits"\n\n[train]\nlearning_rate = 1.0  # fast\n'


@pytest.fixture
def work(tmp_path):
    from isograd.project.amending import amended

    (tmp_path / "isograd.toml").write_text(TOML.replace("classification", "image-classification"))
    made = cure._Project(str(tmp_path), None, afresh=False)
    made.change = amended(made.project, [RATE])
    return made


def test_a_project_file_that_changed_during_the_search_is_left_alone_and_said_so(work, tmp_path, capsys):
    (tmp_path / "isograd.toml").write_text("# mine\n")
    assert cure._written(work, of("proven", RATE)) == []
    assert "was changed during the search" in capsys.readouterr().err
    assert (tmp_path / "isograd.toml").read_text() == "# mine\n"


def test_what_is_not_proven_or_has_no_setting_is_not_written(work, tmp_path, capsys):
    from isograd.project.amending import amended

    before = (tmp_path / "isograd.toml").read_text()
    assert cure._written(work, of("not proven", RATE)) == []
    work.change = amended(work.project, [RATE, Edit("residual")])
    assert cure._written(work, of("proven", RATE, Edit("residual"))) == []
    assert "not every edit has a place of its own" in capsys.readouterr().err
    assert (tmp_path / "isograd.toml").read_text() == before


def test_a_proven_change_is_written_into_the_project_file_with_a_backup(work, tmp_path):
    assert [line.split()[0] for line in cure._written(work, of("proven", RATE))] == ["written", "backup"]
    assert "learning_rate = 0.1  # fast" in (tmp_path / "isograd.toml").read_text()
    assert (tmp_path / "isograd.toml.bak").exists()


def test_a_journal_that_is_none_is_one_message(work, tmp_path):
    folder = tmp_path / "runs" / "cure"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text("not a journal\n")
    said = CliRunner().invoke(app, ["cure", str(tmp_path)])
    assert said.exit_code == 2 and "is no journal" in said.stderr and "move the file away" in said.stderr


def test_ctrl_c_keeps_what_was_tried_and_says_how_to_go_on(program, monkeypatch):
    from isograd.project.trying import Trials

    keep, count = Trials.add, []

    def stops(self, tried):
        keep(self, tried)
        count.append(tried)
        if len(count) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trials, "add", stops)
    said = called(f"{program}:slow", "--budget", "12 runs")
    assert said.exit_code == 130, said.output
    assert f"isograd cure {program}:slow --budget '12 runs'   goes on from here" in said.stdout.splitlines()[-1]
    monkeypatch.setattr(Trials, "add", keep)
    again = called(f"{program}:slow", "--budget", "12 runs")
    assert again.exit_code == 0 and "4 earlier trainings" in again.stderr


def test_the_next_command_has_the_options_of_this_one_without_which_all_would_be_tried_again(program):
    options = ("--validation", f"{program}:held", "--budget", "12 runs")
    said = called(f"{program}:slow", *options)
    following = said.stdout.splitlines()[-1]
    assert f"isograd cure {program}:slow --validation {program}:held --budget '12 runs' --write   makes" in following
    again = called(f"{program}:slow", *options, "--write")
    assert again.exit_code == 0 and "written" in again.stdout and "earlier trainings" in again.stderr


@pytest.mark.parametrize(
    ("left", "told"), [((), "--write   makes the change"), ((Edit("residual"),), "make the change by hand")]
)
def test_what_cannot_be_written_is_not_said_to_be(left, told):
    work = SimpleNamespace(name="a:b", again="watch it", change=SimpleNamespace(left=left))
    proof = SimpleNamespace(
        record=SimpleNamespace(interrupted=False, edits=(Edit("residual"),), healthy=False, verdict="proven")
    )
    assert told in cure._after(work, proof, ("a:b", None), written=False)
