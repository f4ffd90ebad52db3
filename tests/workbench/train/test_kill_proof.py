"""Real SIGKILLs, some of them while a checkpoint is written: the run goes on and ends with the same bits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_run_that_is_killed_at_random_moments_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    result = tmp_path / "resume.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "resume.py"), "8", "--to", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(result.read_text())["rows"]
    assert rows["kills"] >= 8
    assert rows["of them while a checkpoint was written"] >= 1
    assert rows["kills after which all weights and metrics were the same"] == rows["kills"]
    assert rows["checkpoints found damaged"] == 0
