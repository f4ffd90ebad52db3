"""Edits of what a model calls and of single statements: the one place that is meant, and none where it may be another."""

import pytest

from isograd.records.edit import Edit
from isograd.render.placing import change_of, placed


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


def test_a_loop_in_a_function_of_its_own_is_clipped_through_its_optimizer():
    source = (
        "import torch\n\ndef fit(model, opt, data):\n    for x, y in data:\n        opt.zero_grad()\n"
        "        model(x).sum().backward()\n        opt.step()\n"
    )
    every = 'torch.nn.utils.clip_grad_norm_([p for group in opt.param_groups for p in group["params"]], 0.5)'
    assert placed(source, Edit("clip_norm", 0.5)) == source.replace(
        "        opt.step()", f"        {every}\n        opt.step()"
    )


def test_a_transformer_layer_normalises_first():
    source = "from torch import nn\nlayer = nn.TransformerEncoderLayer(8, 2, batch_first=True)\n"
    assert placed(source, Edit("norm_first")) == source.replace("batch_first=True", "batch_first=True, norm_first=True")
    assert placed(source.replace("batch_first=True", "norm_first=True"), Edit("norm_first")) is None


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


def test_a_softmax_in_front_of_a_loss_of_scores_goes_and_the_loss_stays():
    source = (
        "import torch.nn as nn\nimport torch.nn.functional as F\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        x = self.fc(F.relu(x))\n        return F.softmax(x, dim=1)\n\ncriterion = nn.CrossEntropyLoss()\n"
    )
    fits = Edit("loss", before="cross_entropy")
    assert placed(source, fits) == source.replace("F.softmax(x, dim=1)", "x")
    by_hand = source.replace("criterion = nn.CrossEntropyLoss()", "loss = F.cross_entropy(net(x), y)")
    assert placed(by_hand, fits) == by_hand.replace("F.softmax(x, dim=1)", "x")
    for odd in ("nn.CrossEntropyLoss(weight=w)", "nn.CrossEntropyLoss()\nloss = -criterion(net(x), y)"):
        assert placed(source.replace("nn.CrossEntropyLoss()", odd), fits) is None, "more may be wrong with it"
    assert placed(source.replace("F.softmax(x, dim=1)", "x"), fits) is None


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


def test_of_one_model_every_use_is_exchanged_whichever_line_a_finding_named():
    net = (
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        x = torch.sigmoid(self.a(x))\n"
        "        x = torch.sigmoid(self.b(x))\n        return self.c(x)\n"
    )
    whole = net.replace("sigmoid", "relu")
    assert placed(net, Edit("activation", "relu", before="sigmoid"), (4, 4)) == whole
    both = net + net.replace("Net", "Other").partition("\n")[2]
    assert placed(both, Edit("activation", "relu", before="sigmoid"), (4, 4)) == whole + both[len(net) :]
    drops = "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        self.a = nn.Dropout(0.9)\n"
    drops += "        self.b = nn.Dropout(0.9)\n"
    assert placed(drops, Edit("dropout", 0.1, before=0.9), (4, 4)) == drops.replace("0.9", "0.1")
    cut = net.replace("torch.sigmoid(self.a(x))", "self.a(x).detach()").replace(
        "torch.sigmoid(self.b(x))", "self.b(x).detach()"
    )
    assert placed(cut, Edit("keep_graph"), (4, 4)) is None, "one of two is not what was tried"


def test_an_activation_of_two_models_is_not_exchanged_in_both():
    chain = "nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1))"
    source = f"from torch import nn\none = {chain}\ntwo = {chain}\n"
    assert placed(source, Edit("activation", "relu", before="tanh")) is None
    assert "nn.ReLU()" in placed(source, Edit("activation", "relu", before="tanh"), (3, 3)).splitlines()[2]


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


def test_several_optimizers_from_one_line_are_several():
    source = "import torch\na, b = (torch.optim.SGD(m.parameters(), lr=1.0) for m in nets)\n"
    assert placed(source, Edit("learning_rate", 0.1, before=1.0)) is None


def test_frozen_parameters_learn_again_and_a_cut_graph_is_whole_again():
    source = "for p in net.parameters():\n    p.requires_grad = False\n"
    assert placed(source, Edit("unfreeze")) == source.replace("False", "True")
    cut = "class Net:\n    def forward(self, x):\n        return self.b(self.a(x).detach())\n"
    assert placed(cut, Edit("keep_graph")) == cut.replace(".detach()", "")


def test_an_optimizer_of_one_part_gets_the_whole_model():
    source = "import torch\nopt = torch.optim.SGD(net.head.parameters(), lr=0.1)\n"
    assert placed(source, Edit("parameters")) == source.replace("net.head", "net")
    assert placed(source.replace("net.head", "net"), Edit("parameters")) is None


def test_a_line_that_is_all_of_its_block_stays():
    source = (
        "import torch\nschedule = torch.optim.lr_scheduler.StepLR(opt, 1)\nfor epoch in range(3):\n    train()\n"
        "    if epoch > 1:\n        schedule.step()\n"
    )
    assert placed(source, Edit("constant_rate")) is None
    assert placed(source.replace("    if epoch > 1:\n        ", "    "), Edit("constant_rate")) is not None


def test_beside_a_scaler_no_step_is_certain():
    source = (
        "import torch\nscaler = torch.amp.GradScaler()\n\ndef fit(opt, loss):\n    loss.backward()\n"
        "    if scaler.is_enabled():\n        scaler.step(opt)\n    opt.step()\n"
    )
    assert placed(source, Edit("clear_gradients")) is None
    assert placed(source.replace("GradScaler", "Scaler"), Edit("clear_gradients")) is not None


def test_a_line_number_that_has_moved_names_nothing():
    source = (
        "import torch\n\ndef fit(opt, loss):\n    loss.backward()\n    opt.step()\n\n"
        "a = torch.optim.SGD(x, lr=10.0)\nb = torch.optim.SGD(y, lr=10.0)\n"
    )
    rate = Edit("learning_rate", 0.01, before=10.0)
    hint = {rate: ("a.py", (8, 8))}
    assert "b = torch.optim.SGD(y, lr=0.01)" in change_of({"a.py": source}, [rate], hint).texts["a.py"]
    assert change_of({"a.py": source}, [Edit("clear_gradients"), rate], hint).left == (rate,)
