"""Small patients, and what tells whether two of them are the same."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from isograd.frameworks.torch.patient import TorchPatient


def patient_of(model=None, loss=F.cross_entropy, batch=None, optimizer=None, **changes):
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    batch = batch or (torch.randn(16, 4), torch.randint(0, 3, (16,)))
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    return dataclasses.replace(TorchPatient.copy_of(model, batch, loss, optimizer), **changes), batch


def other_batches(count, seed=3, width=4):
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(8, width, generator=draw), torch.randint(0, 3, (8,), generator=draw)) for _ in range(count)]


def weights(patient):
    return [p.detach().clone() for model in patient.models for p in model.parameters()]


def same(one, other):
    mine, theirs = weights(one), weights(other)
    return len(mine) == len(theirs) and all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def near(one, other, tolerance=1e-6):
    mine, theirs = weights(one), weights(other)
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(mine, theirs, strict=True))


def outputs(patient, inputs):
    with torch.no_grad():
        patient.models[0].eval()
        return patient.models[0](inputs)
