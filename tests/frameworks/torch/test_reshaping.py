"""Edits of the architecture: depth, separable convolutions, kinds of normalisation, and the way back."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from torch_patients import other_batches, outputs, patient_of, same, weights

from isograd.errors import ModelError
from isograd.frameworks.torch import reshaping
from isograd.frameworks.torch.remodelling import remodelled
from isograd.records.edit import Edit

BATCHES = other_batches(2)
IMAGES = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.randint(0, 3, (8,))


def chain(layers=3, *extra):
    torch.manual_seed(5)
    inner = [one for _ in range(layers) for one in (nn.Linear(6, 6), nn.ReLU(), *extra)]
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), *inner, nn.Linear(6, 3))


def held(patient):
    mine = {id(p) for group in patient.optimizer.param_groups for p in group["params"]}
    return mine == {id(p) for p in patient.models[0].parameters()}


@pytest.mark.parametrize(("factor", "layers"), [(2.0, 6), (1.34, 4), (0.34, 1), (0.01, 1)])
def test_a_chain_of_layers_that_keep_the_shape_is_made_longer_or_shorter(factor, layers):
    before = patient_of(chain())[0]
    after = before.apply(Edit("depth", factor))
    model = after.models[0]
    assert [m.out_features for m in model if isinstance(m, nn.Linear)] == [6, *[6] * layers, 3] and len(model) == 3 + 2 * layers
    assert held(after) and len(before.models[0]) == 9
    assert torch.equal(model[0].weight, before.models[0][0].weight) and torch.equal(
        model[-1].weight, before.models[0][-1].weight
    )
    kinds = [type(m) for m in model]
    assert kinds[:-1] == [nn.Linear, nn.ReLU] * (layers + 1)
    trained = after.trained(BATCHES, 2)
    assert all(not torch.equal(a, b) for a, b in zip(weights(after), weights(trained), strict=True))
    linear = [m.weight for m in model if isinstance(m, nn.Linear)]
    assert len({tuple(w.flatten().tolist()) for w in linear}) == len(linear)  # fresh weights, each its own
    assert same(before.apply(Edit("depth", factor)), after)


def test_what_follows_a_layer_goes_with_it():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *(one for _ in range(2) for one in (nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())),
        nn.Flatten(),
        nn.Linear(256, 3),
    )
    after = patient_of(model, batch=IMAGES)[0].apply(Edit("depth", 1.5))
    names = [type(one).__name__ for one in after.models[0]]
    assert names == ["Conv2d", *["Conv2d", "BatchNorm2d", "ReLU"] * 3, "Flatten", "Linear"]
    assert held(after) and outputs(after, IMAGES[0]).shape == (8, 3)


class Stack(nn.Module):
    def __init__(self, parallel=False):
        super().__init__()
        self.into, self.out, self.parallel = nn.Linear(4, 6), nn.Linear(6, 3), parallel
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        x = self.into(x)
        if self.parallel:
            return self.out(sum(F.relu(layer(x)) for layer in self.layers))
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.out(x)


def test_a_list_of_layers_is_a_chain_where_each_reads_the_one_before():
    after = patient_of(Stack())[0].apply(Edit("depth", 0.5))
    assert len(after.models[0].layers) == 2 and held(after)
    for model in (Stack(parallel=True), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))):
        with pytest.raises(ModelError, match="no chain"):
            patient_of(model)[0].apply(Edit("depth", 2.0))


def test_a_frozen_layer_of_a_chain_gets_frozen_company():
    model = chain()
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    after = patient_of(model, optimizer=optimizer)[0].apply(Edit("depth", 2.0)).models[0]
    learns = [m.weight.requires_grad for m in after if isinstance(m, nn.Linear)]
    assert learns == [True, False, False, True, True, True, True, True]


def images():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, 2, 1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 3),
    )


def test_a_full_convolution_is_parted_into_one_by_channel_and_one_by_place():
    before = patient_of(images(), batch=IMAGES)[0]
    after = before.apply(Edit("separable"))
    each, mixing = after.models[0][2]
    assert (each.groups, each.stride, each.bias, mixing.kernel_size, mixing.bias) == (6, (2, 2), None, (1, 1), None)
    assert sum(p.numel() for p in after.models[0][2].parameters()) == 6 * 9 + 6 * 8
    assert outputs(after, IMAGES[0]).shape == (8, 3) and held(after) and isinstance(after.models[0][0], nn.Conv2d)
    assert isinstance(before.apply(Edit("separable", where="0")).models[0][0], nn.Sequential)
    with pytest.raises(ModelError, match="no full convolution"):
        patient_of()[0].apply(Edit("separable"))


@pytest.mark.parametrize("kind", ["layer", "batch", "group"])
def test_outputs_are_normalised_by_each_kind_and_no_longer_when_it_is_taken_back(kind):
    for model, batch in ((chain(), BATCHES[0]), (images(), IMAGES)):
        before, _ = patient_of(model, batch=batch)
        edit = Edit("normalisation", kind)
        after = before.apply(edit)
        given, taken = [], after.copy().models[0].train()
        taken[1].register_forward_pre_hook(lambda module, args, given=given: given.append(args[0]))
        taken(batch[0])
        axes = {"layer": (1,), "batch": (0, *range(2, batch[0].ndim)), "group": (1,)}[kind]
        if kind == "group":
            grouped = given[0].reshape(len(given[0]), 3 if batch is IMAGES else 1, -1)
            assert grouped.mean(2).abs().max() < 1e-5 and torch.allclose(grouped.square().mean(2), torch.tensor(1.0), atol=0.02)
        else:
            assert given[0].mean(axes).abs().max() < 1e-5
            assert torch.allclose(given[0].square().mean(axes), torch.tensor(1.0), atol=0.02)
        assert not same(after.trained([batch], 2), before.trained([batch], 2))
        assert same(after.apply(edit.inverse).trained([batch], 2), before.trained([batch], 2))
        outputs(after.trained([batch], 1), batch[0])
    with pytest.raises(ModelError, match="own stay"):
        before.apply(Edit("normalisation", "off"))
    with pytest.raises(ModelError, match="no normalisation is called"):
        before.apply(Edit("normalisation", "loud"))


def test_a_second_normalisation_takes_the_place_of_the_first_and_one_layer_can_be_chosen():
    before, _ = patient_of(chain())
    twice = before.apply(Edit("normalisation", "batch")).apply(Edit("normalisation", "layer"))
    assert same(twice.trained(BATCHES, 2), before.apply(Edit("normalisation", "layer")).trained(BATCHES, 2))
    assert [len(m._forward_hooks) for m in before.apply(Edit("normalisation", "layer", where="2")).models[0]][:5] == [
        0,
        0,
        1,
        0,
        0,
    ]


def test_residual_paths_are_put_in_once_and_taken_out():
    before, batch = patient_of(chain())
    after = before.apply(Edit("residual"))
    assert same(after.apply(Edit("residual")).trained(BATCHES, 2), after.trained(BATCHES, 2))
    assert same(after.apply(Edit("residual").inverse).trained(BATCHES, 2), before.trained(BATCHES, 2))
    one = before.apply(Edit("residual", where="2"))
    x = F.relu(before.models[0][0](batch[0]))
    assert torch.allclose(one.models[0][2](x), before.models[0][2](x) + x)
    with pytest.raises(ModelError, match="own stay"):
        before.apply(Edit("residual", "off"))


OPTIMIZERS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1),
    "lbfgs": lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=2),
    "amsgrad": lambda parameters: torch.optim.Adam(parameters, amsgrad=True, foreach=True),
}


@pytest.mark.parametrize("edit", [Edit("width", 2.0), Edit("depth", 2.0), Edit("precision", "float64")], ids=lambda e: e.kind)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_with_a_memory_goes_on_with_other_parameters(name, edit):
    model = chain()
    patient, _ = patient_of(model, optimizer=OPTIMIZERS[name](model.parameters()))
    edited = patient.trained(BATCHES, 2).apply(edit)
    again = edited.trained(BATCHES, 2)
    assert held(again) and all(not torch.equal(a, b) for a, b in zip(weights(edited), weights(again), strict=True))
    kept = {"lr", "weight_decay"} & set(patient.optimizer.defaults)
    assert all(edited.optimizer.param_groups[0][key] == patient.optimizer.param_groups[0][key] for key in kept)


class Half(nn.Module):
    """One activation is called as a function, one was forgotten; the last layer reads a sum."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x, curve=lambda x: x):
        x = self.b(F.relu(self.a(x)))
        return self.out(x + self.c(curve(x)))


def test_an_activation_goes_only_where_none_follows_already_and_nothing_is_added():
    before, (x, _) = patient_of(Half())
    after = before.apply(Edit("nonlinearity", "tanh"))
    assert torch.equal(outputs(after, x), before.models[0](x, torch.tanh)) and same(before, after)
    assert after.models[0].state_dict().keys() == before.models[0].state_dict().keys()
    assert torch.equal(outputs(after.apply(Edit("nonlinearity", "off")), x), outputs(before, x))
    assert torch.equal(outputs(after.apply(Edit("nonlinearity", "tanh")), x), outputs(after, x))  # once is enough
    with pytest.raises(ModelError, match="no edit has put"):
        before.apply(Edit("nonlinearity", "off"))


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(4, 3),
        nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 3)),
        nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Dropout(0.1), nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)
        ),
        nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 2, 2, groups=2), nn.Conv1d(2, 3, 1), nn.Flatten()),
    ],
    ids=["one", "low-rank", "bottleneck", "separable"],
)
def test_layers_that_follow_each_other_by_design_get_no_activation(model):
    with pytest.raises(ModelError, match="nothing between"):
        patient_of(model)[0].apply(Edit("nonlinearity", "relu"))


class Own(nn.Module):
    def __init__(self, deciding=False):
        super().__init__()
        self.a, self.drop, self.b, self.out, self.deciding = (
            nn.Linear(4, 6),
            nn.Dropout(0.5),
            nn.Linear(6, 6),
            nn.Linear(6, 3),
            deciding,
        )

    def forward(self, x):
        if self.deciding and x.sum() > 0:
            return self.out(self.b(self.a(x)))
        return self.out(F.relu(self.b(self.drop(self.a(x.flatten(1))))))


def test_a_model_gets_its_activations_without_a_batch_where_its_forward_pass_can_be_read():
    chain, edit = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).eval(), Edit("nonlinearity", "tanh")
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    bent, left = remodelled(chain, [edit])
    assert left == () and torch.equal(bent(x), chain[2](torch.tanh(chain[1](chain[0](x))))) and bent is not chain
    own = Own().eval()
    bent, left = remodelled(own, [edit])
    assert left == () and torch.equal(bent(x), own.out(F.relu(own.b(torch.tanh(own.a(x))))))
    assert remodelled(Own(deciding=True), [edit])[1] == (edit,)


def test_a_layer_that_is_made_wider_stays_frozen_where_it_was() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    net[0].weight.requires_grad_(False)
    reshaping.widen([net], 2.0)
    assert net[0].weight.shape == (6, 4)
    assert [parameter.requires_grad for parameter in net.parameters()] == [False, True, True, True]


class Branching(nn.Module):
    """Attention with a feed-forward part of its own, and one of the person's with a path around it."""

    def __init__(self):
        super().__init__()
        self.first = nn.TransformerEncoderLayer(8, 2, 3, batch_first=True)
        self.feed = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2), nn.GELU(), nn.Linear(2, 8))
        self.places, self.out = nn.Parameter(torch.zeros(5, 8)), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.first(x + self.places)
        return self.out((hidden + self.feed(hidden)).mean(1))


def test_in_a_network_with_branches_the_parts_are_widened_that_nothing_else_reads():
    torch.manual_seed(0)
    batch = torch.randn(16, 5, 8), torch.randint(0, 3, (16,))
    made, _ = patient_of(Branching(), batch=batch)
    wide = made.apply(Edit("width", 4.0))
    model = wide.models[0]
    assert (model.first.linear1.out_features, model.first.linear2.in_features) == (12, 12)
    assert (model.feed[1].out_features, model.feed[3].in_features) == (8, 8)
    assert all(one.out_features == 8 for one in (model.first.linear2, model.feed[3]))
    assert model.out.in_features == 8 and tuple(model.feed[0].normalized_shape) == (8,)
    trained = wide.trained([batch], 3)
    assert held(wide) and not any(torch.equal(old, new) for old, new in zip(weights(wide), weights(trained), strict=True))


def test_layers_of_which_it_is_not_known_who_reads_them_are_not_widened():
    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.out(self.a(x) + self.b(x))

    with pytest.raises(ModelError, match="can be made wider"):
        reshaping.widen([Apart()], 2.0)
