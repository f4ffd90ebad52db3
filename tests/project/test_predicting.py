"""Predicting needs a bundle and no framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from isograd.cli import main
from isograd.project.demo import write_samples

TOML = """\
name = "tiny"
task = "image-classification"
[data]
source = "builtin:digits"
[model]
kind = "mlp"
hidden = [8]
[train]
epochs = 1
[watch]
enabled = false
"""

PROGRAM = """
import sys
from isograd.cli import main
status = main(sys.argv[1:])
print("torch" in sys.modules, file=sys.stderr)
sys.exit(status)
"""


def test_a_prediction_never_loads_torch(tmp_path: Path) -> None:
    (tmp_path / "isograd.toml").write_text(TOML, "utf-8")
    assert main(["run", str(tmp_path)]) == 0
    (sample,) = write_samples(tmp_path, count=1)
    command = [sys.executable, "-c", PROGRAM, "predict", str(tmp_path / "runs" / "tiny-001" / "bundle"), str(sample)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "False"
    assert done.stdout.startswith(str(sample))
