"""Lets the tests of this folder share ``bodies``, and train small torch networks on digits."""

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def digits():
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    return torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32), torch.tensor(y)


@pytest.fixture
def train(digits):
    """Watch a real training on digits: (build, optimizer, steps) -> (report, accuracy)."""
    import torch

    import isograd

    def trained(build, optimizer, steps=150, seed=0):
        torch.manual_seed(seed)
        x, y = digits
        model = build()
        opt = optimizer(model.parameters())
        draw = torch.Generator().manual_seed(seed)
        with isograd.watch(model, opt, budget=None, steps=steps) as watch:
            for _ in range(steps):
                rows = torch.randint(0, 1400, (64,), generator=draw)
                opt.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                opt.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
        return isograd.diagnose(dataclasses.replace(watch.trace, ended=True)), accuracy

    return trained


@pytest.fixture
def mlp():
    """(depth, activation) -> a module with as many linear layers."""
    from torch import nn

    def build(depth, activation, width=64):
        layers = [nn.Linear(64, width), activation()]
        for _ in range(depth - 2):
            layers += [nn.Linear(width, width), activation()]
        return nn.Sequential(*layers, nn.Linear(width, 10))

    return build


@pytest.fixture
def torch_check(mlp, digits):
    """(depth, what to do to the model, name of the optimizer or None) -> the report of a check on digits."""
    import torch

    import isograd

    def checked(depth, change, optimizer):
        torch.manual_seed(0)
        x, y = digits
        model = mlp(depth, torch.nn.ReLU)
        change(model)
        held = None if optimizer is None else getattr(torch.optim, optimizer)(model.parameters(), lr=1e-3)
        return isograd.check(model, (x[:64], y[:64]), torch.nn.functional.cross_entropy, held)

    return checked
