"""Which axis a recurrent layer takes first, as an edit, and as the cause that is found where it is the wrong one."""

import pytest
import torch
from torch import nn

import isograd
from isograd.errors import ModelError
from isograd.frameworks.torch.patient import TorchPatient
from isograd.records.edit import Edit
from isograd.records.loop import Loop

BATCH = Edit("axes", "batch", before="time")


class Reader(nn.Module):
    """A GRU that is given the batch first and, unless told so, takes time first."""

    def __init__(self, **options):
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 16, **options), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def patient(model):
    batch = torch.randn(4, 6, 3), torch.tensor([0, 1, 0, 1])
    return TorchPatient((model,), batch, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), Loop())


def test_the_axes_are_turned_on_a_copy_and_back_again():
    torch.manual_seed(0)
    model, x = Reader(), torch.randn(4, 6, 3)
    turned = patient(model).apply(BATCH)
    assert turned.models[0].rnn.batch_first and not model.rnn.batch_first
    assert torch.allclose(turned.models[0](x)[1:2], turned.models[0](x[1:2]), atol=1e-6), "other examples no longer matter"
    assert not torch.allclose(model(x)[1:2], model(x[1:2]), atol=1e-3)
    assert not turned.apply(BATCH.inverse).models[0].rnn.batch_first


def test_what_is_so_already_and_what_has_no_recurrent_layer_refuse():
    with pytest.raises(ModelError, match="does not take the time first already"):
        patient(Reader()).apply(BATCH.inverse)
    with pytest.raises(ModelError, match="no recurrent layer"):
        patient(nn.Sequential(nn.Flatten(), nn.Linear(18, 2))).apply(BATCH)


@pytest.mark.parametrize("first", [False, True])
def test_a_forgotten_batch_first_is_the_cause_and_a_right_one_is_not(first):
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(640, 12, 3, generator=draw)
    y = (x[:, :, 0].sum(1) > 0).long()
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 640, 32)]
    torch.manual_seed(0)
    model = Reader(batch_first=first)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with isograd.watch(model, optimizer, steps=120) as watch:
        for inputs, targets in batches * 6:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    causes = watch.explain(batches, budget=1_200).cause.causes
    assert [cause.edit.kind for cause in causes][:1] == ([] if first else ["axes"])


def test_attention_that_goes_along_the_examples_is_turned_like_a_recurrent_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), nn.Linear(8, 1))
    x = torch.randn(4, 6, 8)
    patient = TorchPatient.copy_of(
        model, (x, torch.randn(4, 6, 1)), nn.functional.mse_loss, torch.optim.SGD(model.parameters(), 0.1)
    )
    (turned,) = patient.apply(BATCH).models
    alone = torch.cat([turned(x[row : row + 1]) for row in range(4)])
    assert torch.allclose(turned(x), alone, atol=1e-6), "no example reads another"
    assert not torch.allclose(model(x), torch.cat([model(x[row : row + 1]) for row in range(4)]), atol=1e-3)
    with pytest.raises(ModelError, match="or attention that does not take the time first"):
        patient.apply(Edit("axes", "time"))
