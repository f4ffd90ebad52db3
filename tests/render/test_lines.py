"""An edit as lines to write: every kind says what it is for, in the program's own names, as Python that parses."""

import ast
import re

import pytest

from isograd.records.edit import EDITS, VALUES, Edit
from isograd.render.diff import unified
from isograd.render.placing.lines import lines_of, names_in

NAMES = {"model": "net", "optimizer": "opt", "loader": "batches", "kind": "optim.SGD"}
EVERY = [Edit(kind, value) for kind in EDITS for value in (VALUES.get(kind) or (None, 2.0, "off"))]


@pytest.mark.parametrize("edit", EVERY, ids=lambda edit: f"{edit.kind}-{edit.value}")
def test_every_edit_has_lines_that_python_can_read(edit):
    text = lines_of(edit, NAMES)
    assert text.splitlines()[0] == f"# {edit.text}"
    assert "{" not in text and not re.search(r"\bmodel\.", text)
    body = text + ("\n    pass" if text.rstrip().split("  #")[0].endswith(":") else "")
    ast.parse(body)


def test_a_place_is_said():
    assert lines_of(Edit("initialisation", "he", where="body.3")).splitlines()[0].endswith(", at body.3")


def test_the_programs_own_names_are_found_where_there_is_one_optimizer():
    source = "from torch import optim\nme = optim.Adam(self.net.parameters())\n"
    assert names_in({"a.py": source}) == {"model": "self.net", "optimizer": "me", "loader": "loader", "kind": "optim.Adam"}
    assert names_in({"a.py": source * 2})["model"] == "model"


def test_a_diff_is_one_that_patch_takes():
    text = unified({"a.py": "x = 1\fy\r\nz", "b.py": "same\n"}, {"a.py": "x = 1\fy\r\nw", "b.py": "same\n"})
    end = "\\ No newline at end of file\n"
    assert text == f"--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n x = 1\fy\r\n-z\n{end}+w\n{end}"
