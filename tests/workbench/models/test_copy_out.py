"""Each family is one file of ordinary PyTorch: copied out of isograd it still makes its network."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

import isograd.workbench.models as room
from isograd.workbench.models import OPTIONS

FOLDER = Path(room.__file__).parent
FILES = {kind: kind.replace("-", "_") for kind in OPTIONS} | dict.fromkeys(("rnn", "gru", "lstm"), "recurrent")


@pytest.mark.parametrize("name", sorted(set(FILES.values())))
def test_the_file_of_a_family_needs_nothing_but_torch_and_the_standard_library(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))):
        imported |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        imported |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
    assert {name.split(".")[0] for name in imported} <= {"__future__", "collections", "math", "typing", "torch"}


def test_a_copy_is_a_network_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text((FOLDER / "tcn.py").read_text("utf-8"), "utf-8")
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    assert spec is not None and spec.loader is not None
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    model: nn.Module = mine.TCN(20, 3, 2)
    assert model(torch.zeros(4, 20, 3)).shape == (4, 2) and type(model).__module__ == "mine"
