"""What runs in another manner: functions that are exchanged, left out or weighed anew, on copies alone."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isograd.errors import ModelError
from isograd.frameworks.torch.manner import running
from isograd.frameworks.torch.patient import TorchPatient
from isograd.records.edit import Edit


def patient_of(model, loss=F.cross_entropy, batch=None):
    batch = batch or (torch.randn(16, 4), torch.randint(0, 3, (16,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return TorchPatient.copy_of(model, batch, loss, optimizer), batch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Calls(nn.Module):
    """Two layers with a function of each, by calls."""

    def __init__(self, between=torch.tanh, behind=torch.tanh):
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)
        self.between, self.behind = between, behind

    def forward(self, x):
        return self.behind(self.two(self.between(self.one(x))))


def output(patient, x):
    with running(patient.models, patient.manner):
        return patient.models[0](x)


@pytest.mark.parametrize("calls", [True, False])
def test_an_activation_gives_way_between_layers_and_stays_behind_the_last(calls):
    layers = nn.Linear(4, 6), nn.Linear(6, 3)
    model = Calls() if calls else nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh())
    patient, (x, _) = patient_of(model)
    edited = patient.apply(Edit("activation", "relu", before="tanh"))
    one, two = [module for module in edited.models[0].modules() if isinstance(module, nn.Linear)]
    assert torch.equal(output(edited, x), torch.tanh(two(torch.relu(one(x)))))


def test_a_constant_in_front_of_an_activation_goes_with_it():
    patient, (x, _) = patient_of(Calls(lambda h: torch.tanh(100 * h), nn.Identity()))
    edited = patient.apply(Edit("activation", "relu", before="tanh"))
    model = edited.models[0]
    assert torch.equal(output(edited, x), model.two(torch.relu(model.one(x))))
    turned, (x, _) = patient_of(Calls(lambda h: torch.tanh(-1.0 * h), nn.Identity()))  # a sign is no scale
    model = (edited := turned.apply(Edit("activation", "relu", before="tanh"))).models[0]
    assert torch.equal(output(edited, x), model.two(torch.relu(-model.one(x))))


def test_a_norm_over_a_single_value_counts_among_the_last_functions_and_one_over_many_does_not():
    class Norm(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.one, self.two, self.width = nn.Linear(4, 6), nn.Linear(6, width), width

        def forward(self, x):
            return F.layer_norm(self.two(torch.relu(self.one(x))), (self.width,))

    x = torch.randn(16, 4)
    for width, able in ((1, True), (3, False)):
        patient, _ = patient_of(Norm(width), F.mse_loss, (x, torch.randn(16, width)))
        with nullcontext() if able else pytest.raises(ModelError, match="no function comes after"):
            edited = patient.apply(Edit("last"))
            assert output(edited, x).std() > 0.01 > output(patient, x).std()


def test_a_norm_over_a_single_value_before_another_head_is_left_out_alone():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.mean, self.spread = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 1)

        def forward(self, x):
            body = F.layer_norm(self.body(x), (6,))
            return torch.cat([F.layer_norm(self.mean(body), (1,)), torch.tanh(self.spread(body))], 1)

    x = torch.randn(16, 4)
    model = Heads()
    patient, _ = patient_of(model, F.mse_loss, (x, torch.randn(16, 2)))
    body = F.layer_norm(model.body(x), (6,))
    wanted = torch.cat([model.mean(body), torch.tanh(model.spread(body))], 1)
    assert torch.allclose(output(patient.apply(Edit("last", before="norm")), x), wanted)
    assert torch.allclose(output(patient.apply(Edit("last")), x)[:, :1], torch.zeros(16, 1)), "the last function alone"


def test_what_a_loss_asks_beside_its_comparison_is_weighed_anew_and_one_that_asks_nothing_refuses():
    def loss(outputs, x):
        return F.mse_loss(outputs[0], x) + 1_000.0 * outputs[1].square().mean()

    class Codes(nn.Module):
        def __init__(self):
            super().__init__()
            self.code, self.back = nn.Linear(4, 2), nn.Linear(2, 4)

        def forward(self, x):
            code = self.code(x)
            return self.back(code), code

    x = torch.randn(16, 4)
    patient, _ = patient_of(Codes(), loss, (x, x))
    outputs = patient.models[0](x)
    given = list(patient.models[0].parameters())
    wanted = torch.autograd.grad(F.mse_loss(outputs[0], x) + outputs[1].square().mean(), given, retain_graph=True)
    made = torch.autograd.grad(patient.apply(Edit("other_terms", 0.001)).loss(outputs, x), given)
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-5) for one, other in zip(wanted, made, strict=True))
    plain, batch = patient_of(Calls())
    with pytest.raises(ModelError):
        plain.apply(Edit("other_terms", 0.1)).trained([batch], 1)


def test_answers_cut_off_at_zero_and_one_are_no_last_function_of_the_loss_that_fits_and_a_wide_bound_stays():
    for low, high, left_out in ((0, 1, True), (-5.0, 2.0, False)):
        patient, (x, _) = patient_of(Calls(torch.relu, lambda y, ends=(low, high): 10 * y.clamp(*ends)))
        edited = patient.apply(Edit("loss"))
        model = edited.models[0]
        bare = model.two(torch.relu(model.one(x)))
        assert torch.equal(output(edited, x), 10 * (bare if left_out else bare.clamp(low, high)))


ROUNDS = [
    lambda h: torch.from_numpy(h.detach().numpy()),
    lambda h: torch.tensor(h.detach().numpy()),
    lambda h: torch.tensor(h.detach().numpy().copy(), dtype=torch.float32),
    lambda h: torch.as_tensor(np.asarray(h.detach())),
    lambda h: torch.tensor(h.tolist()),
]


@pytest.mark.parametrize("between", ROUNDS)
def test_a_signal_that_went_through_numpy_and_came_back_as_it_left_stays_in_the_graph(between):
    patient, (x, _) = patient_of(Calls(between=between))
    kept = patient.apply(Edit("keep_graph"))
    with running(kept.models, kept.manner):
        kept.models[0](x).sum().backward()
    assert kept.models[0].one.weight.grad is not None
    plain = Calls(between=lambda h: h)
    plain.load_state_dict(patient.models[0].state_dict())
    assert torch.equal(output(kept, x), plain(x))
    assert torch.from_numpy.__module__ != "isograd.frameworks.torch.manner"


def test_numbers_that_were_changed_outside_of_the_graph_do_not_come_back_into_it():
    patient, (x, _) = patient_of(Calls(between=lambda h: torch.tensor(np.maximum(h.detach().numpy(), 0.0))))
    kept = patient.apply(Edit("keep_graph"))
    with running(kept.models, kept.manner):
        kept.models[0](x).sum().backward()
    assert kept.models[0].one.weight.grad is None and torch.equal(output(kept, x), output(patient, x))


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_a_number_that_makes_the_outputs_far_larger_or_smaller_is_left_out_as_a_last_function(factor):
    for behind in (lambda out: out * factor, lambda out: factor * out, lambda out: out / (1.0 / factor)):
        model = Calls(behind=behind)
        patient, (x, _) = patient_of(model)
        plain = model.two(torch.tanh(model.one(x)))
        assert torch.allclose(output(patient.apply(Edit("last", before="mul")), x), plain)
        assert torch.allclose(output(patient.apply(Edit("loss")), x), plain * factor)


def test_a_number_near_one_and_one_beside_another_last_function_stay():
    model = Calls(behind=lambda out: 2.0 * out)
    with pytest.raises(ModelError, match="no function"):
        patient_of(model)[0].apply(Edit("last", before="mul"))
    soft = Calls(behind=lambda out: (out * 100.0).softmax(1))
    patient, (x, _) = patient_of(soft)
    assert torch.allclose(output(patient.apply(Edit("last", before="softmax")), x), 100.0 * soft.two(torch.tanh(soft.one(x))))
