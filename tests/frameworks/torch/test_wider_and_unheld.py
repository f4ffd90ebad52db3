"""Wider layers are wider and nothing else: what the optimizer did not hold it does not hold then either."""

import torch
from torch import nn

from isograd.frameworks.torch.patient import TorchPatient
from isograd.records.edit import Edit


def test_layers_that_the_optimizer_does_not_hold_are_not_given_to_it_with_the_width():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    batch = torch.randn(16, 4), torch.randint(0, 2, (16,))
    optimizer = torch.optim.SGD(model[4].parameters(), lr=0.1)
    wide = TorchPatient.copy_of(model, batch, nn.functional.cross_entropy, optimizer).apply(Edit("width", 4.0))
    after = wide.trained([batch], 3)
    moved = [not torch.equal(*pair) for pair in zip(wide.models[0].parameters(), after.models[0].parameters(), strict=True)]
    assert [tuple(p.shape) for p in wide.models[0].parameters() if p.ndim == 2] == [(12, 4), (12, 12), (2, 12)]
    assert moved == [False, False, False, False, True, True]
