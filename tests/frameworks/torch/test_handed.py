"""Batches as people hand them over: arrays, a data set, a whole table, three in one, raw pictures, an autoencoder's inputs."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import isograd
from isograd.frameworks.torch.handed import batches_of
from isograd.records.batch import InputSample, LossSample
from isograd.records.moments import Moments


def sample(*shape, dtype="float32"):
    return InputSample("", 0, shape, dtype, Moments(), 0.0, 1.0)


def brought(given, model=None, loss=F.cross_entropy, inputs=(), compared=None):
    return list(batches_of(given, [model or nn.Linear(3, 2)], loss, inputs, compared))


X, Y = np.arange(30.0).reshape(10, 3), np.arange(10) % 2


@pytest.mark.parametrize("given", [(X, Y), (torch.tensor(X).float(), torch.tensor(Y)), [X, Y]])
def test_a_whole_table_is_cut_into_batches_of_the_size_that_was_seen(given):
    made = brought(given, inputs=[sample(4, 3)])
    assert [len(y) for _, y in made] == [4, 4, 2] and made[0][0].dtype == torch.float32 and made[0][1].dtype == torch.int64
    assert len(brought(given, inputs=[sample(10, 3)])) == 1  # it was seen whole


def test_a_data_set_is_loaded_and_a_loader_stays_what_it_is():
    table = TensorDataset(torch.tensor(X).float(), torch.tensor(Y))
    assert [len(y) for _, y in brought(table, inputs=[sample(5, 3)])] == [5, 5]
    assert [len(y) for _, y in brought(DataLoader(table, batch_size=3))] == [3, 3, 3, 1]


def test_of_three_the_last_are_the_targets_where_the_model_takes_the_others():
    class Two(nn.Module):
        def forward(self, x, lengths):
            return x

    x, y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)
    ((inputs, targets),) = brought([(x, x, y)], Two())
    assert len(inputs) == 2 and targets is y
    assert len(brought([(x, x, y)], nn.Bilinear(3, 3, 2))[0]) == 2 and len(brought([(x, x, y)], nn.Linear(3, 2))[0]) == 3


def test_a_model_that_gives_its_own_loss_takes_the_targets_as_well():
    class Own(nn.Module):
        def forward(self, x, y):
            return F.mse_loss(x, y)

    x = torch.zeros(4, 3)
    (batch,) = brought([(x, x)], Own(), None)
    assert batch[1] is None and len(batch[0]) == 2


def test_what_the_loop_flattens_or_converts_is_brought_to_what_was_seen():
    raw, labels = torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.int32)
    ((x, y),) = brought(
        [(raw, labels)], inputs=[sample(8, 16)], compared=LossSample("cross_entropy", target_shape=(8,), target_dtype="int64")
    )
    assert x.shape == (8, 16) and x.dtype == torch.float32 and y.dtype == torch.int64
    ((x, y),) = brought(
        [(raw, labels)], inputs=[sample(8, 17)], compared=LossSample("mse_loss", target_shape=(8, 10), target_dtype="float32")
    )
    assert x.shape == raw.shape and y is labels  # nothing is known that fits: one-hot codes are the loss's own affair


def test_an_autoencoder_is_given_its_inputs_alone():
    x = torch.randn(8, 3)
    for given in ([[x]], [x]):
        ((made, wanted),) = brought(given, nn.Linear(3, 3), F.mse_loss)
        assert made is wanted
    (alone,) = brought([x], nn.Linear(3, 3), lambda out, _: out.mean())
    assert alone is x


def test_a_loop_over_permuted_arrays_is_explained_from_the_arrays():
    draw = np.random.RandomState(0)
    x = draw.randn(600, 5)
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    with isograd.watch(model, optimizer) as watch:
        order = draw.permutation(600)
        for start in range(0, 600, 20):
            rows = order[start : start + 20]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.tensor(x[rows], dtype=torch.float32)), torch.tensor(y[rows]))
            loss.backward()
            optimizer.step()
    found = watch.explain((x, y), F.cross_entropy, budget=800).cause
    assert found.causes[0].edit.kind == "learning_rate" and not found.remarks


def test_labels_in_their_order_are_judged_by_examples_of_every_kind():
    torch.manual_seed(0)
    y = torch.arange(1_000) // 200
    x = torch.randn(1_000, 6) + 2.0 * F.one_hot(y, 6).float()
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    batches = [(x[i : i + 20], y[i : i + 20]) for i in range(0, 1_000, 20)]
    with isograd.watch(model, optimizer) as watch:
        for a, b in 2 * batches:
            optimizer.zero_grad()
            F.cross_entropy(model(a), b).backward()
            optimizer.step()
    assert watch.explain(batches, F.cross_entropy, budget=1_600).cause.causes[0].edit.kind == "shuffle"
