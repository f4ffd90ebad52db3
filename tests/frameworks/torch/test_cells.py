"""Edits of recurrent layers: gates, identity, other cells, gradients cut through time."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

sys.path.insert(0, str(Path(__file__).parent))
from torch_patients import outputs, patient_of, same, weights

from isograd.errors import ModelError
from isograd.records.edit import Edit

X, Y = torch.randn(6, 9, 4, generator=torch.Generator().manual_seed(1)), torch.randint(0, 3, (6,))


class Reader(nn.Module):
    """Reads a sequence, with the state of its last step, or of a given first one, to a head."""

    def __init__(self, kind=nn.RNN, first=False, **options):
        super().__init__()
        self.rnn, self.head, self.first = kind(4, 5, batch_first=True, **options), nn.Linear(5, 3), first

    def forward(self, x):
        if not self.first:
            return self.head(self.rnn(x)[0][:, -1])
        start = torch.ones(self.rnn.num_layers, len(x), 5, dtype=x.dtype)
        return self.head(self.rnn(x, start)[1][-1])


class Stepped(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.RNNCell(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        state = x.new_zeros(len(x), 5)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state)


def reading(model=None, **options):
    return patient_of(model or Reader(**options), batch=(X, Y))[0]


def reach(model):
    """The norm of the gradient of the last answer at each time step of the input."""
    x = X.clone().requires_grad_()
    model.train()(x).sum().backward()
    return x.grad.norm(dim=(0, 2))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_bias_of_the_forget_gates_is_the_value_and_nothing_else_changes(kind):
    before = reading(kind=kind, num_layers=2)
    after = before.apply(Edit("forget_bias", 1.0))
    for name, old in before.models[0].named_parameters():
        new = dict(after.models[0].named_parameters())[name]
        if "bias_" in name:
            assert torch.equal(new[5:10], torch.full((5,), 1.0 if "bias_ih" in name else 0.0))
            assert torch.equal(new[:5], old[:5]) and torch.equal(new[10:], old[10:])
        else:
            assert torch.equal(new, old)
    with pytest.raises(ModelError, match="no forget gate"):
        reading().apply(Edit("forget_bias", 1.0))


def test_identity_weights_hand_the_state_on_as_it_was():
    edited = reading(nonlinearity="relu").apply(Edit("initialisation", "identity")).models[0].rnn
    with torch.no_grad():
        state = edited(torch.zeros(1, 7, 4), torch.full((1, 1, 5), 0.3))[1]
    assert torch.equal(state, torch.full((1, 1, 5), 0.3))
    with pytest.raises(ModelError, match="no simple recurrent layer"):
        reading(kind=nn.LSTM).apply(Edit("initialisation", "identity"))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("value", ["lstm", "gru"])
def test_a_gated_layer_takes_the_place_of_a_simple_one(value, first):
    before = reading(first=first, num_layers=2)
    after = before.apply(Edit("cell", value))
    assert type(after.models[0].rnn) is {"lstm": nn.LSTM, "gru": nn.GRU}[value] and after.models[0].rnn.num_layers == 2
    assert outputs(after, X).shape == outputs(before, X).shape
    held = {id(p) for group in after.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in after.models[0].parameters()}
    learned = after.trained([(X, Y)], 1)
    assert all(not torch.equal(a, b) for a, b in zip(weights(after), weights(learned), strict=True))
    assert torch.equal(after.models[0].head.weight, before.models[0].head.weight)
    assert type(before.models[0].rnn) is nn.RNN and same(before.apply(Edit("cell", value)), after)
    assert after.observe([(X, Y)], 1).steps[0].layers  # a watched pass sees it


def test_a_shared_layer_stays_shared_and_a_frozen_one_frozen():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.RNN(4, 4, batch_first=True)
            self.b, self.head = self.a, nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.b(self.a(x)[0])[0][:, -1])

    model = Twice()
    model.a.requires_grad_(False)
    after = reading(model).apply(Edit("cell", "gru")).models[0]
    assert after.a is after.b and isinstance(after.a, nn.GRU) and not any(p.requires_grad for p in after.a.parameters())


def test_a_cell_that_is_stepped_by_hand_becomes_a_gru_and_no_lstm():
    assert isinstance(reading(Stepped()).apply(Edit("cell", "gru")).models[0].cell, nn.GRUCell)
    with pytest.raises(ModelError, match="an LSTM has two"):
        reading(Stepped()).apply(Edit("cell", "lstm"))


def test_a_model_that_is_a_recurrent_layer_itself_is_exchanged():
    patient = patient_of(
        nn.RNN(4, 5, batch_first=True), lambda out, y: (out[0] - y).square().mean(), (X, torch.zeros(6, 9, 5))
    )[0]
    assert isinstance(patient.apply(Edit("cell", "lstm")).trained([patient.batch], 1).models[0], nn.LSTM)


def test_a_layer_held_in_a_plain_list_is_not_exchanged_unseen():
    class Hidden(Reader):
        def __init__(self):
            super().__init__()
            self.other = [self.rnn]

        def forward(self, x):
            return self.head(self.other[0](x)[0][:, -1])

    with pytest.raises(ModelError, match="goes on using"):
        reading(Hidden()).apply(Edit("cell", "gru"))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_cut_gradient_reaches_no_further_back_and_the_outputs_stay(kind):
    before = reading(kind=kind, num_layers=2)
    after = before.apply(Edit("truncate", 4.0))  # pieces 0-3, 4-7, 8
    assert torch.allclose(outputs(after, X), outputs(before, X), atol=1e-6)
    assert reach(before.models[0]).gt(0.0).all()
    assert reach(after.models[0]).gt(0.0).tolist() == [False] * 8 + [True]
    assert reach(before.apply(Edit("truncate", 5.0)).models[0]).gt(0.0).tolist() == [False] * 5 + [True] * 4
    whole = before.apply(Edit("truncate", 9.0))
    assert same(whole.trained([(X, Y)], 2), before.trained([(X, Y)], 2))
    assert type(before.models[0].rnn) is kind and after.apply(Edit("truncate", 4.0).inverse).models[0].rnn.__class__ is kind
    assert same(after.apply(Edit("truncate")).trained([(X, Y)], 2), before.trained([(X, Y)], 2))


def test_sequences_that_cannot_be_cut_are_refused():
    class Packed(Reader):
        def forward(self, x):
            return self.head(self.rnn(pack_padded_sequence(x, torch.full((len(x),), 9), batch_first=True))[1][-1])

    for model in (Packed(), Stepped(), Reader(bidirectional=True)):
        with pytest.raises(ModelError, match=r"packed|no recurrent layer|does not take"):
            reading(model).apply(Edit("truncate", 3.0))
    with pytest.raises(ModelError, match="whose gradient is cut"):
        reading().apply(Edit("truncate"))


def test_a_delta_orthogonal_kernel_keeps_the_norm_of_every_place():
    patient = patient_of(
        nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 36, 3)),
        batch=(torch.randn(4, 3, 6, 6), torch.randint(0, 3, (4,))),
    )[0]
    edited = patient.apply(Edit("initialisation", "delta_orthogonal")).models[0][0]
    images = torch.randn(4, 3, 6, 6)
    assert torch.allclose(edited(images).norm(dim=1), images.norm(dim=1), rtol=1e-4)
    assert not edited.bias.any() and int(edited.weight.count_nonzero()) == 15
