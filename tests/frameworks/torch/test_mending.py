"""Mending in place: what is rescaled, balanced or revived is known by thought, and every change can be undone."""

import copy
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from torch_patients import other_batches, outputs, patient_of, same, weights

from isograd.errors import ModelError
from isograd.frameworks.torch import mending
from isograd.records.edit import Edit

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))


def deep(width=8, layers=4):
    torch.manual_seed(0)
    inner = [module for _ in range(layers) for module in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), *inner, nn.Linear(width, 3))


def passes(model, x=X):
    """What each module gives, in a pass over the examples."""
    found = []
    with torch.no_grad():
        for module in model:
            x = module(x)
            found.append(x.clone())
    return found


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_hidden_layer_gets_outputs_of_deviation_one_and_the_last_stays():
    model = deep()
    with torch.no_grad():
        for parameter in list(model.parameters())[:-2]:
            parameter.mul_(0.05)  # the signal has vanished
    before = snapshot(model)
    done = mending.rescale([model], lambda: model(X))
    given = passes(model)
    assert set(done.units) == {"0", "2", "4", "6", "8"} and len(given) == 11
    for at in (0, 2, 4, 6, 8):
        assert given[at].std(correction=0) == pytest.approx(1.0, rel=1e-4)
    assert torch.equal(model[10].weight, before["10.weight"])
    done.undo()
    assert unchanged(model, before)


def test_centred_each_unit_has_mean_zero_and_the_layer_deviation_one():
    model = deep()
    mending.rescale([model], lambda: model(X), centred=True)
    for at in (0, 2, 4):
        given = passes(model)[at]
        assert given.mean(0).abs().max() < 1e-5 and given.square().mean() == pytest.approx(1.0, rel=1e-4)


def test_rescaling_a_convolution_counts_every_place():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 16, 3))
    images = torch.randn(8, 2, 8, 8)
    assert mending.rescale([model], lambda: model(images), centred=True).units == {"0": 5, "2": 5}
    given = passes(model, images)[2]
    assert given.mean((0, 2, 3)).abs().max() < 1e-5 and given.square().mean() == pytest.approx(1.0, rel=1e-4)


def test_layers_in_front_of_a_normalisation_and_tied_ones_stay():
    torch.manual_seed(0)
    tied = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.weight = tied.weight
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), tied, other, nn.Linear(4, 4), nn.Linear(4, 3))
    running = model[1].running_mean.clone()
    assert set(mending.rescale([model], lambda: model(X)).units) == {"5"}
    assert torch.equal(model[1].running_mean, running)


def test_balancing_equals_the_norms_into_and_out_of_each_unit_and_keeps_the_function():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 8), nn.LeakyReLU(), nn.Linear(8, 3)
    )
    with torch.no_grad():
        model[1].weight.mul_(100.0)
        model[4].weight.mul_(0.01)
    before, state = model.eval()(X), snapshot(model)
    done = mending.balance([model])
    assert torch.allclose(model(X), before, rtol=1e-4, atol=1e-5) and done.units == {"1": 8, "4": 8}
    into = torch.cat([model[4].weight, model[4].bias[:, None]], 1).norm(dim=1)
    assert torch.allclose(into, model[6].weight.norm(dim=0), rtol=0.02)
    ratios = [model[at].weight.norm() / state[f"{at}.weight"].norm() for at in (1, 4)]
    assert ratios[0] < 0.1 and ratios[1] > 3.0
    done.undo()
    assert unchanged(model, state)


def test_balancing_follows_channels_through_pooling_and_flattening():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)
    )
    with torch.no_grad():
        model[0].weight.mul_(50.0)
    images = torch.randn(5, 1, 8, 8)
    before = model(images)
    assert mending.balance([model]).units == {"0": 3, "3": 4}
    assert torch.allclose(model(images), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("between", [nn.Tanh(), nn.BatchNorm1d(8), nn.Softmax(-1)], ids=lambda module: type(module).__name__)
def test_what_is_not_homogeneous_is_not_balanced(between):
    assert mending.balance([nn.Sequential(nn.Linear(4, 8), between, nn.Linear(8, 3))]) is None
    layer = nn.Linear(4, 4)
    assert mending.balance([nn.Sequential(layer, nn.ReLU(), layer)]) is None  # one layer, twice


def dead(model, layer, units):
    with torch.no_grad():
        model[layer].bias[units] = -100.0
    return model


def test_dead_units_are_centred_and_the_others_stay():
    model = dead(deep(), 2, [1, 5])
    before = snapshot(model)
    done = mending.revive([model], lambda: model(X))
    assert done.units["2"] == 2
    given = passes(model)[2][:, [1, 5]]
    assert given.mean(0).abs().max() < 1e-4 and torch.allclose(given.std(0, correction=0), torch.ones(2), rtol=1e-3)
    kept = [at for at in range(8) if at not in (1, 5)]
    assert torch.equal(model[2].weight[kept], before["2.weight"][kept]) and torch.equal(model[0].weight, before["0.weight"])
    done.undo()
    assert unchanged(model, before)


def test_a_whole_dead_network_comes_back_layer_by_layer():
    model = deep()
    for at in (0, 2, 4, 6, 8):
        dead(model, at, slice(None))
    mending.revive([model], lambda: model(X))
    assert all((passes(model)[at] > 0.0).any(0).all() for at in (0, 2, 4, 6, 8))
    assert mending.revive([model], lambda: model(X)) is None


@pytest.mark.parametrize("curve", [nn.Tanh, nn.Sigmoid])
def test_saturated_units_are_brought_back_too(curve):
    model = nn.Sequential(nn.Linear(4, 6), curve(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].bias.fill_(50.0)
    assert mending.revive([model], lambda: model(X)).units == {"0": 6}
    assert passes(model)[0].mean(0).abs().max() < 1e-4


class Functional(nn.Module):
    """Activations as calls, a normalisation between, and a layer without bias."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 5, bias=False), nn.Linear(5, 3)

    def forward(self, x):
        return self.c(self.b(F.relu(self.norm(self.a(x)))).relu_())


def test_a_normalised_unit_gets_its_weight_and_bias_back_and_one_without_bias_new_weights():
    torch.manual_seed(0)
    model = Functional()
    with torch.no_grad():
        model.norm.bias[2], model.norm.weight[2] = -9.0, 0.1
        model.b.weight[1] = -1.0  # of what is never negative
    done = mending.revive([model], lambda: model(X))
    assert done.units == {"norm": 1, "b": 1}
    assert model.norm.bias[2] == 0.0 and model.norm.weight[2] == 1.0 and not (model.b.weight[1] == -1.0).any()
    assert torch.equal(model.norm.running_mean, torch.zeros(6)) and model.norm.num_batches_tracked == 0


def test_the_moments_of_a_revived_unit_are_forgotten_and_come_back_with_the_undoing():
    model = deep()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model(X).square().mean().backward()
    optimizer.step()
    dead(model, 2, [3])
    before = copy.deepcopy(optimizer.state_dict())
    done = mending.revive([model], lambda: model(X), optimizer=optimizer)
    state = optimizer.state[model[2].weight]
    assert not state["exp_avg"][3].any() and state["exp_avg_sq"][[0, 1, 2, 4]].any()
    done.undo()
    after = optimizer.state_dict()
    assert all(torch.equal(after["state"][at][name], v) for at, own in before["state"].items() for name, v in own.items())


def test_a_reset_can_be_undone_after_a_step():
    model = deep()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        model(X).square().mean().backward()
        optimizer.step()
    kept = optimizer.state[model[0].weight]["exp_avg"].clone()
    done = mending.reset_moments(optimizer, model[0].parameters())
    assert model[0].weight not in optimizer.state and done.units == {"optimizer": 2}
    optimizer.step()
    assert optimizer.state[model[0].weight]["step"] == 1.0
    done.undo()
    assert torch.equal(optimizer.state[model[0].weight]["exp_avg"], kept)
    assert mending.reset_moments(torch.optim.SGD(model.parameters(), lr=0.1)) is None


def test_mending_draws_nothing_from_the_random_stream_and_leaves_modes_alone():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).train()
    dead(model, 3, [0])
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    mending.revive([model], lambda: model(X))
    mending.rescale([model], lambda: model(X))
    mending.balance([model])
    assert torch.equal(torch.random.get_rng_state(), before) and model.training


@pytest.mark.parametrize("value", ["unit_variance", "centred", "balance"])
def test_a_patient_is_rescaled_on_a_copy(value):
    patient, batch = patient_of(deep())
    before = weights(patient)
    edited = patient.apply(Edit("rescale", value))
    assert all(torch.equal(a, b) for a, b in zip(weights(patient), before, strict=True)) and not same(edited, patient)
    if value == "balance":
        assert torch.allclose(outputs(edited, batch[0]), outputs(patient, batch[0]), rtol=1e-4, atol=1e-6)


def test_a_patient_with_dead_layers_learns_again_after_the_edit():
    model = deep()
    dead(model, 4, slice(None))
    patient, _ = patient_of(model, batch=other_batches(1)[0])
    assert same_layers(patient, patient.trained(other_batches(3), 3), [0, 1, 2, 3])
    assert not same_layers(patient, patient.apply(Edit("revive")).trained(other_batches(3), 3), [0])
    one = patient.apply(Edit("revive", where="4"))
    assert torch.equal(one.models[0][2].weight, patient.models[0][2].weight)


def same_layers(one, other, places):
    mine, theirs = weights(one), weights(other)
    return all(torch.equal(mine[at], theirs[at]) for at in places)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (Edit("revive"), "no unit is dead"),
        (Edit("rescale", "louder"), "no rescaling is called"),
        (Edit("rescale", "balance", where=""), "no hidden layer"),
    ],
    ids=str,
)
def test_where_there_is_nothing_to_mend_it_says_so(edit, text):
    with pytest.raises(ModelError, match=text):
        patient_of(nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 3)))[0].apply(edit)
