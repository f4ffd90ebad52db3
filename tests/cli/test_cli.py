"""The commands: results on stdout, the rest on stderr, one clear message for what is wrong, and the promised exit status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from isograd.cli import main
from isograd.records import codec
from isograd.records.run import Bundle, Evaluation, Run

TOML = """\
name = "tiny"
task = "image-classification"
[data]
source = "builtin:digits"
[model]
kind = "mlp"
hidden = [32]
[train]
epochs = 3
learning_rate = 1e-2
"""


@pytest.fixture(scope="module")
def river(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project that ran from end to end."""
    folder = tmp_path_factory.mktemp("river")
    (folder / "isograd.toml").write_text(TOML, "utf-8")
    assert main(["run", str(folder)]) == 0
    return folder


def project(folder: Path, text: str = TOML) -> Path:
    (folder / "isograd.toml").write_text(text, "utf-8")
    return folder


def test_help_is_one_page_and_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    for command in ("demo", "doctor", "check", "train", "evaluate", "run", "export", "predict", "report", "runs", "schema"):
        assert command in page


def test_an_unknown_command_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "trian" in capsys.readouterr().err


def apart(program: str) -> subprocess.CompletedProcess[str]:
    """A program in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_a_library_that_is_not_installed_is_one_message_that_says_what_to_install(tmp_path: Path) -> None:
    train = f"from isograd.cli import main; sys.exit(main(['train', {str(project(tmp_path))!r}]))"
    ended = apart(f"import sys; sys.modules['torch'] = None; {train}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "isograd: this needs torch, which is not installed",
        '  try    pip install "isograd[workbench]"',
    ]


def test_the_list_of_runs_does_not_wait_for_a_framework(tmp_path: Path) -> None:
    ended = apart(f"import sys; from isograd.cli import main; main(['runs', {str(tmp_path)!r}]); print('torch' in sys.modules)")
    assert ended.stdout.splitlines()[-1] == "False"


def test_the_river_leaves_plain_files(river: Path) -> None:
    run = river / "runs" / "tiny-001"
    for name in (
        "project.toml",
        "run.json",
        "metrics.jsonl",
        "trace.jsonl",
        "report.json",
        "report.html",
        "evaluation.json",
        "data.json",
    ):
        assert (run / name).stat().st_size > 0, name
    for name in ("model.onnx", "model.safetensors", "preprocess.json", "card.md", "report.html", "bundle.json"):
        assert (run / "bundle" / name).stat().st_size > 0, name
    assert not list(run.rglob(".aside-*"))


def test_evaluate_prints_figures_with_intervals(river: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(river)]) == 0
    shown = capsys.readouterr()
    assert "accuracy 0." in shown.out and " to " in shown.out and "Next: isograd export" in shown.out


@pytest.mark.parametrize(
    ("command", "kind"), [("evaluate", Evaluation), ("runs", None), ("report", None), ("check", None), ("doctor", None)]
)
def test_json_is_one_versioned_document_and_nothing_else(
    river: Path, capsys: pytest.CaptureFixture[str], command: str, kind: type[Any] | None
) -> None:
    assert main([command, *([] if command == "doctor" else [str(river)]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"].startswith("isograd.")
    assert document["version"] == codec.VERSION
    if kind is not None:
        assert codec.from_document(kind, document).part == "test"


def test_predict_answers_for_each_picture(river: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from isograd.project.demo import write_samples

    samples = write_samples(river)
    bundle = river / "runs" / "tiny-001" / "bundle"
    assert main(["predict", str(bundle), *map(str, samples)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(samples)
    assert all("%" in line for line in lines)
    assert main(["predict", str(bundle), str(samples[0]), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["predictions"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_a_bundle_with_a_changed_byte_is_refused(river: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "bundle"
    shutil.copytree(river / "runs" / "tiny-001" / "bundle", broken)
    content = bytearray((broken / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (broken / "model.onnx").write_bytes(bytes(content))
    assert main(["predict", str(broken), "builtin:digits"]) == 2
    assert "model.onnx" in capsys.readouterr().err


def test_a_bundle_that_is_not_there_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(tmp_path / "nothing"), "x.png"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("isograd: ") and "Traceback" not in error


def test_export_never_overwrites(river: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(river)]) == 2
    assert "--to" in capsys.readouterr().err


def test_export_goes_where_it_is_told(river: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(river), "--to", str(tmp_path / "b"), "--json"]) == 0
    assert codec.loads(Bundle, capsys.readouterr().out).max_difference < 1e-4


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(project(tmp_path)), "--dry-run"]) == 0
    assert "train.epochs = 3" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["isograd.toml"]


def test_every_fault_of_a_project_file_is_told_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path, TOML.replace("epochs", "epohcs").replace("task", "taks"))
    assert main(["train", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert 'did you mean "epochs"?' in error and 'did you mean "task"?' in error
    assert [path.name for path in tmp_path.iterdir()] == ["isograd.toml"]


def test_a_changed_project_needs_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    from isograd.project.runs import named

    assert main(["train", str(project(tmp_path))]) == 0
    folder = named(tmp_path, None)
    folder.write(replace(folder.run(), status="stopped"), "run.json")
    project(tmp_path, TOML.replace("epochs = 3", "epochs = 2"))
    capsys.readouterr()
    assert main(["train", str(tmp_path)]) == 2
    assert "train.epochs: 3 then, 2 now" in capsys.readouterr().err
    assert main(["train", str(tmp_path), "--new", "--json"]) == 0
    assert codec.loads(Run, capsys.readouterr().out).name == "tiny-002"


def test_a_goal_that_is_missed_is_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path, TOML.replace("epochs = 3", "epochs = 1") + "[goals]\naccuracy = 1.0\n")
    assert main(["run", str(tmp_path)]) == 1
    assert "goal  accuracy 1: not met" in capsys.readouterr().out


def test_a_goal_without_a_metric_is_told_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path, TOML + "[goals]\nacuracy = 0.9\n")
    assert main(["run", str(tmp_path)]) == 2
    assert 'did you mean "accuracy"?' in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_check_of_a_network_that_cannot_learn_is_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path, TOML.replace("hidden = [32]", 'depth = 30\nwidth = 32\nactivation = "sigmoid"') + 'optimizer = "sgd"\n')
    assert main(["check", str(tmp_path)]) == 1
    assert "orders of magnitude" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_check_takes_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own_model.py").write_text(
        "import torch\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))\n"
        "    batch = torch.randn(16, 4), torch.randint(0, 2, (16,))\n"
        "    return model, batch, torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)\n",
        "utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert main(["check", "own_model:make"]) == 0
    assert main(["check", "own_model:mak"]) == 2


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["task"]


def test_a_fault_of_our_own_is_status_seventy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from isograd.project import runs

    monkeypatch.setattr(runs, "all_runs", lambda folder: 1 / 0)
    assert main(["runs"]) == 70
    assert "fault of isograd itself" in capsys.readouterr().err


def test_an_interrupted_training_says_so_and_goes_on(tmp_path: Path) -> None:
    slow = project(tmp_path, TOML.replace("epochs = 3", "epochs = 400"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "isograd", "train", str(slow)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    for _ in range(600):
        if list(slow.glob("runs/*/metrics.jsonl")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "goes on from there" in out + error
    assert "Traceback" not in error
    run = codec.loads(Run, (slow / "runs" / "tiny-001" / "run.json").read_text("utf-8"))
    assert run.status == "stopped"
