"""A training loop of your own, with isograd's three functions around it: a small CNN on MNIST's IDX files.

    ISOGRAD_DATA=/path/to/data python examples/mnist_cnn.py

The folder holds ``mnist-5k`` with the four files as published (train-images-idx3-ubyte.gz and its three siblings).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from torch import nn

import isograd
from isograd.workbench import data


def network() -> nn.Module:
    """Three blocks of convolution, normalisation, ReLU and pooling."""
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(128 * 3 * 3, 10))


def accuracy(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of right answers."""
    model.eval()
    with torch.no_grad():
        answers = torch.cat([model(inputs[start : start + 500]).argmax(1) for start in range(0, len(inputs), 500)])
    model.train()
    return (answers == targets).float().mean().item()


def main(epochs: int, rows: int | None = None) -> float:
    """Train and give the accuracy on the test part."""
    torch.manual_seed(0)
    split = data.SplitPlan(kind="given", validation=0.1)
    prepared = data.prepare(
        "$ISOGRAD_DATA/mnist-5k", base=Path.cwd(), task="image-classification", target=None, split=split, seed=0
    )
    train = data.Rows(prepared.train.inputs[:rows], prepared.train.targets[:rows], prepared.train.names[:rows])
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    steps = epochs * -(-len(train.names) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)

    batch = next(iter(data.batches(train, seed=0, epoch=0, batch_size=64)))
    print(isograd.check(model, batch, loss, optimizer, steps=steps))  # before the first step

    with isograd.watch(model, optimizer, steps=steps) as watch:  # the loop below stays as it is
        for epoch in range(epochs):
            for x, y in data.batches(train, seed=0, epoch=epoch, batch_size=64):
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                schedule.step()
            print(f"epoch {epoch + 1}/{epochs}  {watch.health_line()}", file=sys.stderr)
    print(watch.report())

    result = accuracy(model, prepared.test.inputs, prepared.test.targets)
    print(f"accuracy on {len(prepared.test.names):,} test images: {result:.4f}")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rows", type=int, help="train on the first rows only")
    arguments = parser.parse_args()
    if "ISOGRAD_DATA" not in os.environ:
        sys.exit("name the folder that holds mnist-5k: ISOGRAD_DATA=/path/to/data python examples/mnist_cnn.py")
    main(arguments.epochs, arguments.rows)
