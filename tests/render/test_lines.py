"""An edit as lines to write: every kind says what it is for, in the program's own names, as Python that parses."""

import ast
import re

import pytest
import torch
from torch import nn

from isograd.frameworks.torch.patient import TorchPatient
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


@pytest.mark.parametrize("kind", ["clip_unit", "decay_l1", "decay_decoupled"])
def test_the_lines_of_a_bound_or_a_decay_do_what_the_edit_does(kind):
    def stepped(edit, lines):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
        x = 30.0 * torch.randn(8, 2, 6)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        if lines:
            net(x).square().mean().backward()
            exec(lines_of(edit, NAMES), {"net": net, "opt": opt, "torch": torch})
            opt.step()
            return list(net.parameters())
        patient = TorchPatient.copy_of(net, (x, x), lambda outputs, targets: outputs.square().mean(), opt)
        return list(patient.apply(edit).trained([(x, x)], 1).models[0].parameters())

    edit = Edit(kind, 0.2)
    pairs = list(zip(stepped(edit, True), stepped(edit, False), strict=True))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)
    plain = stepped(Edit("shuffle", "off"), False)
    assert any(not torch.allclose(one, other, atol=1e-4) for one, other in zip(plain, (a for a, _ in pairs), strict=True))


def test_of_a_program_whose_text_is_not_seen_no_optimizer_is_named():
    for kind in ("learning_rate", "momentum", "beta1", "weight_decay", "parameters"):
        told = lines_of(Edit(kind, 0.5), names_in({}))
        assert "YourOptimizer(" in told and "SGD" not in told
