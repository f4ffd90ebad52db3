"""A network is described as it is: operations, flow, parameters, optimizer, lines; and it does not notice."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isograd.errors import ModelError
from isograd.frameworks.torch.describe import describe
from isograd.records.anatomy import OPERATIONS


def flow(anatomy):
    return [(node.path, node.operation, tuple(anatomy.nodes[i].path for i in node.inputs)) for node in anatomy.nodes]


class Residual(nn.Module):
    """A module used twice, a joint, a concatenation, a functional activation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(6, 2)

    def forward(self, x):
        y = self.act(self.norm(self.conv(x)))
        y = self.act(x + y)
        y = torch.cat([y, F.elu(y, alpha=0.5)], dim=1)
        return self.head(y.mean((2, 3)))


def test_residual_joints_concatenations_and_functions_are_nodes_with_edges():
    anatomy = describe(Residual(), (torch.randn(2, 3, 8, 8), None))
    assert flow(anatomy) == [
        ("input", "input", ()),
        ("conv", "conv", ("input",)),
        ("norm", "norm", ("conv",)),
        ("act", "activation", ("norm",)),
        ("add", "add", ("input", "act")),
        ("act@2", "activation", ("add",)),
        ("elu", "activation", ("act@2",)),
        ("cat", "concat", ("act@2", "elu")),
        ("mean", "pool", ("cat",)),
        ("head", "linear", ("mean",)),
    ]
    assert [node.shape for node in anatomy.nodes][-3:] == [(6, 8, 8), (6,), (2,)]
    assert dict(anatomy.node("elu").settings) == {"function": "elu", "alpha": 0.5}
    assert anatomy.node("add").source.partition(":")[0].endswith("test_describe.py")
    assert anatomy.traced


def test_settings_are_those_that_the_vocabulary_names():
    net = nn.Sequential(
        nn.Conv2d(4, 8, (3, 5), stride=2, padding=1, groups=2),
        nn.GroupNorm(2, 8),
        nn.LeakyReLU(0.3),
        nn.Flatten(),
        nn.Linear(160, 5, bias=False),
    )
    anatomy = describe(net, (torch.zeros(1, 4, 9, 9), None))
    settings = {node.path: dict(node.settings) for node in anatomy.nodes}
    assert settings["0"] == {
        "fan_in": 30, "fan_out": 60, "kernel": "3x5", "stride": 2, "padding": 1, "dilation": 1, "groups": 2, "bias": True,
        "transposed": False,
    }  # fmt: skip
    assert settings["1"] == {"kind": "group", "eps": 1e-5, "affine": True, "groups": 2}
    assert settings["2"] == {"function": "leaky_relu", "negative_slope": 0.3}
    assert settings["4"] == {"fan_in": 160, "fan_out": 5, "bias": False}


def test_a_functional_network_shows_the_layers_that_its_parameters_make():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(3, 6))

        def forward(self, x):
            return torch.tanh(F.linear(x, self.w)) @ self.v.t()

    anatomy = describe(Functional(), (torch.randn(5, 4), None))
    assert flow(anatomy)[1:] == [
        ("linear", "linear", ("input",)),
        ("tanh", "activation", ("linear",)),
        ("matmul", "linear", ("tanh",)),
    ]
    assert anatomy.node("linear").parameters == ("w",) and anatomy.node("matmul").parameters == ("v",)
    assert anatomy.node("matmul").get("fan_in", 0) == 6 and anatomy.node("matmul").get("fan_out", 0) == 3


def test_built_in_layers_are_one_node_and_encoder_layers_are_looked_into():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(9, 8), nn.LSTM(8, 8, batch_first=True, bidirectional=True)
            self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, tokens):
            return self.encoder(self.rnn(self.embed(tokens))[0])

    anatomy = describe(Net(), (torch.randint(0, 9, (2, 7)), None))
    operations = {node.path: node.operation for node in anatomy.nodes}
    assert (
        operations["embed"] == "embedding"
        and operations["rnn"] == "recurrent"
        and operations["encoder.self_attn"] == "attention"
    )
    assert [path for path, operation in operations.items() if operation == "add"] == ["encoder.add", "encoder.add_1"]
    assert "encoder.linear1" in operations and "encoder.self_attn.out_proj" not in operations
    assert anatomy.node("rnn").get("bidirectional", False) and anatomy.node("rnn").shape == (7, 16)
    assert set(operations.values()) <= set(OPERATIONS)


def test_what_is_not_known_is_called_unknown_by_its_name():
    anatomy = describe(nn.Sequential(nn.Linear(2, 2), nn.CosineSimilarity(), nn.Bilinear(1, 1, 1))[:1].append(nn.Upsample(2)))
    assert (anatomy.nodes[1].operation, anatomy.nodes[1].label) == ("unknown", "Upsample")


def test_without_a_batch_the_modules_come_in_their_order_of_registration():
    anatomy = describe(Residual())
    assert not anatomy.traced and flow(anatomy) == [(path, op, ()) for path, op in
        [("conv", "conv"), ("norm", "norm"), ("act", "activation"), ("head", "linear")]]  # fmt: skip


def test_parameters_know_their_layer_and_whether_the_optimizer_holds_them():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    net[1].bias.requires_grad_(False)
    optimizer = torch.optim.AdamW(net[0].parameters(), lr=0.01, betas=(0.8, 0.9), weight_decay=0.2)
    anatomy = describe(net, optimizer=optimizer, loss=nn.CrossEntropyLoss())
    assert [(p.name, p.layer, p.in_optimizer, p.trainable) for p in anatomy.parameters] == [
        ("0.weight", "0", True, True),
        ("0.bias", "0", True, True),
        ("1.weight", "1", False, True),
        ("1.bias", "1", False, False),
    ]
    assert anatomy.parameters[0].values.count == 6 and anatomy.loss == "cross_entropy"
    facts = dict(anatomy.optimizer.settings)
    assert anatomy.optimizer.kind == "adamw"
    assert {key: facts[key] for key in ("learning_rate", "beta1", "beta2", "weight_decay", "eps")} == {
        "learning_rate": 0.01, "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.2, "eps": 1e-8,
    }  # fmt: skip


def test_describing_changes_neither_buffers_modes_gradients_nor_random_streams():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls = self.calls + random.random() + np.random.rand()
            return F.dropout(self.linear(self.norm(x)), 0.5, self.training)

    net = Noisy()
    net.linear.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    calls, streams = net.calls, (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    describe(net, (torch.randn(6, 4, generator=torch.Generator()), None))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.calls is calls and net.training and not net.linear.training
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert random.getstate() == streams[1] and np.random.get_state()[1].tolist() == streams[2]
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch._C._len_torch_function_stack() == 0


def test_nothing_is_left_when_the_model_raises():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            raise KeyError(self.linear(x).shape)

    with pytest.raises(ModelError, match="it raised KeyError"):
        describe(Broken(), (torch.ones(1, 2), None))
    assert not nn.modules.module._global_forward_hooks and torch._C._len_torch_function_stack() == 0


def test_an_odd_model_is_refused_in_one_message():
    with pytest.raises(ModelError, match="not a torch module"):
        describe("net")
    with pytest.raises(ModelError, match="meta device"):
        describe(nn.Linear(2, 2, device="meta"))
    with pytest.raises(ModelError, match=r"another dtype[\s\S]*float64[\s\S]*float32"):
        describe(nn.Linear(2, 2), (torch.ones(1, 2).double(), None))
    with pytest.raises(ModelError, match=r"does not take this batch[\s\S]*\(1, 3\)"):
        describe(nn.Linear(2, 2), (torch.ones(1, 3), None))
    with pytest.raises(ModelError, match="another device"):
        describe(nn.Linear(2, 2), (torch.ones(1, 2, device="meta"), None))


def test_inputs_may_be_several_or_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, left, right):
            return self.a(left) + self.b(right)

    left, right = torch.ones(1, 2), torch.ones(1, 4)
    expected = [
        ("input", "input", ()),
        ("input_1", "input", ()),
        ("a", "linear", ("input",)),
        ("b", "linear", ("input_1",)),
        ("add", "add", ("a", "b")),
    ]
    assert flow(describe(Two(), ((left, right), None))) == expected
    assert flow(describe(Two(), {"left": left, "right": right})) == expected


@pytest.mark.parametrize("positional", [True, False])
def test_a_convolution_tells_its_dilation_and_groups_as_module_and_as_function(positional):
    module = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2)

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            if positional:
                return nn.functional.conv2d(x, self.inner.weight, self.inner.bias, 1, 2, 2, 2)
            return nn.functional.conv2d(x, self.inner.weight, padding=2, dilation=2, groups=2)

    batch = (torch.randn(2, 4, 8, 8), None)
    for model in (module, Called()):
        facts = dict(describe(model, batch).nodes[-1].settings)
        assert (facts["dilation"], facts["groups"], facts["fan_in"]) == (2, 2, 18)


def test_a_transposed_convolution_called_by_position_tells_its_groups_and_dilation():
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 2, 3, 3))

        def forward(self, x):
            return nn.functional.conv_transpose2d(x, self.weight, None, 2, 1, 1, 2, 1)

    facts = dict(describe(Called(), (torch.randn(2, 4, 8, 8), None)).nodes[-1].settings)
    assert (facts["groups"], facts["dilation"], facts["transposed"]) == (2, 1, True)
