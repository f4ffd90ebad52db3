"""The demonstration: what is foretold comes true, and the command that it ends with proves what to change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isograd.cli import main


@pytest.mark.proof
def test_the_demonstration_foretells_what_comes_and_its_last_advice_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    one, two = "".join(capsys.readouterr()).split("Act two")
    assert "Healthy" in one and "This will not train." in two and "as it was foretold" in two
    advice = re.search(r"isograd (cure \S+)", two)
    assert advice is not None and main(advice[1].split()) == 0
    assert "proven" in "".join(capsys.readouterr())
