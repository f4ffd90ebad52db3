"""An edit in a person's own source: placed where exactly one place can be meant, and every other byte as it was."""

import pytest

from isograd.frameworks.torch.edits import USUAL
from isograd.records.edit import EDITS, Edit
from isograd.render.placing import arguments, change_of, placed

SCRIPT = '''\
"""My first network."""
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader

LR = 10.0
EPOCHS = 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 16)   # hidden
        self.b = nn.Linear(16, 3)
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        h = self.drop(torch.sigmoid(self.a(x)))
        return F.softmax(self.b(h), dim=1)


def main(data):
    loader = DataLoader(data, batch_size=1)
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.01)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        for x, y in loader:
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
        schedule.step()
        print(epoch, loss.item())
'''


def changed_lines(before, after):
    old, new = before.splitlines(), after.splitlines()
    return [line.strip() for line in new if line not in old], [line.strip() for line in old if line not in new]


@pytest.mark.parametrize(
    ("edit", "new", "old"),
    [
        (Edit("learning_rate", 0.01, before=10.0), ["LR = 0.01"], ["LR = 10.0"]),
        (
            Edit("momentum", 0.5, before=0.9),
            ["optimizer = optim.SGD(net.parameters(), lr=LR, momentum=0.5)"],
            ["optimizer = optim.SGD(net.parameters(), lr=LR, momentum=0.9)"],
        ),
        (
            Edit("weight_decay", 0.001, before=0.0),
            ["optimizer = optim.SGD(net.parameters(), lr=LR, momentum=0.9, weight_decay=0.001)"],
            ["optimizer = optim.SGD(net.parameters(), lr=LR, momentum=0.9)"],
        ),
        (
            Edit("optimizer", "adam", before="sgd"),
            ["optimizer = optim.Adam(net.parameters(), lr=1e-3)"],
            ["optimizer = optim.SGD(net.parameters(), lr=LR, momentum=0.9)"],
        ),
        (Edit("clear_gradients"), ["optimizer.zero_grad()"], []),
        (Edit("clip_norm", 1.0), ["torch.nn.utils.clip_grad_norm_(net.parameters(), 1)"], []),
        (Edit("constant_rate", before=0.01), [], ["schedule.step()"]),
        (Edit("dropout", 0.1, before=0.9), ["self.drop = nn.Dropout(0.1)"], ["self.drop = nn.Dropout(0.9)"]),
        (
            Edit("batch_size", 32.0, before=1.0),
            ["loader = DataLoader(data, batch_size=32)"],
            ["loader = DataLoader(data, batch_size=1)"],
        ),
        (
            Edit("shuffle"),
            ["loader = DataLoader(data, batch_size=1, shuffle=True)"],
            ["loader = DataLoader(data, batch_size=1)"],
        ),
        (
            Edit("activation", "relu", before="sigmoid"),
            ["h = self.drop(torch.relu(self.a(x)))"],
            ["h = self.drop(torch.sigmoid(self.a(x)))"],
        ),
        (Edit("last", before="softmax"), ["return self.b(h)"], ["return F.softmax(self.b(h), dim=1)"]),
    ],
)
def test_an_edit_changes_its_own_lines_and_no_other(edit, new, old):
    after = placed(SCRIPT, edit)
    assert changed_lines(SCRIPT, after) == (new, old)


def test_cleared_gradients_stand_right_before_the_backward_pass():
    assert "            optimizer.zero_grad()\n            loss.backward()\n" in placed(SCRIPT, Edit("clear_gradients"))


def test_clipping_stands_right_before_the_step():
    after = placed(SCRIPT, Edit("clip_norm", 1.0))
    assert "            torch.nn.utils.clip_grad_norm_(net.parameters(), 1)\n            optimizer.step()\n" in after


def test_the_present_value_must_be_the_one_that_was_tried():
    assert placed(SCRIPT, Edit("learning_rate", 0.01, before=3.0)) is None
    assert placed(SCRIPT, Edit("dropout", 0.1, before=0.5)) is None
    assert placed(SCRIPT, Edit("batch_size", 32.0, before=16.0)) is None


def test_a_number_that_is_used_for_more_than_the_optimizer_stays_and_the_call_says_its_own():
    source = SCRIPT.replace("print(epoch", "print(LR, epoch")
    assert changed_lines(source, placed(source, Edit("learning_rate", 0.01, before=10.0)))[0] == [
        "optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)"
    ]


@pytest.mark.parametrize(
    "source",
    [
        SCRIPT.replace("LR = 10.0", "import sys\nLR = float(sys.argv[1])"),
        SCRIPT.replace("LR = 10.0", "LR = 10.0\nif LR > 1: LR = 10.0"),
        SCRIPT.replace("def main(data):", "def main(data, LR=10.0):"),
        SCRIPT.replace("lr=LR", "lr=args.lr"),
        SCRIPT.replace("lr=LR, momentum=0.9", "**settings"),
        SCRIPT.replace("net.parameters(), lr=LR", '[{"params": net.a.parameters(), "lr": 1.0}], lr=LR'),
        SCRIPT.replace("StepLR(optimizer, 1, gamma=0.01)", "OneCycleLR(optimizer, max_lr=1.0, total_steps=9)"),
        SCRIPT + "    other = optim.SGD(net.b.parameters(), lr=10.0)\n",
        SCRIPT.replace("optim.SGD(", "getattr(optim, 'SGD')("),
        SCRIPT.replace("from torch import nn, optim", "from torch import *"),
        SCRIPT.replace("def main", "class optim:\n    SGD = dict\ndef main"),
        "def broken(:",
        "",
    ],
    ids=["computed", "bound twice", "a parameter", "an option", "unpacked", "groups", "one cycle", "two optimizers", "getattr",
         "star", "hidden", "broken", "empty"],
)  # fmt: skip
def test_a_learning_rate_whose_place_is_not_certain_is_not_placed(source):
    assert placed(source, Edit("learning_rate", 0.01, before=10.0)) is None


def test_of_two_optimizers_a_line_says_which_is_meant():
    source = SCRIPT.replace("    for epoch", "    other = optim.SGD(net.b.parameters(), lr=10.0)\n    for epoch")
    line = source[: source.index("other")].count("\n") + 1
    after = placed(source, Edit("learning_rate", 0.01, before=10.0), (line, line))
    assert changed_lines(source, after)[0] == ["other = optim.SGD(net.b.parameters(), lr=0.01)"]


def test_the_rate_of_a_new_optimizer_is_the_one_it_has_just_been_given():
    edits = [Edit("optimizer", "adam", before="sgd"), Edit("learning_rate", 0.003, before=100.0)]
    found = change_of({"a.py": SCRIPT}, edits)
    assert "optimizer = optim.Adam(net.parameters(), lr=0.003)" in found.texts["a.py"] and found.left == ()


@pytest.mark.parametrize("name", sorted(USUAL))
def test_the_usual_constants_are_those_that_were_tried(name):
    from torch import nn
    from torch.optim import SGD

    kind, _ = arguments.USUAL[name]
    made = USUAL[name]([nn.Parameter(nn.Linear(1, 1).weight)])
    assert type(made).__name__ == kind
    for key, value in arguments.usual_of(name).items():
        if key in ("learning_rate", "momentum", "eps", "weight_decay"):
            assert made.defaults["lr" if key == "learning_rate" else key] == value
    assert not isinstance(made, SGD) or made.defaults["nesterov"] == (name == "nesterov")


def test_gradients_cleared_too_early_are_cleared_before_the_backward_pass():
    source = SCRIPT.replace("            optimizer.step()", "            optimizer.zero_grad()\n            optimizer.step()")
    after = placed(source, Edit("clear_gradients"))
    assert "            optimizer.zero_grad()\n            loss.backward()\n            optimizer.step()\n" in after


@pytest.mark.parametrize(
    "source",
    [
        SCRIPT.replace("            optimizer.step()", "            scaler.step(optimizer)"),
        SCRIPT.replace("loss.backward()", "loss.backward(); n += 1"),
        SCRIPT.replace("            optimizer.step()", "            optimizer.step()\n            optimizer.step()"),
        SCRIPT.replace("            loss.backward()", "            loss.backward()\n            other.backward()"),
        SCRIPT.replace("            optimizer.step()", "            if epoch: optimizer.step()"),
    ],
    ids=["scaler", "two on a line", "two steps", "two losses", "sometimes"],
)
def test_a_loop_of_an_odd_form_is_left_alone(source):
    assert placed(source, Edit("clear_gradients")) is None


def test_a_bound_that_chokes_is_taken_away_or_widened():
    source = SCRIPT.replace(
        "            optimizer.step()",
        "            nn.utils.clip_grad_norm_(net.parameters(), 1e-6)\n            optimizer.step()",
    )
    assert placed(source, Edit("clip_norm", None, before=1e-6)) == SCRIPT
    assert "clip_grad_norm_(net.parameters(), 1)" in placed(source, Edit("clip_norm", 1.0, before=1e-6))
    assert placed(source, Edit("clip_norm", None, before=0.1)) is None


def test_a_clip_of_another_form_is_left_alone():
    clipped = placed(SCRIPT, Edit("clip_value", 0.5))
    assert "            torch.nn.utils.clip_grad_value_(net.parameters(), 0.5)\n            optimizer.step()\n" in clipped
    assert placed(clipped, Edit("clip_norm", 1.0)) is None
    assert placed(clipped, Edit("clip_value", None, before=0.5)) == SCRIPT


def test_a_model_left_in_evaluation_mode_trains_again_in_its_loop():
    source = SCRIPT.replace("        print(epoch", "        net.eval()\n        print(epoch")
    assert "        for x, y in loader:\n            net.train()\n" in placed(source, Edit("train_mode"))
    assert placed(SCRIPT, Edit("train_mode")) is None


def test_what_was_there_must_be_known():
    assert placed(SCRIPT, Edit("learning_rate", 0.01)) is None
    assert placed(SCRIPT, Edit("optimizer", "adam", before="adaptive")) is None


def test_an_optimizer_that_is_given_a_saved_state_has_its_constants_from_there():
    edits = Edit("learning_rate", 0.01, before=10.0), Edit("optimizer", "adam", before="sgd")
    source = SCRIPT.replace("    schedule = ", "    optimizer.load_state_dict(torch.load('last.pt'))\n    schedule = ")
    assert all(placed(SCRIPT, edit) is not None for edit in edits)
    assert all(placed(source, edit) is None for edit in edits)


def test_gradients_that_are_cleared_in_time_are_left_alone():
    source = SCRIPT.replace("            loss = crit", "            optimizer.zero_grad()\n            loss = crit")
    assert placed(source, Edit("clear_gradients")) is None


def test_lines_that_end_as_on_windows_and_letters_of_all_kinds_stay():
    source = SCRIPT.replace("# hidden", "# verborgen 🙂 é").replace("\n", "\r\n")
    after = placed(source, Edit("clear_gradients"))
    assert after.replace("            optimizer.zero_grad()\r\n", "", 1) == source


def test_what_may_belong_in_two_files_belongs_in_none():
    edit = Edit("learning_rate", 0.01, before=10.0)
    both = change_of({"a.py": SCRIPT, "b.py": SCRIPT}, [edit])
    assert (both.placed, both.left) == ((), (edit,))
    one = change_of({"a.py": SCRIPT, "b.py": "x = 1\n"}, [edit, Edit("clear_gradients"), Edit("residual")])
    assert one.placed == (edit, Edit("clear_gradients")) and one.left == (Edit("residual"),)
    assert one.texts["b.py"] == "x = 1\n"
    assert changed_lines(SCRIPT, one.texts["a.py"])[0] == ["LR = 0.01", "optimizer.zero_grad()"]


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("source", [SCRIPT, "", "x = (", "import torch\n" * 3, "\ufeffimport torch\n"])
def test_no_edit_ever_raises_and_all_that_is_left_of_the_text_stays(kind, source):
    for value in (None, 0.5, "relu"):
        after = placed(source, Edit(kind, value))
        assert after is None or len(set(source.splitlines()) - set(after.splitlines())) <= 3
