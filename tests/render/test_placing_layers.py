"""Lines and layers that are put into a network: weights drawn where it is made, normalisation behind its hidden layers."""

import pytest

from isograd.records.edit import Edit
from isograd.render.placing import placed

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
