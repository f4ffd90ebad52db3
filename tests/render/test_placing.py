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


def test_a_default_that_is_left_out_is_written_down_where_it_was_the_value_tried():
    source = "from torch.optim import Adam\nopt = Adam(model.parameters())\n"
    assert "Adam(model.parameters(), lr=0.01)" in placed(source, Edit("learning_rate", 0.01, before=1e-3))
    assert placed(source, Edit("learning_rate", 0.01, before=0.1)) is None
    assert "betas=(0.9, 0.99)" in placed(source, Edit("beta2", 0.99, before=0.999))
    assert "Adam(model.parameters(), betas=(0.5, 0.9))" in placed(
        source.replace("()", "(), betas=(0.9, 0.9)", 1), Edit("beta1", 0.5, before=0.9)
    )


def test_arguments_on_lines_of_their_own_get_one_more_such_line():
    source = "import torch\nopt = torch.optim.AdamW(\n    model.parameters(),\n    lr=1e-3,  # usual\n)\n"
    after = placed(source, Edit("eps", 1e-6, before=1e-8))
    assert after == source.replace("1e-3,  # usual", "1e-3,\n    eps=1e-6,  # usual")


def test_another_optimizer_takes_its_import_with_it_or_is_not_placed():
    source = "from torch.optim import SGD\nopt = SGD(model.parameters(), lr=0.1, momentum=0.9)\n"
    assert placed(source, Edit("optimizer", "adam", before="sgd")) == (
        "from torch.optim import Adam\nopt = Adam(model.parameters(), lr=1e-3)\n"
    )
    assert placed(source + "print(isinstance(opt, SGD))\n", Edit("optimizer", "adam", before="sgd")) is None


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


def test_a_loop_in_a_function_of_its_own_is_clipped_through_its_optimizer():
    source = (
        "import torch\n\ndef fit(model, opt, data):\n    for x, y in data:\n        opt.zero_grad()\n"
        "        model(x).sum().backward()\n        opt.step()\n"
    )
    every = 'torch.nn.utils.clip_grad_norm_([p for group in opt.param_groups for p in group["params"]], 0.5)'
    assert placed(source, Edit("clip_norm", 0.5)) == source.replace(
        "        opt.step()", f"        {every}\n        opt.step()"
    )


def test_a_bound_that_chokes_is_taken_away_or_widened():
    source = SCRIPT.replace(
        "            optimizer.step()",
        "            nn.utils.clip_grad_norm_(net.parameters(), 1e-6)\n            optimizer.step()",
    )
    assert placed(source, Edit("clip_norm", None, before=1e-6)) == SCRIPT
    assert "clip_grad_norm_(net.parameters(), 1)" in placed(source, Edit("clip_norm", 1.0, before=1e-6))
    assert placed(source, Edit("clip_norm", None, before=0.1)) is None


def test_a_model_left_in_evaluation_mode_trains_again_in_its_loop():
    source = SCRIPT.replace("        print(epoch", "        net.eval()\n        print(epoch")
    assert "        for x, y in loader:\n            net.train()\n" in placed(source, Edit("train_mode"))
    assert placed(SCRIPT, Edit("train_mode")) is None


def test_a_softmax_goes_from_the_end_of_a_sequential():
    source = (
        "from torch import nn\nnet = nn.Sequential(\n    nn.Linear(4, 8),  # wide\n    nn.ReLU(),\n"
        "    nn.Linear(8, 3),\n    nn.Softmax(dim=1),\n)\n"
    )
    assert placed(source, Edit("last", before="softmax")) == source.replace("\n    nn.Softmax(dim=1),", ",").replace(",,", ",")
    one = "from torch import nn\nnet = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))\n"
    assert placed(one, Edit("last", before="softmax")) == "from torch import nn\nnet = nn.Sequential(nn.Linear(4, 3))\n"


def test_a_softmax_of_the_models_own_goes_from_what_is_returned():
    source = (
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        self.out = nn.Softmax(dim=1)\n"
        "    def forward(self, x):\n        return self.out(self.fc(x))\n"
    )
    assert "return self.fc(x)\n" in placed(source, Edit("last", before="softmax"))
    method = source.replace("self.out(self.fc(x))", "self.fc(x).softmax(-1)")
    assert "return self.fc(x)\n" in placed(method, Edit("last", before="softmax"))


def test_an_activation_is_exchanged_everywhere_or_nowhere():
    source = (
        "from torch import nn\n"
        "net = nn.Sequential(nn.Linear(4, 8), nn.Softplus(beta=3), nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 1))\n"
    )
    assert placed(source, Edit("activation", "relu", before="softplus")) == (
        "from torch import nn\nnet = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))\n"
    )
    with_output = source.replace("nn.Linear(8, 1))", "nn.Linear(8, 1), nn.Softplus())")
    assert placed(with_output, Edit("activation", "relu", before="softplus")) is None


def test_a_loss_of_log_probabilities_becomes_one_of_scores_and_its_softmax_goes():
    source = (
        "import torch.nn.functional as F\ndef forward(x):\n    return F.log_softmax(w @ x, dim=1)\n"
        "loss = F.nll_loss(forward(x), y)\n"
    )
    assert placed(source, Edit("loss", before="nll_loss")) == (
        "import torch.nn.functional as F\ndef forward(x):\n    return w @ x\nloss = F.cross_entropy(forward(x), y)\n"
    )
    assert placed("import torch.nn as nn\nloss = nn.MSELoss()\n", Edit("loss", before="mse_loss")) is None


def test_the_one_rule_of_initialisation_is_exchanged():
    source = (
        "from torch import nn\nfor m in net.modules():\n    nn.init.normal_(m.weight, std=5.0)\n    nn.init.zeros_(m.bias)\n"
    )
    after = placed(source, Edit("initialisation", "he", before=40.0))
    assert after == source.replace("normal_(m.weight, std=5.0)", 'kaiming_normal_(m.weight, nonlinearity="relu")')


def test_a_rule_for_some_weights_alone_is_not_the_rule_of_all():
    source = "from torch import nn\nfor table in (users, items):\n    nn.init.normal_(table.weight, std=0.1)\n"
    assert placed(source, Edit("initialisation", "he")) is None


def test_what_may_be_a_part_of_the_model_is_not_its_end():
    trunk = (
        "from torch import nn\ntrunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU())\nnet = nn.Sequential(trunk, nn.Linear(8, 2))\n"
    )
    assert placed(trunk, Edit("last", before="relu")) is None
    block = (
        "import torch.nn.functional as F\nclass Block:\n    def forward(self, x):\n        return F.relu(self.a(x))\n"
        "class Net:\n    def __init__(self):\n        self.block = Block()\n"
    )
    assert placed(block, Edit("last", before="relu")) is None
    assert placed(block.replace("Block()", "3"), Edit("last", before="relu")) is not None


def test_an_activation_of_two_models_is_not_exchanged_in_both():
    source = "from torch import nn\none = nn.Sequential(nn.Tanh(), nn.Linear(1, 1))\ntwo = nn.Sequential(nn.Tanh())\n"
    assert placed(source, Edit("activation", "relu", before="tanh")) is None


@pytest.mark.parametrize(
    "use",
    ["return torch.sigmoid(self.b(x)).squeeze(1)", "return torch.cat([torch.sigmoid(x), x])", "return torch.sigmoid(x) * 2"],
)
def test_an_activation_that_may_be_the_output_stays(use):
    source = f"import torch\nclass Net:\n    def forward(self, x):\n        x = self.a(x)\n        {use}\n"
    assert placed(source, Edit("activation", "relu", before="sigmoid")) is None
    inner = source.replace(use, "return self.b(torch.sigmoid(x)).squeeze(1)")
    assert "self.b(torch.relu(x))" in placed(inner, Edit("activation", "relu", before="sigmoid"))
    assert placed(inner.replace("forward", "criterion"), Edit("activation", "relu", before="sigmoid")) is None


def test_of_two_models_the_one_that_is_meant_changes():
    one = "class {}:\n    def forward(self, x):\n        return self.b(F.tanh(self.a(x)))\n"
    source = "import torch.nn.functional as F\n" + one.format("A") + one.format("B")
    after = placed(source, Edit("activation", "relu", before="tanh"), (5, 7))
    assert after == "import torch.nn.functional as F\n" + one.format("A") + one.format("B").replace("tanh", "relu")


def test_a_line_number_counts_only_until_a_line_was_put_in():
    source = SCRIPT.replace("    for epoch", "    other = optim.SGD(net.b.parameters(), lr=10.0)\n    for epoch")
    line = source[: source.index("other")].count("\n") + 1
    rate, clear = Edit("learning_rate", 0.01, before=10.0), Edit("clip_norm", 1.0)
    hint = {rate: ("a.py", (line, line))}
    assert change_of({"a.py": source}, [rate, clear], hint).placed[:1] == (rate,)
    moved = change_of({"a.py": source}, [Edit("clear_gradients"), rate], hint)
    assert rate in moved.left or (
        rate in moved.placed and "other = optim.SGD(net.b.parameters(), lr=0.01)" in moved.texts["a.py"]
    )


def test_several_optimizers_from_one_line_are_several():
    source = "import torch\na, b = (torch.optim.SGD(m.parameters(), lr=1.0) for m in nets)\n"
    assert placed(source, Edit("learning_rate", 0.1, before=1.0)) is None


def test_what_was_there_must_be_known():
    assert placed(SCRIPT, Edit("learning_rate", 0.01)) is None
    assert placed(SCRIPT, Edit("optimizer", "adam", before="adaptive")) is None


def test_gradients_that_are_cleared_in_time_are_left_alone():
    source = SCRIPT.replace("            loss = crit", "            optimizer.zero_grad()\n            loss = crit")
    assert placed(source, Edit("clear_gradients")) is None


def test_frozen_parameters_learn_again_and_a_cut_graph_is_whole_again():
    source = "for p in net.parameters():\n    p.requires_grad = False\n"
    assert placed(source, Edit("unfreeze")) == source.replace("False", "True")
    cut = "class Net:\n    def forward(self, x):\n        return self.b(self.a(x).detach())\n"
    assert placed(cut, Edit("keep_graph")) == cut.replace(".detach()", "")


def test_an_optimizer_of_one_part_gets_the_whole_model():
    source = "import torch\nopt = torch.optim.SGD(net.head.parameters(), lr=0.1)\n"
    assert placed(source, Edit("parameters")) == source.replace("net.head", "net")
    assert placed(source.replace("net.head", "net"), Edit("parameters")) is None


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
