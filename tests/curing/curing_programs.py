"""Tiny programs to be cured, for the tests of ``isograd.cure``."""

import torch
from torch import nn

import isograd

LOSS = nn.functional.cross_entropy


def problem(count=640):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, 8, generator=draw)
    y = (x[:, :4] @ torch.randn(4, 3, generator=draw)).argmax(1)
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, count, 32)]


DATA = problem()


def net():
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))


def adam(rate):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def cured(build=net, batches=DATA, loss=LOSS, optimizer=None, *, budget="14 runs", steps=60, **options):
    return isograd.cure(build, batches, loss, optimizer or adam(1e-2), budget=budget, steps=steps, **options)


def tried(count=1, **options):
    """The first trainings of a cure, which is stopped after so many."""
    seen = []

    def keep(one):
        seen.append(one)
        if len(seen) == count:
            raise KeyboardInterrupt

    cured(on_tried=keep, **options)
    return seen


def shuffling(batches=DATA, **options):
    data = torch.utils.data.TensorDataset(*(torch.cat(part) for part in zip(*batches, strict=True)))
    return torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, **options)
