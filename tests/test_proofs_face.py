"""A proof as a person holds it: what it prints, the change as a diff of the person's source, and what it does to a model."""

import functools
import importlib.util
import json
import warnings

import pytest
import torch
from torch import nn

from isograd.errors import RequestError
from isograd.proofs import Proof, sources_of
from isograd.records import codec
from isograd.records import proof as records
from isograd.records.cause import Cause, Explanation
from isograd.records.edit import Edit
from isograd.records.skill import Skill

PROGRAM = """\
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))

def make_optimizer(parameters):
    return torch.optim.SGD(parameters, lr=30.0)
"""
RATE = Edit("learning_rate", 0.5, before=30.0)


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PROGRAM)
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def proven(*edits, verdict="proven", sources=None, cause=None):
    return Proof(records.Proof(verdict, edits, "repair", False, cause=cause), sources)


def test_the_diff_is_of_the_file_that_the_factories_stand_in(program):
    sources = sources_of(program.build, functools.partial(program.make_optimizer), nn.MSELoss(), len, None, nn.Linear(1, 1))
    assert sources == {"mine.py": PROGRAM}
    diff = proven(RATE, Edit("residual"), sources=sources).diff
    assert "-    return torch.optim.SGD(parameters, lr=30.0)\n+    return torch.optim.SGD(parameters, lr=0.5)\n" in diff
    assert "# add its input to the output of every layer that keeps the shape" in diff


def test_a_line_that_the_search_saw_tells_two_optimizers_apart():
    source = "import torch\na = torch.optim.SGD(x, lr=30.0)\nb = torch.optim.SGD(y, lr=30.0)\n"
    cause = Cause(RATE, "sure", 0.8, 0.9, "The learning rate of 30 is too high.", "optimizer", "mine.py:3")
    found = Explanation("cause", Skill(0.0, 9), 80, 100, 200, (cause,))
    assert "-b = " in proven(RATE, sources={"mine.py": source}, cause=found).diff
    assert proven(RATE, sources={"mine.py": source}).diff.startswith("# set the learning rate")


def test_a_factory_brings_the_files_of_what_it_names(program):
    assert list(sources_of(functools.wraps(program.build)(lambda: None))) == ["mine.py"]
    helper = program.build

    def build():
        return helper()

    assert "mine.py" in sources_of(build)


def test_a_network_of_layers_of_the_persons_own_brings_their_files(tmp_path):
    (tmp_path / "layers.py").write_text("from torch import nn\nclass Mine(nn.Linear):\n    pass\n")
    spec = importlib.util.spec_from_file_location("layers_of_mine", tmp_path / "layers.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["layers_of_mine"] = module
    spec.loader.exec_module(module)
    assert [name.rpartition("/")[2] for name in sources_of(nn.Sequential(module.Mine(1, 1)))] == ["layers.py"]
    del sys.modules["layers_of_mine"]


def test_a_proven_change_of_the_model_is_applied_to_a_copy(program):
    model = program.build()
    changed = proven(Edit("activation", "relu", before="sigmoid")).apply(model)
    assert isinstance(changed[1], nn.ReLU) and isinstance(model[1], nn.Sigmoid)
    assert torch.equal(changed[0].weight, model[0].weight)


def test_what_is_not_in_a_model_is_told_and_leaves_it_as_it_is(program):
    model = program.build()
    with pytest.warns(UserWarning, match=r"set the learning rate of every parameter group to 0.5 \(optimizer\)"):
        assert proven(RATE).apply(model) is model


def test_an_activation_that_is_called_as_a_function_is_told_and_not_hidden_in_hooks():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.b(torch.sigmoid(self.a(x)))

    model = Net()
    with pytest.warns(UserWarning, match="use the activation relu"):
        assert proven(Edit("activation", "relu", before="sigmoid")).apply(model) is model


def test_a_softmax_at_the_end_of_a_chain_is_left_out():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 3), nn.Softmax(dim=1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changed = proven(Edit("last", before="softmax")).apply(model)
    assert isinstance(changed[2][1], nn.Identity) and isinstance(model[2][1], nn.Softmax)


def test_what_is_not_proven_is_not_applied(program):
    with pytest.raises(RequestError, match="the change is harmful"):
        proven(RATE, verdict="harmful").apply(program.build())
    model = program.build()
    assert Proof(records.Proof("not proven", (), "nothing", True)).apply(model) is model


def test_it_can_be_kept_as_json_and_shown_as_a_page(program):
    proof = proven(RATE)
    assert json.loads(proof.to_json())["format"] == "isograd.Proof"
    assert codec.loads(records.Proof, proof.to_json()) == proof.record
    assert "<h1>Proven: learning rate 30 → 0.5 repairs this training.</h1>" in proof.to_html()
    assert str(proof).startswith("Proven: learning rate 30 → 0.5 repairs this training.")
    assert repr(proof) == "<isograd proof: proven>"
