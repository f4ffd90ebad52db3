"""Lines and layers that are put into a network: weights drawn where it is made, normalisation behind its hidden layers."""

import pytest
import torch
from torch import nn

from isograd.frameworks.torch.cells import set_forget_bias
from isograd.records.edit import Edit
from isograd.render.placing import change_of, placed
from isograd.render.placing.lines import lines_of

HE, NORM, BATCH = Edit("initialisation", "he"), Edit("normalisation", "layer"), Edit("normalisation", "batch")
NET = (
    "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, width=64):\n        super().__init__()\n"
    "        layers = [nn.Linear(8, width), nn.Tanh()]\n        for _ in range(3):\n"
    "            layers += [nn.Linear(width, width), nn.Tanh()]\n        layers += [nn.Linear(width, 3)]\n"
    "        self.layers = nn.Sequential(*layers)\n\n    def forward(self, x):\n        return self.layers(x)\n"
)


def test_weights_that_nobody_draws_are_drawn_at_the_end_of_the_network_and_the_program_runs():
    after = placed(NET, HE)
    lines = (
        "        for m in self.modules():\n            if isinstance(m, nn.Linear):\n"
        '                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")\n                nn.init.zeros_(m.bias)\n'
    )
    assert after == NET.replace("(*layers)\n", f"(*layers)\n{lines}")
    made: dict = {}
    exec(after, made)
    net = made["Net"]()
    assert all(not bool(layer.bias.any()) for layer in net.layers if hasattr(layer, "bias"))
    assert 0.8 < float(net.layers[2].weight.detach().std() / (2 / 64) ** 0.5) < 1.2


def test_a_body_that_ends_in_a_block_or_without_a_newline_is_ended_all_the_same():
    block = (
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Linear(2, 2)\n"
    )
    looped = block + "        for name in ('b', 'c'):\n            self.add_module(name, nn.Linear(2, 2))"
    after = placed(looped, HE)
    assert after is not None and after.startswith(looped + "\n        for m in self.modules():\n")
    exec(after, {})
    windows = placed(NET.replace("\n", "\r\n"), HE)
    assert windows is not None and windows.count("\n") == windows.count("\r\n")


def test_a_network_in_one_line_is_drawn_in_the_lines_behind_it():
    source = "import torch\nnet = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU())  # small\n"
    after = placed(source, Edit("initialisation", "orthogonal"))
    assert after == source.replace(
        "# small\n",
        "# small\nfor m in net.modules():\n    if isinstance(m, torch.nn.Linear):\n"
        "        torch.nn.init.orthogonal_(m.weight)\n"
        "        if m.bias is not None:\n            torch.nn.init.zeros_(m.bias)\n",
    )


@pytest.mark.parametrize(
    "more",
    [
        "net.layers[0].weight.fill_(0.0)\n",
        "for p in net.parameters():\n    p.mul_(5.0)\n",
        "net.apply(draw)\n",
        "net.load_state_dict(kept)\n",
        "nn.init.zeros_(net.layers[0].bias)\n",
        "class Other(nn.Module):\n    pass\n",
        "table = nn.Embedding(5, 2)\n",
        "head = nn.Linear(3, 3)\n",
    ],
)
def test_where_something_else_may_set_weights_or_be_the_network_nothing_is_put_in(more):
    assert placed(NET + more, HE) is None
    assert placed(NET, Edit("initialisation", "he", where="layers.0")) is None


def test_hidden_layers_are_normalised_between_weights_and_activation_and_the_last_is_not():
    assert placed(NET, NORM) == NET.replace("width), nn.Tanh()", "width), nn.LayerNorm(width), nn.Tanh()")
    pictures = (
        "from torch import nn\nnet = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, out_channels=4, kernel_size=3), "
        "nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))\n"
    )
    assert placed(pictures, BATCH) == pictures.replace("8, 3), ", "8, 3), nn.BatchNorm2d(8), ").replace(
        "kernel_size=3), ", "kernel_size=3), nn.BatchNorm2d(4), "
    )
    assert placed(pictures, NORM) is None, "torch has no layer norm of channels alone"
    assert placed(NET, BATCH) is None, "rows of what shape is not known"


def test_what_the_forward_pass_calls_by_itself_has_no_list_to_put_a_normalisation_into():
    assert placed(NET.replace(", nn.Tanh()", ""), NORM) is None
    assert placed(NET.replace("nn.Linear(width, 3)", "nn.Linear(width, 3), nn.Tanh()"), NORM) is None
    assert placed(NET.replace("nn.Tanh()", "nn.Dropout(0.1)"), NORM) is None
    assert placed("from torch import nn\nnet = nn.Linear(4, 2)\n", NORM) is None


WINDOWS = (
    "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.a = nn.Conv1d(3, 16, 5)\n        self.b = nn.Conv1d(16, out_channels=32, kernel_size=5)\n"
    "        self.head = nn.Linear(32, 4)\n\n    def forward(self, x):\n        x = torch.sigmoid(self.a(x))\n"
    "        x = torch.relu(self.b(x))\n        return self.head(x.mean(-1))\n"
)


def test_layers_that_the_forward_pass_calls_inside_of_activations_are_normalised_where_they_are_made():
    after = placed(WINDOWS, BATCH)
    assert after == WINDOWS.replace("nn.Conv1d(3, 16, 5)", "nn.Sequential(nn.Conv1d(3, 16, 5), nn.BatchNorm1d(16))").replace(
        "nn.Conv1d(16, out_channels=32, kernel_size=5)",
        "nn.Sequential(nn.Conv1d(16, out_channels=32, kernel_size=5), nn.BatchNorm1d(32))",
    )
    made: dict = {}
    exec(after, made)
    assert made["Net"]()(torch.zeros(2, 3, 20)).shape == (2, 4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.relu(self.b(x))", "self.b(x)"),
        ("torch.relu(self.b(x))", "torch.relu(self.b(x) + 1)"),
        ("torch.relu(self.b(x))", "torch.relu(self.b(self.a(x)))"),
        ("self.head(x.mean(-1))", "torch.relu(self.head(x.mean(-1)))"),
        ("        self.head = nn.Linear(32, 4)\n", "        self.head = nn.Linear(32, 4)\n        self.c = nn.Linear(2, 2)\n"),
        ("return self.head", "if x.any():\n            x = -x\n        return self.head"),
    ],
)
def test_where_the_way_through_the_layers_is_not_plain_no_normalisation_is_put_in(old, new):
    assert WINDOWS.replace(old, new) != WINDOWS and placed(WINDOWS.replace(old, new), BATCH) is None


BENT = Edit("nonlinearity", "relu")
PLAIN = (
    "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, width):\n"
    "        super().__init__()\n"
    "        self.a = nn.Linear(8, width)\n        self.b = nn.Linear(width, width)\n        self.drop = nn.Dropout(0.1)\n"
    "        self.c = nn.Linear(width, 3)\n\n    def forward(self, x):\n        x = self.a(x.flatten(1))\n"
    "        return self.c(self.drop(self.b(x)))\n"
)


def test_activations_come_between_the_layers_of_a_list_behind_what_normalises_them():
    layers = "nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8),  # two\n nn.Linear(8, 2)"
    source = f"from torch import nn\nnet = nn.Sequential({layers})\n"
    after = placed(source, Edit("nonlinearity", "gelu"))
    assert after == source.replace("BatchNorm1d(8),", "BatchNorm1d(8), nn.GELU(),").replace("(8, 8),", "(8, 8), nn.GELU(),")
    exec(after, {})


def test_activations_come_around_the_calls_of_all_layers_but_the_last():
    after = placed(PLAIN, BENT)
    assert after is not None
    assert "x = nn.functional.relu(self.a(x.flatten(1)))" in after
    assert "return self.c(self.drop(nn.functional.relu(self.b(x))))" in after
    assert after.count("relu") == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = self.a(x.flatten(1))", "x = torch.tanh(self.a(x))"),
        ("x = self.a(x.flatten(1))", "x = self.a(x).sigmoid()"),
        ("x = self.a(x.flatten(1))", "x = self.b(self.a(x))"),
        ("return self.c(self.drop(self.b(x)))", "return self.c(x + self.b(x))"),
        ("        x = self.a(x.flatten(1))\n", "        if len(x) > 2:\n            x = self.a(x)\n"),
        ("nn.Linear(width, width)", "nn.Linear(width, 2 * width)"),
        ("nn.Dropout(0.1)", "nn.BatchNorm1d(8)"),
        ("self.b = nn.Linear(width, width)", "self.b = nn.ModuleList([nn.Linear(width, width)])"),
    ],
    ids=["tanh", "method", "twice", "path", "branch", "narrow", "norm", "list"],
)
def test_where_an_activation_may_be_there_or_not_meant_none_is_placed(old, new):
    assert old in PLAIN
    assert placed(PLAIN.replace(old, new), BENT) is None


def test_a_function_behind_the_last_layer_is_no_activation_between_them():
    source = PLAIN.replace("return self.c(self.drop(self.b(x)))", "return torch.sigmoid(self.c(self.b(x)))")
    assert "torch.sigmoid(self.c(nn.functional.relu(self.b(x))))" in str(placed(source, BENT))


GRU, LSTM, KEEPS = Edit("cell", "gru"), Edit("cell", "lstm"), Edit("forget_bias", 4.0)
READER = (
    "from torch import nn\n\n\nclass Reader(nn.Module):\n    def __init__(self, hidden=8):\n        super().__init__()\n"
    '        self.rnn = nn.RNN(4, hidden, nonlinearity="relu", batch_first=True)  # reads\n'
    "        self.head = nn.Linear(hidden, 3)\n\n    def forward(self, x):\n"
    "        read, _ = self.rnn(x)\n        return self.head(read[:, -1])\n"
)


@pytest.mark.parametrize("edit", [GRU, LSTM])
def test_a_simple_recurrent_layer_becomes_a_gated_one_that_remembers_and_the_program_runs(edit):
    after = change_of({"a.py": READER}, [edit, KEEPS])
    assert after.placed == (edit, KEEPS)
    text, name = after.texts["a.py"], edit.value.upper()
    assert f"        self.rnn = nn.{name}(4, hidden, batch_first=True)  # reads\n        for name, bias in self.rnn." in text
    made: dict = {}
    exec(text, made)
    net = made["Reader"]()
    assert type(net.rnn).__name__ == name and net(torch.zeros(2, 5, 4)).shape == (2, 3)
    both = net.rnn.bias_ih_l0 + net.rnn.bias_hh_l0
    assert torch.equal(both[8:16], torch.full((8,), 4.0)) and float(both[:8].detach().abs().max()) < 1.0


def test_the_written_gates_keep_what_the_trial_kept():
    made: dict = {}
    exec(change_of({"a.py": READER}, [GRU, KEEPS]).texts["a.py"], made)
    torch.manual_seed(0)
    written, trial = made["Reader"]().rnn, nn.GRU(4, 8, batch_first=True)
    set_forget_bias([trial], 4.0, "")
    assert torch.equal(written.bias_ih_l0[8:16], trial.bias_ih_l0[8:16])
    assert torch.equal(written.bias_hh_l0[8:16], trial.bias_hh_l0[8:16])


@pytest.mark.parametrize(
    ("old", "new", "able"),
    [
        ("read, _ = self.rnn(x)", "read, state = self.rnn(x)", (True, True)),
        ("read, _ = self.rnn(x)", "read, state = self.rnn(x)\n        self.last = state", (True, False)),
        ("read, _ = self.rnn(x)", "read, _ = self.rnn(x, x.new_zeros(1, 2, 8))", (True, False)),
        ("read, _ = self.rnn(x)", "read = self.rnn(x)[0]", (True, True)),
        ("read, _ = self.rnn(x)", "read = self.rnn(x)[1]", (True, False)),
        ("        self.head", "        nn.init.eye_(self.rnn.weight_hh_l0)\n        self.head", (False, False)),
        ('hidden, nonlinearity="relu", ', 'hidden, 1, "relu", ', (False, False)),
        ("class Reader", "kind = nn.RNN\n\n\nclass Reader", (False, False)),
        ("nn.RNN(", "RNN(", (False, False)),
    ],
)
def test_a_state_that_may_be_read_goes_into_no_lstm_and_weights_that_are_read_into_neither(old, new, able):
    source = READER.replace(old, new)
    source = source if new != "RNN(" else f"from torch.nn import RNN\n{source}"
    assert source != READER
    assert tuple(placed(source, edit) is not None for edit in (GRU, LSTM)) == able


def test_a_cell_that_is_stepped_by_hand_becomes_one_with_one_state_alone():
    source = READER.replace('nn.RNN(4, hidden, nonlinearity="relu", batch_first=True)', "nn.RNNCell(4, hidden)")
    assert placed(source, GRU) == source.replace("nn.RNNCell", "nn.GRUCell") and placed(source, LSTM) is None


def test_the_weights_of_what_reads_a_sequence_are_drawn_as_in_the_trial_and_the_lines_say_the_same():
    source = READER.replace(', nonlinearity="relu"', "")
    after = placed(source, Edit("initialisation", "orthogonal"))
    assert after is not None and "isinstance(m, (nn.RNN, nn.Linear))" in after
    made: dict = {"torch": torch, "nn": nn}
    exec(after, made)
    net, other = made["Reader"](), nn.ModuleList([nn.RNN(4, 8), nn.Embedding(9, 4), nn.Linear(8, 3)])
    exec(lines_of(Edit("initialisation", "orthogonal"), {"model": "other"}), {"nn": nn, "other": other})
    for recurrent in (net.rnn, other[0]):
        weight = recurrent.weight_hh_l0
        assert torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-5) and not bool(recurrent.bias_hh_l0.any())
    assert not bool(other[2].bias.any()) and torch.allclose(other[1].weight.T @ other[1].weight, torch.eye(4), atol=1e-5)
