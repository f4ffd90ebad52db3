"""Residual paths in a person's source: the patched program computes what the edit does to the running one."""

import pytest
import torch

from isograd.frameworks.torch.remodelling import remodelled
from isograd.records.edit import Edit
from isograd.render.placing import change_of, placed

PATHS, NORM, FIXUP = Edit("residual"), Edit("normalisation", "layer"), Edit("initialisation", "fixup")
NET = (
    '"""A deep network."""\nimport torch\nfrom torch import nn\n\n\n# twenty layers\nclass Net(nn.Module):\n'
    "    def __init__(self, width=8):\n        super().__init__()\n        layers = [nn.Linear(4, width), nn.ReLU()]\n"
    "        for _ in range(3):\n            layers += [nn.Linear(width, width), nn.ReLU()]\n"
    "        layers += [nn.Linear(width, 3)]\n        self.layers = nn.Sequential(*layers)\n\n"
    "    def forward(self, x):\n        return self.layers(x)\n"
)
LINE = (
    "from torch import nn\n\n"
    "net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))  # small\n"
)
PICTURES = (
    "import torch\n\n\ndef build():\n    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), "
    "torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.Flatten())\n"
)


def network(source, name):
    made = {}
    exec(source, made)
    torch.manual_seed(3)
    return made[name]() if callable(made[name]) and not isinstance(made[name], torch.nn.Module) else made[name]


def layers(net):
    return [module for module in net.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]


def changed(source, *edits):
    change = change_of({"net.py": source}, edits)
    assert set(change.placed) == set(edits), change.left
    return change.texts["net.py"]


@pytest.mark.parametrize(
    ("source", "name", "shape", "edits"),
    [
        (NET, "Net", (5, 4), (PATHS,)),
        (LINE, "net", (5, 4), (PATHS,)),
        (PICTURES, "build", (2, 1, 7, 7), (PATHS,)),
        (NET, "Net", (5, 4), (NORM, PATHS)),
        (NET.replace("width=8", "width=4"), "Net", (5, 4), (PATHS,)),
    ],
)
def test_the_patched_source_computes_what_the_edit_does(source, name, shape, edits):
    before, after = network(source, name), network(changed(source, *edits), name)
    with torch.no_grad():
        for one, other in zip(layers(after), layers(before), strict=True):  # a layer norm begins as the edit's, without weights
            one.weight.copy_(other.weight)
            one.bias.copy_(other.bias)
    edited, left = remodelled(before, edits)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert left == () and torch.allclose(edited(x), after(x), atol=1e-6)
    assert not torch.allclose(before(x), after(x), atol=1e-3)


def test_the_class_stands_in_front_of_the_network_and_widths_that_differ_for_certain_stay_alone():
    after = placed(LINE, PATHS)
    assert after is not None and after.endswith(
        "net = nn.Sequential(Residual(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))  # small\n"
    )
    assert after.startswith("from torch import nn\n\nclass Residual(nn.Sequential):\n")
    windows = placed(LINE.replace("\n", "\r\n"), PATHS)
    assert windows is not None and windows.count("\n") == windows.count("\r\n")


def test_paths_from_nothing_begin_as_the_skips_alone_with_a_last_layer_of_zero():
    net = network(changed(NET, PATHS, FIXUP), "Net")
    first, *inner, last = layers(net)
    assert not any(bool(layer.weight.any()) or bool(layer.bias.any()) for layer in (*inner, last))
    assert 0.5 < float(first.weight.detach().std() / (2 / 4) ** 0.5) < 1.5
    assert not bool(net(torch.randn(5, 4)).any())
    kept = network(changed(NET, PATHS, Edit("initialisation", "zero_residual")), "Net")
    first, *inner, last = layers(kept)
    assert not any(bool(layer.weight.any()) for layer in inner) and bool(last.weight.any())


def test_a_table_that_is_called_data_is_not_taken_for_weights_that_are_set():
    table = NET + "\n\ndef load(table):\n    return torch.tensor(table.data), table.data / 16.0\n"
    change = change_of({"net.py": table}, (PATHS, FIXUP))
    assert change.left == ()
    assert placed(table, Edit("initialisation", "he")) is not None
    for set_by_hand in ("p.data.mul_(0.5)", "p.data = x", "p.data[0] = 1.0"):
        assert placed(NET + f"\n\ndef spoil(p, x):\n    {set_by_hand}\n", Edit("initialisation", "he")) is None


@pytest.mark.parametrize(
    "source",
    [
        NET.replace("return self.layers(x)", "return self.layers(x) / self.layers[0].weight.norm()"),
        NET + "\n\ndef wide(net):\n    return net.layers[0].in_features\n",
        NET + "\n\nclass Residual:\n    pass\n",
        NET + "\n\nhead = nn.Linear(3, 3)\n",
        NET + "\n\nbody = nn.TransformerEncoderLayer(8, 2)\n",
        LINE.replace("nn.Linear(4, 4)", "nn.Linear(4, 5)"),
    ],
)
def test_where_something_else_reads_the_layers_or_none_can_keep_its_shape_nothing_is_put_in(source):
    assert placed(source, PATHS) is None


def test_paths_from_nothing_are_not_placed_where_the_paths_are_not_or_the_last_layer_is_not_certain():
    assert placed(NET, FIXUP) is None
    written = (
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    )
    written += "        self.out = nn.Linear(4, 3)\n        self.one = nn.Linear(4, 4)\n\n    def forward(self, x):\n"
    written += "        return self.out(torch.relu(self.one(x)))\n"
    change = change_of({"net.py": written}, (PATHS, FIXUP))
    assert (change.placed, change.left) == ((PATHS,), (FIXUP,))
